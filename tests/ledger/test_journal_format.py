"""The bytes of a journal: whole, cut at every byte, with every bit flipped, and garbage."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.batch import MAX_BATCH_BYTES
from ledger.journal_format import (
    MARK_BYTES,
    MAX_WRITERS,
    Damaged,
    Mark,
    mark_bytes,
    read_mark,
    read_segment_header,
    record_bytes,
    scan,
    segment_header_bytes,
    whole_records,
)

ID = bytes(range(16))
W1, W2 = "11" * 16, "22" * 16
DATA = [b"first", b"the second", b"x" * 300]


def _segment(data: list[bytes] = DATA, first_record: int = 7) -> bytes:
    head = segment_header_bytes(ID, 3, first_record, {W1: 41, W2: 0})
    return head + b"".join(record_bytes(ID, first_record + i, part) for i, part in enumerate(data))


def _read(data: bytes, *, newest: bool = True) -> tuple[list[bytes], int]:
    found = scan(data, read_segment_header(data), newest=newest)
    assert [f.number for f in found.records] == list(range(7, 7 + len(found.records)))
    return [data[f.start : f.end] for f in found.records], found.torn


def test_a_segment_reads_back() -> None:
    header = read_segment_header(_segment())
    assert (header.journal_id, header.number, header.first_record) == (ID, 3, 7)
    assert header.writers == {W1: 41, W2: 0}
    assert _read(_segment(), newest=False) == (DATA, 0)


def test_an_empty_segment_reads_back() -> None:
    assert _read(_segment([]), newest=False) == ([], 0)


def test_a_header_keeps_the_newest_writers() -> None:
    writers = {f"{i:032x}": i for i in range(MAX_WRITERS + 5)}
    kept = read_segment_header(segment_header_bytes(ID, 1, 0, writers)).writers
    assert list(kept.items()) == list(writers.items())[5:]


def test_every_prefix_is_whole_records_and_one_interrupted_write() -> None:
    """What a crash leaves of the newest segment: nothing invented, nothing whole lost."""
    data = _segment()
    start = read_segment_header(data).size
    ends = [start]
    for part in DATA:
        ends.append(ends[-1] + len(record_bytes(ID, 0, part)))
    for length in range(start, len(data) + 1):
        records, torn = _read(data[:length])
        whole = sum(end <= length for end in ends) - 1
        assert records == DATA[:whole]
        assert torn == len(data[ends[whole] : length].rstrip(b"\0"))


def test_a_sealed_segment_ends_with_a_whole_record() -> None:
    data = _segment()
    with pytest.raises(Damaged, match=r"record 9 .* a later segment exists"):
        _read(data[:-1], newest=False)


def test_a_cut_header_is_damage() -> None:
    data = _segment([])
    for length in range(len(data)):
        with pytest.raises(Damaged):
            read_segment_header(data[:length])


def test_every_flipped_bit_of_a_header_is_damage() -> None:
    data = _segment([])
    for i in range(8 * len(data)):
        with pytest.raises(Damaged):
            read_segment_header(_flipped(data, i))


def test_a_flipped_bit_before_the_last_record_is_damage_and_in_it_is_a_torn_write() -> None:
    data = _segment()
    start = read_segment_header(data).size
    last = len(data) - len(record_bytes(ID, 0, DATA[-1]))
    for i in range(8 * start, 8 * len(data)):
        if i < 8 * last:
            with pytest.raises(Damaged, match=r"is damaged, and (record \d+ stands|something was written) behind it"):
                _read(_flipped(data, i))
        else:
            assert _read(_flipped(data, i)) == (DATA[:2], len(data) - last)


def test_two_damaged_records_at_the_end_are_no_torn_write() -> None:
    data = bytearray(_segment())
    data[-1] ^= 1
    data[-330] ^= 1  # in the record before it
    with pytest.raises(Damaged, match="record 8"):
        _read(bytes(data))


def test_more_than_one_record_of_rubbish_is_no_torn_write() -> None:
    with pytest.raises(Damaged, match="more than one record follows"):
        _read(_segment() + b"?" * (MAX_BATCH_BYTES + 25))
    assert _read(_segment() + b"?" * 100) == (DATA, 100)


def test_zeros_behind_the_last_record_are_room_and_not_damage() -> None:
    for ahead in (1, 24, 5000):
        assert _read(_segment() + bytes(ahead)) == (DATA, 0)
        assert _read(_segment() + bytes(ahead), newest=False) == (DATA, 0)
    assert _read(_segment([b"ends with\0\0"]) + bytes(9), newest=False) == ([b"ends with\0\0"], 0)
    with pytest.raises(Damaged, match="a later segment exists"):
        _read(_segment() + bytes(9) + b"?" + bytes(9), newest=False)


def test_every_prefix_with_zeros_behind_it() -> None:
    """What a crash leaves where the room was there before the record."""
    data = _segment()
    start = read_segment_header(data).size
    last = len(data) - len(record_bytes(ID, 0, DATA[-1]))
    for length in range(start, len(data)):
        left = data[:length] + bytes(len(data) - length + 100)
        records, torn = _read(left)
        assert records == DATA[: len(records)]
        assert length - torn <= len(left)
        assert len(records) == 2 or length < last


def test_records_of_another_journal_or_another_place_do_not_pass() -> None:
    assert _read(_segment() + record_bytes(bytes(16), 10, b"foreign"))[0] == DATA
    assert _read(_segment() + record_bytes(ID, 9, b"again"))[0] == DATA
    with pytest.raises(Damaged, match="record 11 stands behind it"):
        _read(_segment() + b"?" + record_bytes(ID, 11, b"later"))


def test_a_record_is_bounded() -> None:
    for bad in (b"", bytes(MAX_BATCH_BYTES + 1)):
        with pytest.raises(ValueError, match="a record has"):
            record_bytes(ID, 0, bad)


def test_a_mark_reads_back_and_nothing_near_it_does() -> None:
    mark = Mark(ID, 3, 12, 9)
    data = mark_bytes(mark)
    assert len(data) == MARK_BYTES
    assert MARK_BYTES <= 512
    assert read_mark(data) == (mark, 512)
    for i in range(8 * len(data)):
        with pytest.raises(Damaged):
            read_mark(_flipped(data, i))
    for length in range(len(data)):
        with pytest.raises(Damaged):
            read_mark(data[:length])


def test_a_torn_mark_leaves_the_one_before_it() -> None:
    before, after = Mark(ID, 3, 12, 9), Mark(ID, 3, 13, 9)
    for first, second, place in ((before, after, 0), (after, before, 512)):
        data = mark_bytes(first).ljust(512, b"\0") + mark_bytes(second)
        assert read_mark(data) == (after, place)
        at = data.index(mark_bytes(after))
        for length in range(MARK_BYTES):
            torn = bytearray(data)
            torn[at + length : at + MARK_BYTES] = bytes(MARK_BYTES - length)
            if torn != data:
                assert read_mark(bytes(torn)) == (before, 512 - place)


@given(st.binary(max_size=2000))
def test_garbage_raises_only_its_own_error(data: bytes) -> None:
    header = read_segment_header(_segment([]))
    for read in (read_mark, read_segment_header, lambda d: scan(d, header, newest=True)):
        with suppress(Damaged):
            read(data)
    assert whole_records(data, ID) == []


@given(st.integers(0, 2**32), st.binary(min_size=1, max_size=60), st.integers(0, 500))
def test_garbage_anywhere_in_a_segment_yields_only_what_was_written(seed: int, rubbish: bytes, at: int) -> None:
    whole = _segment()
    start = read_segment_header(whole).size
    at = start + at % (len(whole) - start)
    data = whole[:at] + rubbish + whole[at + len(rubbish) :]
    try:
        records, _ = _read(data)
    except Damaged:
        records = []
    assert records == DATA[: len(records)]
    assert {data[f.start : f.end] for f in whole_records(data, ID)} <= set(DATA)


def test_whole_records_are_found_around_damage() -> None:
    data = bytearray(_segment())
    at = data.index(b"the second")
    data[at] ^= 1
    found = whole_records(bytes(data), ID)
    assert [f.number for f in found] == [7, 9]
    assert bytes(data[found[0].start : found[0].end]) == DATA[0]


def test_what_looks_like_a_magic_inside_data_is_no_record() -> None:
    tricky = [b"\xff\x00gj" * 50, os.urandom(40) + b"\xff\x00gj", b"\xff\x00"]
    assert _read(_segment(tricky)) == (tricky, 0)
    assert [f.number for f in whole_records(_segment(tricky), ID)] == [7, 8, 9]


def _flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)
