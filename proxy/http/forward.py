"""Heads as they go on: to the store with its own credential, to the client without anything between us and it.

Ours is added after stripping, so that no `Connection` option and no copy of a client's can remove or shadow it.
"""

from typing import Final, Protocol

from proxy.credentials import StoreCredential
from proxy.http.head import CHUNKED, Field, RequestHead, ResponseHead
from proxy.http.routing import Upstream

__all__ = ["LAST_CHUNK", "chunk", "client_head", "store_head", "write_parts"]

LAST_CHUNK: Final = b"0\r\n\r\n"

JOIN_BYTES: Final = 32 * 1024

_VIA: Final = b"Via: 1.1 glassgate\r\n"


class Transport(Protocol):
    """What asyncio and uvloop both give a protocol to write to."""

    def write(self, data: bytes, /) -> None: ...
    def writelines(self, list_of_data: list[bytes], /) -> None: ...


def store_head(head: RequestHead, upstream: Upstream, credential: StoreCredential, scheme: bytes, host: bytes) -> bytes:
    """The request head for the store. `scheme` and `host` are how the client reached the gate; `host` is b"" where the
    client chose it freely."""
    parts = [head.method, b" ", head.target, b" HTTP/1.1\r\nHost: ", upstream.authority, b"\r\n"]
    if credential.header_line:
        parts.append(credential.header_line)
    parts.append(_VIA)
    if host:
        parts += (b"X-Forwarded-Host: ", host, b"\r\nX-Forwarded-Proto: ", scheme, b"\r\n")
    own = credential.header_name
    for field in head.fields:
        if field.lower != own:
            parts += (field.line, b"\r\n")
    if head.length == CHUNKED:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif head.length or head.declared:
        parts.append(b"Content-Length: %d\r\n" % head.length)
    parts.append(b"\r\n")
    return b"".join(parts)


def client_head(
    answer: ResponseHead, request: RequestHead, upstream: Upstream, *, scheme: bytes, access: str, keep: bool
) -> tuple[bytes, bool, bool]:
    """(the response head for the client, whether its body is chunked, whether the connection stays open).

    `keep`: whether it may stay open as far as everything else goes.
    """
    parts = [b"HTTP/1.1 %d " % answer.status, answer.reason, b"\r\n"]
    for field in answer.fields:
        parts += (field.line, b"\r\n")
    for field in answer.locations:
        parts += (_relocated(field, upstream, scheme, request.host), b"\r\n")
    rechunk = False
    if answer.length >= 0:
        shown = answer.length if answer.length else answer.declared
        if shown >= 0 and answer.status != 204:
            parts.append(b"Content-Length: %d\r\n" % shown)
    elif request.version == 1:
        rechunk = True
        parts.append(b"Transfer-Encoding: chunked\r\n")
    else:
        keep = False  # to an HTTP/1.0 client only the connection's end can end such a body
    if not keep:
        parts.append(b"Connection: close\r\n")
    elif request.version == 0:
        parts.append(b"Connection: keep-alive\r\n")
    parts += (b"Glassgate-Access: ", access.encode(), b"\r\n\r\n")
    return b"".join(parts), rechunk, keep


def chunk(data: bytes) -> tuple[bytes, bytes, bytes]:
    """`data` as one chunk (RFC 9112 §7.1), for writelines."""
    return b"%x\r\n" % len(data), data, b"\r\n"


def write_parts(transport: Transport, parts: list[bytes]) -> None:
    """Write in one piece what is small: libuv sends one buffer at once and without a context; large ones are not
    worth a copy."""
    if len(parts) == 1:
        transport.write(parts[0])
    elif sum(map(len, parts)) <= JOIN_BYTES:
        transport.write(b"".join(parts))
    else:
        transport.writelines(parts)


def _relocated(field: Field, upstream: Upstream, scheme: bytes, host: bytes) -> bytes:
    """A Location that points at the store's own origin, pointed at the gate instead; every other as it is."""
    value, origin = field.value, upstream.origin
    if not host or not value.startswith(origin) or value[len(origin) : len(origin) + 1] not in (b"", b"/", b"?", b"#"):
        return field.line
    return field.lower.title() + b": " + scheme + b"://" + host + value[len(origin) :]
