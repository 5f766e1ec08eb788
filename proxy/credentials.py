"""A store's real credential, from files or the environment, re-read when it rotates.

The gate's own configuration names it; engineers never see it, and no `repr`, log line or error carries it.
What is configured under one name (plain mapping, text to text):

    user + password | password_file | password_env     Basic towards HTTP stores, login towards PostgreSQL
    bearer | bearer_file | bearer_env                   Authorization: Bearer
    header + value | value_file | value_env             any one header, such as X-Api-Key
    upstream_ca_file                                    PEM bundle that vouches for the store's certificate

A file is looked at once a second and read again when its inode, size or modification time has changed. While
a rotation leaves it missing, empty or unusable, the last good secret stays in use: the store judges it anyway.
"""

import base64
import hashlib
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import structlog

from approvals.errors import Refusal
from approvals.reasons import Reason
from approvals.store_definition import StoreDefinition
from proxy.clock import Clock

__all__ = ["Credentials", "StoreCredential"]

LOOK_EVERY_S: Final = 1.0
MAX_SECRET_BYTES: Final = 16 * 1024
MAX_CA_BYTES: Final = 1024 * 1024

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_SECRETS: Final = {"password": "user", "bearer": "", "value": "header"}  # secret setting -> setting it needs beside it

_log = structlog.get_logger(__name__)

Kind = Literal["none", "password", "bearer", "header"]


class StoreCredential:
    """What the gate presents to a store. `name` is the user or the header's name; `secret` never leaves here in clear
    other than towards the store."""

    __slots__ = ("header_line", "header_name", "kind", "name", "secret")

    def __init__(self, kind: Kind, name: str = "", secret: str = "") -> None:
        self.kind = kind
        self.name = name
        self.secret = secret
        self.header_line = b""  # "Name: value\r\n" as an HTTP store wants it; b"" = none
        self.header_name = b""  # in lower case
        if kind == "password":
            pair = base64.b64encode(f"{name}:{secret}".encode())
            self.header_line = b"Authorization: Basic " + pair + b"\r\n"
        elif kind == "bearer":
            self.header_line = b"Authorization: Bearer " + secret.encode() + b"\r\n"
        elif kind == "header":
            self.header_line = name.encode() + b": " + secret.encode() + b"\r\n"
        if self.header_line:
            self.header_name = self.header_line.partition(b":")[0].lower()

    def __repr__(self) -> str:
        return f"StoreCredential({self.kind!r}, {self.name!r}, secret=…)"


NOTHING: Final = StoreCredential("none")


class _Source:
    """One file's content, and whether it changed since it was last looked at."""

    __slots__ = ("_at", "_limit", "_mark", "_path", "data")

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._mark: tuple[int, int, int] | None = None
        self._at = float("-inf")
        self.data = b""

    def changed(self, now: float) -> bool:
        """Look again (at most once a second, monotonic time `now`) and say whether `data` is new."""
        if now - self._at < LOOK_EVERY_S:
            return False
        self._at = now
        try:
            status = self._path.stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if mark == self._mark:
                return False
            if status.st_size > self._limit:
                raise OSError(f"larger than {self._limit} bytes")
            data = self._path.read_bytes()
        except OSError as cause:
            _log.warning("credential.unreadable", path=str(self._path), cause=cause.strerror or str(cause))
            return False
        self._mark = mark
        if data == self.data:
            return False
        self.data = data
        return True


class _Entry:
    """One configured credential as it stands now."""

    __slots__ = ("ca", "contexts", "credential", "kind", "name", "secret")

    def __init__(self, settings: Mapping[str, str], env: Mapping[str, str], name: str) -> None:
        self.kind, self.name, source = _shape(settings, name)
        self.secret: _Source | None = None
        self.credential: StoreCredential | None = None
        self.contexts: dict[str, ssl.SSLContext] = {}
        ca_file = settings.get("upstream_ca_file", "")
        self.ca = _Source(Path(ca_file), MAX_CA_BYTES) if ca_file else None
        if source.endswith("_file"):
            self.secret = _Source(Path(settings[source]), MAX_SECRET_BYTES)
        elif source:
            text = env.get(settings[source], "") if source.endswith("_env") else settings[source]
            self.credential = _made(self.kind, self.name, text)
        else:
            self.credential = NOTHING

    def current(self, now: float) -> StoreCredential | None:
        if self.secret is not None and self.secret.changed(now):
            # One line end is what an editor or `echo` leaves; anything more is part of the secret.
            text = self.secret.data.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
            made = _made(self.kind, self.name, text)
            if made is None:
                _log.warning("credential.unusable", kind=self.kind)
            else:
                self.credential = made
        return self.credential


