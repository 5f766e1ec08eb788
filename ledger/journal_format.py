"""How a journal lies on a disk: segments of checksummed records, and a mark that says how far it had come.

    segment   "glassgate-journal/v1\\n" ‖ journal id (16) ‖ u64be number ‖ u64be first record
              ‖ u16be writers ‖ writers × (writer (16) ‖ u64be last counter) ‖ u32be crc ‖ records
    record    ff 00 "gj" ‖ u64be number ‖ u32be length ‖ u32be crc of the data ‖ u32be crc of what is before it ‖ data
    mark      at byte 0 and at byte 512, written in turns, so that a torn one leaves the one before it:
              "glassgate-mark/v1\\n" ‖ journal id (16) ‖ u64be newest segment ‖ u64be written ‖ u64be shipped
              ‖ u32be crc

A record's data is one batch (batch.py), and one record is one write and one fdatasync: of all that a segment holds
only its last record can be incomplete. Zeros may stand behind it: a segment grows ahead of what it holds, because
syncing a write inside a file costs half of one that makes it longer. Records are numbered through the journal's whole
life. A segment's header carries where every recent writer stood, because the segments that held their entries are
deleted when shipped.
A crc is CRC-32 begun with the journal's id, so that blocks of another journal never pass. It finds decay and torn
writes; it stops nobody, and needs not to: entries are signed.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ledger.batch import MAX_BATCH_BYTES

__all__ = [
    "ID_BYTES",
    "MARK_BYTES",
    "MARK_PLACES",
    "MAX_WRITERS",
    "Damaged",
    "Found",
    "Mark",
    "Scan",
    "SegmentHeader",
    "mark_bytes",
    "read_mark",
    "read_segment_header",
    "record_bytes",
    "scan",
    "segment_header_bytes",
    "whole_records",
]

ID_BYTES: Final = 16
MAX_WRITERS: Final = 256  # one per process and start: the caller's expectations concern the newest few

_SEGMENT_MAGIC: Final = b"glassgate-journal/v1\n"
_MARK_MAGIC: Final = b"glassgate-mark/v1\n"
# Canonical JSON holds neither byte, so nobody who chooses an entry's text can place a record inside one.
_RECORD_MAGIC: Final = b"\xff\x00gj"
_SEGMENT: Final = struct.Struct(f">{len(_SEGMENT_MAGIC)}s{ID_BYTES}sQQH")
_WRITER: Final = struct.Struct(">16sQ")
_RECORD: Final = struct.Struct(">4sQII")
_MARK: Final = struct.Struct(f">{len(_MARK_MAGIC)}s{ID_BYTES}sQQQ")
_CRC: Final = struct.Struct(">I")
_RECORD_HEAD: Final = _RECORD.size + _CRC.size
MARK_BYTES: Final = _MARK.size + _CRC.size
MARK_PLACES: Final = (0, 512)  # sectors of their own


class Damaged(ValueError):
    """The bytes are not what a journal wrote, and no interrupted write explains it."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """`writers`: writer -> its last counter in the journal before this segment. `size`: bytes of this header."""

    journal_id: bytes
    number: int
    first_record: int
    writers: Mapping[str, int]
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record: its number, and where its data begins and ends in the segment."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Head:
    number: int
    length: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Scan:
    """Every record of a segment. `end`: behind the last whole one; `torn`: bytes of an incomplete one behind that."""

    records: list[Found]
    end: int
    torn: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What the journal had come to when this was written: it lags, and never claims too much.

    `newest`: number of the newest segment; `written`, `shipped`: so many records, counted from the journal's
    beginning, were durable here and committed in the database.
    """

    journal_id: bytes
    newest: int
    written: int
    shipped: int


def segment_header_bytes(journal_id: bytes, number: int, first_record: int, writers: Mapping[str, int]) -> bytes:
    """The header of a new segment; of more than MAX_WRITERS writers, the last ones of the mapping."""
    recent = list(writers.items())[-MAX_WRITERS:]
    out = [_SEGMENT.pack(_SEGMENT_MAGIC, journal_id, number, first_record, len(recent))]
    out += (_WRITER.pack(bytes.fromhex(writer), counter) for writer, counter in recent)
    head = b"".join(out)
    return head + _crc(journal_id, head)


def read_segment_header(data: bytes) -> SegmentHeader:
    """The header that a segment begins with; raises Damaged."""
    if len(data) < _SEGMENT.size or not data.startswith(_SEGMENT_MAGIC):
        raise Damaged("it does not begin as a segment of version 1 does")
    _, journal_id, number, first_record, count = _SEGMENT.unpack_from(data)
    end = _SEGMENT.size + count * _WRITER.size
    if count > MAX_WRITERS or data[end : end + _CRC.size] != _crc(journal_id, data[:end]):
        raise Damaged("its header's checksum does not match")
    writers = {writer.hex(): counter for writer, counter in _WRITER.iter_unpack(data[_SEGMENT.size : end])}
    return SegmentHeader(journal_id, number, first_record, writers, end + _CRC.size)


