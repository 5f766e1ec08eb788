"""The sink: its window, its shipper, and how it ends when the disk or the database does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledger.journal import MAX_SHIPPED_BYTES, MAX_SHIPPED_TOGETHER, JournalRefused, JournalSink, take
from ledger.journal_disk import LocalDisk
from ledger.journal_window import Window
from ledger.storage import AppendRefused, Batch
from tests.ledger.journal_world import Pen, Place, shipped, until


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "journal")
    yield made
    await made.close()


async def test_appended_is_on_the_disk_before_it_is_shipped(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    batch = pen.batch(3)
    await sink.append(batch)
    on_disk = b"".join(path.read_bytes() for path in place.directory.glob("*.journal"))
    assert batch.data in on_disk
    assert sink.unshipped_entries == 3
    place.landing.away = False
    await shipped(place, 1)
    await until(lambda: sink.unshipped_entries == 0)
    assert place.landing.batches == [batch]
    assert sink.last_counters == {pen.id: 2}
    assert len(sink.journal_id) == 32


async def test_shipped_at_once_in_order_and_together(place: Place) -> None:
    sink, pens = await place.sink(), [Pen(), Pen()]
    batches = []
    for i in range(30):
        batches.append(pens[i % 2].batch())
        await sink.append(batches[-1])
    await shipped(place, 30)
    assert place.landing.batches == batches
    place.landing.away = True
    more = [pens[0].batch() for _ in range(20)]
    for batch in more:
        await sink.append(batch)
    place.landing.away = False
    await shipped(place, 50)
    assert place.landing.batches == batches + more
    assert max(place.landing.groups) > 1


def test_what_shares_a_transaction_is_bounded() -> None:
    small = Batch("log", "00", 0, 1, b"x")
    assert take([small] * 1000) == [small] * MAX_SHIPPED_TOGETHER
    large = Batch("log", "00", 0, 1, bytes(MAX_SHIPPED_BYTES))
    assert take([large, small]) == [large]
    assert take([small, large]) == [small]
    assert take([small, small], 1) == [small]


async def test_several_writers_at_once(place: Place) -> None:
    sink, pens = await place.sink(), [Pen() for _ in range(8)]

    async def write(pen: Pen) -> None:
        for _ in range(10):
            await sink.append(pen.batch())

    await asyncio.gather(*map(write, pens))
    await shipped(place, 80)
    for pen in pens:
        assert [b.first_counter for b in place.landing.batches if b.writer == pen.id] == list(range(10))


async def test_the_event_loop_does_not_wait_for_the_disk(place: Place) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Slow(LocalDisk):
        def sync(self, handle: int) -> None:
            if reached.is_set():
                go_on.wait(5)
            super().sync(handle)

    sink = await place.sink(disk=Slow())
    reached.set()
    append = asyncio.create_task(sink.append(Pen().batch()))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not append.done()
    go_on.set()
    await append


# -- the window -------------------------------------------------------------------------------------------------------


async def test_the_window_is_two_seconds_and_then_appends_wait_and_then_are_refused(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    await sink.append(pen.batch())
    place.now += 1.9
    await sink.append(pen.batch())
    place.now += 0.1
    waits = asyncio.create_task(sink.append(pen.batch()))
    await asyncio.sleep(0.06)
    assert not waits.done(), "the oldest is 2 s old: nothing more goes to one disk only"
    before = sorted(path.stat().st_size for path in place.directory.iterdir())
    place.now += 2.0
    with pytest.raises(AppendRefused, match="2 entries wait for the record database"):
        await waits
    assert sorted(path.stat().st_size for path in place.directory.iterdir()) == before, "and nothing of it was written"
    with pytest.raises(AppendRefused):
        await sink.append(pen.batch())
    place.landing.away = False
    await shipped(place, 2)
    pen.writer.next_counter = 2
    await sink.append(pen.batch())


async def test_the_window_is_ten_thousand_entries(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    for _ in range(10):
        await sink.append(pen.batch(1000))
    waits = asyncio.create_task(sink.append(pen.batch()))
    await asyncio.sleep(0.06)
    assert not waits.done()
    assert sink.unshipped_entries == 10_000
    place.landing.away = False
    await waits
    await shipped(place, 11)


async def test_a_cancelled_append_that_waited_is_not_written(place: Place) -> None:
    sink, pen = await place.sink(window=Window(max_entries=1)), Pen()
    place.landing.away = True
    await sink.append(pen.batch())
    first = asyncio.create_task(sink.append(pen.offer()))
    second = asyncio.create_task(sink.append(Pen().batch()))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    place.landing.away = False
    await first
    await shipped(place, 2)
    assert len(place.landing.batches) == 2


# -- restart ----------------------------------------------------------------------------------------------------------


async def test_a_killed_process_leaves_what_the_next_one_ships_first(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    batches = pen.batches(5)
    for batch in batches:
        await sink.append(batch)
    await place.killed(sink)
    place.landing.away = False
    again = await place.sink(expected={pen.id: 4}, expected_id=sink.journal_id)
    assert place.landing.batches == batches, "shipped before ready returned"
    assert again.journal_id == sink.journal_id
    assert again.found == {pen.id: 4}
    new = Pen().batch()
    await again.append(new)
    await shipped(place, 6)
    assert place.landing.batches[5:] == [new]
    assert len(list(place.directory.glob("*.journal"))) == 1


async def test_closing_ships_what_is_left(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    batches = pen.batches(5)
    for batch in batches:
        await sink.append(batch)
    await sink.close()
    assert place.landing.batches == batches
    with pytest.raises(AppendRefused, match="not open"):
        await sink.append(pen.batch())
    await place.sink()
    assert len(place.landing.batches) == 5, "and the mark says so"


async def test_closing_while_the_database_is_away_leaves_the_rest_to_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.journal.CLOSE_S", 0.05)
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    batch = pen.batch()
    await sink.append(batch)
    await sink.close()
    place.landing.away = False
    await place.sink()
    assert place.landing.batches == [batch]


async def test_not_ready_while_the_database_takes_nothing(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    await sink.append(pen.batch())
    await place.killed(sink)
    with pytest.raises(AppendRefused, match="the journal holds entries that cannot be shipped"):
        await place.sink(replay_s=0.0)
    place.landing.away = False
    await place.sink()
    assert len(place.landing.batches) == 1


async def test_refusals_of_a_start_come_from_ready(place: Place) -> None:
    await place.sink()
    with pytest.raises(JournalRefused, match="another process uses this journal"):
        await place.sink()
    other = Place(place.directory.with_name("other"))
    with pytest.raises(JournalRefused, match="nothing is here"):
        await other.sink(expected={"aa": 3})
    await other.close()


async def test_ready_comes_first(place: Place) -> None:
    sink = JournalSink(place.directory, place.landing)
    with pytest.raises(AppendRefused, match="not open"):
        await sink.append(Pen().batch())
    await sink.ready()
    await sink.ready()
    await sink.close()


# -- what is no batch, and what the database will not take ------------------------------------------------------------


async def test_only_batches_are_written(place: Place) -> None:
    sink, batch = await place.sink(), Pen().batch()
    for bad in (
        Batch(batch.log, batch.writer, batch.first_counter, batch.n, b"?"),
        Batch(batch.log, batch.writer, batch.first_counter + 1, batch.n, batch.data),
        Batch(batch.log, "00" * 16, batch.first_counter, batch.n, batch.data),
        Batch("another/log", batch.writer, batch.first_counter, batch.n, batch.data),
        Batch(batch.log, batch.writer, batch.first_counter, 2, batch.data),
    ):
        with pytest.raises(AppendRefused, match=r"no batch|not what its bytes say"):
            await sink.append(bad)
    await sink.append(batch)


async def test_what_the_database_never_takes_holds_back_what_is_behind_it_only(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    batches = pen.batches(5)
    place.landing.away = True
    place.landing.poison = batches[3]
    for batch in batches:
        await sink.append(batch)
    place.landing.away = False
    await shipped(place, 3)
    assert place.landing.batches == batches[:3]
    place.now += 10.0
    with pytest.raises(AppendRefused):
        waits = asyncio.create_task(sink.append(pen.offer()))
        await asyncio.sleep(0.01)
        place.now += 2.0
        await waits
    place.landing.poison = None
    await shipped(place, 5)
    assert place.landing.batches == batches


async def test_a_shipper_that_breaks_is_tried_again(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    whole = place.landing.ship

    async def broken(batches: Any) -> None:
        place.landing.asked.set()
        raise RuntimeError("a bug")

    place.landing.ship = broken  # type: ignore[method-assign]
    await sink.append(pen.batch())
    await place.landing.asked.wait()
    place.landing.ship = whole  # type: ignore[method-assign]
    await shipped(place, 1)
