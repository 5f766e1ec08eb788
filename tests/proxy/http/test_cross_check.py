"""Chunked bodies as llhttp decodes them for us, whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.cross_check import MAX_OVERHEAD_BYTES, ChunkedBody, check_request, check_response
from proxy.http.faults import Fault, HeadError
from proxy.http.head import parse_request, parse_response

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def decoder(response: bool = False) -> ChunkedBody:
    made = (
        check_response(RESPONSE, parse_response(RESPONSE, b"GET"), b"GET")
        if response
        else check_request(HEAD, parse_request(HEAD))
    )
    assert made is not None
    return made


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\n0\n\n",
        b"3\r\nabcX\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-1\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3;\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"3\r\n\r\nabc\r\n0\r\n\r\n",
        b"0\r\n\n",
        b"\r\n",
        b"g\r\n",
        b"3\r\nabc\r\n0\r\nX\x00: a\r\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 7\r\n\r\n",
    ],
)
@pytest.mark.parametrize("response", [False, True])
def test_bad_chunks_are_refused(body: bytes, response: bool) -> None:
    with pytest.raises(HeadError) as refused:
        decoder(response).feed(body)
    assert refused.value.fault is Fault.CHUNK


def test_extensions_and_trailers_are_dropped() -> None:
    body = decoder()
    assert body.feed(b"3;a=b\r\nabc\r\n0\r\nHost: b\r\nX: y\r\n\r\n") == [b"abc"]
    assert body.complete
    assert not body.overrun


@pytest.mark.parametrize(
    "after", [b"G", b"GET / HTTP/1.1\r\n\r\n", b"@@", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"]
)
def test_what_follows_is_noticed_and_never_part_of_the_body(after: bytes) -> None:
    body = decoder()
    assert body.feed(b"3\r\nabc\r\n0\r\n\r\n" + after) == [b"abc"]
    assert body.complete
    assert body.overrun


@pytest.mark.parametrize("endless", [b"3;" + b"a" * 1000, b"0\r\nX: " + b"a" * 1000])
def test_an_endless_extension_or_trailer_ends(endless: bytes) -> None:
    body = decoder()
    body.feed(endless)
    with pytest.raises(HeadError) as refused:
        for _ in range(MAX_OVERHEAD_BYTES // 1000 + 2):
            body.feed(b"a" * 1000)
    assert refused.value.fault is Fault.CHUNK


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(min_value=1, max_value=7))
def test_in_pieces_of_any_size_the_body_is_the_same(chunks: list[bytes], step: int) -> None:
    wire = b"".join(b"%x\r\n%s\r\n" % (len(data), data) for data in chunks) + b"0\r\n\r\n"
    body = decoder()
    got = b"".join(b"".join(body.feed(wire[at : at + step])) for at in range(0, len(wire), step))
    assert got == b"".join(chunks)
    assert body.complete
    assert not body.overrun


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_a_head_error(data: bytes) -> None:
    try:
        decoder().feed(data)
    except HeadError as refused:
        assert refused.fault is Fault.CHUNK
