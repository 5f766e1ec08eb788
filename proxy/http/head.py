"""Strict heads of requests and responses, read from the raw bytes (RFC 9112 §2-§7, RFC 9110 §5).

This reader is the authority: what it returns alone feeds policy, record and forwarding. Anything that two
implementations are known to read differently is refused here, even where the RFC lets a recipient guess.
Any bytes give a head or HeadError.
"""

import re
from typing import Final

from proxy.http.faults import Fault, HeadError
from proxy.http.fields import FRAMING, RECORDED, REPEATED, Role, request_role, response_role

__all__ = [
    "CHUNKED",
    "MAX_HEAD_BYTES",
    "UNTIL_CLOSE",
    "Field",
    "RequestHead",
    "ResponseHead",
    "head_end",
    "parse_request",
    "parse_response",
]

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 128
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,14}")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_KEEP_ALIVE: Final = re.compile(rb"(?:^|[ ,])timeout=([0-9]{1,5})")

_PASS: Final = Role.PASS
_DROP: Final = Role.DROP


class Field:
    """One field line, taken apart. `number` is a Content-Length's; `shown` is what an entry may show of it."""

    __slots__ = ("line", "lower", "number", "pair", "role", "shown", "value")

    def __init__(self, name: bytes, lower: bytes, value: bytes, line: bytes, role: Role) -> None:
        self.lower = lower
        self.value = value  # without outer white space
        self.line = line  # as it came, without CRLF
        self.role = role
        self.pair = (name, value)
        self.number = _number(value) if role is Role.LENGTH else 0
        self.shown = [lower.decode("ascii"), value.decode("latin-1")] if lower in RECORDED else None


MAX_KNOWN: Final = 1024
MAX_KNOWN_BYTES: Final = 256
MAX_NAME_BYTES: Final = 64
_names: tuple[dict[bytes, tuple[bytes, Role]], dict[bytes, tuple[bytes, Role]]] = ({}, {})  # of answers, of requests
_known_request: dict[bytes, Field] = {}
_known_response: dict[bytes, Field] = {}
"""Lines met before: a tool sends the same ones again and again. Only of fields that can hold no secret, and
forgotten altogether when there are too many, since strangers choose them."""


