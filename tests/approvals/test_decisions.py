"""Reviews and quorum: never oneself, never twice, never wider, never after; properties against naive versions."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.decisions import (
    Narrowing,
    Outcome,
    Review,
    Said,
    decision_digest,
    intersect,
    quorum_met,
    review_step,
)
from approvals.errors import Refusal
from approvals.identity.subject import find
from approvals.policy import Policy, Slot, slot_of
from approvals.reasons import Reason
from approvals.requests import Request, check, make
from approvals.scope import ACTIONS, Limits, Operation, Scope, covers, narrower
from tests.approvals.world import START, asked, policy

POLICY = policy()


def request(requester: str = "ada", **changes: Any) -> Request:
    person = find(POLICY, requester)
    assert person is not None
    return make("req_1", person, check(POLICY, person, asked(**changes)), START)


def step(
    given_request: Request,
    reviewer: str,
    *reviews: Review,
    under: Policy = POLICY,
    after: timedelta = timedelta(minutes=1),
    **said: Any,
) -> Outcome:
    person = find(under, reviewer)
    assert person is not None
    fields: dict[str, Any] = {
        "id": f"rev_{reviewer}",
        "verdict": "approve",
        "comment": "",
        "narrowing": None,
        "shown_digest": given_request.digest,
        "via": "cli",
    }
    return review_step(under, given_request, reviews, person, Said(**(fields | said)), START + after)


def refused(reason: Reason, *args: Any, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        step(*args, **options)
    assert caught.value.reason is reason
    return caught.value


def test_one_approval_where_one_is_asked() -> None:
    outcome = step(request(), "olga")
    assert (outcome.event, outcome.approvers, outcome.duration_s) == ("approve", ("olga",), 3600)
    assert outcome.scope == request().scope


def test_who_is_refused_and_why() -> None:
    asked_for = request()
    refused(Reason.NOT_AN_APPROVER, asked_for, "bea")
    refused(Reason.NOT_AN_APPROVER, asked_for, "sam")
    refused(Reason.NOT_AN_APPROVER, asked_for, "ben")
    refused(Reason.SELF_REVIEW, asked_for, "ada")
    refused(Reason.SELF_REVIEW, request("ben", store="vault"), "ben", verdict="deny")
    first = step(request(store="vault"), "olga").review
    refused(Reason.ALREADY_REVIEWED, request(store="vault"), "olga", first, verdict="deny")


def test_after_the_end() -> None:
    refused(Reason.REQUEST_NOT_PENDING, replace(request(), state="denied"), "olga")
    refused(Reason.REQUEST_NOT_PENDING, request(), "olga", after=timedelta(hours=12))
    step(request(), "olga", after=timedelta(hours=12, microseconds=-1))


def test_what_was_shown_is_what_is_decided() -> None:
    refused(Reason.SHOWN_OTHER, request(), "olga", shown_digest="")
    refused(Reason.SHOWN_OTHER, request(), "olga", shown_digest=request(ticket="INC-1").digest)
    refused(Reason.SHOWN_OTHER, request(), "olga", shown_digest=request().digest.upper(), verdict="deny")


@pytest.mark.parametrize(
    ("narrowing", "reason"),
    [
        (Narrowing(actions=("read", "write")), Reason.WIDER_THAN_ASKED),
        (Narrowing(resources=("*",)), Reason.WIDER_THAN_ASKED),
        (Narrowing(resources=("public.*", "private.x")), Reason.WIDER_THAN_ASKED),
        (Narrowing(duration_s=3601), Reason.WIDER_THAN_ASKED),
        (Narrowing(duration_s=10**9), Reason.WIDER_THAN_ASKED),
        (Narrowing(actions=()), Reason.REQUEST_INVALID),
        (Narrowing(resources=()), Reason.REQUEST_INVALID),
        (Narrowing(actions=("Read",)), Reason.REQUEST_INVALID),
        (Narrowing(duration_s=0), Reason.REQUEST_INVALID),
        (Narrowing(duration_s=-1), Reason.REQUEST_INVALID),
        (Narrowing(duration_s=True), Reason.REQUEST_INVALID),
    ],
)
def test_an_approval_narrows_or_is_refused(narrowing: Narrowing, reason: Reason) -> None:
    refused(reason, request(resources=("public.*",)), "olga", narrowing=narrowing)


def test_a_comment_is_plain_text() -> None:
    for verdict in ("approve", "deny"):
        refusal = refused(Reason.REQUEST_INVALID, request(), "olga", comment="a\u202eb", verdict=verdict)
        assert [fault.field for fault in refusal.faults] == ["comment"]
        refused(Reason.REQUEST_INVALID, request(), "olga", comment="x" * 2001, verdict=verdict)


@pytest.mark.parametrize(
    "change",
    [
        ('upstream = "127.0.0.1:5433/customers"', 'upstream = "127.0.0.1:5499/customers"'),
        ('name = "customer data for incidents"', 'name = "another name"'),
        ('max_duration = "2h"', 'max_duration = "30m"'),
        ('reasons = ["incident"]', 'reasons = ["other"]'),
        ('actions = ["read", "write"]\nreasons', 'actions = ["write"]\nreasons'),
        ('roles = ["engineer"] }\nactions = ["read", "write"]', 'roles = ["steward"] }\nactions = ["read", "write"]'),
        ('name = "Ada Example"', 'name = "Ada Example"\nactive = false'),
        (
            'approvals = [{ from = "overseer:zurich", count = 1 }]\nassurance = "click"',
            'approvals = [{ from = "overseer:zurich", count = 1 }]',
        ),
    ],
)
def test_a_changed_policy_carries_no_approval_but_a_denial(change: tuple[str, str]) -> None:
    changed = policy(change)
    asked_for = request()
    with pytest.raises(Refusal) as caught:
        step(asked_for, "olga", under=changed)
    assert caught.value.reason in (Reason.POLICY_CHANGED, Reason.NOT_AN_APPROVER)
    denied = step(asked_for, "olga", under=changed, verdict="deny")
    assert denied.event == "deny"
    assert denied.review.scope.actions == ()


def test_an_overseer_says_no_even_where_only_others_are_asked_now() -> None:
    changed = policy(('from = "overseer:zurich", count = 1', 'from = "member", count = 1'))
    with pytest.raises(Refusal) as caught:
        step(request(), "olga", under=changed, verdict="deny")
    assert caught.value.reason is Reason.NOT_AN_APPROVER  # nobody asks Zurich about that store any more
    assert step(request(), "sam", under=changed, verdict="deny").event == "deny"


def test_an_approval_of_somebody_who_lost_the_role_does_not_count() -> None:
    asked_for = request(store="vault")
    first = step(asked_for, "olga").review
    second = step(asked_for, "sam", first).review
    assert step(asked_for, "otto", first, second).event == "approve"
    changed = policy(('name = "Olga Example"', 'name = "Olga Example"\nactive = false'))
    assert step(asked_for, "otto", first, second, under=changed).event == ""


def test_narrowings_of_all_approvers_meet() -> None:
    asked_for = request(store="vault", resources=("public.*", "audit.log"))
    first = step(asked_for, "olga", narrowing=Narrowing(resources=("public.a*", "audit.log"), duration_s=900)).review
    second = step(asked_for, "otto", first, narrowing=Narrowing(resources=("public.*",), duration_s=1200)).review
    outcome = step(asked_for, "sam", first, second, narrowing=Narrowing(resources=("public.ab", "public.b")))
    assert (outcome.event, outcome.scope.resources, outcome.duration_s) == ("approve", ("public.ab",), 900)
    refusal = refused(
        Reason.REQUEST_INVALID, asked_for, "sam", first, second, narrowing=Narrowing(resources=("audit.log",))
    )
    assert "nothing in common" in refusal.faults[0].text


def test_everything_decided_is_in_the_digest() -> None:
    base = request(resources=("a", "b"))
    scope = base.scope
    seen = {
        decision_digest(base, scope, 60, ("olga",)),
        decision_digest(base, scope, 61, ("olga",)),
        decision_digest(base, scope, 60, ("olga", "otto")),
        decision_digest(base, Scope(scope.store, scope.actions, ("a",)), 60, ("olga",)),
        decision_digest(base, Scope(scope.store, scope.actions, ("a", "b"), Limits(rows=1)), 60, ("olga",)),
        decision_digest(replace(base, digest="0" * 64), scope, 60, ("olga",)),
        decision_digest(replace(base, requester="ben"), scope, 60, ("olga",)),
        decision_digest(replace(base, cnf="thumb"), scope, 60, ("olga",)),
        decision_digest(replace(base, store_def="0" * 64), scope, 60, ("olga",)),
    }
    assert len(seen) == 9
    assert decision_digest(base, scope, 60, ("a", "b")) == decision_digest(base, scope, 60, ("b", "a"))


# --- properties ------------------------------------------------------------------------------------------------------

_names = st.sampled_from(["a", "ab", "abc", "b", "bc", "c", "a*", "ab*", "b*", "c*", "*"])
_limit = st.none() | st.integers(0, 5)
_scopes = st.builds(
    Scope,
    store=st.just("s"),
    actions=st.lists(st.sampled_from(ACTIONS), unique=True).map(tuple),
    resources=st.lists(_names, unique=True).map(tuple),
    limits=st.builds(Limits, rows=_limit, bytes=_limit, requests=_limit),
)
_operations = st.builds(
    Operation,
    actions=st.lists(st.sampled_from(ACTIONS), min_size=1, unique=True).map(tuple),
    resources=st.lists(st.sampled_from(["a", "ab", "abc", "abcd", "b", "bc", "bd", "c", "d", ""]), unique=True).map(
        tuple
    ),
)


@given(_scopes, _scopes, _operations)
def test_what_both_allow_and_nothing_else(one: Scope, other: Scope, operation: Operation) -> None:
    both = intersect(one, other)
    assert narrower(both, one)
    assert narrower(both, other)
    allowed = covers(one, operation) == "yes" and covers(other, operation) == "yes"
    assert (covers(both, operation) == "yes") == allowed


@given(_scopes, _scopes, _scopes)
def test_the_order_of_narrowings_does_not_matter(one: Scope, two: Scope, three: Scope) -> None:
    assert intersect(one, two) == intersect(two, one)
    assert intersect(intersect(one, two), three) == intersect(one, intersect(two, three))
    assert intersect(intersect(one, one), one) == intersect(one, one)


def test_scopes_of_two_stores_do_not_meet() -> None:
    with pytest.raises(ValueError, match="two stores"):
        intersect(Scope("a", ("read",)), Scope("b", ("read",)))


_PEOPLE = ("olga", "otto", "zoe", "bea", "sam", "ben", "ada", "old", "gone")
_slots = st.lists(
    st.builds(Slot, source=st.sampled_from(["overseer:zurich", "overseer:bern", "member"]), count=st.integers(1, 3)),
    max_size=3,
    unique_by=lambda slot: slot.source,
)


@given(_slots, st.lists(st.sampled_from(_PEOPLE), max_size=12))
def test_a_quorum_is_as_many_distinct_people_as_it_says(slots: list[Slot], people: list[str]) -> None:
    template = step(request(), "olga").review
    reviews = [replace(template, reviewer=name, slot=slot_of(POLICY, name)) for name in people if slot_of(POLICY, name)]
    met = quorum_met(slots, reviews)
    assert met == _naive_quorum(slots, {review.reviewer for review in reviews})
    if met:
        assert len({review.reviewer for review in reviews}) >= sum(slot.count for slot in slots) > 0


def _naive_quorum(slots: list[Slot], people: set[str]) -> bool:
    """Seat one person after another; a seat is taken by somebody not seated yet who belongs on that side."""
    if not slots:
        return False
    for slot in slots:
        for _ in range(slot.count):
            seated = next((name for name in sorted(people) if slot_of(POLICY, name) == slot.source), None)
            if seated is None:
                return False
            people = people - {seated}
    return True


_words = st.tuples(
    st.sampled_from([name for name in _PEOPLE if find(POLICY, name) is not None]),
    st.sampled_from(["approve", "approve", "approve", "deny"]),
    st.none()
    | st.builds(
        Narrowing,
        actions=st.none() | st.lists(st.sampled_from(["read", "write", "ddl"]), max_size=2).map(tuple),
        resources=st.none() | st.lists(st.sampled_from(["a", "a*", "b", "*"]), max_size=2).map(tuple),
        duration_s=st.none() | st.integers(-1, 4000),
    ),
)


@given(st.sampled_from(["customers-db", "vault"]), st.sampled_from(["ada", "ben"]), st.lists(_words, max_size=8))
def test_whatever_is_said_a_grant_is_by_others_by_all_sides_and_never_wider(
    store: str, requester: str, words: list[tuple[str, Any, Narrowing | None]]
) -> None:
    current = request(requester, store=store, resources=("a*", "b"))
    reviews: list[Review] = []
    for name, verdict, narrowing in words:
        try:
            outcome = step(current, name, *reviews, verdict=verdict, narrowing=narrowing)
        except Refusal:
            continue
        assert current.state == "pending"
        reviews.append(outcome.review)
        if outcome.event == "deny":
            current = replace(current, state="denied")
        elif outcome.event == "approve":
            current = replace(current, state="approved")
            assert narrower(outcome.scope, current.scope)
            assert 0 < outcome.duration_s <= current.duration_s
            assert outcome.scope.actions
            assert outcome.scope.resources
            assert requester not in outcome.approvers
            sides = [slot_of(POLICY, approver) for approver in outcome.approvers]
            assert sides.count("overseer:zurich") >= (2 if store == "vault" else 1)
            assert sides.count("member") >= (1 if store == "vault" else 0)
            assert all(narrower(outcome.scope, review.scope) for review in reviews)
            assert not any(review.verdict == "deny" for review in reviews)
    assert len({review.reviewer for review in reviews}) == len(reviews)
    assert requester not in {review.reviewer for review in reviews}
