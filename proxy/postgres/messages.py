"""The messages that are read or made here, one value or function each; pure.

Readers take a message's body and raise ProtocolError for anything but its exact shape: lengths are checked
before they are used, texts end with their NUL, nothing may follow. Builders check that what they are given fits.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.postgres.errors import ProtocolError

__all__ = [
    "Bind",
    "Execute",
    "Parse",
    "Target",
    "backend_key",
    "command_rows",
    "error_response",
    "message",
    "parameter_status",
    "parse_message",
    "query_message",
    "read_bind",
    "read_error",
    "read_execute",
    "read_oids",
    "read_parameter_status",
    "read_parse",
    "read_query",
    "read_target",
    "ready_for_query",
    "startup_message",
]

MAX_MESSAGE_BYTES: Final = 0x7FFFFFFF
MAX_NAME_BYTES: Final = 63  # NAMEDATALEN - 1
PROTOCOL_3_0: Final = 3 << 16
PROTOCOL_3_2: Final = (3 << 16) | 2

_INT16: Final = struct.Struct(">H").unpack_from
_INT32: Final = struct.Struct(">i").unpack_from


class _Reader:
    """A body read from front to back."""

    __slots__ = ("_body", "_position")

    def __init__(self, body: memoryview | bytes) -> None:
        self._body = bytes(body)
        self._position = 0

    def text(self) -> bytes:
        end = self._body.find(b"\0", self._position)
        if end < 0:
            raise ProtocolError("text without its end")
        text = self._body[self._position : end]
        self._position = end + 1
        return text

    def name(self) -> bytes:
        """Of a statement or portal. PostgreSQL compares the first 63 bytes alone: two longer names may be one to the
        store and two here, and the text of one would go on record for the other's."""
        name = self.text()
        if len(name) > MAX_NAME_BYTES:
            raise ProtocolError("the name of a statement or portal is longer than 63 bytes", "42622")
        return name

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self._body) - self._position:
            raise ProtocolError("insufficient data left in message")
        self._position += size
        return self._body[self._position - size : self._position]

    def int16(self) -> int:
        return int(_INT16(self.take(2))[0])

    def int32(self) -> int:
        return int(_INT32(self.take(4))[0])

    def end(self) -> None:
        if self._position != len(self._body):
            raise ProtocolError("bytes after the end of a message")


@dataclass(frozen=True, slots=True)
class Parse:
    name: bytes
    text: bytes
    oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """`formats` are the codes as sent: none, one for all, or one per value. A value of None is NULL."""

    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]

    def format(self, index: int) -> int:
        """0 text, 1 binary."""
        if not self.formats:
            return 0
        return self.formats[0] if len(self.formats) == 1 else self.formats[index]


@dataclass(frozen=True, slots=True)
class Execute:
    portal: bytes
    max_rows: int  # 0 = all


@dataclass(frozen=True, slots=True)
class Target:
    """What Describe and Close name: a statement ("S") or a portal ("P")."""

    kind: str
    name: bytes


def read_query(body: memoryview) -> bytes:
    reader = _Reader(body)
    text = reader.text()
    reader.end()
    return text


def read_parse(body: memoryview) -> Parse:
    reader = _Reader(body)
    name, text = reader.name(), reader.text()
    oids = tuple(reader.int32() & 0xFFFFFFFF for _ in range(reader.int16()))
    reader.end()
    return Parse(name, text, oids)


def read_bind(body: memoryview) -> Bind:
    reader = _Reader(body)
    portal, statement = reader.name(), reader.name()
    formats = tuple(reader.int16() for _ in range(reader.int16()))
    values = []
    for _ in range(reader.int16()):
        size = reader.int32()
        values.append(None if size == -1 else reader.take(size))
    for _ in range(reader.int16()):
        if reader.int16() > 1:
            raise ProtocolError("unknown result format")
    reader.end()
    if any(code > 1 for code in formats) or len(formats) not in (0, 1, len(values)):
        raise ProtocolError("parameter formats do not fit the parameters")
    return Bind(portal, statement, formats, tuple(values))


def read_execute(body: memoryview) -> Execute:
    reader = _Reader(body)
    portal, rows = reader.name(), reader.int32()
    reader.end()
    return Execute(portal, rows)


def read_target(body: memoryview) -> Target:
    reader = _Reader(body)
    kind = reader.take(1)
    name = reader.name()
    reader.end()
    if kind not in (b"S", b"P"):
        raise ProtocolError("neither a statement nor a portal")
    return Target(kind.decode(), name)


def read_oids(body: memoryview) -> tuple[int, ...]:
    """ParameterDescription: the types the store settled on."""
    reader = _Reader(body)
    oids = tuple(reader.int32() & 0xFFFFFFFF for _ in range(reader.int16()))
    reader.end()
    return oids


def read_parameter_status(body: memoryview) -> tuple[str, str]:
    reader = _Reader(body)
    name, value = reader.text(), reader.text()
    reader.end()
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


def read_error(body: memoryview) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter. Any field may be missing."""
    reader = _Reader(body)
    fields: dict[str, str] = {}
    while code := reader.take(1):
        if code == b"\0":
            reader.end()
            break
        fields[code.decode("latin-1")] = reader.text().decode("utf-8", "replace")
    return fields


def command_rows(tag: str) -> int:
    """The row count of a CommandComplete tag ("SELECT 3", "INSERT 0 5"); 0 where it has none."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isascii() and last.isdigit() else 0


def message(kind: bytes, body: bytes) -> bytes:
    if len(body) + 4 > MAX_MESSAGE_BYTES:
        # A length that wraps would let its own body be read as further messages.
        raise ProtocolError("message too long to be written")
    return kind + struct.pack(">I", len(body) + 4) + body


def query_message(text: bytes) -> bytes:
    return message(b"Q", text + b"\0")


def parse_message(name: bytes, text: bytes) -> bytes:
    return message(b"P", name + b"\0" + text + b"\0\0\0")


def parameter_status(name: str, value: str) -> bytes:
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def backend_key(pid: int, key: bytes) -> bytes:
    return message(b"K", struct.pack(">I", pid) + key)


def ready_for_query(status: str) -> bytes:
    return message(b"Z", status.encode())


def startup_message(parameters: Mapping[str, str], version: int = PROTOCOL_3_0) -> bytes:
    body = struct.pack(">I", version)
    for name, value in parameters.items():
        if "\0" in name + value:
            raise ProtocolError("a startup parameter holds a NUL")
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack(">I", len(body) + 4) + body


def error_response(severity: str, sqlstate: str, text: str, *, detail: str = "", hint: str = "") -> bytes:
    """An ErrorResponse in our own words. NULs cannot stand in a field and are dropped."""
    fields: Sequence[tuple[str, str]] = (
        ("S", severity),
        ("V", severity),
        ("C", sqlstate),
        ("M", text),
        ("D", detail),
        ("H", hint),
    )
    body = b"".join(
        letter.encode() + value.replace("\0", "").encode("utf-8", "replace") + b"\0"
        for letter, value in fields
        if value
    )
    return message(b"E", body + b"\0")
