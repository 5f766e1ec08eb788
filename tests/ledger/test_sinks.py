"""What every RecordSink keeps, tried on each of them: one suite, on a real database with its sequencer.

Another sink is another function in SINKS: it makes a sink whose way to the database goes through `Outage.open`.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from ledger.batch import Writer, unpack
from ledger.journal import JournalSink
from ledger.journal_window import Window
from ledger.postgres import DatabaseSink, connect
from ledger.sequencer import Sequencer
from ledger.shipment import DatabaseShipment
from ledger.storage import AppendRefused, AppendUnknown, Batch, RecordSink
from ledger.stub import parse_stub
from proxy.recorder import Recorder
from tests.ledger.world import LogWorld, read_draft


class Sink(RecordSink, Protocol):
    """What wiring uses beside `append`."""

    async def ready(self) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Outage:
    """The way to the database, which can be cut: open connections die, new ones are refused."""

    dsn: str
    away: bool = False
    _made: list[Any] = field(default_factory=list)

    async def open(self) -> Any:
        if self.away:
            raise ConnectionRefusedError
        connection = await connect(self.dsn)
        self._made.append(connection)
        if self.away:
            connection.terminate()
        return connection

    def begin(self) -> None:
        self.away = True
        for connection in self._made:
            connection.terminate()
        self._made.clear()

    def end(self) -> None:
        self.away = False


def _database(outage: Outage, directory: Path) -> Sink:
    return DatabaseSink(outage.open)


def _journal(outage: Outage, directory: Path) -> Sink:
    # A small window, so that an outage is felt soon.
    window = Window(max_age_s=0.05, patience_s=0.02)
    return JournalSink(directory / "journal", DatabaseShipment(outage.open), window=window)


SINKS: Final[dict[str, Callable[[Outage, Path], Sink]]] = {"database": _database, "journal": _journal}


@dataclass
class Place:
    """One sink of the kind under test, and the log behind it."""

    world: LogWorld
    outage: Outage
    make: Callable[[], Awaitable[Sink]]
    sink: Sink
    sequencer: Sequencer

    async def introduced(self) -> Writer:
        writer = self.world.writer()
        await self.sink.append(self.world.pack(writer, [self.world.started(writer)]))
        return writer

    def pack(self, writer: Writer, count: int = 1, what: str = "entries") -> Batch:
        return writer.pack([read_draft(what=what)] * count, self.world.clock.now(), os.urandom)

    async def append(self, writer: Writer, count: int = 1) -> Batch:
        batch = self.pack(writer, count)
        await self.sink.append(batch)
        writer.accepted()
        return batch

    async def reopened(self) -> None:
        """A process ends in order, and another one begins."""
        await self.sink.close()
        self.sink = await self.make()

    async def log(self, writer: Writer) -> list[str]:
        """Close the sink, number everything, and return the ids of the writer's entries in the log's order."""
        await self.sink.close()
        owner = await self.world.database.connect("owner")
        while await owner.fetchval("SELECT count(*) FROM ledger.entry_batch"):
            await self.sequencer.step()
        assert await owner.fetch("SELECT fault, detail FROM ledger.quarantine") == []
        stubs = [parse_stub(row["leaf"]) for row in await owner.fetch("SELECT leaf FROM ledger.entry ORDER BY idx")]
        mine = [stub for stub in stubs if stub.writer == writer.writer_id]
        assert [stub.counter for stub in mine] == list(range(len(mine)))
        return [stub.id for stub in mine[1:]]


@pytest.fixture(params=SINKS)
async def place(request: Any, database: Any, tmp_path: Path) -> AsyncIterator[Place]:
    world = LogWorld(database)
    await world.begin()
    outage = Outage(database.dsn("proxy"))

    async def make() -> Sink:
        made = SINKS[request.param](outage, tmp_path)
        await made.ready()
        return made

    sequencer = world.sequencer()
    assert await sequencer.lead()
    made = Place(world, outage, make, await make(), sequencer)
    yield made
    outage.end()
    await made.sink.close()
    sequencer.leave()


def _ids(*batches: Batch) -> list[str]:
    return [entry.stub.id for batch in batches for entry in unpack(batch.data)]


async def test_what_was_appended_is_in_the_log_once_and_in_order(place: Place) -> None:
    writer = await place.introduced()
    batches = [await place.append(writer, 1 + i % 5) for i in range(40)]
    assert await place.log(writer) == _ids(*batches)


async def test_a_flush_of_the_greatest_size(place: Place) -> None:
    writer = await place.introduced()
    many = await place.append(writer, 1024)
    long = writer.pack([read_draft(what="x" * 60)] + [read_draft()] * 3, place.world.clock.now(), os.urandom)
    await place.sink.append(long)
    writer.accepted()
    assert await place.log(writer) == _ids(many, long)


async def test_equal_bytes_sent_again_count_once(place: Place) -> None:
    writer = await place.introduced()
    first = await place.append(writer)
    await place.sink.append(first)
    second = await place.append(writer, 3)
    await place.sink.append(second)
    await place.sink.append(second)
    assert await place.log(writer) == _ids(first, second)


async def test_it_goes_on_after_a_restart(place: Place) -> None:
    writer = await place.introduced()
    before = await place.append(writer)
    await place.reopened()
    after = await place.append(writer)
    assert await place.log(writer) == _ids(before, after)


async def test_closed_twice_is_closed(place: Place) -> None:
    writer = await place.introduced()
    await place.sink.close()
    await place.sink.close()
    with pytest.raises(AppendRefused):
        await place.sink.append(place.world.pack(writer, [read_draft()]))


async def test_ready_twice_is_ready(place: Place) -> None:
    await place.sink.ready()
    writer = await place.introduced()
    assert await place.log(writer) == []


async def test_refused_counters_are_used_again(place: Place) -> None:
    """A refusal is definite: other entries under the same counters are no conflict."""
    writer = await place.introduced()
    place.outage.begin()
    refused = 0
    kept = []
    async with asyncio.timeout(10):
        while not refused:
            batch = place.pack(writer, what="perhaps")
            try:
                await _settled(place, batch, bring_back=False)
            except AppendRefused:
                writer.refused()
                refused += 1
            else:
                writer.accepted()
                kept.append(batch)
    place.outage.end()
    await _free(place, writer, kept)
    assert await place.log(writer) == _ids(*kept)


async def _free(place: Place, writer: Writer, kept: list[Batch]) -> None:
    async with asyncio.timeout(10):
        while True:
            batch = place.pack(writer, what="after")
            try:
                await _settled(place, batch)
            except AppendRefused:
                writer.refused()
                await asyncio.sleep(0.01)
                continue
            writer.accepted()
            kept.append(batch)
            return


async def _settled(place: Place, batch: Batch, *, bring_back: bool = True) -> None:
    """As a recorder does: only the same bytes after a lost answer. Raises AppendRefused."""
    for _ in range(200):
        try:
            await place.sink.append(batch)
        except AppendUnknown:
            if bring_back:
                place.outage.end()
            await asyncio.sleep(0.01)
            continue
        return
    raise AssertionError("neither stored nor refused, though the database is there")


@pytest.mark.parametrize("seed", range(3))
async def test_outages_lose_nothing_and_invent_nothing(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    writer = await place.introduced()
    acknowledged: list[Batch] = []
    cut = asyncio.get_running_loop().call_later(0.0, place.outage.begin)
    for turn in range(80):
        fate = chance.random()
        if fate < 0.1:
            place.outage.begin()
        elif fate < 0.3:
            place.outage.end()
        elif fate < 0.33:
            cut.cancel()
            place.outage.end()
            await place.reopened()
        batch = place.pack(writer, chance.randint(1, 4), what=f"turn {turn}")
        if chance.random() < 0.1:
            cut.cancel()
            cut = asyncio.get_running_loop().call_later(chance.random() / 500, place.outage.begin)
        try:
            await _settled(place, batch)
        except AppendRefused:
            writer.refused()
        else:
            writer.accepted()
            acknowledged.append(batch)
    cut.cancel()
    place.outage.end()
    await _free(place, writer, acknowledged)
    assert await place.log(writer) == _ids(*acknowledged)


async def test_a_cancelled_append_harms_no_other(place: Place) -> None:
    writer = await place.introduced()
    batch = place.pack(writer)
    for turns in range(6):
        append = asyncio.create_task(place.sink.append(batch))
        for _ in range(turns):
            await asyncio.sleep(0)
        append.cancel()
        await asyncio.gather(append, return_exceptions=True)
    await _settled(place, batch)
    writer.accepted()
    after = await place.append(writer)
    assert await place.log(writer) == _ids(batch, after)


class _Clock:
    def __init__(self, world: LogWorld) -> None:
        self.now = world.clock.now
        self.unix = lambda: world.clock.now().timestamp()
        self.monotonic = asyncio.get_running_loop().time


async def test_the_recorder_on_it(place: Place) -> None:
    """Concurrent callers, groups as they come, through an outage: told "durable" exactly if it is in the log."""
    writer = await place.introduced()
    lost: list[bool] = []
    recorder = Recorder(writer, place.sink, _Clock(place.world), lambda: lost.append(True))
    recorder.start()
    durable: list[str] = []
    answered = 0

    async def caller(count: int) -> None:
        nonlocal answered
        for _ in range(count):
            done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            entry_id = recorder.record(read_draft(), done.set_result)
            if await done:
                durable.append(entry_id)
            answered += 1
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    loop.call_later(0.02, place.outage.begin)
    loop.call_later(0.09, place.outage.end)
    async with asyncio.timeout(20):
        await asyncio.gather(*(caller(20) for _ in range(20)))
    await recorder.close()
    assert not lost
    assert answered == 400
    assert sorted(await place.log(writer)) == sorted(durable)
    assert durable
