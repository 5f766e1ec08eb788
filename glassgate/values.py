"""What a setting's value may be, and how it is read; one function per kind of value.

Each takes what TOML gave (or the text of an environment variable) and raises Expected with the words that
complete "expected ..., got ...".
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

__all__ = [
    "Address",
    "Expected",
    "Secret",
    "address",
    "choice",
    "dsn",
    "flag",
    "log_origin",
    "name",
    "path",
    "secret",
    "text",
    "url",
]

_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?", re.IGNORECASE
)
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^\[\]:/?#@\s]*)(:[0-9]{1,5})?")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9._-]*)*")

Read = Callable[[Any, Path], Any]
"""(value, directory of the configuration file) -> the value as the program uses it."""


class Expected(ValueError):
    """The value is not of its kind; the text is what was expected."""


class Secret:
    """A text that no `repr`, log line or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(…)" if self._text else "Secret()"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: a host name or an IP address (IPv6 without brackets), and a port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Only an address proves it: a name may lead anywhere, `localhost` is fixed by RFC 6761."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def text(value: Any, _directory: Path) -> str:
    if not isinstance(value, str) or any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        raise Expected("a text in quotes")
    return value


def secret(value: Any, directory: Path) -> Secret:
    return Secret(text(value, directory))


def dsn(value: Any, directory: Path) -> Secret:
    """A PostgreSQL URI. A password with a bare `/`, `?`, `#` or `@` in it falls apart into host and port, which drivers
    then quote in their errors: it is refused here, without a word of it."""
    found = secret(value, directory)
    if found:
        try:
            parts = urlsplit(found.reveal())
            hosts = parts.netloc.rpartition("@")[2].split(",")
            parse_qsl(parts.query, strict_parsing=bool(parts.query))
        except ValueError:
            sound = False
        else:
            sound = parts.scheme in ("postgresql", "postgres") and all(_PLACE.fullmatch(host) for host in hosts)
            sound = sound and parts.netloc.count("@") <= 1 and parts.path.count("/") <= 1
            sound = sound and not set("@#") & set(parts.path + parts.query + found.reveal().partition("#")[1])
        if not sound:
            raise Expected(
                "postgresql://user:password@host:port/database, with /, ?, #, @ and % in a password written as %2F, "
                "%3F, %23, %40 and %25"
            )
    return found


def name(value: Any, directory: Path) -> str:
    if not _NAME.fullmatch(text(value, directory)):
        raise Expected("a name of small letters, digits and hyphens")
    return str(value)


def log_origin(value: Any, directory: Path) -> str:
    """As c2sp.org/tlog-checkpoint wants it: a URL without scheme; no spaces, no plus (c2sp.org/signed-note)."""
    if not _ORIGIN.fullmatch(text(value, directory)) or len(value) > 200:
        raise Expected("a host and path without scheme, such as gate.acme.example/log/acme")
    return str(value)


def flag(value: Any, _directory: Path) -> bool:
    if value in ("true", "false"):  # as an environment variable says it
        return bool(value == "true")
    if not isinstance(value, bool):
        raise Expected("true or false")
    return value


def path(value: Any, directory: Path) -> Path | None:
    """Relative paths are meant from the configuration file; "" is no path."""
    chosen = text(value, directory)
    return directory / Path(chosen).expanduser() if chosen else None


def address(value: Any, directory: Path) -> Address | None:
    """`host:port`; an IPv6 address stands in brackets. "" is no address."""
    chosen = text(value, directory)
    if not chosen:
        return None
    host, colon, port = chosen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise Expected("host:port")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise Expected("host:port") from None
    if not _HOST.fullmatch(host):
        raise Expected("host:port")
    return Address(host, int(port))


def url(value: Any, directory: Path) -> str:
    """`https://host[:port][/path]`, or `http://` towards this very machine; without a slash at the end."""
    chosen = text(value, directory)
    if not chosen:
        return ""
    try:
        parts = urlsplit(chosen)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Expected("a URL such as https://gate.acme.example") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise Expected("a URL such as https://gate.acme.example")
    if parts.scheme == "http" and not Address(host, 0).loopback:
        raise Expected("an https:// URL (http:// only for 127.0.0.1, ::1 and localhost)")
    return chosen.rstrip("/")


def choice(*options: str) -> Read:
    def read(value: Any, directory: Path) -> str:
        if text(value, directory) not in options:
            raise Expected(" or ".join(f'"{option}"' for option in options))
        return str(value)

    return read
