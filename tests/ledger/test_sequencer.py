"""The sequencer on a real database: exactly once, in order, and safe to kill at every step."""

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.batch import Writer, unpack
from ledger.entry import Draft
from ledger.postgres import append_in
from ledger.sequencer import GAP_S
from ledger.storage import Batch
from tests.ledger.world import (
    MEMBER,
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


async def test_what_is_committed_is_numbered_and_leaves_the_queue(world: LogWorld) -> None:
    writer = await started_writer(world)
    await world.insert(world.pack(writer, [read_draft(), request_draft()]))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 4
    assert await count(world, "entry_batch") == 0
    assert await count(world, "quarantine") == 0
    verdict = await verified(world)
    assert verdict.ok, verdict.first
    assert (verdict.size, verdict.entries, verdict.writers) == (4, 4, 2)
    sequencer.leave()
    assert await sequencer.lead()
    assert sequencer.tally.size == 4
    sequencer.leave()


async def test_full_tiles_only_are_stored_and_survive_a_new_term(world: LogWorld) -> None:
    writer = await started_writer(world)
    sequencer = world.sequencer()
    for flush in (300, 500, 1, 255, 700):
        await world.insert(*(world.pack(writer, [read_draft()] * n) for n in (flush // 2, flush - flush // 2) if n))
        assert await sequencer.lead()  # a new term each time: the edge is reloaded from its rows
        await drain(sequencer)
    sequencer.leave()
    assert await count(world, "entry") == 1758
    assert await count(world, "tile") == 6
    assert (await verified(world)).ok


async def test_a_resent_batch_counts_once(world: LogWorld) -> None:
    writer = await started_writer(world)
    batch = world.pack(writer, [read_draft(), read_draft()])
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await world.insert(batch, batch)
    assert await drain(sequencer) == 4
    await world.insert(batch)
    assert await drain(sequencer) == 0
    assert sequencer.tally.duplicates == 2
    assert await count(world, "entry_batch") == 0
    assert await quarantined(world) == []
    sequencer.leave()


async def test_another_batch_under_taken_counters_is_a_conflict_and_ends_its_writer(world: LogWorld) -> None:
    writer = await started_writer(world)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    prev = writer.prev
    await world.insert(world.pack(writer, [read_draft("ada")]))
    assert await drain(sequencer) == 1
    writer.next_counter, writer.prev = 1, prev
    await world.insert(world.pack(writer, [read_draft("eve")]))
    assert await drain(sequencer) == 0
    assert await quarantined(world) == ["conflict"]
    await world.insert(world.pack(writer, [read_draft()]))
    await drain(sequencer)
    assert await quarantined(world) == ["conflict", "writer_stopped"]
    sequencer.leave()
    assert (await verified(world)).ok


async def test_a_gap_waits_for_what_is_missing(world: LogWorld) -> None:
    writer = await started_writer(world)
    first, second, third = (world.pack(writer, [read_draft(who)]) for who in ("ada", "bob", "eve"))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    await world.insert(third, second)
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S - 1)
    await world.insert(first)
    assert await drain(sequencer) == 3
    assert await quarantined(world) == []
    sequencer.leave()
    assert (await verified(world)).ok


async def test_a_gap_that_nobody_fills_is_quarantined(world: LogWorld) -> None:
    writer = await started_writer(world)
    world.pack(writer, [read_draft()])  # lost
    late = world.pack(writer, [read_draft()])
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    await world.insert(late)
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S)
    await sequencer.step()
    assert await quarantined(world) == ["gap"]
    assert await count(world, "entry_batch") == 0
    sequencer.leave()


def _forged_row(world: LogWorld, victim: Writer) -> Batch:
    """As anybody with the proxy's database role can insert it: another key under a known writer's id."""
    forger = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), True, next_counter=1, prev="00" * 32)  # type: ignore[arg-type]
    forger.release = ""
    forger.trial = True
    forger.writer_id = victim.writer_id
    return forger.pack([read_draft("planted")], world.clock.now(), os.urandom)


async def test_a_stranger_cannot_write_for_a_writer_nor_stop_it(world: LogWorld) -> None:
    writer = await started_writer(world)
    honest = world.pack(writer, [read_draft()])
    await world.insert(
        _forged_row(world, writer), Batch(ORIGIN, writer.writer_id, 1, 1, b"junk"), Batch("other/log", "x", 0, 1, b"")
    )
    await world.insert(honest)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 3
    assert await quarantined(world) == ["not_signed", "malformed", "malformed"]
    sequencer.leave()
    assert (await verified(world)).ok


async def test_a_writer_without_a_trusted_host_is_refused(world: LogWorld) -> None:
    stranger = LogWorld(world.database)
    writer = stranger.writer()
    await world.insert(stranger.pack(writer, [stranger.started(writer), read_draft()]))
    unintroduced = world.writer()
    await world.insert(world.pack(unintroduced, [read_draft()]))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 1
    assert await quarantined(world) == ["not_certified", "not_certified"]
    sequencer.leave()


async def test_an_unknown_kind_is_quarantined_with_its_writer_and_recorded(world: LogWorld) -> None:
    own = world.writer()
    connection = await world.database.connect("sequencer")
    async with connection.transaction():
        await append_in(connection, [world.started(own)], writer=own, now=world.clock.now())
    writer = await started_writer(world)
    await world.insert(world.pack(writer, [Draft("no.such", {"x": 1})]))
    sequencer = world.sequencer(writer=own)
    assert await sequencer.lead()
    assert await drain(sequencer) == 4  # with the record of the rejection
    assert await quarantined(world) == ["schema"]
    owner = await world.database.connect("owner")
    facts = await owner.fetchval("SELECT convert_from(facts, 'UTF8') FROM ledger.body ORDER BY idx DESC LIMIT 1")
    assert '"fault":"schema"' in facts and writer.writer_id in facts
    sequencer.leave()
    assert (await verified(world)).ok


async def test_nothing_is_numbered_before_the_log_was_created(database: Any) -> None:
    world = LogWorld(database)
    writer = await started_writer(world)
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == 0
    world.clock.move(GAP_S * 2)
    await world.begin()
    await world.begin()  # idempotent
    assert await drain(sequencer) + await drain(sequencer) == 2
    await world.insert(world.pack(writer, [read_draft()]))
    assert await drain(sequencer) == 1
    assert await quarantined(world) == []
    sequencer.leave()
    assert (await verified(world)).ok


async def test_a_grant_precedes_what_was_done_under_it(world: LogWorld) -> None:
    """Cause before effect: whoever saw a commit and then records is numbered behind it."""
    approvals = world.writer()
    connection = await world.database.connect("approvals")
    async with connection.transaction():
        await append_in(connection, [world.started(approvals)], writer=approvals, now=world.clock.now())
    proxy = await started_writer(world)
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
    assert (await verified(world)).ok


async def test_append_in_needs_a_transaction(world: LogWorld) -> None:
    connection = await world.database.connect("approvals")
    with pytest.raises(RuntimeError, match="inside a transaction"):
        await append_in(connection, [read_draft()], writer=world.writer(), now=world.clock.now())


def test_unpack_of_a_packed_batch(database: Any) -> None:
    world = LogWorld(database)
    writer = world.writer()
    batch = world.pack(writer, [world.started(writer), request_draft()])
    entries = unpack(batch.data)
    assert [entry.stub.kind for entry in entries] == ["process.started", "request.created"]
