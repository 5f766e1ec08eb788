"""Who counts closed grants, and when not: on a real log, with the sequencer's rights."""

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from glassgate.grant_sums import SETTLE_S, GrantSums
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import started
from ledger.lookup import index_step
from ledger.postgres import append_in
from tests.ledger.world import MEMBER, ORIGIN, LogWorld, drain
from tests.support.postgres import Database

DECISION = "d1" * 32


class _World:
    """A log in which gr_1 was issued and closed, and the hand that counts."""

    def __init__(self, database: Database) -> None:
        self.log = LogWorld(database)
        self.writer = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), trial=True, validate=validate)
        self.leads = True
        self.connections = 0

    async def begin(self) -> None:
        await self.log.begin()
        self.connection = await self.log.database.connect("sequencer")
        proxy = self.log.writer()
        issued = {
            "grant": "gr_1",
            "request": "req_1",
            "subject": "ada",
            "organisation": "acme",
            "store": "customers-db",
            "actions": ["read"],
            "resources": ["*"],
            "limits": {},
            "duration_s": 60,
            "use_by": "2026-03-01T13:00:00.000000Z",
            "assurance": "click",
            "decision": DECISION,
            "approvers": ["olga"],
        }
        progress = {"access": "ses_1", "bytes_out": 5, "rows": 0}
        closed = {"grant": "gr_1", "how": "ended"}
        drafts = [
            self.log.started(proxy),
            Draft("grant.issued", issued, grant=DECISION),
            Draft("access.progress", progress, grant=DECISION),
            Draft("grant.closed", closed, grant=DECISION),
        ]
        await self.log.insert(self.log.pack(proxy, drafts))

    def sums(self) -> GrantSums:
        return GrantSums(self.open, self.writer, self.log.clock, lambda: self.leads, self.pause)

    async def open(self) -> Any:
        self.connections += 1
        if self.connections == 1:
            raise OSError("nobody there yet")
        return await self.log.database.connect("sequencer")

    async def pause(self, _seconds: float) -> None:
        await self.number()

    async def number(self) -> None:
        sequencer = self.log.sequencer()
        assert await sequencer.lead()
        await drain(sequencer)
        sequencer.leave()
        while await index_step(self.connection):
            pass

    async def introduce(self) -> None:
        async with self.connection.transaction():
            draft = started(self.writer, self.log.host_key, role="sequencer", host="h1", version="0")
            await append_in(self.connection, [draft], writer=self.writer, now=self.log.clock.now())

    async def counted(self) -> int:
        return int(await self.connection.fetchval("SELECT count(*) FROM ledger.lookup WHERE kind = 'grant.summed'"))


async def test_a_writer_speaks_only_after_its_introduction(database: Database) -> None:
    world = _World(database)
    await world.begin()
    await world.number()
    world.log.clock.move(SETTLE_S)
    sums = world.sums()
    assert await sums.step(world.connection) == 0
    await world.introduce()
    assert await sums.step(world.connection) == 1
    await world.number()
    assert await sums.step(world.connection) == 0
    assert await world.counted() == 1
    # Another process that takes over finds it counted.
    assert await world.sums().step(world.connection) == 0


async def test_a_table_that_is_filled_anew_is_waited_for(database: Database) -> None:
    world = _World(database)
    await world.begin()
    await world.introduce()
    await world.number()
    world.log.clock.move(SETTLE_S)
    owner = await database.connect("owner")
    await owner.execute("TRUNCATE ledger.lookup")
    sums = world.sums()
    assert await index_step(world.connection, 4) == 4
    assert await sums.step(world.connection) == 0
    await world.number()
    assert await sums.step(world.connection) == 1


async def test_only_the_leader_counts_and_a_lost_connection_is_no_end(database: Database) -> None:
    world = _World(database)
    await world.begin()
    await world.introduce()
    await world.number()
    world.log.clock.move(SETTLE_S)
    world.leads = False
    looks = asyncio.Event()
    steps = 0

    async def pause(_seconds: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            assert await world.counted() == 0
            world.leads = True
        if steps == 5:
            looks.set()
            await asyncio.Event().wait()
        await world.number()

    world.pause = pause  # type: ignore[method-assign]
    task = asyncio.create_task(world.sums().run())
    await looks.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert world.connections == 2
    assert await world.counted() == 1
