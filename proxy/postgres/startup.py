"""What comes before the login: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage; pure.

    first byte 0x16   direct TLS: the shell demands ALPN "postgresql" and starts here with secure=True
    first byte 0x00   a length and a code

A request for encryption is exactly its 8 bytes: whatever stands behind it came before the encryption and may
be anybody's (CVE-2021-3935), so the connection is dropped. Plaintext may cancel (libpq's PQcancel does so even
for encrypted sessions) but not log in. Startup parameters are allow-listed and never passed on verbatim:
`options` or `search_path` would run as the store's role (CVE-2025-12819).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.postgres.errors import ProtocolError
from proxy.postgres.messages import PROTOCOL_3_2, message

__all__ = ["Answer", "CancelRequest", "Dropped", "StartTls", "Startup", "StartupMessage", "StartupRefused"]

MAX_STARTUP_BYTES: Final = 10_000  # PostgreSQL's MAX_STARTUP_PACKET_LENGTH
MAX_NAME_BYTES: Final = 128
MAX_CANCEL_KEY_BYTES: Final = 256

CANCEL_CODE: Final = 80877102
SSL_CODE: Final = 80877103
GSSENC_CODE: Final = 80877104

ALLOWED: Final = {
    name.lower(): name for name in ("application_name", "DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits")
}
_UTF8: Final = frozenset({"utf8", "utf-8", "unicode"})
_FALSE: Final = frozenset({"false", "off", "no", "0"})


@dataclass(frozen=True, slots=True)
class Answer:
    """Write this and read on."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write "S", then shake hands; go on with `Startup(secure=True)`."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Close without a word: nothing that could be said would reach who sent this."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    pid: int
    key: bytes


@dataclass(frozen=True, slots=True)
class StartupMessage:
    """Who wants in. `parameters` are those that may be passed on, under their proper names."""

    user: str
    database: str
    version: int  # 3.0 or 3.2
    parameters: Mapping[str, str] = field(default_factory=dict)
    negotiate: bytes = b""  # NegotiateProtocolVersion to send, if what was asked for is not all there


class StartupRefused(ProtocolError):
    """Refused before any password: `hint` says what to do instead."""

    def __init__(self, sqlstate: str, text: str, hint: str = "") -> None:
        super().__init__(text, sqlstate)
        self.hint = hint


Event = Answer | StartTls | Dropped | CancelRequest | StartupMessage


class Startup:
    """Reads up to the StartupMessage. One event at most per packet; after StartTls, Dropped, CancelRequest or
    StartupMessage nothing more may be fed here."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._buffer = b""
        self._asked: set[int] = set()

    def receive(self, data: bytes) -> tuple[Event | None, bytes]:
        """The event that `data` completes, and what followed the packet. Raises ProtocolError or StartupRefused."""
        self._buffer += data
        if len(self._buffer) < 8:
            return None, b""
        length, code = struct.unpack_from(">II", self._buffer)
        if not 8 <= length <= MAX_STARTUP_BYTES:
            raise ProtocolError("invalid length of startup packet")
        if code in (SSL_CODE, GSSENC_CODE):
            return self._encryption(length, code), b""
        if len(self._buffer) < length:
            return None, b""
        packet, rest = self._buffer[8:length], self._buffer[length:]
        self._buffer = b""
        if code == CANCEL_CODE:
            return _cancel(packet), b""
        return self._startup(code, packet), rest

    def _encryption(self, length: int, code: int) -> Event:
        if length != 8 or len(self._buffer) != 8:
            return Dropped()
        if self._secure or code in self._asked:
            raise ProtocolError("encryption was asked for twice")
        self._asked.add(code)
        self._buffer = b""
        return StartTls() if code == SSL_CODE else Answer(b"N")

    def _startup(self, code: int, packet: bytes) -> StartupMessage:
        if code >> 16 != 3:
            raise StartupRefused("0A000", f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}")
        if not self._secure:
            raise StartupRefused(
                "28000",
                "This gate speaks TLS only; no password was asked for.",
                "Connect with sslmode=verify-full and the gate's CA as sslrootcert.",
            )
        return _read_startup(code, packet)


def _cancel(packet: bytes) -> CancelRequest:
    if not 8 <= len(packet) <= 4 + MAX_CANCEL_KEY_BYTES:
        raise ProtocolError("a cancel request of impossible length")
    return CancelRequest(int.from_bytes(packet[:4], "big"), packet[4:])


def _read_startup(code: int, packet: bytes) -> StartupMessage:
    asked = _pairs(packet)
    unknown = sorted(name for name in asked if name.startswith("_pq_."))
    passed = {ALLOWED[name.lower()]: value for name, value in asked.items() if name.lower() in ALLOWED}
    for name, value in asked.items():
        _check(name, value)
    user = asked.get("user", "")
    database = asked.get("database", "") or user
    if not user:
        raise StartupRefused("28000", "no user name in the startup packet")
    if max(len(user.encode()), len(database.encode())) > MAX_NAME_BYTES:
        raise StartupRefused("28000", "user or database name is too long")
    version = min(code, PROTOCOL_3_2)
    if version == (3 << 16) | 1:
        version = 3 << 16  # 3.1 was never published; it is 3.0
    negotiate = b""
    if code > PROTOCOL_3_2 or unknown:
        names = b"".join(name.encode() + b"\0" for name in unknown)
        # Int32 newest version of ours, then the options not understood
        negotiate = message(b"v", struct.pack(">II", version, len(unknown)) + names)
    return StartupMessage(user, database, version, passed, negotiate)


def _pairs(packet: bytes) -> dict[str, str]:
    if not packet.endswith(b"\0"):
        raise ProtocolError("a startup packet without its end")
    parts = packet[:-1].split(b"\0")
    if parts.pop() != b"" or len(parts) % 2:
        raise ProtocolError("startup parameters do not come in pairs")
    asked: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        try:
            text = name.decode()
            if not text or text in asked:
                raise ProtocolError("a startup parameter is empty or given twice")
            asked[text] = value.decode()
        except UnicodeDecodeError:
            raise ProtocolError("a startup parameter is not UTF-8") from None
    return asked


def _check(name: str, value: str) -> None:
    lowered = name.lower()
    if lowered in ALLOWED or lowered in ("user", "database") or name.startswith("_pq_."):
        return
    if lowered == "replication":
        if value.lower() not in _FALSE:
            raise StartupRefused("0A000", "replication is not let through this gate")
        return
    if lowered == "client_encoding":
        if value.lower().strip("'\"") not in _UTF8:
            raise StartupRefused("22023", "this gate speaks client_encoding UTF8 only", "Set client_encoding=UTF8.")
        return
    if lowered == "options" and not value.strip():
        return
    raise StartupRefused(
        "0A000",
        f"the startup parameter {'options' if lowered == 'options' else 'sent'} is not let through this gate",
        f"Allowed are {', '.join(sorted(ALLOWED.values()))}; the rest can be SET after login if the grant allows it.",
    )
