"""A sequencer's term on a real database: one leader, safe to kill at every step, and no start on a damaged log."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.boot import BootRefused
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.merkle import root_of
from ledger.note import Signer
from ledger.postgres import connect
from ledger.sequencer import HEARTBEAT_S, Deposed, Sequencer
from tests.ledger.world import (
    ORIGIN,
    LogWorld,
    count,
    drain,
    quarantined,
    read_draft,
    request_draft,
    started_writer,
    verified,
)


@pytest.fixture
async def world(database: Any) -> LogWorld:
    made = LogWorld(database)
    await made.begin()
    return made


async def test_two_sequencers_one_leader(world: LogWorld) -> None:
    first, second = world.sequencer(), world.sequencer()
    assert await first.lead()
    assert not await second.lead()
    first.leave()
    await _until(second.lead)
    await drain(second)
    second.leave()


async def _until(attempt: Callable[[], Any]) -> None:
    """The server notices a closed connection when it next reads from it: a moment later."""
    async with asyncio.timeout(5):
        while not await attempt():
            await asyncio.sleep(0.01)


async def test_a_leader_that_lost_its_lock_cannot_profit_from_it(world: LogWorld) -> None:
    await started_writer(world)
    old, new = world.sequencer(), world.sequencer()
    assert await old.lead()
    # What a silently broken connection does: the lock is gone, its holder still thinks it leads.
    await old._term.connection.execute("SELECT pg_advisory_unlock_all()")  # type: ignore[union-attr]
    assert await new.lead()
    with pytest.raises(Deposed, match="another epoch"):
        await old.step()
    assert await drain(new) == 2
    new.leave()
    assert (await verified(world)).ok


class _Fragile:
    """A connection that dies at its nth call, before or after the call has been carried out."""

    def __init__(self, connection: Any, dies_at: int, after: bool) -> None:
        self._connection = connection
        self._left = dies_at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchval", "fetchrow", "copy_records_to_table"):
            return attribute

        async def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                if self._after:
                    await attribute(*arguments, **options)
                self._connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("killed")
            return await attribute(*arguments, **options)

        return call

    def transaction(self) -> Any:
        return _Transaction(self)


class _Transaction:
    """BEGIN and COMMIT as calls of their own, so that they can be died at too."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        await self._connection.execute("BEGIN")

    async def __aexit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            await self._connection.execute("COMMIT")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_dying_at_every_step_loses_and_doubles_nothing(world: LogWorld, after: bool) -> None:
    writer = await started_writer(world)
    expected = 2
    for dies_at in range(1, 40):
        batches = [world.pack(writer, [read_draft(), request_draft()]), world.pack(writer, [read_draft()] * 40)]
        await world.insert(*batches, batches[0])
        expected += 42
        deaths = 0
        state = {"fragile": True}

        async def open_connection(dies_at: int = dies_at, state: dict[str, bool] = state) -> Any:
            connection = await connect(world.database.dsn("sequencer"))
            if not state["fragile"]:
                return connection
            state["fragile"] = False
            return _Fragile(connection, dies_at, after)

        sequencer = world.sequencer(connect=open_connection)
        for _ in range(100):
            try:
                if not await sequencer.lead():
                    await asyncio.sleep(0.01)
                    continue
                await drain(sequencer)
                break
            except Deposed:
                deaths += 1
        sequencer.leave()
        assert sequencer.tally.size == expected
        if not deaths:
            break
    else:
        pytest.fail("no round ever ended without dying")
    assert dies_at > 9
    assert await quarantined(world) == []
    verdict = await verified(world)
    assert verdict.ok, verdict.first
    assert verdict.size == expected


async def test_rounds_that_overlap_count_once_as_well(world: LogWorld) -> None:
    """Under load a round is checked while the one before it is being committed; a resent batch may fall into it."""
    writer = await started_writer(world)
    batches = [world.pack(writer, [read_draft()] * 100) for _ in range(30)]
    twice = [batch for i in range(0, 30, 3) for batch in (batches[i : i + 3] * 2)]
    await world.insert(*twice)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    async with asyncio.timeout(30):
        while sequencer.tally.size < 3002 or await count(world, "entry_batch"):
            await sequencer.step()
    assert sequencer.tally.duplicates == 30
    assert await quarantined(world) == []
    sequencer.leave()
    assert (await verified(world)).ok


async def test_dying_while_rounds_overlap(world: LogWorld) -> None:
    writer = await started_writer(world)
    expected = 2
    for dies_at in range(8, 26, 2):
        await world.insert(*(world.pack(writer, [read_draft()] * 300) for _ in range(5)))
        expected += 1500
        opened: list[Any] = []

        async def open_connection(dies_at: int = dies_at, opened: list[Any] = opened) -> Any:
            connection = await connect(world.database.dsn("sequencer"))
            opened.append(connection)
            return _Fragile(connection, dies_at, dies_at % 4 == 0) if len(opened) == 1 else connection

        sequencer = world.sequencer(connect=open_connection)
        async with asyncio.timeout(30):
            while sequencer.tally.size < expected:
                try:
                    if not sequencer.tally.leading and not await sequencer.lead():
                        await asyncio.sleep(0.01)
                        continue
                    await sequencer.step()
                except Deposed:
                    continue
        sequencer.leave()
        assert sequencer.tally.size == expected
    assert await quarantined(world) == []
    assert (await verified(world)).ok


