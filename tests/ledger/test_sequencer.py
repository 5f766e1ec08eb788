"""The sequencer on a real database: exactly once, in order, and safe to kill at every step."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.batch import Writer, unpack
from ledger.boot import BootRefused
from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entry import Draft
from ledger.merkle import root_of
from ledger.note import Signer
from ledger.postgres import append_in, connect
from ledger.sequencer import GAP_S, HEARTBEAT_S, Deposed, Sequencer
from ledger.sources import DatabaseSource
from ledger.storage import Batch
from ledger.verify import Verdict, verify_log
from tests.ledger.world import MEMBER, ORIGIN, LogWorld, drain, read_draft, request_draft


async def _verify(world: LogWorld) -> Verdict:
    def run() -> Verdict:
        with DatabaseSource(world.database.dsn("reader")) as source:
            return verify_log(source, world.signer.verifier.vkey, [world.host_public], world.rules.validate)

    return await asyncio.to_thread(run)


@pytest.fixture
async def world(database: Any) -> LogWorld:
    made = LogWorld(database)
    await made.begin()
    return made


async def _started(world: LogWorld) -> Writer:
    writer = world.writer()
    await world.insert(world.pack(writer, [world.started(writer)]))
    return writer


async def _count(world: LogWorld, table: str) -> int:
    owner = await world.database.connect("owner")
    found = await owner.fetchval(f"SELECT count(*) FROM ledger.{table}")
    await owner.close()
    return int(found)


async def _faults(world: LogWorld) -> list[str]:
    owner = await world.database.connect("owner")
    rows = await owner.fetch("SELECT fault FROM ledger.quarantine ORDER BY id")
    await owner.close()
    return [row["fault"] for row in rows]


async def test_what_is_committed_is_numbered_and_leaves_the_queue(world: LogWorld) -> None:
    writer = await _started(world)
    await world.insert(world.pack(writer, [read_draft(), request_draft()]))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 4
    assert await _count(world, "entry_batch") == 0
    assert await _count(world, "quarantine") == 0
    verdict = await _verify(world)
    assert verdict.ok, verdict.first
    assert (verdict.size, verdict.entries, verdict.writers) == (4, 4, 2)
    sequencer.leave()
    assert await sequencer.lead()
    assert sequencer.tally.size == 4
    sequencer.leave()


async def test_full_tiles_only_are_stored_and_survive_a_new_term(world: LogWorld) -> None:
    writer = await _started(world)
    sequencer = world.sequencer()
    for flush in (300, 500, 1, 255, 700):
        await world.insert(*(world.pack(writer, [read_draft()] * n) for n in (flush // 2, flush - flush // 2) if n))
        assert await sequencer.lead()  # a new term each time: the edge is reloaded from its rows
        await drain(sequencer)
    sequencer.leave()
    assert await _count(world, "entry") == 1758
    assert await _count(world, "tile") == 6
    assert (await _verify(world)).ok


async def test_a_resent_batch_counts_once(world: LogWorld) -> None:
    writer = await _started(world)
    batch = world.pack(writer, [read_draft(), read_draft()])
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await world.insert(batch, batch)
    assert await drain(sequencer) == 4
    await world.insert(batch)
    assert await drain(sequencer) == 0
    assert sequencer.tally.duplicates == 2
    assert await _count(world, "entry_batch") == 0
    assert await _faults(world) == []
    sequencer.leave()


async def test_another_batch_under_taken_counters_is_a_conflict_and_ends_its_writer(world: LogWorld) -> None:
    writer = await _started(world)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    prev = writer.prev
    await world.insert(world.pack(writer, [read_draft("ada")]))
    assert await drain(sequencer) == 1
    writer.next_counter, writer.prev = 1, prev
    await world.insert(world.pack(writer, [read_draft("eve")]))
    assert await drain(sequencer) == 0
    assert await _faults(world) == ["conflict"]
    await world.insert(world.pack(writer, [read_draft()]))
    await drain(sequencer)
    assert await _faults(world) == ["conflict", "writer_stopped"]
    sequencer.leave()
    assert (await _verify(world)).ok


async def test_a_gap_waits_for_what_is_missing(world: LogWorld) -> None:
    writer = await _started(world)
    first, second, third = (world.pack(writer, [read_draft(who)]) for who in ("ada", "bob", "eve"))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    await world.insert(third, second)
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S - 1)
    await world.insert(first)
    assert await drain(sequencer) == 3
    assert await _faults(world) == []
    sequencer.leave()
    assert (await _verify(world)).ok


async def test_a_gap_that_nobody_fills_is_quarantined(world: LogWorld) -> None:
    writer = await _started(world)
    world.pack(writer, [read_draft()])  # lost
    late = world.pack(writer, [read_draft()])
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    await world.insert(late)
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S)
    await sequencer.step()
    assert await _faults(world) == ["gap"]
    assert await _count(world, "entry_batch") == 0
    sequencer.leave()


def _forged_row(world: LogWorld, victim: Writer) -> Batch:
    """As anybody with the proxy's database role can insert it: another key under a known writer's id."""
    forger = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), True, next_counter=1, prev="00" * 32)  # type: ignore[arg-type]
    forger.release = ""
    forger.trial = True
    forger.writer_id = victim.writer_id
    return forger.pack([read_draft("planted")], world.clock.now(), os.urandom)


async def test_a_stranger_cannot_write_for_a_writer_nor_stop_it(world: LogWorld) -> None:
    writer = await _started(world)
    honest = world.pack(writer, [read_draft()])
    await world.insert(
        _forged_row(world, writer), Batch(ORIGIN, writer.writer_id, 1, 1, b"junk"), Batch("other/log", "x", 0, 1, b"")
    )
    await world.insert(honest)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 3
    assert await _faults(world) == ["not_signed", "malformed", "malformed"]
    sequencer.leave()
    assert (await _verify(world)).ok


async def test_a_writer_without_a_trusted_host_is_refused(world: LogWorld) -> None:
    stranger = LogWorld(world.database)
    writer = stranger.writer()
    await world.insert(stranger.pack(writer, [stranger.started(writer), read_draft()]))
    unintroduced = world.writer()
    await world.insert(world.pack(unintroduced, [read_draft()]))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 1
    assert await _faults(world) == ["not_certified", "not_certified"]
    sequencer.leave()


async def test_an_unknown_kind_is_quarantined_with_its_writer_and_recorded(world: LogWorld) -> None:
    own = world.writer()
    connection = await world.database.connect("sequencer")
    async with connection.transaction():
        await append_in(connection, [world.started(own)], writer=own, now=world.clock.now())
    writer = await _started(world)
    await world.insert(world.pack(writer, [Draft("no.such", {"x": 1})]))
    sequencer = world.sequencer(writer=own)
    assert await sequencer.lead()
    assert await drain(sequencer) == 4  # with the record of the rejection
    assert await _faults(world) == ["schema"]
    owner = await world.database.connect("owner")
    facts = await owner.fetchval("SELECT convert_from(facts, 'UTF8') FROM ledger.body ORDER BY idx DESC LIMIT 1")
    assert '"fault":"schema"' in facts and writer.writer_id in facts
    sequencer.leave()
    assert (await _verify(world)).ok


async def test_nothing_is_numbered_before_the_log_was_created(database: Any) -> None:
    world = LogWorld(database)
    writer = await _started(world)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S * 2)
    await world.begin()
    await world.begin()  # idempotent
    assert await drain(sequencer) + await drain(sequencer) == 2
    await world.insert(world.pack(writer, [read_draft()]))
    assert await drain(sequencer) == 1
    assert await _faults(world) == []
    sequencer.leave()
    assert (await _verify(world)).ok


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
    await _started(world)
    old, new = world.sequencer(), world.sequencer()
    assert await old.lead()
    # What a silently broken connection does: the lock is gone, its holder still thinks it leads.
    await old._term.connection.execute("SELECT pg_advisory_unlock_all()")  # type: ignore[union-attr]
    assert await new.lead()
    with pytest.raises(Deposed, match="another epoch"):
        await old.step()
    assert await drain(new) == 2
    new.leave()
    assert (await _verify(world)).ok


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
    writer = await _started(world)
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
    assert await _faults(world) == []
    verdict = await _verify(world)
    assert verdict.ok, verdict.first
    assert verdict.size == expected


async def test_rounds_that_overlap_count_once_as_well(world: LogWorld) -> None:
    """Under load a round is checked while the one before it is being committed; a resent batch may fall into it."""
    writer = await _started(world)
    batches = [world.pack(writer, [read_draft()] * 100) for _ in range(30)]
    twice = [batch for i in range(0, 30, 3) for batch in (batches[i : i + 3] * 2)]
    await world.insert(*twice)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    async with asyncio.timeout(30):
        while sequencer.tally.size < 3002 or await _count(world, "entry_batch"):
            await sequencer.step()
    assert sequencer.tally.duplicates == 30
    assert await _faults(world) == []
    sequencer.leave()
    assert (await _verify(world)).ok


async def test_dying_while_rounds_overlap(world: LogWorld) -> None:
    writer = await _started(world)
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
    assert await _faults(world) == []
    assert (await _verify(world)).ok


async def test_a_grant_precedes_what_was_done_under_it(world: LogWorld) -> None:
    """Cause before effect: whoever saw a commit and then records is numbered behind it."""
    approvals = world.writer()
    connection = await world.database.connect("approvals")
    async with connection.transaction():
        await append_in(connection, [world.started(approvals)], writer=approvals, now=world.clock.now())
    proxy = await _started(world)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    for _ in range(20):
        async with connection.transaction():
            [grant] = await append_in(connection, [read_draft("grant")], writer=approvals, now=world.clock.now())
        await world.insert(world.pack(proxy, [read_draft("access", grant)]))
        await sequencer.step()
    await drain(sequencer)
    sequencer.leave()
    owner = await world.database.connect("owner")
    order = [row["facts"] for row in await owner.fetch("SELECT facts FROM ledger.body ORDER BY idx")]
    assert [b'"grant"' in facts for facts in order[3:]] == [True, False] * 20


async def test_a_rollback_gives_the_counters_back(world: LogWorld) -> None:
    writer = world.writer()
    connection = await world.database.connect("approvals")
    async with connection.transaction():
        await append_in(connection, [world.started(writer)], writer=writer, now=world.clock.now())
    with pytest.raises(RuntimeError, match="changed my mind"):
        async with connection.transaction():
            await append_in(connection, [read_draft("never")], writer=writer, now=world.clock.now())
            raise RuntimeError("changed my mind")
    async with connection.transaction():
        ids = await append_in(connection, [read_draft(), read_draft()], writer=writer, now=world.clock.now())
        ids += await append_in(connection, [read_draft()], writer=writer, now=world.clock.now())
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 5
    sequencer.leave()
    owner = await world.database.connect("owner")
    stubs = [bytes(row["leaf"]).decode() for row in await owner.fetch("SELECT leaf FROM ledger.entry ORDER BY idx")]
    assert all(entry_id in stub for entry_id, stub in zip(ids, stubs[2:], strict=True))
    assert (await _verify(world)).ok


async def test_append_in_needs_a_transaction(world: LogWorld) -> None:
    connection = await world.database.connect("approvals")
    with pytest.raises(RuntimeError, match="inside a transaction"):
        await append_in(connection, [read_draft()], writer=world.writer(), now=world.clock.now())


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
    writer = await _started(world)
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
    writer = await _started(world)
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
    writer = await _started(world)
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


def test_unpack_of_a_packed_batch(database: Any) -> None:
    world = LogWorld(database)
    writer = world.writer()
    batch = world.pack(writer, [world.started(writer), request_draft()])
    entries = unpack(batch.data)
    assert [entry.stub.kind for entry in entries] == ["process.started", "request.created"]
