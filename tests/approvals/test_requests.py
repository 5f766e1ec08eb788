"""Asking: every fault at once, strict spelling, and a digest of everything that is shown."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.errors import Refusal
from approvals.identity.subject import Person, find
from approvals.reasons import Reason
from approvals.requests import Asked, RequestInput, check, input_digest, make, shown
from approvals.scope import Limits, Scope
from ledger.encoding import decode
from tests.approvals.world import START, asked, policy

POLICY = policy()


def person(name: str = "ada") -> Person:
    found = find(POLICY, name)
    assert found is not None
    return found


def checked(**changes: Any) -> Asked:
    return check(POLICY, person(), asked(**changes))


def faults(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(Refusal) as caught:
        checked(**changes)
    assert caught.value.reason is Reason.REQUEST_INVALID
    return [(fault.field, fault.text) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"store": "customer-db"}, "store", "did you mean customers-db?"),
        ({"store": "CUSTOMERS-DB"}, "store", "did you mean customers-db?"),
        ({"store": ""}, "store", "there is no store"),
        ({"store": "customers-db "}, "store", "there is no store"),
        ({"store": "\u202e" * 500}, "store", "there is no store"),
        ({"actions": ()}, "actions", "an empty list means nothing"),
        ({"actions": ("Read",)}, "actions", "did you mean read?"),
        ({"actions": (" read",)}, "actions", "did you mean read?"),
        ({"actions": ("read", "fly")}, "actions", "there is no action 'fly'"),
        ({"actions": ("ddl",)}, "actions", "customers-db does not offer ddl; it offers read, write"),
        ({"resources": ()}, "resources", "an empty list means nothing"),
        ({"resources": ("a*b",)}, "resources", "* may stand at the end only"),
        ({"resources": ("**",)}, "resources", "* may stand at the end only"),
        ({"resources": ("",)}, "resources", "must not be empty"),
        ({"resources": (" a",)}, "resources", "white space"),
        ({"resources": ("a\u202eb",)}, "resources", "U+202E"),
        ({"resources": ("x" * 201,)}, "resources", "at most 200"),
        ({"resources": tuple(f"t{n}" for n in range(51))}, "resources", "at most 50"),
        ({"reason": "fun"}, "reason", "there is no reason code 'fun'"),
        ({"reason": "Incident"}, "reason", "did you mean incident?"),
        ({"ticket": ""}, "ticket", "needs a ticket like INC-[0-9]+"),
        ({"ticket": "INC-"}, "ticket", "needs a ticket like"),
        ({"ticket": "see INC-42"}, "ticket", "needs a ticket like"),
        ({"ticket": "INC-42\n"}, "ticket", "U+000A"),
        ({"ticket": "INC-" + "1" * 61}, "ticket", "at most 64"),
        ({"purpose": ""}, "purpose", "must not be empty"),
        ({"purpose": " \n\t "}, "purpose", "must not be empty"),
        ({"purpose": "x" * 2001}, "purpose", "at most 2000"),
        ({"purpose": "look \u2066here"}, "purpose", "U+2066"),
        ({"purpose": "\ud800"}, "purpose", "U+D800"),
        ({"duration_s": 0}, "duration_s", "more than 0 s"),
        ({"duration_s": -3600}, "duration_s", "more than 0 s"),
        ({"duration_s": 7201}, "duration_s", "at most 7200 s here, got 7201"),
        ({"duration_s": 10**9}, "duration_s", "no grant lasts longer"),
        ({"duration_s": True}, "duration_s", "a whole number"),
        ({"duration_s": 1.5}, "duration_s", "a whole number"),
        ({"duration_s": None}, "duration_s", "a whole number"),
    ],
)
def test_a_fault_names_its_field(changes: dict[str, Any], field: str, says: str) -> None:
    found = faults(**changes)
    assert [name for name, _ in found] == [field]
    assert says in found[0][1]
    assert found[0][1].isascii()


def test_every_fault_at_once() -> None:
    found = faults(store="x", actions=("y",), resources=(), reason="z", purpose="", ticket="\x00", duration_s=0)
    assert {name for name, _ in found} == {
        "store",
        "actions",
        "resources",
        "reason",
        "purpose",
        "ticket",
        "duration_s",
    }
    # Too long for the rule is found even beside faults of other fields.
    assert {name for name, _ in faults(purpose="", duration_s=9000)} == {"purpose", "duration_s"}


def test_one_spelling() -> None:
    found = checked(actions=("write", "read", "write"), resources=("b", "a*", "b", "ab", "a"), purpose=" x\r\ny ")
    assert found.scope == Scope("customers-db", ("read", "write"), ("a*", "b"))
    assert found.purpose == "x\ny"
    assert checked(resources=("public.*", "*")).scope.resources == ("*",)


def test_no_rule_says_rule_by_rule_why() -> None:
    for name, changes in (("ada", {"store": "lonely", "reason": "other"}), ("sam", {}), ("ada", {"reason": "other"})):
        with pytest.raises(Refusal) as caught:
            check(POLICY, person(name), asked(**changes))
        assert caught.value.reason is Reason.NO_RULE
        assert "rule 'customer data for incidents'" in caught.value.public


def test_signed_stores_cannot_be_asked_for_yet() -> None:
    with pytest.raises(Refusal, match="cannot take yet") as caught:
        checked(store="ledgers", reason="other", ticket="")
    assert caught.value.reason is Reason.UNSUPPORTED


def test_everything_shown_is_in_the_digest() -> None:
    request = make("req_1", person(), checked(), START)
    assert request.expires_at == START + timedelta(hours=12)
    changes: dict[str, Any] = {
        "id": "req_2",
        "requester": "ben",
        "organisation": "zurich",
        "scope": Scope("crm-api", ("read",)),
        "store_def": "0" * 64,
        "reason": "other",
        "purpose": "order 1882 is missing",
        "ticket": "INC-43",
        "duration_s": 3601,
        "rule": "another",
        "assurance": "signed",
        "cnf": "thumb",
        "created_at": START + timedelta(microseconds=1),
        "expires_at": START,
    }
    not_shown = {"digest", "state", "version", "step"}
    assert set(changes) | not_shown == {field.name for field in fields(request)}
    seen = {shown(request)}
    for name, value in changes.items():
        seen.add(shown(replace(request, **{name: value})))
    for scope in (
        replace_scope(request.scope, actions=("read", "write")),
        replace_scope(request.scope, resources=("a",)),
        replace_scope(request.scope, limits=Limits(rows=1)),
    ):
        seen.add(shown(replace(request, scope=scope)))
    assert len(seen) == len(changes) + 4
    assert decode(shown(request))["purpose"] == "order 1881 is missing"


def replace_scope(scope: Scope, **changes: Any) -> Scope:
    given = {"store": scope.store, "actions": scope.actions, "resources": scope.resources, "limits": scope.limits}
    return Scope(**(given | changes))


def test_the_digest_of_the_input_is_of_all_of_it() -> None:
    base = asked()
    others: dict[str, Any] = {
        "store": "x",
        "actions": ("x",),
        "reason": "x",
        "purpose": "x",
        "ticket": "x",
        "duration_s": 1,
        "resources": ("x",),
    }
    assert set(others) == {field.name for field in fields(base)}
    assert len({input_digest(base), *(input_digest(replace(base, **{n: v})) for n, v in others.items())}) == 8


_texts = st.text(max_size=20) | st.sampled_from(["customers-db", "vault", "incident", "other", "read", "INC-1", "*"])


@given(
    st.builds(
        RequestInput,
        store=_texts,
        actions=st.lists(_texts, max_size=3).map(tuple),
        reason=_texts,
        purpose=_texts,
        ticket=_texts,
        duration_s=st.integers(-(10**9), 10**9) | st.integers(1, 7200),
        resources=st.lists(_texts, max_size=3).map(tuple),
    )
)
def test_any_input_is_refused_or_asks_for_no_more_than_a_rule_allows(given_input: RequestInput) -> None:
    try:
        found = check(POLICY, person(), given_input)
    except Refusal as refusal:
        assert refusal.reason in (Reason.REQUEST_INVALID, Reason.NO_RULE, Reason.UNSUPPORTED)
        assert bool(refusal.faults) == (refusal.reason is Reason.REQUEST_INVALID)
        return
    assert set(found.scope.actions) <= set(found.rule.actions)
    assert 0 < found.duration_s <= found.rule.max_duration_s
    assert found.scope.store in found.rule.stores
    assert found.scope.resources
