"""RecordSink on a local disk: one write and one fdatasync, and the database follows behind.

A batch is durable once it stands in this host's journal; what the journal holds and the database does not is bounded
by a window of 2 s or 10,000 entries. Behind that window stands the database, so a journal halves the latency of an
append and outlives no outage. The volume must persist and belong to this host.

Three hands: `append` asks, one task writes (in a thread: the event loop never waits for a disk), one task ships.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from ledger.batch import BatchRefused, read_header
from ledger.journal_disk import Disk, LocalDisk
from ledger.journal_files import SEGMENT_BYTES, JournalFiles, JournalRefused, JournalUntrusted, NoSpace
from ledger.journal_format import ID_BYTES
from ledger.journal_window import Window
from ledger.shipment import NotShipped, Shipment
from ledger.storage import AppendRefused, AppendUnknown, Batch

__all__ = ["JournalRefused", "JournalSink", "take"]

MAX_SHIPPED_TOGETHER: Final = 256
MAX_SHIPPED_BYTES: Final = 4 * 1024 * 1024
REPLAY_S: Final = 30.0
CLOSE_S: Final = 2.0
MARK_EVERY_S: Final = 0.1
LOOK_AGAIN_S: Final = 0.05
SHIP_EVERY_S: Final = 0.005  # the sequencer looks no more often; more commits would only slow the appends beside them
FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 0.25
COMPLAIN_EVERY_S: Final = 5.0

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class JournalSink:
    """RecordSink; `ready` comes first, and `close` last.

    `expected`: writer -> a counter that this journal has acknowledged, as the caller knows from elsewhere: the
    database's numbered counters, or what the host remembers of its last process. Name only writers that wrote through
    this journal. `expected_id`: the journal that the caller knows. A journal that falls short of either is refused.
    `on_lost` is called once, when the disk has failed: nothing is accepted any more, and the process should end;
    what was acknowledged goes on to the database.
    """

    def __init__(
        self,
        directory: Path,
        shipment: Shipment,
        *,
        expected: Mapping[str, int] | None = None,
        expected_id: str = "",
        on_lost: Callable[[], None] = lambda: None,
        window: Window | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        replay_s: float = REPLAY_S,
    ) -> None:
        self.found: Mapping[str, int] = {}
        self._files = JournalFiles(directory, disk or LocalDisk(), segment_bytes)
        self._shipment = shipment
        self._expected = dict(expected or {})
        self._expected_id = expected_id
        self._on_lost = on_lost
        self._window = window or Window()
        self._monotonic = monotonic
        self._replay_s = replay_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._asked: deque[tuple[Batch, asyncio.Future[None]]] = deque()
        self._unshipped: deque[Batch] = deque()
        self._through = 0  # records below this one are in the database
        self._marked_at = 0.0
        self._complained_at = float("-inf")
        self._doubted: Batch | None = None
        self._lost = ""
        self._closing = False
        self._wake = asyncio.Event()  # something was asked
        self._more = asyncio.Event()  # something was written
        self._moved = asyncio.Event()  # something was shipped
        self._writing: asyncio.Task[None] | None = None
        self._shipping: asyncio.Task[None] | None = None

    @property
    def journal_id(self) -> str:
        """32 hex digits, known after `ready`; for the writer's first entry to name."""
        return self._files.journal_id

    @property
    def last_counters(self) -> Mapping[str, int]:
        """Writer -> its last counter in this journal; `found` has them as they were when it was opened."""
        return dict(self._files.last_counters)

    @property
    def unshipped_entries(self) -> int:
        """How many entries stand on this disk only."""
        return self._window.entries

    @property
    def lost(self) -> str:
        """Why nothing is accepted any more; "" while the disk is trusted."""
        return self._lost

    async def ready(self) -> None:
        """Take the journal and ship all that an earlier process left in it.

        Raises JournalRefused where the journal may not be continued, AppendRefused where the database does not take
        what it holds.
        """
        if self._writing is not None:
            return
        try:
            await self._on_disk(self._files.open, os.urandom(ID_BYTES), self._expected, self._expected_id)
            self.found = dict(self._files.last_counters)
            await self._replay()
            await self._on_disk(self._files.begin)
        except JournalUntrusted as cause:
            await self._on_disk(self._files.close)
            raise JournalRefused(f"{cause}; nothing was accepted") from cause
        except BaseException:
            await self._on_disk(self._files.close)
            raise
        self._through = self._files.written
        loop = asyncio.get_running_loop()
        self._writing = loop.create_task(self._write(), name="journal writer")
        self._shipping = loop.create_task(self._ship(), name="journal shipper")

    async def _replay(self) -> None:
        deadline = self._monotonic() + self._replay_s
        left = self._files.unshipped()
        while (part := await self._on_disk(next, left, None)) is not None:
            batches, through = part
            pause = FIRST_PAUSE_S
            while batches:
                group = take(batches)
                try:
                    await self._shipment.ship(group)
                except NotShipped as cause:
                    if self._monotonic() >= deadline:
                        raise AppendRefused(f"the journal holds entries that cannot be shipped: {cause}") from cause
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                del batches[: len(group)]
                _log.info("journal.replayed", batches=len(group), entries=sum(batch.n for batch in group))
            await self._on_disk(self._files.note_shipped, through)

    async def append(self, batch: Batch) -> None:
        """Return once the batch is on this host's disk. Raises AppendRefused or AppendUnknown, or is cancelled.

        Who cancels an append does not know whether it is stored: only the same bytes may be sent again.
        """
        if batch is self._doubted or batch == self._doubted:
            raise AppendUnknown(self._lost)
        if self._lost:
            raise AppendRefused(self._lost)
        if self._writing is None or self._closing:
            raise AppendRefused("the journal is not open")
        try:
            header = read_header(batch.data)
        except BatchRefused as cause:
            raise AppendRefused(f"the bytes are no batch: {cause}") from cause
        if (header.log, header.writer, header.first_counter, header.n) != _identity(batch):
            raise AppendRefused("the batch is not what its bytes say")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((batch, answer))
        self._wake.set()
        await answer

    async def close(self) -> None:
        """Accept nothing new, ship what is left for up to 2 s, let go. What is left then is for the next process."""
        if self._closing:
            return
        self._closing = True
        if self._writing is not None and self._shipping is not None:
            self._wake.set()
            await self._writing
            self._more.set()
            _, late = await asyncio.wait([self._shipping], timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(self._shipping, return_exceptions=True)
            if self._unshipped:
                _log.warning("journal.left", entries=self._window.entries)
            await self._mark()
            await self._on_disk(self._files.close)
        self._thread.shutdown()
        await self._shipment.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            if not self._asked:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch, answer = self._asked.popleft()
            if answer.cancelled():
                continue
            failure = await self._write_one(batch)
            if answer.cancelled():
                continue
            if failure is None:
                answer.set_result(None)
            else:
                answer.set_exception(failure)

    async def _write_one(self, batch: Batch) -> AppendRefused | AppendUnknown | None:
        if self._lost:
            return AppendRefused(self._lost)
        if not await self._has_room(batch):
            return AppendRefused(f"{self._window.entries} entries wait for the record database, which takes none")
        try:
            await self._on_disk(self._files.append, batch)
        except NoSpace as cause:
            _log.error("journal.no_space", cause=str(cause))
            return AppendRefused(str(cause))
        except JournalUntrusted as cause:
            return self._lose(cause, batch if cause.perhaps_stored else None)
        except Exception as cause:
            _log.exception("journal.failed")
            return self._lose(cause, batch)
        self._window.written(batch.n, len(batch.data), self._monotonic())
        self._unshipped.append(batch)
        self._more.set()
        return None

    async def _has_room(self, batch: Batch) -> bool:
        while (verdict := self._window.ask(batch.n, len(batch.data), self._monotonic())) == "wait":
            if self._closing:
                return False
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), LOOK_AGAIN_S)
            except TimeoutError:
                continue
        return verdict == "room"

    def _lose(self, cause: Exception, doubted: Batch | None = None) -> AppendRefused | AppendUnknown:
        if not self._lost:
            self._lost = f"the journal is not trusted any more: {cause}"
            self._doubted = doubted
            self._on_lost()
        return AppendRefused(self._lost) if doubted is None else AppendUnknown(self._lost)

    # -- shipping ---------------------------------------------------------------------------------------------------

    async def _ship(self) -> None:
        loop = asyncio.get_running_loop()
        pause, alone = FIRST_PAUSE_S, False
        while True:
            if not self._unshipped:
                if self._closing and self._writing is not None and self._writing.done():
                    return
                self._more.clear()
                await self._more.wait()
                continue
            # From memory, not from the file: after a failed sync the file may say something else.
            group = take(self._unshipped, 1 if alone else MAX_SHIPPED_TOGETHER)
            next_at = loop.time() + SHIP_EVERY_S
            try:
                await self._shipment.ship(group)
            except Exception as cause:
                self._complain(cause)
                # One that the database will never take must not hold back those before it.
                alone = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            pause, alone = FIRST_PAUSE_S, False
            for _ in group:
                self._unshipped.popleft()
            self._through += len(group)
            self._window.shipped(len(group), self._monotonic())
            self._moved.set()
            if self._files.segments > 1 or self._monotonic() - self._marked_at >= MARK_EVERY_S:
                await self._mark()
            if not self._closing:
                await asyncio.sleep(next_at - loop.time())

    async def _mark(self) -> None:
        self._marked_at = self._monotonic()
        try:
            await self._on_disk(self._files.note_shipped, self._through)
        except JournalUntrusted as cause:
            self._lose(cause)

    def _complain(self, cause: Exception) -> None:
        now = self._monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            known = isinstance(cause, NotShipped)
            _log.error("journal.not_shipped", cause=str(cause), entries=self._window.entries, exc_info=not known)

    async def _on_disk(self, step: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)


def take(batches: Sequence[Batch], most: int = MAX_SHIPPED_TOGETHER) -> list[Batch]:
    """The first batches that may share a transaction: at least one, so many, so many bytes."""
    group: list[Batch] = []
    size = 0
    for batch in islice(batches, most):
        size += len(batch.data)
        if group and size > MAX_SHIPPED_BYTES:
            break
        group.append(batch)
    return group


def _identity(batch: Batch) -> tuple[str, str, int, int]:
    return batch.log, batch.writer, batch.first_counter, batch.n