def record_bytes(journal_id: bytes, number: int, data: bytes) -> bytes:
    """One record, to be written with one write."""
    if not 1 <= len(data) <= MAX_BATCH_BYTES:
        raise ValueError(f"a record has 1 to {MAX_BATCH_BYTES} bytes, not {len(data)}")
    head = _RECORD.pack(_RECORD_MAGIC, number, len(data), _checksum(journal_id, data))
    return head + _crc(journal_id, head) + data


def scan(data: bytes, header: SegmentHeader, *, newest: bool) -> Scan:
    """The records of a whole segment; raises Damaged.

    What is behind the last whole record is an interrupted write if this is the newest segment, it is no longer than
    one record, and no later record stands in it. Everything else has been acknowledged once and is damage.
    """
    records: list[Found] = []
    at, number = header.size, header.first_record
    while at < len(data):
        head = _head_at(data, at, header.journal_id)
        if head is None or head.number != number or not _is_whole(data, at, head, header.journal_id):
            break
        start = at + _RECORD_HEAD
        at = start + head.length
        records.append(Found(number, start, at))
        number += 1
    end = max(at, len(data.rstrip(b"\0")))
    if end > at:
        _explain(data, at, end, number, header.journal_id, newest)
    return Scan(records, at, end - at)


def whole_records(data: bytes, journal_id: bytes) -> list[Found]:
    """Every record that is still whole somewhere in these bytes, whatever lies between: for salvage."""
    records: list[Found] = []
    at = data.find(_RECORD_MAGIC)
    while at >= 0:
        head = _head_at(data, at, journal_id)
        end = at + 1
        if head is not None and _is_whole(data, at, head, journal_id):
            end = at + _RECORD_HEAD + head.length
            records.append(Found(head.number, at + _RECORD_HEAD, end))
        at = data.find(_RECORD_MAGIC, end)
    return records


def _explain(data: bytes, at: int, end: int, number: int, journal_id: bytes, newest: bool) -> None:
    """Raise Damaged unless what stands from `at` to `end` is one interrupted write of record `number`."""
    bad = f"record {number} at byte {at} is damaged, and"
    if not newest:
        raise Damaged(f"{bad} a later segment exists")
    if end - at > _RECORD_HEAD + MAX_BATCH_BYTES:
        raise Damaged(f"{bad} more than one record follows")
    head = _head_at(data, at, journal_id)
    if head is not None and head.number == number and at + _RECORD_HEAD + head.length < end:
        raise Damaged(f"{bad} something was written behind it")
    # A later record was begun only after this one had been synced: then this one was whole once. Its own data may
    # be damaged too, so the head is enough.
    later = at
    while (later := data.find(_RECORD_MAGIC, later + 1)) >= 0:
        head = _head_at(data, later, journal_id)
        if head is not None and head.number > number:
            raise Damaged(f"{bad} record {head.number} stands behind it")


def _head_at(data: bytes, at: int, journal_id: bytes) -> _Head | None:
    end = at + _RECORD.size
    if data[end : end + _CRC.size] != _crc(journal_id, data[at:end]):
        return None
    magic, number, length, checksum = _RECORD.unpack_from(data, at)
    if magic != _RECORD_MAGIC or not 1 <= length <= MAX_BATCH_BYTES:
        return None
    return _Head(number, length, checksum)


def _is_whole(data: bytes, at: int, head: _Head, journal_id: bytes) -> bool:
    start = at + _RECORD_HEAD
    end = start + head.length
    return end <= len(data) and _checksum(journal_id, data[start:end]) == head.checksum


def mark_bytes(mark: Mark) -> bytes:
    """MARK_BYTES bytes, for one of the two places."""
    head = _MARK.pack(_MARK_MAGIC, mark.journal_id, mark.newest, mark.written, mark.shipped)
    return head + _crc(mark.journal_id, head)


def read_mark(data: bytes) -> tuple[Mark, int]:
    """The later mark that is whole, and where the next one goes; raises Damaged."""
    marks = [(mark, at) for at in MARK_PLACES if (mark := _mark_at(data, at))]
    if not marks:
        raise Damaged("no whole mark of version 1 is in it")
    mark, at = max(marks, key=lambda found: (found[0].newest, found[0].written, found[0].shipped))
    return mark, MARK_PLACES[0] if at else MARK_PLACES[1]


def _mark_at(data: bytes, at: int) -> Mark | None:
    end = at + _MARK.size
    if len(data) < at + MARK_BYTES:
        return None
    magic, journal_id, newest, written, shipped = _MARK.unpack_from(data, at)
    if magic != _MARK_MAGIC or shipped > written or data[end : at + MARK_BYTES] != _crc(journal_id, data[at:end]):
        return None
    return Mark(journal_id, newest, written, shipped)


def _crc(journal_id: bytes, data: bytes) -> bytes:
    return _CRC.pack(_checksum(journal_id, data))


def _checksum(journal_id: bytes, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(journal_id))
