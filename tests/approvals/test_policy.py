"""Verdicts: deny by default, unknown is deny, every verdict says why; random policies against a naive evaluator."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.identity.subject import by_slack, find
from approvals.policy import (
    Policy,
    PolicyUnreadable,
    Requesters,
    Rule,
    Slot,
    digest_of,
    document_of,
    evaluate,
    from_document,
    overseers_of,
    rules_for,
    slot_of,
)
from approvals.scope import Action
from tests.approvals.world import policy

POLICY = policy()


def test_a_rule_that_fits() -> None:
    verdict = evaluate(POLICY, "ada", "customers-db", ("read",), "incident", 7200)
    assert verdict.outcome == "allow"
    assert verdict.rule is POLICY.rules[0]


@pytest.mark.parametrize(
    ("requester", "store", "actions", "reason", "says"),
    [
        ("sam", "customers-db", ("read",), "incident", "is for engineer of acme"),
        ("ada", "lonely", ("read",), "incident", "is not about lonely"),
        ("ada", "vault", ("write",), "incident", "does not cover write"),
        ("ada", "customers-db", (), "incident", "needs at least one action"),
        ("ada", "customers-db", ("read",), "other", "needs the reason incident"),
    ],
)
def test_no_rule_is_a_denial_that_says_why(
    requester: str, store: str, actions: tuple[Action, ...], reason: str, says: str
) -> None:
    verdict = evaluate(POLICY, requester, store, actions, reason, 60)
    assert (verdict.outcome, verdict.rule, verdict.max_duration_s) == ("deny", None, 0)
    assert len(verdict.reasons) == len(POLICY.rules)
    assert any(says in text for text in verdict.reasons)


def test_too_long_is_told_apart() -> None:
    verdict = evaluate(POLICY, "ada", "customers-db", ("read",), "incident", 7201)
    assert (verdict.outcome, verdict.max_duration_s) == ("deny", 7200)


@pytest.mark.parametrize(
    ("requester", "store", "reason"),
    [("eve", "vault", "other"), ("old", "vault", "other"), ("ada", "x", "other"), ("ada", "vault", "x"), ("", "", "")],
)
def test_what_the_policy_does_not_know_is_unknown(requester: str, store: str, reason: str) -> None:
    verdict = evaluate(POLICY, requester, store, ("read",), reason, 60)
    assert (verdict.outcome, verdict.rule) == ("unknown", None)
    assert verdict.reasons


def test_a_policy_without_rules_denies() -> None:
    verdict = evaluate(msgspec.structs.replace(POLICY, rules=()), "ada", "vault", ("read",), "other", 60)
    assert (verdict.outcome, verdict.reasons) == ("deny", ("the policy has no rules",))


def test_slots() -> None:
    assert {name: slot_of(POLICY, name) for name in (*POLICY.people, "eve")} == {
        "ada": "",
        "ben": "member",
        "sam": "member",
        "old": "",
        "olga": "overseer:zurich",
        "otto": "overseer:zurich",
        "zoe": "overseer:zurich",
        "bea": "overseer:bern",
        "gone": "",
        "eve": "",
    }
    assert overseers_of(POLICY, "vault") == {"overseer:zurich"}
    assert overseers_of(POLICY, "ledgers") == {"overseer:bern"}
    assert overseers_of(POLICY, "lonely") == frozenset()
    assert [rule.name for rule in rules_for(POLICY, "ada", "vault")] == ["vault needs many"]
    assert list(rules_for(POLICY, "olga", "vault")) == []


def test_people() -> None:
    ada = find(POLICY, "ada")
    assert ada is not None
    assert (ada.organisation_name, ada.organisation_kind, ada.roles) == ("Acme AG", "member", ("engineer",))
    assert find(POLICY, "old") is None
    assert find(POLICY, "Ada") is None
    assert by_slack(POLICY, "T0ACME", "U0ADA") == ada
    for team, user in (("T0ZH", "U0ADA"), ("", ""), ("T0ACME", ""), ("", "U0ADA"), ("T0ACME:U0ADA", "")):
        assert by_slack(POLICY, team, user) is None


def test_a_document_is_believed_by_its_digest_only() -> None:
    document = document_of(POLICY)
    digest = digest_of(document)
    assert from_document(document, digest) == POLICY
    for bad, claimed in (
        (document + b" ", digest),
        (document.replace(b"zurich", b"berlin"), digest),
        (b"{}", digest_of(b"{}")),
        (document[:-1], digest_of(document[:-1])),
        (b" " + document, digest_of(b" " + document)),
        (b"\xff", digest_of(b"\xff")),
        (document[:-1] + b',"z":1}', digest_of(document[:-1] + b',"z":1}')),
    ):
        with pytest.raises(PolicyUnreadable):
            from_document(bad, claimed)


@given(st.binary(max_size=200))
def test_a_garbage_document_is_unreadable_and_nothing_else(data: bytes) -> None:
    with pytest.raises(PolicyUnreadable):
        from_document(data, digest_of(data))


_rules = st.builds(
    Rule,
    name=st.text("abc", min_size=1, max_size=3),
    stores=st.lists(st.sampled_from(["customers-db", "vault", "lonely"]), max_size=2).map(tuple),
    requesters=st.builds(
        Requesters,
        organisation=st.sampled_from(["acme", "zurich"]),
        roles=st.lists(st.sampled_from(["engineer", "steward", "overseer"]), max_size=2).map(tuple),
    ),
    actions=st.lists(st.sampled_from(["read", "write"]), max_size=2).map(tuple),
    reasons=st.none() | st.lists(st.sampled_from(["incident", "other"]), max_size=2).map(tuple),
    max_duration_s=st.sampled_from([60, 120]),
    approvals=st.just((Slot(source="member", count=1),)),
    assurance=st.just("click"),
)


@given(st.lists(_rules, max_size=4))
def test_random_rules_against_a_naive_evaluator(rules: list[Rule]) -> None:
    under = msgspec.structs.replace(POLICY, rules=tuple(rules))
    for who, store, actions, reason, duration_s in product(
        ("ada", "sam", "olga", "old", "eve"),
        ("customers-db", "vault", "nowhere"),
        ((), ("read",), ("read", "write")),
        ("incident", "other"),
        (60, 90, 121),
    ):
        verdict = evaluate(under, who, store, actions, reason, duration_s)  # type: ignore[arg-type]
        naive = _naive(under, who, store, actions, reason, duration_s)
        assert (verdict.rule.name if verdict.rule is not None else None) == naive
        assert (verdict.outcome == "allow") == (naive is not None)


def _naive(under: Policy, who: str, store: str, actions: tuple[str, ...], reason: str, duration_s: int) -> str | None:
    entry = under.people.get(who)
    for rule in under.rules:
        if entry is None or not entry.active or store not in under.stores or not actions:
            continue
        fits = entry.organisation == rule.requesters.organisation
        fits = fits and any(role in rule.requesters.roles for role in entry.roles)
        fits = fits and store in rule.stores and all(action in rule.actions for action in actions)
        fits = fits and (rule.reasons is None or reason in rule.reasons) and duration_s <= rule.max_duration_s
        if fits:
            return rule.name
    return None
