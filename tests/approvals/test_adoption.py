"""Policies in force: adopted as entries, read back by digest, and what they end."""

import pytest

from approvals.errors import Refusal
from approvals.policy import Policy, PolicyUnreadable, digest_of, document_of
from approvals.reasons import Reason
from approvals.service import Approvals
from approvals.store_definition import definition_digest
from tests.approvals.test_service import refused
from tests.approvals.world import ISSUER, World, make_writer, policy


async def test_an_adoption_is_an_entry_with_the_whole_policy(world: World) -> None:
    first = await world.service.policy_in_force()
    assert first is not None
    assert (first.number, first.adopted_by, first.policy) == (1, "init", policy())
    changed = policy(("Incident", "Trouble"))
    second = await world.service.adopt_policy(changed, "sam")
    assert (second.number, second.policy.reasons["incident"].text) == (2, "Trouble")
    facts = (await world.facts("policy.changed"))[1]
    assert facts["digest"] == second.digest == digest_of(document_of(changed))
    assert facts["previous"] == first.digest
    assert facts["stores"]["vault"] == definition_digest(changed.stores["vault"])
    entry = [e for e in await world.entries() if e.stub.kind == "policy.changed"][1]
    assert entry.content is not None
    assert entry.content.data == document_of(changed)
    assert entry.stub.policy == first.digest  # adopted while the old one was in force


async def test_the_same_policy_again_changes_nothing_and_an_old_one_comes_back(world: World) -> None:
    before = await world.counts()
    await world.service.adopt_policy(policy(), "init")
    assert await world.counts() == before
    await world.service.adopt_policy(policy(("Incident", "Trouble")), "init")
    back = await world.service.adopt_policy(policy(), "init")
    assert (back.number, back.policy) == (3, policy())


async def test_of_two_first_policies_one_is_adopted(world: World) -> None:
    """Both found none in force; to replace a policy takes the quorum that it names."""
    await world.owner.execute("TRUNCATE approvals.policy_version")
    fresh, other = world.second(), world.second()
    changed = policy(("Incident", "Trouble"))
    found = await world.interleave(
        fresh.adopt_policy(policy(), "one", only_first=True), other.adopt_policy(changed, "two", only_first=True)
    )
    assert isinstance(found[1], Refusal)
    assert found[1].reason is Reason.CONFLICT
    in_force = await other.policy_in_force()
    assert in_force is not None
    assert in_force.adopted_by == "one"
    assert (await other.adopt_policy(policy(), "two", only_first=True)).number == in_force.number


async def test_a_policy_for_another_gate_is_refused(world: World) -> None:
    before = await world.counts()
    other = policy(
        ('member = "acme"', 'member = "emca"'),
        ("[organisations.acme]", "[organisations.emca]"),
        ('organisation = "acme"', 'organisation = "emca"'),
        ("trial = true", "trial = false"),
    )
    refusal = await refused(Reason.REQUEST_INVALID, world.service.adopt_policy(other, "init"))
    assert [fault.field for fault in refusal.faults] == ["member", "trial"]
    assert await world.counts() == before


async def test_nothing_goes_before_the_first_policy(world: World) -> None:
    await world.owner.execute("TRUNCATE approvals.policy_version")
    fresh = Approvals(world.pool, make_writer(), world.clock, issuer=ISSUER, issuer_key=world.key, issuer_kid="k1")
    assert await fresh.policy_in_force() is None
    await refused(Reason.NO_RULE, fresh.create_request("ada", None, "cli"))  # type: ignore[arg-type]
    await refused(Reason.NO_RULE, fresh.login_code("ada"))
    await refused(Reason.NO_RULE, fresh.queries.requests())
    assert await fresh.expire_due() == 0


async def test_a_policy_that_was_altered_in_the_database_is_not_believed(world: World) -> None:
    """The constraint stops a clumsy hand; whoever drops it still meets the digest."""
    await world.owner.execute("ALTER TABLE approvals.policy_version DROP CONSTRAINT policy_version_has_its_digest")
    await world.owner.execute("UPDATE approvals.policy_version SET document = replace(document, 'zurich', 'berlin')")
    with pytest.raises(PolicyUnreadable):
        await world.second().create_request("ada", None, "cli")  # type: ignore[arg-type]