class RequestHead:
    """A request's head. `version` is the minor one; `length` is in bytes or CHUNKED; `fields` are those that may be
    passed on; `pairs` are all fields as sent, for the cross-check; `shown` those that an entry may show."""

    __slots__ = (
        "credentials",
        "declared",
        "expects_continue",
        "fields",
        "host",
        "keep_alive",
        "length",
        "method",
        "pairs",
        "shown",
        "target",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.host = b""  # as sent, with its port; b"" = none (HTTP/1.0)
        self.length = 0
        self.declared = False  # whether there was a Content-Length, be it 0
        self.keep_alive = version == 1
        self.expects_continue = False
        self.credentials: list[bytes] = []  # values of Authorization and Proxy-Authorization
        self.fields: list[Field] = []
        self.pairs: list[tuple[bytes, bytes]] = []
        self.shown: list[list[str]] = []

    def field(self, name: bytes) -> bytes:
        """The value of the first passed-on field called `name` (lower case), or b""."""
        return next((field.value for field in self.fields if field.lower == name), b"")


class ResponseHead:
    """A response's head. `length` is in bytes, CHUNKED or UNTIL_CLOSE; 0 where there is no body by definition."""

    __slots__ = (
        "declared",
        "fields",
        "keep_alive",
        "keep_alive_s",
        "length",
        "locations",
        "pairs",
        "reason",
        "status",
        "version",
    )

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.length = UNTIL_CLOSE
        self.declared = -1  # Content-Length as sent, also where no body follows (HEAD, 304); -1 = none
        self.keep_alive = version == 1
        self.keep_alive_s = -1  # the store's own hint; -1 = none
        self.fields: list[Field] = []
        self.locations: list[Field] = []
        self.pairs: list[tuple[bytes, bytes]] = []


def head_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Where the head that begins `buffer` ends (after CRLFCRLF), or -1 while it is incomplete.

    `start`: bytes looked at before. Raises HeadError once it cannot become a head any more: too large, or with
    a line end of another kind, for which a lenient reader would end the head elsewhere.
    """
    end = buffer.find(b"\r\n\r\n", max(0, start - 3))
    if end >= 0:
        end += 4
        if end > MAX_HEAD_BYTES:
            raise HeadError(Fault.HEAD_TOO_LARGE)
        return end
    if len(buffer) >= MAX_HEAD_BYTES:
        raise HeadError(Fault.HEAD_TOO_LARGE)
    at = buffer.find(b"\n", start)
    while at >= 0:
        if at == 0 or buffer[at - 1] != 0x0D:
            raise HeadError(Fault.LINE_END)
        at = buffer.find(b"\n", at + 1)
    return -1


def parse_request(raw: bytes) -> RequestHead:
    """Read a whole request head, up to and including CRLFCRLF. The target is checked apart, once its store is known."""
    lines = _lines(raw)
    head = _request_line(lines[0])
    options = b""
    hosts = coding = 0
    pairs, fields, shown = head.pairs, head.fields, head.shown
    for line in lines[1:-2]:
        field = _known_request.get(line)
        if field is None:
            field = _read_field(line, _known_request, request=True)
        pairs.append(field.pair)
        if field.shown is not None:
            shown.append(field.shown)
        role = field.role
        if role is _PASS:
            fields.append(field)
        elif role is _DROP:
            continue
        elif role is Role.HOST:
            hosts += 1
            head.host = field.value
        elif role is Role.CREDENTIAL:
            head.credentials.append(field.value)
        elif role is Role.CONNECTION:
            options = options + b"," + field.value
        elif role is Role.LENGTH:
            if coding & 1:
                raise HeadError(Fault.CONTENT_LENGTH_DUPLICATE)
            head.length = field.number
            head.declared = True
            coding |= 1
        elif role is Role.CODING:
            _coding(field.value, head.version, first=not coding & 2)
            coding |= 2
        else:
            _other(head, role, field.value)
    if coding:
        if coding == 3:
            raise HeadError(Fault.LENGTH_AND_CODING)
        if coding == 2:
            head.length = CHUNKED
    if hosts != 1 and (hosts > 1 or head.version == 1):
        raise HeadError(Fault.HOST_DUPLICATE if hosts else Fault.HOST_MISSING)
    if options:
        head.keep_alive, head.fields = _connection(options, head.version, fields)
    return head


def parse_response(raw: bytes, method: bytes) -> ResponseHead:
    """Read a whole response head to a request of `method`."""
    lines = _lines(raw)
    match = _STATUS.fullmatch(lines[0])
    if match is None:
        raise HeadError(Fault.STATUS_LINE)
    head = ResponseHead(int(match[2]), match[3] or b"", int(match[1]))
    options = b""
    coding = 0
    pairs, fields = head.pairs, head.fields
    for line in lines[1:-2]:
        field = _known_response.get(line)
        if field is None:
            field = _read_field(line, _known_response, request=False)
        pairs.append(field.pair)
        role = field.role
        if role is _PASS:
            fields.append(field)
        elif role is Role.CONNECTION:
            options = options + b"," + field.value
        elif role is Role.LENGTH:
            if coding & 1:
                raise HeadError(Fault.CONTENT_LENGTH_DUPLICATE)
            head.length = head.declared = field.number
            coding |= 1
        elif role is Role.CODING:
            _coding(field.value, head.version, first=not coding & 2)
            coding |= 2
        elif role is Role.LOCATION:
            head.locations.append(field)
        elif role is Role.KEEP_ALIVE:
            hint = _KEEP_ALIVE.search(field.value)
            if hint is not None:
                head.keep_alive_s = int(hint[1])
    if coding == 3:
        raise HeadError(Fault.LENGTH_AND_CODING)
    if coding == 2:
        head.length = CHUNKED
    if options:
        head.keep_alive, head.fields = _connection(options, head.version, fields)
    elif head.version == 0:
        head.keep_alive = False
    status = head.status
    if method == b"HEAD" or status in (204, 304) or status < 200:
        head.length = 0  # RFC 9112 §6.3: no body, whatever the fields say
    elif head.length == UNTIL_CLOSE:
        head.keep_alive = False
    return head


def _lines(raw: bytes) -> list[bytes]:
    """The head's lines; the last two are empty."""
    if len(raw) > MAX_HEAD_BYTES:
        raise HeadError(Fault.HEAD_TOO_LARGE)
    lines = raw.split(b"\r\n")
    # What is left without the text must be the line ends that it was split at, and nothing else.
    rest = raw.translate(None, _TEXT)
    if len(rest) != 2 * (len(lines) - 1) or rest.replace(b"\r\n", b""):
        raise HeadError(Fault.CONTROL_CHARACTER if rest.translate(None, b"\r\n") else Fault.LINE_END)
    if len(lines) < 3 or lines[-1] or lines[-2]:
        raise HeadError(Fault.LINE_END)
    if len(lines) > MAX_FIELDS + 3:
        raise HeadError(Fault.TOO_MANY_FIELDS)
    return lines


def _request_line(line: bytes) -> RequestHead:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1] or not parts[0] or parts[0].translate(None, _TOKEN):
        raise HeadError(Fault.REQUEST_LINE)
    version = _VERSIONS.get(parts[2])
    if version is None:
        raise HeadError(Fault.VERSION if parts[2].startswith(b"HTTP/") else Fault.REQUEST_LINE)
    if parts[0] not in _METHODS:
        raise HeadError(Fault.METHOD_REFUSED)
    return RequestHead(parts[0], parts[1], version)


