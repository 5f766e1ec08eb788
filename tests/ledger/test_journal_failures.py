"""The sink on a disk that is full, or fails: what is refused, what is unknown, and what is never trusted again."""

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.journal import JournalRefused
from ledger.journal_window import Window
from ledger.storage import AppendRefused, AppendUnknown, Batch
from tests.ledger.journal_world import Failing, Pen, Place, shipped, until


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "journal")
    yield made
    await made.close()


@pytest.mark.parametrize("short", [False, True])
async def test_a_full_disk_refuses_and_is_used_again(place: Place, short: bool) -> None:
    disk = Failing()
    sink, pen = await place.sink(disk=disk), Pen()
    first = pen.batch()
    await sink.append(first)
    disk.short = short
    if not short:
        disk.how["write"] = errno.ENOSPC
    refused = pen.offer(what="refused")
    with pytest.raises(AppendRefused, match="no room"):
        await sink.append(refused)
    pen.writer.refused()
    disk.how.clear()
    again = pen.batch(what="again")
    await sink.append(again)
    assert place.lost == 0
    await sink.close()
    assert place.landing.batches == [first, again]
    await place.sink(expected={pen.id: 1})
    assert len(place.landing.batches) == 2


async def test_no_room_for_another_segment(place: Place) -> None:
    disk = Failing()
    sink, pen = await place.sink(disk=disk, segment_bytes=1000), Pen()
    await sink.append(pen.batch())
    disk.how["create"] = errno.ENOSPC
    with pytest.raises(AppendRefused, match="no room for another segment"):
        await sink.append(pen.offer())
    pen.writer.refused()
    disk.how.clear()
    await sink.append(pen.batch())
    await shipped(place, 2)


@pytest.mark.parametrize(
    ("call", "number"), [("sync", errno.EIO), ("sync", errno.ENOSPC), ("write", errno.EIO), ("write", errno.EROFS)]
)
async def test_a_failed_disk_is_never_trusted_again(place: Place, call: str, number: int) -> None:
    disk = Failing()
    sink, pen = await place.sink(disk=disk), Pen()
    place.landing.away = True
    acknowledged = pen.batch()
    await sink.append(acknowledged)
    disk.how[call] = number
    doubted = pen.offer()
    with pytest.raises(AppendUnknown, match="not trusted any more"):
        await sink.append(doubted)
    disk.how.clear()
    # A second sync would succeed, and prove nothing.
    for _ in range(3):
        with pytest.raises(AppendUnknown):
            await sink.append(doubted)
    with pytest.raises(AppendRefused, match="not trusted any more"):
        await sink.append(Pen().batch())
    assert place.lost == 1
    assert sink.lost
    place.landing.away = False
    await shipped(place, 1)
    assert place.landing.batches == [acknowledged], "what was acknowledged goes on, the doubted one does not"


async def test_a_disk_that_fails_beside_an_append_refuses_and_is_lost(place: Place) -> None:
    disk = Failing()
    sink, pen = await place.sink(disk=disk, segment_bytes=1000), Pen()
    await sink.append(pen.batch())
    disk.how["create"] = errno.EIO
    with pytest.raises(AppendRefused, match="not trusted any more"):
        await sink.append(pen.batch())
    assert place.lost == 1


async def test_a_short_write_that_cannot_be_taken_back_is_unknown(place: Place) -> None:
    disk = Failing()
    sink = await place.sink(disk=disk)
    disk.how["cut"] = errno.EIO
    disk.short = True
    with pytest.raises(AppendUnknown):
        await sink.append(Pen().batch())
    assert place.lost == 1


async def test_an_error_nobody_foresaw_fails_closed(place: Place) -> None:
    sink = await place.sink()

    def broken(batch: Batch) -> None:
        raise MemoryError

    sink._files.append = broken  # type: ignore[method-assign]
    with pytest.raises(AppendUnknown):
        await sink.append(Pen().batch())
    assert place.lost == 1


async def test_disk_use_is_bounded_by_the_window(place: Place) -> None:
    sink = await place.sink(segment_bytes=20_000, window=Window(max_bytes=40_000, patience_s=0.0))
    pen = Pen()
    place.landing.away = True
    refused = 0
    for _ in range(150):
        batch = pen.offer()
        try:
            await sink.append(batch)
        except AppendRefused:
            pen.writer.refused()
            refused += 1
            break
        pen.writer.accepted()
    assert refused
    assert sum(path.stat().st_size for path in place.directory.iterdir()) < 40_000 + 2 * 20_000
    place.landing.away = False
    await until(lambda: sink.unshipped_entries == 0)
    for _ in range(150):
        await sink.append(pen.batch())
        await until(lambda: sink.unshipped_entries < 20)
    await until(lambda: sink.unshipped_entries == 0)
    assert len(list(place.directory.glob("*.journal"))) <= 2


async def test_a_disk_that_fails_during_replay_refuses_the_start(place: Place) -> None:
    sink, pen = await place.sink(), Pen()
    place.landing.away = True
    await sink.append(pen.batch())
    await place.killed(sink)
    place.landing.away = False
    disk = Failing()
    disk.how["write"] = errno.EIO
    with pytest.raises(JournalRefused, match="the journal's disk failed"):
        await place.sink(disk=disk)
    again = await place.sink()
    assert again.found == {pen.id: 0}
    assert {batch.writer for batch in place.landing.batches} == {pen.id}
