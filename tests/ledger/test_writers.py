"""Writers that were killed, and their last entries dropped before anybody numbered them."""

from typing import Any

import pytest

from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import started
from ledger.verify import Verdict
from ledger.writers import MAX_REMARKS, Missing, Unclosed
from tests.ledger.world import LogWorld, drain, read_draft, verified


@pytest.fixture
async def world(database: Any) -> LogWorld:
    made = LogWorld(database)
    await made.begin()
    return made


async def _start(world: LogWorld, before: Writer | None = None, known: int = -1, name: str = "") -> Writer:
    """`known`: the counter that the host remembers of the writer before."""
    writer = world.writer()
    predecessor = name or (before.writer_id if before else "")
    draft = started(
        writer,
        world.host_key,
        role="proxy",
        host="h1",
        version="0.1.0",
        predecessor=predecessor,
        predecessor_counter=known,
    )
    await world.insert(world.pack(writer, [draft]))
    return writer


async def _write(world: LogWorld, writer: Writer, flushes: int) -> None:
    await world.insert(*(world.pack(writer, [read_draft()]) for _ in range(flushes)))


async def _stop(world: LogWorld, writer: Writer) -> None:
    facts = {"role": "proxy", "last_counter": writer.next_counter}
    await world.insert(world.pack(writer, [Draft("process.stopped", facts)]))


async def _drop(world: LogWorld, writer: Writer, beyond: int) -> None:
    """What the database's owner does before the sequencer looks."""
    owner = await world.database.connect("owner")
    sql = "DELETE FROM ledger.entry_batch WHERE writer = $1 AND first_counter > $2"
    assert await owner.execute(sql, writer.writer_id, beyond) != "DELETE 0"
    await owner.close()


async def _verdict(world: LogWorld) -> Verdict:
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    sequencer.leave()
    return await verified(world)


async def test_writers_that_close_leave_nothing_to_remark(world: LogWorld) -> None:
    first = await _start(world)
    await _write(world, first, 3)
    await _stop(world, first)
    second = await _start(world, first, first.next_counter - 1)
    await _stop(world, second)
    verdict = await _verdict(world)
    assert verdict.ok and verdict.writers == 3
    assert (verdict.remarks, verdict.remarked) == ([], 0)


async def test_a_running_writer_is_remarked_on_and_is_no_fault(world: LogWorld) -> None:
    writer = await _start(world)
    await _write(world, writer, 2)
    verdict = await _verdict(world)
    assert verdict.ok
    [one] = verdict.remarks
    assert one == Unclosed(3, writer.writer_id, "proxy", "h1", 2, "2026-03-01T12:00:00.000000Z")
    assert "still running, or ended without closing" in str(one)


async def test_a_killed_writer_is_bounded_by_its_last_entry_and_its_successors_first(world: LogWorld) -> None:
    killed = await _start(world)
    await _write(world, killed, 2)
    world.clock.move(60)
    successor = await _start(world, killed, 2)
    await _stop(world, successor)
    verdict = await _verdict(world)
    assert verdict.ok
    [one] = verdict.remarks
    assert isinstance(one, Unclosed)
    assert (one.writer, one.counter, one.time) == (killed.writer_id, 2, "2026-03-01T12:00:00.000000Z")
    assert (one.successor, one.succeeded_at) == (successor.writer_id, "2026-03-01T12:01:00.000000Z")
    assert f"replaced by {successor.writer_id} at 2026-03-01T12:01:00" in str(one)


@pytest.mark.parametrize("dropped", [2, 5, 6])
async def test_dropped_entries_are_named_where_the_successor_knows(world: LogWorld, dropped: int) -> None:
    killed = await _start(world)
    await _write(world, killed, 6)
    await _drop(world, killed, 6 - dropped)
    await _start(world, killed, 6)
    verdict = await _verdict(world)
    assert [(fault.index, fault.part) for fault in verdict.faults] == [(verdict.size, "writer")]
    assert verdict.faults[0].text == (
        f"entries of writer {killed.writer_id} beyond counter {6 - dropped} are missing: "
        f"its successor says it had written 6 (entry {verdict.size - 1})"
    )
    assert killed.writer_id in [one.writer for one in verdict.remarks if isinstance(one, Unclosed)]


