"""The second reader: llhttp sees the same bytes, and where it reads them differently they are refused.

It also decodes chunked bodies, which is what it is best at. A parser serves one message and is then dropped:
after HEAD, after a body it was not fed, and between keep-alive messages it would carry wrong state over.
"""

from typing import Any, Final

import httptools

from proxy.http.faults import Fault, HeadError
from proxy.http.head import CHUNKED, RequestHead, ResponseHead

__all__ = ["ChunkedBody", "check_request", "check_response"]

MAX_OVERHEAD_BYTES: Final = 64 * 1024  # of chunk extensions or trailers, between two bytes of a body

_VERSION: Final = ("1.0", "1.1")


class _Reader:
    """What llhttp reads in one message, and whether bytes of another one followed it."""

    __slots__ = ("body", "complete", "headers_complete", "overrun", "pairs", "url")

    def __init__(self) -> None:
        self.url = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.headers_complete = False
        self.complete = False
        self.overrun = False

    def on_message_begin(self) -> None:
        self.overrun = self.complete

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_complete:  # afterwards they are trailers, which are dropped
            self.pairs.append((name, value))

    def trimmed(self) -> list[tuple[bytes, bytes]]:
        """The fields without white space at the values' ends, which llhttp leaves there."""
        return [(name, value.strip(b" \t")) for name, value in self.pairs]

    def on_headers_complete(self) -> None:
        self.headers_complete = True

    def on_body(self, data: bytes) -> None:
        if not self.complete:  # the next message's body must not become this one's
            self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


class ChunkedBody:
    """The rest of a chunked message, after its head. `data` is decoded; extensions and trailers are dropped."""

    __slots__ = ("_overhead", "_parser", "_reader")

    def __init__(self, parser: Any, reader: _Reader) -> None:
        self._parser = parser
        self._reader = reader
        self._overhead = 0

    @property
    def complete(self) -> bool:
        return self._reader.complete

    @property
    def overrun(self) -> bool:
        """Whether bytes came after the message's end. They are lost, so the connection must not be used again."""
        return self._reader.overrun

    def feed(self, data: bytes) -> list[bytes]:
        """Decode `data`. Raises HeadError(CHUNK)."""
        reader = self._reader
        try:
            self._parser.feed_data(data)
        except Exception as cause:  # httptools raises several kinds
            if not reader.overrun:
                raise HeadError(Fault.CHUNK) from cause
        decoded, reader.body = reader.body, []
        # An endless chunk extension or trailer would grow inside llhttp without a byte of body.
        self._overhead = 0 if decoded else self._overhead + len(data)
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise HeadError(Fault.CHUNK)
        return decoded


def check_request(raw: bytes, head: RequestHead) -> ChunkedBody | None:
    """Raise HeadError(CROSS_CHECK) unless llhttp reads the same request; the body's decoder if it is chunked."""
    reader = _Reader()
    parser = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(raw)
    except Exception as cause:
        raise HeadError(Fault.CROSS_CHECK) from cause
    if (
        not reader.headers_complete
        or parser.get_method() != head.method
        or reader.url != head.target
        or parser.get_http_version() != _VERSION[head.version]
        or (reader.pairs != head.pairs and reader.trimmed() != head.pairs)
        or reader.complete is not (head.length == 0)
        or reader.body
    ):
        raise HeadError(Fault.CROSS_CHECK)
    return ChunkedBody(parser, reader) if head.length == CHUNKED else None


def check_response(raw: bytes, head: ResponseHead, method: bytes) -> ChunkedBody | None:
    """The same for a response to `method`."""
    reader = _Reader()
    parser = httptools.HttpResponseParser(reader)
    try:
        parser.feed_data(raw)
    except Exception as cause:
        raise HeadError(Fault.CROSS_CHECK) from cause
    if (
        not reader.headers_complete
        or parser.get_status_code() != head.status
        or parser.get_http_version() != _VERSION[head.version]
        or (reader.pairs != head.pairs and reader.trimmed() != head.pairs)
        or reader.body
        # llhttp is not told of HEAD: only there may it expect a body that cannot come.
        or (method != b"HEAD" and reader.complete is not (head.length == 0))
    ):
        raise HeadError(Fault.CROSS_CHECK)
    return ChunkedBody(parser, reader) if head.length == CHUNKED else None