class Credentials:
    """All credentials of this gate by name. `settings` is the configuration's `credentials` table."""

    def __init__(
        self, settings: Mapping[str, Mapping[str, str]], clock: Clock, env: Mapping[str, str] = os.environ
    ) -> None:
        """Raises ValueError for a credential that is configured in no or in two ways."""
        self._clock = clock
        self._entries = {name: _Entry(each, env, name) for name, each in settings.items()}
        self._system: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._entries)})"

    def for_store(self, definition: StoreDefinition) -> StoreCredential:
        """What to present at that store now. Raises Refusal(STORE_UNREACHABLE) where there is nothing usable."""
        if not definition.credential:
            return NOTHING
        entry = self._entries.get(definition.credential)
        credential = entry.current(self._clock.monotonic()) if entry is not None else None
        if credential is None:
            raise Refusal(
                Reason.STORE_UNREACHABLE,
                "The gate holds no usable credential for this store.",
                cause=f"credential {definition.credential!r} is not configured or not readable",
            )
        return credential

    def tls_context(self, definition: StoreDefinition) -> ssl.SSLContext | None:
        """How to verify that store's TLS identity; None where its definition says `tls = "off"`.

        With `tls_ca` the configured bundle must have exactly that digest, else Refusal(STORE_IDENTITY): who
        vouches for a store is policy, not local configuration.
        """
        if definition.tls == "off":
            return None
        entry = self._entries.get(definition.credential)
        if entry is None or entry.ca is None:
            if definition.tls_ca:
                raise Refusal(Reason.STORE_IDENTITY, cause="the policy pins a CA bundle, none is configured")
            if self._system is None:
                self._system = ssl.create_default_context()
            return self._system
        if entry.ca.changed(self._clock.monotonic()):
            entry.contexts.clear()
        digest = hashlib.sha256(entry.ca.data).hexdigest()
        if definition.tls_ca and digest != definition.tls_ca:
            raise Refusal(Reason.STORE_IDENTITY, cause=f"the CA bundle's digest is {digest}, not what policy pins")
        context = entry.contexts.get(digest)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=entry.ca.data.decode("ascii"))
            except (ssl.SSLError, ValueError) as cause:
                raise Refusal(Reason.STORE_IDENTITY, cause=f"the CA bundle cannot be read: {cause}") from cause
            entry.contexts[digest] = context
        return context


def _shape(settings: Mapping[str, str], name: str) -> tuple[Kind, str, str]:
    """(kind, user or header name, which setting holds the secret); raises ValueError."""
    given = [base + suffix for base in _SECRETS for suffix in ("", "_file", "_env") if settings.get(base + suffix)]
    if not given:
        if settings.get("user") or settings.get("header"):
            raise ValueError(f"credentials.{name}: a user or header, but no secret")
        return "none", "", ""
    if len(given) > 1:
        raise ValueError(f"credentials.{name}: several secrets ({', '.join(given)}), expected one")
    base = given[0].removesuffix("_file").removesuffix("_env")
    beside = settings.get(_SECRETS[base], "") if _SECRETS[base] else ""
    if _SECRETS[base] and not beside:
        raise ValueError(f"credentials.{name}: {given[0]} needs {_SECRETS[base]!r} beside it")
    if base == "value" and not _FIELD_NAME.fullmatch(beside):
        raise ValueError(f"credentials.{name}: {beside!r} is not a header name")
    kinds: dict[str, Kind] = {"password": "password", "bearer": "bearer", "value": "header"}
    return kinds[base], beside, given[0]


def _made(kind: Kind, name: str, secret: str) -> StoreCredential | None:
    """The credential, or None if the secret is empty or would break out of a header or a login message."""
    if not secret or any(ord(c) < 0x20 or ord(c) == 0x7F for c in secret):
        return None
    return StoreCredential(kind, name, secret)