async def test_people_who_are_gone_lose_what_they_hold(world: World) -> None:
    active = await world.active("ben")
    await world.key_for(active)
    issued = await world.granted("ben")
    others = await world.active("ada")
    without_ben = policy(('name = "Ben Example"', 'name = "Ben Example"\nactive = false'))
    await world.service.adopt_policy(without_ben, "sam")
    views = [await world.service.queries.grant(grant.id) for grant in (active, issued, others)]
    assert [view.state for view in views] == ["revoked", "revoked", "active"]
    assert (views[0].closed_by, views[0].keys) == ("sam", ())
    assert views[0].revocation is not None
    await refused(Reason.PERSON_UNKNOWN, world.service.mint_token("ben", active.id))
    assert (await world.kinds())[-5:] == [
        "policy.changed",
        "grant.revoked",
        "grant.closed",
        "grant.revoked",
        "grant.closed",
    ]


CHANGES = pytest.mark.parametrize(
    "change",
    [
        ('upstream = "127.0.0.1:5433/customers"', 'upstream = "127.0.0.1:5499/customers"'),
        ('name = "Olga Example"', 'name = "Olga Example"\nactive = false'),
        ('reasons = ["incident"]', 'reasons = ["other"]'),
        (
            'name = "Ada Example"\norganisation = "acme"\nroles = ["engineer"]',
            'name = "Ada Example"\norganisation = "acme"\nroles = ["steward"]',
        ),
    ],
)


def without(change: tuple[str, str]) -> Policy:
    changes = [change]
    if "Olga" in change[0]:
        changes.append(('{ from = "overseer:zurich", count = 2 }', '{ from = "overseer:zurich", count = 1 }'))
    return policy(*changes)


@CHANGES
async def test_what_no_rule_carries_any_more_ends_at_once(world: World, change: tuple[str, str]) -> None:
    """A key that is there already opens without asking us again, so to refuse the next one would be too late."""
    issued = await world.granted()
    active = await world.active()
    await world.key_for(active)
    await world.service.adopt_policy(without(change), "sam")
    for grant in (issued, active):
        view = await world.service.queries.grant(grant.id)
        assert (view.state, view.keys, view.closed_by) == ("revoked", (), "sam")
        await refused(Reason.GRANT_REVOKED, world.service.activate("ada", grant.id, "cli"))
    await world.service.adopt_policy(policy(), "sam")
    assert (await world.service.queries.grant(active.id)).state == "revoked"  # once ended, always ended


@CHANGES
async def test_what_opens_is_asked_again_of_the_policy_of_today(world: World, change: tuple[str, str]) -> None:
    """Even where the policy changed behind the service's back and ended nothing."""
    issued = await world.granted()
    active = await world.active()
    document = document_of(without(change))
    await world.owner.execute(
        "INSERT INTO approvals.policy_version (digest, document, adopted_at, adopted_by, sync_version) "
        "VALUES ($1, $2, now(), 'root', 0)",
        digest_of(document),
        document.decode(),
    )
    before = await world.counts()
    for act in (
        world.service.activate("ada", issued.id, "cli"),
        world.service.mint_token("ada", active.id),
        world.key_for(active),
    ):
        await refused(Reason.GRANT_POLICY_CHANGED, act)
    assert await world.counts() == before
    await world.service.end("ada", issued.id, "cli")  # what closes needs no policy's leave
    await world.service.revoke("sam", active.id, "", "cli")


async def test_a_policy_that_still_carries_a_grant_leaves_it_alone(world: World) -> None:
    active = await world.active()
    key = await world.key_for(active)
    await world.service.adopt_policy(policy(("Incident", "Trouble")), "sam")
    view = await world.service.queries.grant(active.id)
    assert (view.state, [kept.key for kept in view.keys]) == ("active", [key.key])


async def test_who_comes_back_under_a_name_does_not_find_its_old_session(world: World) -> None:
    session = await world.service.login(await world.service.login_code("ben"), "192.0.2.1")
    code = await world.service.login_code("ben")
    kept = await world.service.login(await world.service.login_code("ada"), "192.0.2.1")
    await world.service.adopt_policy(policy(('name = "Ben Example"', 'name = "Ben Example"\nactive = false')), "sam")
    await world.service.adopt_policy(policy(("Ben Example", "Another Ben")), "sam")
    await refused(Reason.SESSION_UNKNOWN, world.service.whoami(session))
    await refused(Reason.CODE_UNKNOWN, world.service.login(code, "192.0.2.1"))
    assert (await world.service.whoami(kept)).id == "ada"


async def test_an_approval_under_a_changed_policy_is_refused_and_a_denial_is_not(world: World) -> None:
    request = await world.request()
    await world.service.adopt_policy(policy(('"127.0.0.1:5433/customers"', '"127.0.0.1:5499/customers"')), "sam")
    with pytest.raises(Refusal) as caught:
        await world.approve(request)
    assert caught.value.reason is Reason.POLICY_CHANGED
    view = await world.service.review("otto", request.id, "deny", "", None, request.digest, "cli")
    assert view.state == "denied"
