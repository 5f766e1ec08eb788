"""Bytes to messages: whole, byte by byte, cut anywhere, and garbage."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.postgres.errors import ProtocolError
from proxy.postgres.framing import ROWS, Backend, CopyPiece, Frame, Frontend
from proxy.postgres.messages import (
    Bind,
    Execute,
    Parse,
    Target,
    command_rows,
    error_response,
    read_bind,
    read_error,
    read_execute,
    read_parse,
    read_query,
    read_target,
)
from proxy.postgres.startup import Startup, StartupRefused
from tests.proxy.postgres.wire import SYNC, bind, describe, execute, framed, parse, query, startup

CLIENT = parse("select $1", "s") + bind("p", "s", b"1", None) + describe("P", "p") + execute("p", 3) + SYNC
COPY = framed(b"d", b"1\ta\n") + framed(b"d", b"2\tb\n" * 100) + framed(b"c")
STORE = (
    framed(b"1") + framed(b"T", b"\0\0") + framed(b"D", b"\0\0") * 20 + framed(b"D", b"x" * 300) + framed(b"C", b"X\0")
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


@given(st.lists(st.integers(1, 50), max_size=20))
def test_client_messages_do_not_depend_on_how_they_are_cut(sizes: list[int]) -> None:
    whole = Frontend().receive(CLIENT + query("x") + COPY)
    frontend = Frontend()
    pieces = [frame for piece in cut(CLIENT + query("x") + COPY, sizes) for frame in frontend.receive(piece)]
    assert b"".join(frame.raw for frame in pieces) == CLIENT + query("x") + COPY
    assert [f for f in pieces if isinstance(f, Frame)] == [f for f in whole if isinstance(f, Frame)]
    payload = b"".join(f.raw[len(f.raw) - f.payload :] for f in pieces if isinstance(f, CopyPiece))
    assert payload == b"1\ta\n" + b"2\tb\n" * 100
    assert not frontend.partial


@given(st.lists(st.integers(1, 50), max_size=20))
def test_store_tiles_cover_every_byte_however_they_are_cut(sizes: list[int]) -> None:
    backend = Backend()
    seen, rows, types = b"", 0, []
    for piece in cut(STORE, sizes):
        buffer, tiles = backend.receive(piece)
        position = 0
        for tile in tiles:
            assert tile.start == position
            position = tile.end
            seen += buffer[tile.start : tile.end]
            rows += tile.rows
            if tile.type != ROWS:
                types.append(chr(tile.type))
    assert seen == STORE
    assert rows == 21
    assert types == ["1", "T", "C"]


def test_a_chunk_of_rows_is_one_tile() -> None:
    data = framed(b"D", b"abc") * 1000
    buffer, (tile,) = Backend().receive(data)
    assert buffer is data
    assert (tile.start, tile.end, tile.rows, tile.left) == (0, len(data), 1000, 0)


def test_a_row_that_is_cut_says_how_much_is_missing() -> None:
    _, (tile,) = Backend().receive(framed(b"D", b"x" * 100)[:40])
    assert (tile.rows, tile.left) == (1, 65)


@given(st.binary(max_size=200))
def test_garbage_from_a_client_raises_protocol_errors_only(data: bytes) -> None:
    frontend = Frontend()
    try:
        frames = frontend.receive(data)
        for frame in frames:
            if isinstance(frame, Frame):
                for read in (read_query, read_parse, read_bind, read_execute, read_target):
                    with contextlib.suppress(ProtocolError):
                        read(frame.body)
    except ProtocolError:
        pass


@given(st.binary(max_size=200))
def test_garbage_from_a_store_raises_protocol_errors_only(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Backend().receive(data)
    with contextlib.suppress(ProtocolError):
        read_error(memoryview(data))


@given(st.binary(max_size=200), st.booleans())
def test_garbage_before_the_startup_raises_protocol_errors_only(data: bytes, secure: bool) -> None:
    with contextlib.suppress(ProtocolError):
        Startup(secure=secure).receive(data)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.text(max_size=20))
def test_startup_parameters_never_escape_their_list(name: str, value: str) -> None:
    packet = startup("ada", "store", **{name: value.replace("\0", "")}) if name else startup("ada", "store")
    try:
        event, _ = Startup(secure=True).receive(packet)
    except (ProtocolError, StartupRefused):
        return
    allowed = {"application_name", "DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits"}
    assert set(event.parameters) <= allowed  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [0, 1, 7, 65535])
def test_binds_with_any_number_of_values(count: int) -> None:
    values = tuple(None if n % 3 == 0 else str(n).encode() for n in range(count))
    data = bind("p", "s", *values)
    assert read_bind(memoryview(data)[5:]) == Bind(b"p", b"s", (), values)


def test_readers() -> None:
    assert read_parse(memoryview(framed(b"P", b"n\0select\0\0\1\0\0\0\x17"))[5:]) == Parse(b"n", b"select", (23,))
    assert read_execute(memoryview(execute("p", 3))[5:]) == Execute(b"p", 3)
    assert read_target(memoryview(describe("S", "x"))[5:]) == Target("S", b"x")
    assert read_query(memoryview(query("x"))[5:]) == b"x"


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (read_query, b"no end"),
        (read_query, b"select 1\0; delete from t\0"),  # what the store would not see behind the NUL
        (read_parse, b"n\0x\0\0\2\0\0\0\x17"),
        (read_bind, b"p\0s\0\0\2\0\0\0\0\0\1\0\0\0\1x\0\0"),  # two formats for one value
        (read_bind, b"p\0s\0\0\1\0\2\0\0\0\0"),  # a format that does not exist
        (read_bind, b"p\0s\0\0\0\0\1\xff\xff\xff\xfe\0\0"),  # length -2
        (read_bind, b"p\0s\0\0\0\0\1\x7f\xff\xff\xffx\0\0"),
        (read_execute, b"p\0\0"),
        (read_target, b"X\0"),
        (read_target, b"Sx\0y"),
    ],
)
def test_malformed_bodies(read: object, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(memoryview(body))  # type: ignore[operator]


@pytest.mark.parametrize(("tag", "rows"), [("SELECT 3", 3), ("INSERT 0 5", 5), ("BEGIN", 0), ("COPY 7", 7), ("", 0)])
def test_row_counts_of_tags(tag: str, rows: int) -> None:
    assert command_rows(tag) == rows


def test_an_error_of_ours_reads_back() -> None:
    data = error_response("ERROR", "42501", "no\0", detail="d", hint="h")
    assert struct.unpack_from(">I", data, 1)[0] == len(data) - 1
    fields = read_error(memoryview(data)[5:])
    assert fields == {"S": "ERROR", "V": "ERROR", "C": "42501", "M": "no", "D": "d", "H": "h"}
