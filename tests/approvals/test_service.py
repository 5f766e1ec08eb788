"""The life of a request and of its grant, against a real database, step by step with its entries."""

from datetime import timedelta
from typing import Any

import pytest

from approvals.decisions import Narrowing
from approvals.errors import Refusal
from approvals.reasons import Reason
from approvals.service import Approvals
from approvals.tokens import verify
from ledger.postgres import append_in
from tests.approvals.world import ISSUER, START, World, asked, make_writer, policy


async def refused(reason: Reason, awaitable: object) -> Refusal:
    """The refusal that comes out, which must be for that reason."""
    with pytest.raises(Refusal) as caught:
        await awaitable  # type: ignore[misc]
    assert caught.value.reason is reason
    return caught.value


async def test_the_whole_story(world: World) -> None:
    request = await world.request(actions=("read", "write"), duration_s=7200)
    assert (request.state, request.requester_name, request.data_class) == ("pending", "Ada Example", "personal")
    assert [(slot.source, slot.needed, slot.approved_by) for slot in request.quorum] == [("overseer:zurich", 1, ())]

    decided = await world.approve(request, narrow=Narrowing(actions=("read",), duration_s=1800))
    assert decided.state == "approved"
    assert decided.quorum[0].approved_by == ("olga",)
    grant = decided.grant
    assert grant is not None
    assert (grant.state, grant.actions, grant.duration_s, grant.approvers) == ("issued", ("read",), 1800, ("olga",))
    assert grant.use_by == START + timedelta(hours=1)

    world.clock.move(minutes=5)
    active = await world.service.activate("ada", grant.id, "cli")
    assert (active.state, active.starts_at, active.ends_at) == (
        "active",
        START + timedelta(minutes=5),
        START + timedelta(minutes=35),
    )
    key = await world.key_for(active)
    assert key.login == f"ada+{key.key}"

    minted = await world.service.mint_token("ada", grant.id)
    claims = verify(minted.token, {"k1": world.key.public_key()}, ISSUER, "customers-db", world.clock.time.timestamp())
    assert (claims.subject, claims.grant, claims.decision, claims.jti) == ("ada", grant.id, grant.decision, minted.jti)
    assert claims.scope.actions == ("read",)

    over = await world.service.revoke("olga", grant.id, "enough seen", "slack")
    assert (over.state, over.closed_by, over.comment, over.keys) == ("revoked", "olga", "enough seen", ())

    assert await world.kinds() == [
        "policy.changed",
        "request.created",
        "review.recorded",
        "grant.issued",
        "grant.activated",
        "accesskey.registered",
        "token.minted",
        "grant.revoked",
        "grant.closed",
    ]
    assert await world.topics() == [
        "request.created",
        "review.recorded",
        "request.approved",
        "grant.activated",
        "grant.revoked",
    ]
    story = await world.service.queries.request_story(request.id, "ada")
    assert [event.kind for event in story.events] == [
        "request.created",
        "review.recorded",
        "grant.issued",
        "grant.activated",
        "grant.revoked",
    ]
    digest = (await world.service.policy_in_force()).digest  # type: ignore[union-attr]
    stubs = [entry.stub for entry in await world.entries()]
    assert [stub.policy for stub in stubs] == ["", *[digest] * 8]
    assert [stub.grant for stub in stubs[3:]] == [grant.decision] * 6
    assert all(stub.trial for stub in stubs)


async def test_what_the_outbox_says(world: World) -> None:
    grant = await world.granted()
    rows = await world.owner.fetch("SELECT topic, payload::text FROM approvals.outbox ORDER BY id")
    assert rows[-1]["topic"] == "request.approved"
    assert f'"grant": "{grant.id}"' in rows[-1]["payload"]
    assert f'"request": "{grant.request}"' in rows[-1]["payload"]
    assert '"subject": "ada"' in rows[-1]["payload"]


async def test_a_refused_ask_leaves_nothing(world: World) -> None:
    before = await world.counts()
    refusal = await refused(
        Reason.REQUEST_INVALID, world.request(store="nowhere", reason="x", purpose=" ", duration_s=-1)
    )
    assert [fault.field for fault in refusal.faults] == ["store", "purpose", "reason", "duration_s"]
    await refused(Reason.NO_RULE, world.request("ada", store="lonely", reason="other", ticket=""))
    await refused(Reason.PERSON_UNKNOWN, world.request("nobody"))
    await refused(Reason.PERSON_UNKNOWN, world.request("old"))
    await refused(Reason.NO_RULE, world.request("olga"))
    refusal = await refused(Reason.UNSUPPORTED, world.request(store="ledgers", reason="other", ticket=""))
    assert "signed approvals" in refusal.public
    assert await world.counts() == before


