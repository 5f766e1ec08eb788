"""The bad interleavings, forced: one step stands on the brink of its commit while another process takes its own."""

import asyncio
from datetime import timedelta
from typing import Any

from approvals.decisions import Narrowing
from approvals.errors import Refusal
from approvals.reasons import Reason
from tests.approvals.world import MovingClock, World, asked, policy


def reason_of(outcome: Any) -> Reason:
    assert isinstance(outcome, Refusal), outcome
    return outcome.reason


async def test_two_reviewers_at_the_same_instant_complete_the_quorum(world: World) -> None:
    """Each alone sees an unmet quorum; one of them has to see the other."""
    request = await world.request(store="vault")
    await world.approve(request, "olga")
    _, second = await world.interleave(
        world.approve(request, "otto", narrow=Narrowing(duration_s=600)),
        world.second().review("sam", request.id, "approve", "", Narrowing(duration_s=900), request.digest, "api"),
    )
    assert second.state == "approved"
    view = await world.service.queries.request(request.id)
    assert view.grant is not None
    assert (view.state, view.grant.duration_s, view.grant.approvers) == ("approved", 600, ("olga", "otto", "sam"))
    assert len(await world.facts("grant.issued")) == 1
    assert len(await world.facts("review.recorded")) == 3


async def test_one_person_clicking_twice_at_once(world: World) -> None:
    request = await world.request()
    again = world.second().review("olga", request.id, "approve", "", None, request.digest, "slack")
    _, second = await world.interleave(world.approve(request), again)
    assert reason_of(second) is Reason.ALREADY_REVIEWED
    assert len(await world.facts("review.recorded")) == 1


async def test_two_decisive_reviews_issue_one_grant(world: World) -> None:
    request = await world.request()
    again = world.second().review("otto", request.id, "approve", "", None, request.digest, "slack")
    first, second = await world.interleave(world.approve(request), again)
    assert first.state == "approved"
    assert reason_of(second) is Reason.REQUEST_NOT_PENDING
    assert len(await world.facts("grant.issued")) == 1


async def test_approve_against_deny(world: World) -> None:
    request = await world.request()
    deny = world.second().review("otto", request.id, "deny", "", None, request.digest, "slack")
    _, second = await world.interleave(world.approve(request), deny)
    assert reason_of(second) is Reason.REQUEST_NOT_PENDING
    other = await world.request()
    deny = world.service.review("otto", other.id, "deny", "", None, other.digest, "slack")
    approve = world.second().review("olga", other.id, "approve", "", None, other.digest, "slack")
    first, second = await world.interleave(deny, approve)
    assert first.state == "denied"
    assert reason_of(second) is Reason.REQUEST_NOT_PENDING
    assert len(await world.facts("grant.issued")) == 1


async def test_review_against_cancel(world: World) -> None:
    request = await world.request()
    _, second = await world.interleave(world.approve(request), world.second().cancel("ada", request.id, "", "cli"))
    assert reason_of(second) is Reason.REQUEST_NOT_PENDING
    other = await world.request()
    first, second = await world.interleave(
        world.service.cancel("ada", other.id, "", "cli"),
        world.second().review("olga", other.id, "approve", "", None, other.digest, "slack"),
    )
    assert first.state == "cancelled"
    assert reason_of(second) is Reason.REQUEST_NOT_PENDING
    assert len(await world.facts("grant.issued")) == 1


async def test_activating_twice_at_once(world: World) -> None:
    grant = await world.granted()
    first, second = await world.interleave(
        world.service.activate("ada", grant.id, "cli"), world.second().activate("ada", grant.id, "portal")
    )
    assert first.state == second.state == "active"
    assert first.ends_at == second.ends_at
    assert len(await world.facts("grant.activated")) == 1


async def test_revoking_against_expiry(world: World) -> None:
    """Two processes whose clocks differ by a second: for one of them the grant has just run out."""
    grant = await world.active()
    world.clock.move(minutes=59, seconds=59)
    ahead = MovingClock(world.clock.time + timedelta(seconds=1))
    first, second = await world.interleave(
        world.service.revoke("olga", grant.id, "", "cli"), world.second(ahead).expire_due()
    )
    assert (first.state, second) == ("revoked", 0)

    other = await world.active()
    world.clock.move(minutes=59, seconds=59)
    ahead.time = world.clock.time + timedelta(seconds=1)
    first, second = await world.interleave(
        world.second(ahead).expire_due(), world.service.revoke("olga", other.id, "", "cli")
    )
    assert first == 1
    assert reason_of(second) is Reason.GRANT_EXPIRED
    assert [fact["how"] for fact in await world.facts("grant.closed")] == ["revoked", "expired"]


async def test_activating_against_revoking(world: World) -> None:
    grant = await world.granted()
    first, second = await world.interleave(
        world.service.revoke("olga", grant.id, "", "cli"), world.second().activate("ada", grant.id, "cli")
    )
    assert first.state == "revoked"
    assert reason_of(second) is Reason.GRANT_REVOKED
    other = await world.granted()
    _, second = await world.interleave(
        world.service.activate("ada", other.id, "cli"), world.second().revoke("olga", other.id, "", "cli")
    )
    assert second.state == "revoked"