def _read_field(line: bytes, known: dict[bytes, Field], *, request: bool) -> Field:
    """Take a line apart that was not met before; raises HeadError if it is no field."""
    name, colon, value = line.partition(b":")
    met = _names[request].get(name) if colon else None
    if met is None:
        met = _read_name(name, colon, request=request)
    lower, role = met
    value = value.strip(b" \t")
    if request and role > _DROP:
        if not value.isascii():
            raise HeadError(Fault.FIELD_8BIT)
        if role is Role.HOST and not _HOST.fullmatch(value):
            raise HeadError(Fault.HOST_SYNTAX)
    field = Field(name, lower, value, line, role)
    if lower in REPEATED and len(line) <= MAX_KNOWN_BYTES:
        if len(known) >= MAX_KNOWN:
            known.clear()
        known[line] = field
    return field


def _read_name(name: bytes, colon: bytes, *, request: bool) -> tuple[bytes, Role]:
    """A field's name in lower case and what it means; raises HeadError if it is none."""
    if name[:1] in (b" ", b"\t"):
        raise HeadError(Fault.OBS_FOLD)
    if not colon or not name or name.translate(None, _TOKEN):
        raise HeadError(Fault.FIELD_SYNTAX if name.isascii() else Fault.FIELD_8BIT)
    if request and b"_" in name:
        # Gateways that turn "_" and "-" into one variable would let it overwrite a field of ours.
        raise HeadError(Fault.FIELD_UNDERSCORE)
    lower = name.lower()
    text = lower.decode("ascii")
    met = (lower, request_role(text) if request else response_role(text))
    if len(name) <= MAX_NAME_BYTES and len(_names[request]) < MAX_KNOWN:
        _names[request][name] = met
    return met


def _number(value: bytes) -> int:
    if not _LENGTH.fullmatch(value):
        raise HeadError(Fault.CONTENT_LENGTH)
    return int(value)


def _coding(value: bytes, version: int, *, first: bool) -> None:
    """Exactly `chunked`, once, in HTTP/1.1: lists, repetitions and other spellings are where readers differ."""
    if version == 0:
        raise HeadError(Fault.CODING_IN_1_0)
    if not first or value != b"chunked":
        raise HeadError(Fault.TRANSFER_CODING)


def _other(head: RequestHead, role: Role, value: bytes) -> None:
    if role is Role.UPGRADE:
        raise HeadError(Fault.UPGRADE)
    if role is Role.REFUSE:
        raise HeadError(Fault.OVERRIDE_FIELD)
    if role is Role.EXPECT and head.version == 1:
        if value.lower() != b"100-continue" or head.expects_continue:
            raise HeadError(Fault.EXPECTATION)
        head.expects_continue = True


def _connection(options: bytes, version: int, fields: list[Field]) -> tuple[bool, list[Field]]:
    """(keep the connection, the fields without those that Connection names). `options` begins with a comma."""
    named = {option.strip(b" \t").lower() for option in options.split(b",")} - {b""}
    keep = b"close" not in named and (version == 1 or b"keep-alive" in named)
    named -= {b"close", b"keep-alive"}
    if not named:
        return keep, fields
    if named & FRAMING:
        raise HeadError(Fault.CONNECTION_OPTION)
    return keep, [field for field in fields if field.lower not in named]