async def test_nobody_reviews_their_own_request(world: World) -> None:
    request = await world.request("ben", store="vault")
    await refused(Reason.SELF_REVIEW, world.approve(request, "ben"))
    await world.service.review("sam", request.id, "approve", "", None, request.digest, "cli")


async def test_who_may_review(world: World) -> None:
    request = await world.request()
    before = await world.counts()
    await refused(Reason.NOT_AN_APPROVER, world.approve(request, "bea"))
    await refused(Reason.NOT_AN_APPROVER, world.approve(request, "sam"))
    await refused(Reason.PERSON_UNKNOWN, world.approve(request, "gone"))
    await refused(Reason.PERSON_UNKNOWN, world.approve(request, "nobody"))
    await refused(Reason.SHOWN_OTHER, world.service.review("olga", request.id, "approve", "", None, "0" * 64, "slack"))
    await refused(
        Reason.REQUEST_UNKNOWN, world.service.review("olga", "req_x", "approve", "", None, request.digest, "slack")
    )
    await refused(Reason.WIDER_THAN_ASKED, world.approve(request, narrow=Narrowing(actions=("read", "write"))))
    await refused(Reason.WIDER_THAN_ASKED, world.approve(request, narrow=Narrowing(duration_s=3601)))
    await refused(Reason.REQUEST_INVALID, world.approve(request, narrow=Narrowing(resources=())))
    assert await world.counts() == before


async def test_a_quorum_of_three_people_from_two_sides(world: World) -> None:
    request = await world.request(store="vault", resources=("public.*",))
    await world.approve(request, "olga", narrow=Narrowing(resources=("public.a*", "public.b")))
    await refused(Reason.ALREADY_REVIEWED, world.approve(request, "olga"))
    view = await world.approve(request, "otto", narrow=Narrowing(resources=("public.abc", "public.b"), duration_s=60))
    assert view.state == "pending"
    refusal = await refused(
        Reason.REQUEST_INVALID, world.approve(request, "sam", narrow=Narrowing(resources=("public.z",)))
    )
    assert "nothing in common" in refusal.faults[0].text
    view = await world.approve(request, "sam")
    assert view.grant is not None
    assert (view.grant.resources, view.grant.duration_s) == (("public.abc", "public.b"), 60)
    assert view.grant.approvers == ("olga", "otto", "sam")
    await refused(Reason.REQUEST_NOT_PENDING, world.approve(request, "ben"))
    await refused(Reason.ALREADY_REVIEWED, world.approve(request, "olga"))


async def test_one_denial_denies(world: World) -> None:
    request = await world.request(store="vault")
    await world.approve(request, "olga")
    view = await world.service.review("otto", request.id, "deny", "too much", None, request.digest, "portal")
    assert (view.state, view.grant, view.comment) == ("denied", None, "too much")
    assert (await world.kinds())[-2:] == ["review.recorded", "request.denied"]
    await refused(Reason.REQUEST_NOT_PENDING, world.approve(request, "sam"))


async def test_only_the_requester_takes_a_request_back(world: World) -> None:
    request = await world.request()
    await refused(Reason.NOT_PERMITTED, world.service.cancel("olga", request.id, "", "cli"))
    view = await world.service.cancel("ada", request.id, "found it", "cli")
    assert (view.state, view.closed_by, view.comment) == ("cancelled", "ada", "found it")
    await refused(Reason.REQUEST_NOT_PENDING, world.service.cancel("ada", request.id, "", "cli"))
    await refused(Reason.REQUEST_NOT_PENDING, world.approve(request))


async def test_pending_for_twelve_hours(world: World) -> None:
    request = await world.request()
    world.clock.move(hours=12, seconds=-1)
    assert await world.service.expire_due() == 0
    world.clock.move(seconds=1)
    await refused(Reason.REQUEST_NOT_PENDING, world.approve(request))  # by the clock, before anybody wrote it down
    await refused(Reason.REQUEST_NOT_PENDING, world.service.cancel("ada", request.id, "", "cli"))
    assert await world.service.expire_due() == 1
    assert await world.service.expire_due() == 0
    view = await world.service.queries.request(request.id)
    assert (view.state, view.closed_by) == ("expired", "")
    assert (await world.kinds())[-1] == "request.expired"
    assert (await world.topics())[-1] == "request.expired"


