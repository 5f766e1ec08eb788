"""What proxies are told, as the role that proxies have."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from approvals.views import RevocationView
from proxy.live_grants import LiveGrants, Sync
from tests.approvals.world import Held, World, policy

WORKER = "wk_1"


class Proxy:
    """A worker: its connection, its view, and what it was told last."""

    def __init__(self, connection: Any, worker: str = WORKER) -> None:
        self._connection = connection
        self.worker = worker
        self.live = LiveGrants()

    async def sync(self) -> Sync:
        text = await self._connection.fetchval("SELECT approvals.proxy_sync($1, $2)", self.worker, self.live.version)
        told = msgspec.json.decode(text, type=Sync)
        self.live.apply(told, 0.0)
        return told


@pytest.fixture
async def proxy(world: World) -> Proxy:
    return Proxy(await world.database.connect("proxy"))


async def over_for(world: World, **by: float) -> None:
    """Let all grants that are over have been so for longer, which takes a superuser: triggers off."""
    async with world.owner.transaction():
        await world.owner.execute("SET LOCAL session_replication_role = replica")
        await world.owner.execute(
            "UPDATE approvals.access_grant SET over_since = over_since - $1::interval", timedelta(**by)
        )


async def state(world: World, grant: str) -> RevocationView | None:
    return (await world.service.queries.grant(grant)).revocation


async def test_the_first_answer_is_everything_and_the_next_only_what_changed(world: World, proxy: Proxy) -> None:
    grant = await world.active(resources=("public.*",))
    key = await world.key_for(grant)
    told = await proxy.sync()
    assert told.full
    assert told.version == await world.version()
    row = told.grants[0]
    assert (row.grant, row.request, row.subject, row.store) == (grant.id, grant.request, "ada", "customers-db")
    assert (row.scope.actions, row.scope.resources, row.state) == (("read",), ("public.*",), "active")
    assert (row.starts_at, row.ends_at, row.decision) == (grant.starts_at, grant.ends_at, grant.decision)
    assert [(k.key, k.grant, k.subject, k.live) for k in told.keys] == [(key.key, grant.id, "ada", True)]
    assert told.policy is not None
    in_force = await world.service.policy_in_force()
    assert in_force is not None
    assert told.policy.digest == in_force.digest

    told = await proxy.sync()
    assert (told.full, told.grants, told.keys, told.policy) == (False, [], [], None)

    await world.service.revoke("olga", grant.id, "", "cli")
    told = await proxy.sync()
    assert not told.full
    assert [(row.grant, row.state) for row in told.grants] == [(grant.id, "revoked")]
    assert [(k.key, k.live) for k in told.keys] == [(key.key, False)]
    live = proxy.live.grant(grant.id)
    assert live is not None
    assert live.state == "revoked"


async def test_keys_come_oldest_first(world: World, proxy: Proxy) -> None:
    for seed in (3, 1, 2):
        await world.key_for(await world.active(), seed)
    told = await proxy.sync()
    newest = proxy.live.key("customers-db", "ada")
    assert newest is not None
    assert newest.key == told.keys[-1].key
    assert len({k.key for k in told.keys}) == 3


async def test_a_new_worker_hears_of_what_was_over_within_the_hour(world: World, proxy: Proxy) -> None:
    grant = await world.active()
    await world.service.revoke("olga", grant.id, "", "cli")
    assert [row.state for row in (await proxy.sync()).grants] == ["revoked"]
    await over_for(world, hours=1)
    assert (await Proxy(proxy._connection, "wk_2").sync()).grants == []


@pytest.mark.parametrize("claims", [1, 10**6])
async def test_a_worker_with_a_claim_that_nobody_knows_of_is_told_everything(world: World, claims: int) -> None:
    """An unknown worker, or one from the future of a database that was restored."""
    await world.active()
    connection = await world.database.connect("proxy")
    known = Proxy(connection)
    if claims > 1:
        await known.sync()
    text = await connection.fetchval("SELECT approvals.proxy_sync($1, $2)", WORKER, claims)
    told = msgspec.json.decode(text, type=Sync)
    assert told.full
    assert len(told.grants) == 1
    # And it counts as having applied nothing, so that no revocation is taken for done because of it.
    assert await world.owner.fetchval("SELECT applied_version FROM approvals.proxy_worker") == 0


@pytest.mark.parametrize(("worker", "version"), [("", 0), ("w" * 65, 0), ("wk", -1)])
async def test_a_worker_that_talks_nonsense_is_refused(world: World, worker: str, version: int) -> None:
    connection = await world.database.connect("proxy")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await connection.fetchval("SELECT approvals.proxy_sync($1, $2)", worker, version)
    assert await connection.fetchval("SELECT approvals.proxy_sync(NULL, 0)") is None


async def test_a_policy_is_told_once(world: World, proxy: Proxy) -> None:
    assert (await proxy.sync()).policy is not None
    await world.service.adopt_policy(policy(("Incident", "Trouble")), "init")
    told = await proxy.sync()
    assert told.policy is not None
    assert '"Trouble"' in told.policy.document
    assert (await proxy.sync()).policy is None
    await world.service.adopt_policy(policy(("Incident", "Trouble")), "init")  # the same again
    assert (await proxy.sync()).policy is None


async def test_a_change_before_its_commit_is_not_told_and_not_skipped(world: World, proxy: Proxy) -> None:
    """Version order is commit order: a step that took its number early and commits late is still told."""
    first = await world.granted()
    second = await world.granted()
    await proxy.sync()
    before = proxy.live.version

    async def look() -> None:
        # While `first` is activated but not committed, another process's change cannot get past it.
        told = await proxy.sync()
        assert (told.version, told.grants) == (before, [])
        await world.second().activate("ada", second.id, "cli")

    await world.interleave(world.service.activate("ada", first.id, "cli"), look())
    told = await proxy.sync()
    assert told.version == before + 2
    assert [(row.grant, row.state) for row in told.grants] == [(first.id, "active"), (second.id, "active")]


async def test_under_load_a_view_of_differences_is_the_view_of_everything(world: World) -> None:
    proxy = Proxy(await world.database.connect("proxy"))
    grants = [await world.granted() for _ in range(8)]
    chance = random.Random(7)
    services = [world.service, world.second(), world.second()]
    done = asyncio.Event()

    async def live(seed: int, grant: str) -> None:
        await chance.choice(services).activate("ada", grant, "cli")
        await world.key_for(await world.service.queries.grant(grant), seed)
        if chance.random() < 0.6:
            await chance.choice(services).revoke("olga", grant, "", "cli")

    async def follow() -> None:
        seen = -1
        while not done.is_set():
            told = await proxy.sync()
            assert told.version >= seen
            seen = told.version
            await asyncio.sleep(0)

    follower = asyncio.ensure_future(follow())
    await asyncio.gather(*(live(seed, grant.id) for seed, grant in enumerate(grants, 1)))
    done.set()
    await follower
    await proxy.sync()
    fresh = Proxy(await world.database.connect("proxy"), "wk_fresh")
    everything = await fresh.sync()
    assert everything.version == proxy.live.version
    assert len(everything.grants) == 8
    for row in everything.grants:
        assert proxy.live.grant(row.grant) == fresh.live.grant(row.grant)
    for key in everything.keys:
        assert proxy.live.key("customers-db", "ada", key.key) == fresh.live.key("customers-db", "ada", key.key)


async def test_a_notification_says_the_version_and_nothing_else(world: World) -> None:
    connection = await world.database.connect("proxy")
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    await connection.add_listener("glassgate_sync", lambda _c, _p, channel, text: heard.put_nowait((channel, text)))
    grant = await world.granted()
    assert await asyncio.wait_for(heard.get(), 5) == ("glassgate_sync", str(await world.version()))
    await world.service.revoke("olga", grant.id, "secret words", "cli")
    assert await asyncio.wait_for(heard.get(), 5) == ("glassgate_sync", str(await world.version()))
    assert heard.empty()


async def test_a_notification_that_fails_does_not_undo_a_revocation(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await world.active()
    await proxy.sync()
    monkeypatch.setattr("approvals.transaction._NOTIFY", "SELECT 1/0, $1::text, $2::text")
    assert (await world.service.revoke("olga", grant.id, "", "cli")).state == "revoked"
    assert [row.state for row in (await proxy.sync()).grants] == ["revoked"]


async def test_a_revocation_is_done_when_every_worker_in_contact_enforces_it(world: World, proxy: Proxy) -> None:
    grant = await world.active()
    assert await state(world, grant.id) is None
    other = Proxy(await world.database.connect("proxy"), "wk_2")
    for worker in (proxy, other):
        await worker.sync()
        await worker.sync()
    await world.service.revoke("olga", grant.id, "", "cli")
    version = await world.version()
    assert await state(world, grant.id) == RevocationView("REVOKE_PENDING", version, ("wk_1", "wk_2"))
    await proxy.sync()  # told, but this call said what it enforced before
    assert await state(world, grant.id) == RevocationView("REVOKE_PENDING", version, ("wk_1", "wk_2"))
    await proxy.sync()
    assert await state(world, grant.id) == RevocationView("REVOKE_PENDING", version, ("wk_2",))
    # Ten seconds later wk_2 still calls and still does not enforce it.
    await over_for(world, seconds=11)
    assert await state(world, grant.id) == RevocationView("REVOKE_FAILED", version, ("wk_2",))
    # It stops calling: after the contact limit it serves nothing.
    await world.owner.execute(
        "UPDATE approvals.proxy_worker SET seen_at = seen_at - $1::interval WHERE worker = 'wk_2'",
        timedelta(seconds=10),
    )
    assert await state(world, grant.id) == RevocationView("REVOKE_DONE", version, ())


async def test_a_worker_that_came_later_does_not_hold_a_revocation_up(world: World, proxy: Proxy) -> None:
    grant = await world.active()
    await world.service.revoke("olga", grant.id, "", "cli")
    await proxy.sync()
    view = await state(world, grant.id)
    assert view is not None
    assert view.state == "REVOKE_DONE"


async def test_a_worker_that_came_before_the_commit_is_waited_for(world: World, proxy: Proxy) -> None:
    """The end is written and not yet committed: the first answer says that the grant lives, and it is served."""
    grant = await world.active()
    held = world.append.held = Held()
    revoking = asyncio.ensure_future(world.service.revoke("olga", grant.id, "", "cli"))
    await asyncio.wait_for(held.reached.wait(), 10)
    assert [row.state for row in (await proxy.sync()).grants] == ["active"]
    held.go.set()
    await revoking
    assert await state(world, grant.id) == RevocationView("REVOKE_PENDING", await world.version(), ("wk_1",))
    await proxy.sync()
    await proxy.sync()
    assert await state(world, grant.id) == RevocationView("REVOKE_DONE", await world.version(), ())


async def test_there_are_not_endless_workers(world: World, proxy: Proxy) -> None:
    await world.owner.execute(
        "INSERT INTO approvals.proxy_worker SELECT 'old_' || n, 0, 0, now() - interval '2 days' "
        "FROM generate_series(1, 10000) n"
    )
    await proxy.sync()
    assert await world.owner.fetchval("SELECT count(*) FROM approvals.proxy_worker") == 1
    await world.owner.execute(
        "INSERT INTO approvals.proxy_worker SELECT 'new_' || n, 0, 0, now() FROM generate_series(1, 10000) n"
    )
    await proxy.sync()  # who is known goes on
    with pytest.raises(asyncpg.ConfigurationLimitExceededError):
        await Proxy(proxy._connection, "wk_2").sync()
