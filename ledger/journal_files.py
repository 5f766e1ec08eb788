"""A journal's directory: opened with suspicion, appended to with one write and one sync, deleted when shipped.

    lock                       held by the one process that may use the journal
    mark                       how far it had come (journal_format.py)
    0000000000000001.journal   segments; only the newest is written to, and only by the process that made it

Everything here blocks; one thread at a time may call it. After a failed sync nobody knows what the disk holds, and a
second sync may succeed without having written what the first one lost: the journal is then never written again.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from ledger.batch import BatchRefused, read_header
from ledger.journal_disk import Disk
from ledger.journal_format import (
    MARK_PLACES,
    Damaged,
    Mark,
    Scan,
    SegmentHeader,
    mark_bytes,
    read_mark,
    read_segment_header,
    record_bytes,
    scan,
    segment_header_bytes,
)
from ledger.storage import Batch

__all__ = [
    "LOCK",
    "MARK",
    "SEGMENT_BYTES",
    "JournalFiles",
    "JournalRefused",
    "JournalUntrusted",
    "NoSpace",
    "segment_names",
]

SEGMENT_BYTES: Final = 64 * 1024 * 1024
AHEAD_BYTES: Final = 1024 * 1024
MARK: Final = "mark"
LOCK: Final = "lock"
_SEGMENT: Final = ".journal"
_HALF: Final = ".new"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_BRING_BACK: Final = (
    "Bring the volume back as it last was. If that cannot be, salvage the journal: what is whole in it is shipped, the"
    " directory is set aside as evidence, and a new journal begins. Entries that are lost then show as a gap."
)

_log = structlog.get_logger(__name__)


class JournalRefused(Exception):
    """This journal may not be continued. The text says what was found, and what a person can do."""


class NoSpace(Exception):
    """Definitely not stored, and nothing else is harmed: there was no room."""


class JournalUntrusted(Exception):
    """The disk has failed this journal. `perhaps_stored`: the append that met the failure may be on the disk."""

    def __init__(self, cause: str, perhaps_stored: bool) -> None:
        super().__init__(cause)
        self.perhaps_stored = perhaps_stored


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    first_record: int
    end_record: int
    size: int


class JournalFiles:
    """`last_counters`: writer -> the last counter of it that this journal has ever acknowledged, as far as it knows.

    Records below `shipped` are committed in the database; `written` is the number of the next record.
    """

    def __init__(self, directory: Path, disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.last_counters: dict[str, int] = {}
        self.written = 0
        self.shipped = 0
        self.failed = ""
        self._directory = directory
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._id = b""
        self._newest = 0
        self._segments: list[_Segment] = []
        self._lock: int | None = None
        self._mark: int | None = None
        self._mark_at = 0
        self._active: int | None = None  # handle of the last segment, once this process has made it
        self._grown = 0  # how long its file is

    @property
    def journal_id(self) -> str:
        return self._id.hex()

    @property
    def segments(self) -> int:
        """How many are on the disk."""
        return len(self._segments)

    # -- opening ----------------------------------------------------------------------------------------------------

    def open(self, new_id: bytes, expected: Mapping[str, int], expected_id: str) -> None:
        """Take the journal, or begin one with `new_id` where none is; raises JournalRefused.

        `expected`: writer -> a counter that this journal has acknowledged, as the caller knows from elsewhere (what
        the database has numbered, what the host remembers); `expected_id`: the journal that it knows, "" for none.

            1 nobody else uses it
            2 the mark is whole; no mark and no segment: a new journal
            3 the segments are whole, of this journal, and follow each other
            4 nothing is missing that the mark knows of
            5 nothing is missing that the caller knows of
            6 what an interrupted write left behind the last record is cut off: it was never acknowledged
        """
        self._segments, self.written, self.failed = [], 0, ""
        self.last_counters.clear()
        try:
            self._disk.make_directory(self._directory)
            # 1
            try:
                self._lock = self._disk.lock(self._directory / LOCK)
            except BlockingIOError as cause:
                raise JournalRefused(f"{self._directory}: another process uses this journal; stop it first.") from cause
            names = self._disk.names(self._directory)
            for half in (name for name in names if name.endswith(_HALF)):
                self._disk.remove(self._directory / half)
            # 2
            if MARK not in names and not segment_names(names):
                self._begin(new_id, expected, expected_id)
            mark = self._open_mark()
            # 3
            scanned = self._scan(segment_names(names), mark)
            # 4
            self._check_mark(mark)
            # 5
            self._check_expected(expected, expected_id)
            # 6
            self._cut_torn(scanned)
        except OSError as cause:
            self._release()
            where = cause.filename or self._directory
            raise JournalRefused(f"{where}: {cause.strerror or cause}: the journal cannot be opened.") from cause
        except JournalUntrusted as cause:
            self._release()
            raise JournalRefused(f"{self._directory}: {cause}: the journal cannot be opened.") from cause
        except BaseException:
            self._release()
            raise

    def _begin(self, new_id: bytes, expected: Mapping[str, int], expected_id: str) -> None:
        known = [expected_id] if expected_id else [w for w, counter in expected.items() if counter >= 0]
        if known:
            what = "journal" if expected_id else "the journal of writer"
            raise self._refused(f"nothing is here, and {what} {known[0]} is expected")
        path = self._directory / MARK
        self._make(path.with_suffix(_HALF), path, mark_bytes(Mark(new_id, 0, 0, 0)))

    def _open_mark(self) -> Mark:
        path = self._directory / MARK
        try:
            mark, self._mark_at = read_mark(self._disk.read(path))
        except FileNotFoundError as cause:
            raise self._refused("segments are here, and no mark") from cause
        except Damaged as cause:
            raise self._refused(f"{MARK}: {cause}") from cause
        self._mark = self._disk.open(path)
        self._id, self._newest, self.shipped = mark.journal_id, mark.newest, mark.shipped
        return mark

    def _scan(self, names: list[str], mark: Mark) -> Scan | None:
        scanned: Scan | None = None
        for name in names:
            path = self._directory / name
            try:
                data = self._disk.read(path)
                header = read_segment_header(data)
                scanned = scan(data, header, newest=name == names[-1])
                self._check_place(name, header, mark)
                for writer, counter in header.writers.items():
                    self._note(writer, counter)
                for found in scanned.records:
                    batch = _batch(data[found.start : found.end])
                    self._note(batch.writer, batch.first_counter + batch.n - 1)
            except (Damaged, BatchRefused) as cause:
                raise self._refused(f"{name}: {cause}") from cause
            end = header.first_record + len(scanned.records)
            self._segments.append(_Segment(header.number, path, header.first_record, end, scanned.end))
            self.written = end
        return scanned

    def _check_place(self, name: str, header: SegmentHeader, mark: Mark) -> None:
        if header.journal_id != mark.journal_id:
            raise Damaged(f"it belongs to another journal, {header.journal_id.hex()}")
        if name != _segment_name(header.number):
            raise Damaged(f"its header says segment {header.number}")
        if self._segments:
            before = self._segments[-1]
            if header.number != before.number + 1:
                raise Damaged(f"segment {before.number + 1} is missing before it")
            if header.first_record != before.end_record:
                raise Damaged(
                    f"it begins with record {header.first_record}, and segment {before.number} ends before record"
                    f" {before.end_record}"
                )

    def _check_mark(self, mark: Mark) -> None:
        newest = self._segments[-1].number if self._segments else 0
        oldest = self._segments[0].first_record if self._segments else 0
        if newest < mark.newest:
            raise self._refused(f"segment {mark.newest} is missing")
        if self.written < mark.written:
            raise self._refused(f"it is shorter than it was: {self.written} records of {mark.written}")
        if oldest > mark.shipped:
            raise self._refused(f"records {mark.shipped} to {oldest - 1} are missing, and were not shipped")
        # A segment is used only after the mark names it: a used one that the mark does not know has an older mark.
        used = [s.number for s in self._segments if s.number > mark.newest and s.end_record > s.first_record]
        if newest > mark.newest + 1 or used:
            raise self._refused(f"the mark is older than segment {newest}")
        if newest > mark.newest:
            self._put_mark(newest, durable=True)
        self._newest = newest

    def _check_expected(self, expected: Mapping[str, int], expected_id: str) -> None:
        if expected_id and expected_id != self.journal_id:
            raise self._refused(f"journal {expected_id} is expected here, and this is {self.journal_id}")
        for writer, counter in expected.items():
            last = self.last_counters.get(writer, -1)
            if last < counter:
                found = "no entry" if last < 0 else f"only counter {last}"
                raise self._refused(f"writer {writer} had come to counter {counter}, and {found} of it is here")

    def _cut_torn(self, scanned: Scan | None) -> None:
        if scanned is None or not scanned.torn:
            return
        segment = self._segments[-1]
        handle = self._disk.open(segment.path)
        try:
            self._disk.cut(handle, scanned.end)
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)
        _log.warning("journal.cut", segment=segment.path.name, at=scanned.end, bytes=scanned.torn)

    # -- replay -----------------------------------------------------------------------------------------------------

    def unshipped(self) -> Iterator[tuple[list[Batch], int]]:
        """What no mark says is in the database: segment by segment, with the number of the record behind it.

        Raises JournalRefused.
        """
        for segment in list(self._segments):
            if segment.end_record <= self.shipped:
                continue
            try:
                data = self._disk.read(segment.path)
                records = scan(data, read_segment_header(data), newest=False).records
                due = [_batch(data[found.start : found.end]) for found in records if found.number >= self.shipped]
            except (OSError, Damaged, BatchRefused) as cause:
                raise self._refused(f"{segment.path.name}: whole when it was opened, and not now: {cause}") from cause
            yield due, segment.end_record

    def begin(self) -> None:
        """Everything here is shipped: go on in a segment of this process's own. Raises JournalRefused."""
        try:
            self._begin_segment()
            self.note_shipped(self.written, durable=True)
        except OSError as cause:
            raise JournalRefused(f"{self._directory}: {cause.strerror or cause}: no segment can be begun.") from cause
        except JournalUntrusted as cause:
            raise JournalRefused(f"{self._directory}: {cause}.") from cause

    # -- appending --------------------------------------------------------------------------------------------------

    def append(self, batch: Batch) -> None:
        """Return once the batch is on the disk. Raises NoSpace, JournalUntrusted."""
        if self.failed:
            raise JournalUntrusted(self.failed, perhaps_stored=False)
        record = record_bytes(self._id, self.written, batch.data)
        segment = self._room_for(len(record))
        assert self._active is not None
        end = segment.size + len(record)
        ahead = b""
        if end > self._grown:
            ahead = bytes(max(0, min(AHEAD_BYTES, self._segment_bytes - end)))
        try:
            self._write(self._active, record + ahead, segment.size)
        except OSError as cause:
            if cause.errno not in _FULL:
                raise self._fail("write", cause, perhaps_stored=True) from cause
            self._cut_back(segment.size)
            raise NoSpace("there is no room on the journal's disk") from cause
        self._sync(self._active, perhaps_stored=True)
        segment.size = end
        self._grown = max(self._grown, end + len(ahead))
        segment.end_record += 1
        self.written += 1
        self._note(batch.writer, batch.first_counter + batch.n - 1)

    def _room_for(self, size: int) -> _Segment:
        if self._active is not None:
            segment = self._segments[-1]
            if segment.size + size <= self._segment_bytes or segment.end_record == segment.first_record:
                return segment
        try:
            return self._begin_segment()
        except OSError as cause:
            if cause.errno in _FULL:
                raise NoSpace("there is no room for another segment on the journal's disk") from cause
            raise self._fail("begin a segment", cause, perhaps_stored=False) from cause

    def _begin_segment(self) -> _Segment:
        """A new segment, durable with its name, and known to the mark, before anything is written to it."""
        number = self._newest + 1
        path = self._directory / _segment_name(number)
        header = segment_header_bytes(self._id, number, self.written, self.last_counters)
        self._make(path.with_suffix(_HALF), path, header)
        handle = self._disk.open(path)
        try:
            self._put_mark(number, durable=True)
        except BaseException:
            self._disk.close(handle)
            raise
        if self._active is not None:
            self._disk.close(self._active)
        self._active, self._newest, self._grown = handle, number, len(header)
        self._segments.append(_Segment(number, path, self.written, self.written, len(header)))
        return self._segments[-1]

    def _make(self, half: Path, path: Path, data: bytes) -> None:
        """A whole file under its name, or none."""
        handle = self._disk.create(half)
        try:
            try:
                self._write(handle, data, 0)
                self._disk.sync(handle)
            finally:
                self._disk.close(handle)
            self._disk.rename(half, path)
        except OSError:
            with suppress(OSError):
                self._disk.remove(half)
            raise
        self._sync_names()

    def _write(self, handle: int, data: bytes, offset: int) -> None:
        left = memoryview(data)
        while left:
            count = self._disk.write(handle, left, offset)
            if count <= 0:
                raise OSError(errno.EIO, "nothing was written")
            left, offset = left[count:], offset + count

    def _cut_back(self, size: int) -> None:
        # "Definitely not stored" is only true once the disk has forgotten what was written of the record.
        assert self._active is not None
        try:
            self._disk.cut(self._active, size)
        except OSError as cause:
            raise self._fail("cut back", cause, perhaps_stored=True) from cause
        self._grown = size
        self._sync(self._active, perhaps_stored=True)

    # -- shipped ----------------------------------------------------------------------------------------------------

    def note_shipped(self, through: int, *, durable: bool = False) -> None:
        """Every record below `through` is committed in the database. Raises JournalUntrusted.

        Segments that hold nothing else are deleted, after the mark that says so: a deleted segment which the mark
        does not know of would be a missing one.
        """
        self.shipped = max(self.shipped, through)
        if self.failed:
            return
        done = [s for s in self._segments if s.end_record <= self.shipped and s.number < self._newest]
        try:
            self._put_mark(self._newest, durable=durable or bool(done))
            for segment in done:
                self._disk.remove(segment.path)
                # One by one: the oldest must be gone first, or a crash leaves a hole in the middle.
                self._sync_names()
                self._segments.remove(segment)
        except OSError as cause:
            if cause.errno not in _FULL:
                raise self._fail("keep the mark", cause, perhaps_stored=False) from cause
            _log.warning("journal.mark_not_written", cause=cause.strerror)

    def close(self) -> None:
        """Leave the mark as it is in memory, if the disk is still trusted, and let go of the lock."""
        try:
            if self._mark is not None and not self.failed:
                self._put_mark(self._newest, durable=True)
        except (OSError, JournalUntrusted) as cause:
            _log.warning("journal.mark_not_written", cause=str(cause))
        finally:
            self._release()

    def _put_mark(self, newest: int, *, durable: bool) -> None:
        assert self._mark is not None
        data = mark_bytes(Mark(self._id, newest, self.written, self.shipped))
        if self._disk.write(self._mark, data, self._mark_at) != len(data):
            # The place before this one is whole, and stays the only one.
            raise self._fail("write the mark", OSError(errno.EIO, "written in part"), perhaps_stored=False)
        self._mark_at = MARK_PLACES[self._mark_at == MARK_PLACES[0]]
        if durable:
            self._sync(self._mark, perhaps_stored=False)

    def _sync(self, handle: int, *, perhaps_stored: bool) -> None:
        # Whatever the reason: "no space" too can come after the kernel has dropped what it could not write.
        try:
            self._disk.sync(handle)
        except OSError as cause:
            raise self._fail("sync", cause, perhaps_stored=perhaps_stored) from cause

    def _sync_names(self) -> None:
        try:
            self._disk.sync_directory(self._directory)
        except OSError as cause:
            raise self._fail("sync the directory", cause, perhaps_stored=False) from cause

    def _release(self) -> None:
        # The lock last: whoever takes it finds nothing half done.
        for handle in (self._active, self._mark, self._lock):
            if handle is not None:
                with suppress(OSError):
                    self._disk.close(handle)
        self._active = self._mark = self._lock = None

    def _note(self, writer: str, counter: int) -> None:
        # Taken out and put back: the mapping's order is that of last use, and headers keep the newest.
        self.last_counters[writer] = max(self.last_counters.pop(writer, -1), counter)

    def _fail(self, doing: str, cause: OSError, *, perhaps_stored: bool) -> JournalUntrusted:
        self.failed = f"the journal's disk failed ({doing}: {cause.strerror or cause})"
        _log.critical("journal.lost", doing=doing, cause=cause.strerror or str(cause), directory=str(self._directory))
        return JournalUntrusted(self.failed, perhaps_stored)

    def _refused(self, found: str) -> JournalRefused:
        return JournalRefused(f"{self._directory}: {found}. {_BRING_BACK}")


def segment_names(names: list[str]) -> list[str]:
    """Those of a directory's names that are segments, oldest first."""
    return sorted(name for name in names if name.endswith(_SEGMENT))


def _segment_name(number: int) -> str:
    return f"{number:016d}{_SEGMENT}"


def _batch(data: bytes) -> Batch:
    header = read_header(data)
    return Batch(header.log, header.writer, header.first_counter, header.n, data)