async def test_approved_and_unused_for_an_hour(world: World) -> None:
    grant = await world.granted()
    world.clock.move(hours=1)
    await refused(Reason.GRANT_EXPIRED, world.service.activate("ada", grant.id, "cli"))
    assert await world.service.expire_due() == 1
    assert (await world.service.queries.grant(grant.id)).state == "expired"
    assert (await world.facts("grant.closed")) == [{"grant": grant.id, "how": "expired"}]


async def test_a_grant_ends_with_its_time(world: World) -> None:
    grant = await world.active()
    key = await world.key_for(grant)
    world.clock.move(minutes=59, seconds=59, milliseconds=900)
    await refused(Reason.GRANT_EXPIRED, world.service.mint_token("ada", grant.id))  # not a whole second is left
    world.clock.move(milliseconds=100)
    await refused(Reason.GRANT_EXPIRED, world.service.mint_token("ada", grant.id))
    await refused(Reason.GRANT_EXPIRED, world.service.revoke("olga", grant.id, "", "cli"))
    assert await world.service.expire_due() == 1
    await refused(Reason.GRANT_EXPIRED, world.service.end("ada", grant.id, "cli"))
    assert not await world.owner.fetchval("SELECT live FROM approvals.access_key WHERE key = $1", key.key)
    assert await world.service.expire_due() == 0


async def test_a_token_never_outlives_its_grant(world: World) -> None:
    grant = await world.active(duration_s=1000)
    first = await world.service.mint_token("ada", grant.id)
    assert first.expires_at <= world.clock.time + timedelta(minutes=15)
    world.clock.move(seconds=900)
    second = await world.service.mint_token("ada", grant.id)
    assert grant.ends_at is not None
    assert second.expires_at <= grant.ends_at
    assert first.jti != second.jti


async def test_a_grant_is_its_holders(world: World) -> None:
    grant = await world.granted()
    for act in (
        world.service.activate("ben", grant.id, "cli"),
        world.service.mint_token("ben", grant.id),
        world.service.end("ben", grant.id, "cli"),
    ):
        await refused(Reason.GRANT_OTHER_PERSON, act)
    await refused(Reason.GRANT_UNKNOWN, world.service.activate("ada", "gr_x", "cli"))
    await refused(Reason.GRANT_NOT_ACTIVE, world.service.mint_token("ada", grant.id))
    await refused(Reason.GRANT_NOT_ACTIVE, world.key_for(grant))
    await refused(Reason.UNSUPPORTED, world.service.activate("ada", grant.id, "cli", cnf="x"))


async def test_activating_twice_does_not_move_the_window(world: World) -> None:
    grant = await world.active()
    before = await world.counts()
    world.clock.move(minutes=10)
    assert (await world.service.activate("ada", grant.id, "cli")).ends_at == grant.ends_at
    assert await world.counts() == before


async def test_who_may_revoke(world: World) -> None:
    grant = await world.active()
    await refused(Reason.NOT_PERMITTED, world.service.revoke("bea", grant.id, "", "cli"))
    await refused(Reason.PERSON_UNKNOWN, world.service.revoke("gone", grant.id, "", "cli"))
    await world.service.revoke("sam", grant.id, "", "cli")
    await refused(Reason.GRANT_REVOKED, world.service.revoke("olga", grant.id, "", "cli"))
    await refused(Reason.GRANT_REVOKED, world.service.activate("ada", grant.id, "cli"))
    other = await world.active()
    view = await world.service.revoke("ada", other.id, "done", "cli")
    assert (view.state, view.closed_by) == ("ended", "ada")
    await refused(Reason.GRANT_ENDED, world.service.mint_token("ada", other.id))
    assert [fact["how"] for fact in await world.facts("grant.closed")] == ["revoked", "ended"]


async def test_a_new_key_ends_the_grants_earlier_one(world: World) -> None:
    grant = await world.active()
    first = await world.key_for(grant, 1)
    second = await world.key_for(grant, 2)
    assert [key.key for key in (await world.service.queries.grant(grant.id)).keys] == [second.key]
    assert (await world.facts("accesskey.registered"))[1]["replaces"] == first.key
    await refused(Reason.CONFLICT, world.key_for(grant, 1))  # the same secret again
    other = await world.active()
    await refused(Reason.CONFLICT, world.key_for(other, 3, name=second.key))  # the same name at the same store
    elsewhere = await world.active(store="crm-api")
    await world.key_for(elsewhere, 3, name=second.key)


