"""What journal tests share: batches of real writers, and a database that is a list and can go away."""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.batch import Writer
from ledger.journal import JournalSink
from ledger.journal_disk import LocalDisk
from ledger.journal_files import JournalFiles
from ledger.shipment import NotShipped
from ledger.storage import Batch
from tests.ledger.world import MEMBER, ORIGIN, read_draft

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ID = bytes(range(16))


class Pen:
    """One writer and its batches."""

    def __init__(self) -> None:
        self.writer = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate())

    @property
    def id(self) -> str:
        return self.writer.writer_id

    def offer(self, entries: int = 1, what: str = "entries") -> Batch:
        """A batch whose fate is open: `writer.accepted()` or `writer.refused()` ends it."""
        return self.writer.pack([read_draft(what=what)] * entries, NOW, os.urandom)

    def batch(self, entries: int = 1, what: str = "entries") -> Batch:
        made = self.offer(entries, what)
        self.writer.accepted()
        return made

    def batches(self, count: int) -> list[Batch]:
        return [self.batch() for _ in range(count)]


class Landing:
    """Shipment into a list. While it is away everything is refused; `asked` is set by every attempt."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.groups: list[int] = []
        self.away = False
        self.poison: Batch | None = None
        self.asked = asyncio.Event()

    async def ship(self, batches: Sequence[Batch]) -> None:
        self.asked.set()
        await asyncio.sleep(0)
        if self.away or self.poison in batches:
            raise NotShipped("away")
        self.batches += batches
        self.groups.append(len(batches))

    async def close(self) -> None:
        pass


def opened(directory, expected=None, expected_id="", segment_bytes=1 << 20, disk=None, new_id=ID):  # type: ignore[no-untyped-def]
    """JournalFiles, opened and not yet begun."""
    files = JournalFiles(directory, disk or LocalDisk(), segment_bytes)
    files.open(new_id, expected or {}, expected_id)
    return files


def left_in(files: JournalFiles) -> list[Batch]:
    """What a start would ship."""
    return [batch for batches, _ in files.unshipped() for batch in batches]


class Place:
    """A directory, a database, a clock; and the sinks that were opened on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.landing = Landing()
        self.now = 100.0
        self.lost = 0
        self._sinks: list[JournalSink] = []

    async def sink(self, **options: Any) -> JournalSink:
        made = JournalSink(
            self.directory,
            self.landing,
            monotonic=options.pop("monotonic", lambda: self.now),
            on_lost=self._on_lost,
            **options,
        )
        self._sinks.append(made)
        await made.ready()
        return made

    def _on_lost(self) -> None:
        self.lost += 1

    async def killed(self, sink: JournalSink) -> None:
        """What a kill leaves: nobody ships, nobody writes the mark, and the lock is free."""
        for task in (sink._writing, sink._shipping):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        sink._files._release()
        self._sinks.remove(sink)

    async def close(self) -> None:
        self.landing.away = False
        for sink in self._sinks:
            await sink.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def shipped(place: Place, count: int) -> None:
    await until(lambda: len(place.landing.batches) >= count)


class Failing(LocalDisk):
    """Fails one kind of call while told to; "short" writes half and then nothing."""

    def __init__(self) -> None:
        self.how: dict[str, int] = {}
        self.short = False

    def _meet(self, name: str) -> None:
        if name in self.how:
            raise OSError(self.how[name], errno.errorcode[self.how[name]])

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        if self.short and len(data) > 100:  # a record, not the mark
            self.short = False
            self.how["write"] = errno.ENOSPC
            return super().write(handle, bytes(data)[: len(data) // 2], offset)
        self._meet("write")
        return super().write(handle, data, offset)

    def sync(self, handle: int) -> None:
        self._meet("sync")
        super().sync(handle)

    def cut(self, handle: int, size: int) -> None:
        self._meet("cut")
        super().cut(handle, size)

    def create(self, path: Path) -> int:
        self._meet("create")
        return super().create(path)
