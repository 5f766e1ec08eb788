"""One life of a journal, with every one of its system calls failing, or being the last one before the power goes.

Whatever happens: the next start is not refused, what was acknowledged is in the database after it, nothing is there
that was not offered, nothing that was definitely refused is, and every writer's batches are in their order.
"""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.journal_files import JournalFiles, JournalRefused, JournalUntrusted, NoSpace
from ledger.storage import Batch
from tests.faults.journal.simulated_disk import PowerCut, SimulatedDisk, at_call
from tests.ledger.journal_world import Pen

PLACE = Path("journal")
SEGMENT_BYTES = 1800


@dataclass
class World:
    """What everybody outside the journal knows."""

    database: list[Batch] = field(default_factory=list)
    acknowledged: list[Batch] = field(default_factory=list)
    refused: list[Batch] = field(default_factory=list)
    offered: list[Batch] = field(default_factory=list)
    journal_id: str = ""

    @property
    def expected(self) -> dict[str, int]:
        """All that was ever acknowledged: the most that a caller can ask of a journal."""
        return {batch.writer: batch.first_counter for batch in self.acknowledged}

    def check(self) -> None:
        stored = {batch.data for batch in self.database}
        assert {batch.data for batch in self.acknowledged} <= stored, "an acknowledged batch is lost"
        assert stored <= {batch.data for batch in self.offered}, "a batch is invented"
        assert not stored & {batch.data for batch in self.refused}, "a refused batch is stored"
        # Equal bytes sent again count once; what is left is in the order of the writers' counters, without holes.
        seen: dict[str, int] = {}
        for batch in {batch.data: batch for batch in self.database}.values():
            assert batch.first_counter == seen.get(batch.writer, -1) + 1
            seen[batch.writer] = batch.first_counter


def life(world: World, disk: SimulatedDisk, batches: int = 8) -> None:
    """A process from start to end, as journal.py leads it; ends early where it would."""
    files = JournalFiles(PLACE, disk, SEGMENT_BYTES)
    files.open(bytes(16), world.expected, world.journal_id)
    for group, through in files.unshipped():
        world.database += group
        files.note_shipped(through)
    files.begin()
    world.journal_id = files.journal_id
    pen = Pen()
    waiting: list[Batch] = []
    shipped = files.written
    for turn in range(batches):
        batch = pen.offer()
        world.offered.append(batch)
        try:
            files.append(batch)
        except NoSpace:
            pen.writer.refused()
            world.refused.append(batch)
            continue
        except JournalUntrusted as cause:
            if not cause.perhaps_stored:
                world.refused.append(batch)
            world.database += waiting  # from memory
            break
        pen.writer.accepted()
        world.acknowledged.append(batch)
        waiting.append(batch)
        if turn % 3 == 2:
            world.database += waiting
            shipped += len(waiting)
            waiting.clear()
            try:
                files.note_shipped(shipped)
            except JournalUntrusted:
                break
    files.close()


def recover(world: World, disk: SimulatedDisk) -> None:
    """A start on a healthy disk, and once more, to see that it left nothing behind that troubles the next one."""
    for batches in (1, 0):
        disk = disk.after_kill()
        life(world, disk, batches)
    world.check()


def _calls_of_a_life() -> list[str]:
    world, disk = World(), SimulatedDisk()
    life(world, disk)
    return disk.calls


CALLS = _calls_of_a_life()


def test_a_whole_life_makes_every_kind_of_call() -> None:
    assert set(CALLS) == {
        *("make_directory", "create", "open", "write", "sync", "rename", "remove", "sync_directory"),
    }
    assert CALLS.count("create") > 3, "segments are begun"
    assert CALLS.count("remove") > 1, "and deleted"


@pytest.mark.parametrize("what", ["cut before", "cut after"])
def test_the_power_goes_at_any_call(what: str) -> None:
    for number in range(len(CALLS)):
        for seed in range(8):
            world, disk = World(), SimulatedDisk(at_call(number, what))
            with pytest.raises(PowerCut):
                life(world, disk)
            recover(world, disk.after_power_cut(random.Random(seed)))


def test_the_power_goes_again_while_a_start_recovers() -> None:
    chance = random.Random(7)
    for number in range(len(CALLS)):
        for second in range(25):
            world, disk = World(), SimulatedDisk(at_call(number, chance.choice(["cut before", "cut after"])))
            with pytest.raises(PowerCut):
                life(world, disk)
            disk = disk.after_power_cut(chance)
            disk.plan = at_call(second, chance.choice(["cut before", "cut after"]))
            with suppress(PowerCut):
                life(world, disk)
            recover(world, disk.after_power_cut(chance))


def test_the_power_goes_soon_after_a_refusal() -> None:
    """What was refused as definitely not stored does not come back from the disk."""
    for number in (n for n, name in enumerate(CALLS) if name == "write"):
        for short in ("short", "short by a byte"):
            for later in range(1, 8):
                plans = at_call(number, short), at_call(number + later, "cut before")
                for seed in range(4):
                    world = World()
                    disk = SimulatedDisk(lambda n, name, plans=plans: plans[0](n, name) or plans[1](n, name))
                    with suppress(PowerCut, JournalRefused):
                        life(world, disk)
                    recover(world, disk.after_power_cut(random.Random(seed)))


def test_the_process_dies_at_any_call() -> None:
    for number in range(len(CALLS)):
        for what in ("cut before", "cut after"):
            world, disk = World(), SimulatedDisk(at_call(number, what))
            with pytest.raises(PowerCut):
                life(world, disk)
            recover(world, disk)


@pytest.mark.parametrize("what", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "short", "short by a byte"])
@pytest.mark.parametrize("then", ["kill", "power"])
def test_any_call_fails(what: str, then: str) -> None:
    for number, name in enumerate(CALLS):
        if what.startswith("short") and name != "write":
            continue
        for seed in range(4):
            world, disk = World(), SimulatedDisk(at_call(number, what))
            try:
                life(world, disk)
            except JournalRefused as refused:
                assert not world.offered, f"only a start may be refused: {refused}"
            recover(world, disk.after_power_cut(random.Random(seed)) if then == "power" else disk)


def test_the_disk_stays_full_from_any_call_on() -> None:
    for number in range(len(CALLS)):

        def full(n: int, name: str, since: int = number) -> str:
            return "ENOSPC" if n >= since and name in ("write", "create") else ""

        world, disk = World(), SimulatedDisk(full)
        try:
            life(world, disk)
        except JournalRefused:
            assert not world.offered
        recover(world, disk)


def test_room_that_comes_back_is_used() -> None:
    number = len(CALLS) - 1 - CALLS[::-1].index("create")
    world, disk = World(), SimulatedDisk(at_call(number, "ENOSPC"))
    life(world, disk)
    assert len(world.refused) == 1
    assert len(world.acknowledged) == 7
    recover(world, disk)


def test_after_a_failed_sync_nothing_is_written_any_more() -> None:
    writes = [n for n, name in enumerate(CALLS) if name == "write"]
    number = next(n for n in range(writes[4], len(CALLS)) if CALLS[n] == "sync")
    world, disk = World(), SimulatedDisk(at_call(number, "EIO"))
    life(world, disk)
    assert disk.calls[-1] == "sync"
    assert len(disk.calls) == number + 1
    recover(world, disk)