async def test_heartbeat_renews_the_head_without_entries(world: LogWorld) -> None:
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    owner = await world.database.connect("owner")
    before = await owner.fetchrow("SELECT note, signed_at FROM ledger.head")
    world.clock.move(HEARTBEAT_S + 1)
    await sequencer.step()
    after = await owner.fetchrow("SELECT note, signed_at FROM ledger.head")
    assert after["note"] == before["note"]
    assert after["signed_at"] > before["signed_at"]
    open_checkpoint(after["note"], world.signer.verifier)
    sequencer.leave()


DAMAGE = {
    "another size": ("UPDATE ledger.head SET size = size + 1", "another size or root"),
    "another root": ("UPDATE ledger.head SET root = sha256('x')", "another size or root"),
    "another note": ("UPDATE ledger.head SET note = overlay(note placing 'x' from 3)", "the stored checkpoint"),
    "another log": ("UPDATE ledger.head SET log = 'x'", "holds the log 'x'"),
    "a missing newest entry": (
        "DELETE FROM ledger.entry WHERE idx = (SELECT max(idx) FROM ledger.entry)",
        "the newest entry is 298",
    ),
    "a missing entry": ("DELETE FROM ledger.entry WHERE idx = 290", "entry 290 is missing"),
    "a planted entry": ("INSERT INTO ledger.entry VALUES (300, 'x', sha256('x'))", "the newest entry is 300"),
    "another leaf": ("UPDATE ledger.entry SET leaf = leaf || '\\x00' WHERE idx = 280", "entry 280 is missing or not"),
    "another hash": ("UPDATE ledger.entry SET leaf_hash = sha256('x') WHERE idx = 280", "entry 280 is missing or not"),
    "another leaf and hash": (
        "UPDATE ledger.entry SET leaf = 'x', leaf_hash = sha256('\\x0078') WHERE idx = 280",
        "do not add up",
    ),
    "another tile": (
        "UPDATE ledger.tile SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1)",
        "tile 0/0 is missing or",
    ),
    "another tile's root": ("UPDATE ledger.tile SET root = sha256('x')", "tile 0/0 is missing or"),
    "no tile": ("DELETE FROM ledger.tile", "tile 0/0 is missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_log_is_not_continued(world: LogWorld, damage: str) -> None:
    writer = await started_writer(world)
    await world.insert(world.pack(writer, [read_draft()] * 298))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 300
    sequencer.leave()
    sql, complaint = DAMAGE[damage]
    owner = await world.database.connect("owner")
    await owner.execute(sql)
    with pytest.raises(BootRefused, match=complaint):
        await _until(sequencer.lead)


async def test_a_log_of_another_key_is_not_continued(world: LogWorld) -> None:
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    sequencer.leave()
    world.log_key = Ed25519PrivateKey.generate()
    with pytest.raises(BootRefused, match="signed by no known key"):
        await _until(world.sequencer().lead)


async def test_a_restored_backup_is_not_continued(world: LogWorld) -> None:
    writer = await started_writer(world)
    await world.insert(world.pack(writer, [read_draft()] * 300))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    sequencer.leave()
    owner = await world.database.connect("owner")
    hashes = [row["leaf_hash"] for row in await owner.fetch("SELECT leaf_hash FROM ledger.entry ORDER BY idx")]
    for size in (0, 1, 255, 256, 257, 302):
        right = world.sequencer(floor=Checkpoint(ORIGIN, size, root_of(hashes[:size])))
        await _until(right.lead)
        right.leave()
    ahead = world.sequencer(floor=Checkpoint(ORIGIN, 303, root_of(hashes)))
    with pytest.raises(BootRefused, match="302 entries, but 303 were cosigned: this is an older copy"):
        await _until(ahead.lead)
    other = world.sequencer(floor=Checkpoint(ORIGIN, 257, root_of(hashes[1:258])))
    with pytest.raises(BootRefused, match="another history"):
        await _until(other.lead)


def test_the_log_keys_name_is_the_origin(database: Any) -> None:
    world = LogWorld(database)
    with pytest.raises(ValueError, match="the log key's name is the log's origin"):
        Sequencer(None, Signer("other", world.log_key), world.rules, world.clock)  # type: ignore[arg-type]


async def test_run_takes_terms_until_cancelled_and_polls(world: LogWorld) -> None:
    pauses: list[float] = []
    numbered: list[int] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    sequencer = world.sequencer(pause=pause, on_numbered=numbered.append)
    task = asyncio.create_task(sequencer.run())
    writer = await started_writer(world)
    async with asyncio.timeout(10):
        while sequencer.tally.size < 2 or 0.05 not in pauses:
            await asyncio.sleep(0.001)
        # The connection dies under it: the next term goes on.
        await sequencer._term.connection.close()  # type: ignore[union-attr]
        await world.insert(world.pack(writer, [read_draft()]))
        while sequencer.tally.size < 3:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert numbered[-1] == 3
    assert sequencer.tally.terms >= 2
    assert {0.005, 0.05, 1.0} <= set(pauses)
    assert not sequencer.tally.leading
