"""The line to approvals, against real PostgreSQL as the proxy's own role: late is noticed, lost is found again."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from approvals.reasons import Reason
from approvals.scope import Scope
from ledger.encoding import encode
from proxy.live_grants import STALE_S, GrantRow, LiveGrants, PolicyRow, Sync
from proxy.stores import PolicyRefused
from proxy.sync import CHANNEL, ProxySync
from tests.support.postgres import Database


class MovableClock:
    """Real time plus what the test adds."""

    def __init__(self) -> None:
        self.added = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def unix(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.added


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock()
        self.live = LiveGrants()
        self.policies: asyncio.Queue[PolicyRow] = asyncio.Queue()
        self.connections: list[Any] = []
        self.reachable = True
        self.refuse: Exception | None = None
        self.sync = ProxySync("wk_test", self.live, self.clock, self.connect, self.on_policy)
        self.task = asyncio.create_task(self.sync.run())

    async def connect(self) -> Any:
        if not self.reachable:
            raise ConnectionRefusedError("nobody there")
        connection = await asyncpg.connect(self.database.dsn("proxy"))
        self.connections.append(connection)
        return connection

    def on_policy(self, row: PolicyRow) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.policies.put_nowait(row)

    async def policy(self) -> PolicyRow:
        return await asyncio.wait_for(self.policies.get(), 20)

    async def fresh(self) -> None:
        happened = asyncio.Event()
        self.sync.when_fresh(happened.set, timeout_s=20)
        await asyncio.wait_for(happened.wait(), 25)
        assert self.live.freshness(self.clock.monotonic()) == "fresh"

    async def adopt(self, name: str) -> str:
        """What approvals does when a policy comes into force."""
        document = encode({"name": name}).decode()
        digest = hashlib.sha256(document.encode()).hexdigest()
        owner = await self.database.connect("owner")
        async with owner.transaction():
            version = await owner.fetchval("UPDATE approvals.sync_version SET version = version + 1 RETURNING version")
            await owner.execute(
                "INSERT INTO approvals.policy_version (digest, document, adopted_at, adopted_by, sync_version)"
                " VALUES ($1, $2, now(), 'test', $3)",
                digest,
                document,
                version,
            )
            await owner.execute("SELECT pg_notify($1, $2)", CHANNEL, str(version))
        return digest


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    made = World(database)
    yield made
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.task


def active(name: str) -> Sync:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    row = GrantRow(
        name,
        "req_1",
        "ada",
        "crm",
        Scope("crm", ("read",)),
        "active",
        now,
        now.replace(year=2999),
        "d",
        "e",
        "click",
        "",
    )
    return Sync(version=0, full=False, grants=[row], keys=[])


async def test_what_changes_arrives_and_is_acknowledged(world: World) -> None:
    first = await world.adopt("one")
    assert (await world.policy()).digest == first
    second = await world.adopt("two")
    assert (await world.policy()).digest == second
    await world.fresh()
    assert world.live.version == 2
    await world.fresh()
    owner = await world.database.connect("owner")
    assert await owner.fetchval("SELECT applied_version FROM approvals.proxy_worker WHERE worker = 'wk_test'") == 2


async def test_a_killed_connection_is_replaced(world: World) -> None:
    await world.adopt("one")
    await world.policy()
    superuser = await world.database.connect("superuser")
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'glassgate_proxy' AND datname = current_database()"
    )
    digest = await world.adopt("two")
    assert (await world.policy()).digest == digest
    assert len(world.connections) >= 2


async def test_a_call_that_hangs_is_given_up_and_tried_again(world: World) -> None:
    await world.fresh()
    owner = await world.database.connect("owner")
    async with owner.transaction():
        await owner.execute("LOCK TABLE approvals.proxy_worker IN ACCESS EXCLUSIVE MODE")
        seen = len(world.connections)
        async with asyncio.timeout(20):
            while len(world.connections) == seen:
                await asyncio.sleep(0.02)
    await world.fresh()


async def test_without_contact_the_view_goes_stale_and_everything_is_cut(world: World) -> None:
    await world.fresh()
    world.live.apply(active("gr_1"), world.clock.monotonic())
    told: asyncio.Queue[Reason] = asyncio.Queue()
    world.live.watch("gr_1", told.put_nowait)
    world.reachable = False
    world.connections[-1].terminate()
    world.clock.added += STALE_S
    assert await asyncio.wait_for(told.get(), 20) is Reason.VIEW_STALE
    world.reachable = True
    await world.fresh()
    assert world.live.grant("gr_1") is not None


async def test_a_restored_backup_does_not_refresh_the_view(world: World) -> None:
    await world.adopt("one")
    await world.adopt("two")
    async with asyncio.timeout(20):
        while world.live.version != 2:
            await asyncio.sleep(0.02)
    owner = await world.database.connect("owner")
    await owner.execute("UPDATE approvals.sync_version SET version = 1")
    called = asyncio.Event()
    give_up = world.sync.when_fresh(called.set, timeout_s=60)
    world.clock.added += 1.5  # the view is late, and only a report could make it fresh
    before = await owner.fetchval("SELECT seen_at FROM approvals.proxy_worker WHERE worker = 'wk_test'")
    async with asyncio.timeout(20):
        while await owner.fetchval("SELECT seen_at FROM approvals.proxy_worker WHERE worker = 'wk_test'") == before:
            await asyncio.sleep(0.02)
    assert world.live.version == 2
    assert world.live.freshness(world.clock.monotonic()) != "fresh"
    give_up()


async def test_a_policy_that_is_refused_is_not_applied(world: World) -> None:
    await world.fresh()
    world.refuse = PolicyRefused("not what its digest says")
    await world.adopt("bad")
    connections = len(world.connections)
    async with asyncio.timeout(20):
        while len(world.connections) == connections:
            await asyncio.sleep(0.02)
    assert world.live.version == 0
    world.refuse = None
    await world.policy()


async def test_who_waits_is_called_once_or_not_at_all(world: World) -> None:
    world.reachable = False
    calls: list[str] = []
    timed_out = asyncio.Event()
    give_up = world.sync.when_fresh(lambda: calls.append("given up"), timeout_s=20)
    give_up()
    world.sync.when_fresh(timed_out.set, timeout_s=0.01)
    await asyncio.wait_for(timed_out.wait(), 20)
    assert calls == []


async def test_a_forged_notification_only_makes_it_ask(world: World) -> None:
    await world.fresh()
    stranger = await world.database.connect("reader")
    await stranger.execute("SELECT pg_notify($1, '999999')", CHANNEL)
    await world.fresh()
    assert world.live.version == 0