async def test_a_later_successor_tells_as_well(world: LogWorld) -> None:
    """Processes that die before they note themselves leave the same name to several."""
    killed = await _start(world)
    await _write(world, killed, 6)
    await _drop(world, killed, 1)
    await _start(world, killed, 0)
    await _start(world, killed, 6)
    verdict = await _verdict(world)
    assert [fault.text for fault in verdict.faults] == [str(Missing(4, killed.writer_id, 1, 6))]


async def test_one_entry_short_is_a_remark(world: LogWorld) -> None:
    """A closing entry is noted while it is being committed: a commit that failed looks the same as one that is gone."""
    killed = await _start(world)
    await _write(world, killed, 3)
    await _drop(world, killed, 2)
    await _start(world, killed, 3)
    verdict = await _verdict(world)
    assert verdict.ok
    assert verdict.remarks[0] == Missing(4, killed.writer_id, 2, 3)
    assert "ends at counter 2, but its successor says it had written 3" in str(verdict.remarks[0])


async def test_dropped_entries_are_only_bounded_where_the_successors_knowledge_lags(world: LogWorld) -> None:
    """Stated plainly: what the host had not noted yet is not counted; only that the writer never closed shows."""
    killed = await _start(world)
    await _write(world, killed, 6)
    await _drop(world, killed, 3)
    await _start(world, killed, 3)
    verdict = await _verdict(world)
    assert verdict.ok
    assert all(isinstance(one, Unclosed) for one in verdict.remarks)
    assert [one.writer for one in verdict.remarks][1] == killed.writer_id


async def test_dropped_entries_are_only_bounded_where_nobody_follows(world: LogWorld) -> None:
    """Stated plainly: without a successor on its host, a killed writer looks like one that still runs."""
    killed = await _start(world)
    await _write(world, killed, 6)
    await _drop(world, killed, 3)
    await _start(world)  # another host's, or one whose host lost its notes
    verdict = await _verdict(world)
    assert verdict.ok
    assert {one.writer for one in verdict.remarks} >= {killed.writer_id}


async def test_a_writer_of_which_nothing_is_left_is_a_remark(world: LogWorld) -> None:
    """A host whose gate was set up anew names a writer of its former log, so that this is no proof of anything."""
    await _start(world, name="ab" * 16, known=57)
    verdict = await _verdict(world)
    assert verdict.ok
    assert verdict.remarks[0] == Missing(1, "ab" * 16, -1, 57)
    assert "is not in this log" in str(verdict.remarks[0])


async def test_a_writer_that_outlives_its_successors_start_misses_nothing(world: LogWorld) -> None:
    first = await _start(world)
    await _write(world, first, 1)
    second = await _start(world, first, 3)
    await _write(world, first, 2)
    await _stop(world, first)
    await _stop(world, second)
    verdict = await _verdict(world)
    assert verdict.ok
    assert verdict.remarks == []


async def test_a_log_that_cannot_be_read_whole_has_no_remarks(world: LogWorld) -> None:
    """Half a log says nothing about how its writers ended."""
    killed = await _start(world)
    await _write(world, killed, 6)
    await _start(world, killed, 6)
    assert (await _verdict(world)).ok
    owner = await world.database.connect("owner")
    await owner.execute("DELETE FROM ledger.entry WHERE idx = 5")
    await owner.close()
    verdict = await verified(world)
    assert [fault.part for fault in verdict.faults] == ["source"]
    assert verdict.remarks == []


async def test_remarks_are_bounded(world: LogWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_REMARKS == 1000
    monkeypatch.setattr("ledger.verify.MAX_REMARKS", 2)
    for _ in range(3):
        last = await _start(world)
    verdict = await _verdict(world)
    assert (len(verdict.remarks), verdict.remarked) == (2, 3)
    assert verdict.remarks[0].writer == last.writer_id