async def test_a_key_registered_against_a_revocation(world: World) -> None:
    grant = await world.active()
    second = World(**{**vars(world), "service": world.second()})
    _, late = await world.interleave(world.service.revoke("olga", grant.id, "", "cli"), second.key_for(grant))
    assert reason_of(late) is Reason.GRANT_REVOKED
    assert not await world.owner.fetchval("SELECT count(*) FROM approvals.access_key WHERE live")


async def test_two_keys_at_once_leave_one(world: World) -> None:
    grant = await world.active()
    second = World(**{**vars(world), "service": world.second()})
    await world.interleave(world.key_for(grant, 1), second.key_for(grant, 2))
    assert await world.owner.fetchval("SELECT count(*) FROM approvals.access_key WHERE live") == 1
    assert [bool(fact["replaces"]) for fact in await world.facts("accesskey.registered")] == [False, True]


async def test_minting_against_revoking(world: World) -> None:
    grant = await world.active()
    _, late = await world.interleave(
        world.service.revoke("olga", grant.id, "", "cli"), world.second().mint_token("ada", grant.id)
    )
    assert reason_of(late) is Reason.GRANT_REVOKED
    other = await world.active()
    await world.interleave(
        world.service.mint_token("ada", other.id), world.second().revoke("olga", other.id, "", "cli")
    )
    kinds = await world.kinds()
    assert kinds.index("token.minted") < len(kinds) - 1 - kinds[::-1].index("grant.closed")


async def test_the_last_free_place_in_the_queue(world: World) -> None:
    for _ in range(19):
        await world.request()
    _, second = await world.interleave(world.request(), world.second().create_request("ada", asked(), "cli"))
    assert reason_of(second) is Reason.TOO_MANY_ATTEMPTS


async def test_the_same_idempotency_key_twice_at_once(world: World) -> None:
    first, second = await world.interleave(
        world.service.create_request("ada", asked(), "api", "k"),
        world.second().create_request("ada", asked(), "api", "k"),
    )
    assert first.id == second.id
    assert len(await world.facts("request.created")) == 1


async def test_a_login_code_used_twice_at_once(world: World) -> None:
    code = await world.service.login_code("ada")
    first, second = await world.interleave(
        world.service.login(code, "127.0.0.1"), world.second().login(code, "127.0.0.2")
    )
    assert first.startswith("ggs_")
    assert reason_of(second) is Reason.CODE_UNKNOWN
    assert len(await world.facts("person.logged_in")) == 1


async def test_many_processes_expire_the_same_things_once(world: World) -> None:
    for _ in range(3):
        await world.request()
    for _ in range(3):
        await world.active()
    await world.granted()
    world.clock.move(hours=13)
    done = await asyncio.gather(*(world.second().expire_due() for _ in range(4)))
    assert sum(done) == 7
    assert len(await world.facts("request.expired")) == 3
    assert len(await world.facts("grant.closed")) == 4


async def test_no_step_is_decided_under_a_policy_that_has_gone(world: World) -> None:
    """The adoption stands on the brink of its commit; the approval that starts meanwhile waits and sees it."""
    request = await world.request()
    no_olga = policy(('name = "Olga Example"', 'name = "Olga Example"\nactive = false'))
    _, second = await world.interleave(
        world.service.adopt_policy(no_olga, "init"),
        world.second().review("olga", request.id, "approve", "", None, request.digest, "slack"),
    )
    assert reason_of(second) is Reason.PERSON_UNKNOWN


async def test_many_steps_at_once_wait_in_line_and_never_in_a_circle(world: World) -> None:
    grants = [await world.active() for _ in range(4)]
    requests = [await world.request("ben") for _ in range(4)]
    services = [world.service, world.second(), world.second()]
    acts: list[Any] = []
    for index, grant in enumerate(grants):
        acts.append(services[index % 3].revoke("olga", grant.id, "", "cli"))
        acts.append(services[(index + 1) % 3].end("ada", grant.id, "cli"))
        acts.append(services[(index + 2) % 3].mint_token("ada", grant.id))
    for index, request in enumerate(requests):
        for person in ("olga", "otto"):
            service = services[index % 3]
            acts.append(service.review(person, request.id, "approve", "", None, request.digest, "api"))
        acts.append(services[(index + 1) % 3].cancel("ben", request.id, "", "cli"))
    outcomes = await asyncio.gather(*acts, return_exceptions=True)
    assert all(isinstance(o, Refusal) for o in outcomes if isinstance(o, BaseException)), outcomes
    assert len(await world.facts("grant.closed")) == 4
    decided = len(await world.facts("grant.issued")) - 4 + len(await world.facts("request.cancelled"))
    assert decided == 4
    deadlocks = await world.owner.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0