async def test_every_fault_of_a_key_is_named(world: World) -> None:
    grant = await world.active()
    refusal = await refused(
        Reason.REQUEST_INVALID, world.service.register_key("ada", grant.id, "abcl", "A" * 64, "plain")
    )
    assert [fault.field for fault in refusal.faults] == ["key", "sha256", "scram"]


async def test_the_same_idempotency_key_gives_the_same_request(world: World) -> None:
    first = await world.service.create_request("ada", asked(), "api", "k1")
    again = await world.service.create_request("ada", asked(), "api", "k1")
    assert first.id == again.id
    await refused(Reason.CONFLICT, world.service.create_request("ada", asked(ticket="INC-7"), "api", "k1"))
    other = await world.service.create_request("ben", asked(), "api", "k1")
    assert other.id != first.id
    world.clock.move(hours=24)
    assert (await world.service.create_request("ada", asked(), "api", "k1")).id != first.id
    await refused(Reason.REQUEST_INVALID, world.service.create_request("ada", asked(), "api", "k\n"))


async def test_a_person_cannot_flood_the_queue(world: World) -> None:
    for _ in range(20):
        await world.request()
    await refused(Reason.TOO_MANY_ATTEMPTS, world.request())
    await world.request("ben")
    world.clock.move(hours=12)
    await world.request()


async def test_a_failing_entry_undoes_the_step(world: World) -> None:
    request = await world.request(store="vault")
    single = await world.request()
    grant = await world.active()
    key = await world.key_for(grant)
    before = await world.counts()
    world.append.fail = RuntimeError("the disk is full")
    for act in (
        world.request(),
        world.approve(request),
        world.approve(single),
        world.service.review("olga", request.id, "deny", "", None, request.digest, "cli"),
        world.service.cancel("ada", request.id, "", "cli"),
        world.service.revoke("olga", grant.id, "", "cli"),
        world.service.end("ada", grant.id, "cli"),
        world.service.mint_token("ada", grant.id),
        world.key_for(grant, 2),
        world.service.login_code("ada"),
        world.service.adopt_policy(policy(("Incident", "Trouble")), "init"),
    ):
        with pytest.raises(RuntimeError, match="disk is full"):
            await act
    world.clock.move(hours=13)
    with pytest.raises(RuntimeError, match="disk is full"):
        await world.service.expire_due()
    assert await world.counts() == before
    world.append.fail = None
    view = await world.service.queries.grant(grant.id)
    assert (view.state, [live.key for live in view.keys]) == ("active", [key.key])
    assert await world.service.expire_due() == 3


async def test_a_process_that_hangs_in_a_step_does_not_hold_a_revocation_up_for_ever(world: World) -> None:
    """Its locks are bounded by the server: what waits says so after 5 s, what idles is ended after 10 s."""

    async def bounds(connection: Any, drafts: Any, **options: Any) -> list[str]:
        names = "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"
        seen.append([await connection.fetchval(f"SHOW {name}") for name in names])
        return await append_in(connection, drafts, **options)

    seen: list[list[str]] = []
    service = Approvals(
        world.pool, make_writer(), world.clock, issuer=ISSUER, issuer_key=world.key, issuer_kid="k1", append=bounds
    )
    await service.create_request("ada", asked(), "cli")
    assert seen == [["5s", "10s", "10s"]]
    async with world.pool.acquire() as connection:
        assert await connection.fetchval("SHOW lock_timeout") == "0"


async def test_a_lock_that_nobody_gives_back_is_an_answer_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("approvals.transaction._BOUNDS", "SELECT set_config('lock_timeout', '50ms', true)")
    grant = await world.active()
    async with world.owner.transaction():
        await world.owner.execute("SELECT FROM approvals.sync_version FOR UPDATE")
        await refused(Reason.UNAVAILABLE, world.service.revoke("olga", grant.id, "", "cli"))
    assert (await world.service.revoke("olga", grant.id, "", "cli")).state == "revoked"


async def test_a_database_that_is_gone_is_said_to_be(world: World) -> None:
    request = await world.request()
    await world.owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'glassgate_approvals' "
        "AND datname = current_database()"
    )
    world.pool.terminate()  # the server has closed them: a polite goodbye may meet a broken pipe
    await refused(Reason.UNAVAILABLE, world.approve(request))
    await refused(Reason.UNAVAILABLE, world.service.queries.request(request.id))
