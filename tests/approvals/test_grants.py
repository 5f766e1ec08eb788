"""When a grant opens something: in its state, in its time, and under the policy of today."""

from dataclasses import replace
from datetime import timedelta

import pytest

from approvals.decisions import Outcome, Review
from approvals.errors import Refusal
from approvals.grants import Grant, check_open, check_standing, issue, window
from approvals.reasons import Reason
from approvals.requests import Request
from tests.approvals.test_decisions import POLICY, request, step
from tests.approvals.world import START, policy


def granted() -> tuple[Request, list[Review], Grant]:
    asked_for = request(store="vault")
    reviews: list[Review] = []
    outcome: Outcome | None = None
    for person in ("olga", "sam", "otto"):
        outcome = step(asked_for, person, *reviews)
        reviews.append(outcome.review)
    assert outcome is not None
    return asked_for, reviews, issue(asked_for, outcome, "gr_1", START)


def refused(reason: Reason, grant: Grant, after: timedelta, *, active: bool = False) -> None:
    with pytest.raises(Refusal) as caught:
        check_open(grant, START + after, active=active)
    assert caught.value.reason is reason


def test_a_grant_as_issued() -> None:
    asked_for, _, grant = granted()
    assert (grant.subject, grant.scope, grant.approvers) == ("ada", asked_for.scope, ("olga", "otto", "sam"))
    assert (grant.state, grant.use_by, grant.starts_at) == ("issued", START + timedelta(hours=1), None)
    assert window(grant, START) == (START, START + timedelta(hours=1))
    # Activated by a process whose clock is a second behind the one that issued it.
    assert window(grant, START - timedelta(seconds=1)) == (START, START + timedelta(hours=1))


def test_open_in_state_and_by_the_clock() -> None:
    grant = granted()[2]
    check_open(grant, START + timedelta(minutes=59), active=False)
    refused(Reason.GRANT_NOT_ACTIVE, grant, timedelta(), active=True)
    refused(Reason.GRANT_EXPIRED, grant, timedelta(hours=1))
    refused(Reason.GRANT_EXPIRED, grant, timedelta(hours=1), active=True)
    active = replace(grant, state="active", starts_at=START, ends_at=START + timedelta(minutes=30))
    check_open(active, START + timedelta(minutes=29), active=True)
    refused(Reason.GRANT_EXPIRED, active, timedelta(minutes=30))
    refused(Reason.GRANT_EXPIRED, replace(active, ends_at=None), timedelta())
    for state, reason in (
        ("ended", Reason.GRANT_ENDED),
        ("expired", Reason.GRANT_EXPIRED),
        ("revoked", Reason.GRANT_REVOKED),
    ):
        refused(reason, replace(active, state=state), timedelta())  # type: ignore[arg-type]


def test_standing_today() -> None:
    check_standing(POLICY, *granted())
    # One of three overseers more or less changes nothing, as long as the three who approved are who they were.
    check_standing(policy(('name = "Zoe Example"', 'name = "Zoe Example"\nactive = false')), *granted())
    # Another rule that lets the same be asked with the same people will do.
    check_standing(policy(('name = "vault needs many"', 'name = "vault, renamed"')), *granted())


@pytest.mark.parametrize(
    "change",
    [
        ('upstream = "127.0.0.1:5434/vault"', 'upstream = "127.0.0.1:5434/v"'),
        ('[stores.vault]\nprotocol = "postgres"', '[stores.vault]\nprotocol = "postgres"\noverlap_reads = true'),
        ('name = "Olga Example"', 'name = "Olga Example"\nactive = false'),
        ('name = "Sam Example"', 'name = "Sam Example"\nactive = false'),
        ('name = "Ada Example"', 'name = "Ada Example"\nactive = false'),
        ('{ from = "overseer:zurich", count = 2 }', '{ from = "overseer:zurich", count = 3 }'),
        ('{ from = "overseer:zurich", count = 2 }', '{ from = "overseer:bern", count = 1 }'),
        ('max_duration = "1h"', 'max_duration = "59m"'),
        ('stores = ["vault"]', 'stores = ["lonely"]'),
    ],
)
def test_not_standing_today(change: tuple[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        check_standing(policy(change), *granted())
    assert caught.value.reason is Reason.GRANT_POLICY_CHANGED


def test_approvals_are_of_this_request() -> None:
    asked_for, reviews, grant = granted()
    for changed in (
        [replace(review, shown_digest="0" * 64) for review in reviews],
        [replace(review, reviewer="ada") for review in reviews],
        [replace(review, verdict="deny") for review in reviews],
        [replace(review, slot="member") for review in reviews],
        reviews[:2],
        [],
    ):
        with pytest.raises(Refusal):
            check_standing(POLICY, asked_for, changed, grant)
