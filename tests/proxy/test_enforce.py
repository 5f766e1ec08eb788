"""The one place that decides: every way of not knowing is a denial with a name of its own."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.reasons import Reason
from approvals.scope import ACTIONS, Operation, Scope
from approvals.store_definition import StoreDefinition, definition_digest
from proxy.enforce import Allow, Deny, LiveGrant, Wait, enforce

STORE = StoreDefinition(name="crm", protocol="http", upstream="http://127.0.0.1:1")
DIGEST = definition_digest(STORE)
GRANT = LiveGrant(
    grant="gr_1",
    request="req_1",
    subject="ada",
    store="crm",
    scope=Scope("crm", ("read",)),
    state="active",
    starts_at=1000.0,
    ends_at=2000.0,
    store_def=DIGEST,
    decision="d" * 64,
)
READ = Operation(("read",), ("/people",))


def decide(grant: LiveGrant | None = GRANT, **changes: Any) -> Allow | Deny | Wait:
    arguments: dict[str, Any] = {
        "subject": "ada",
        "store": STORE,
        "store_def": DIGEST,
        "operation": READ,
        "grant": grant,
        "freshness": "fresh",
        "now": 1500.0,
    }
    return enforce(**(arguments | changes))


def test_a_live_grant_that_covers_it_is_allowed() -> None:
    verdict = decide()
    assert isinstance(verdict, Allow)
    assert (verdict.grant, verdict.store, verdict.operation) == (GRANT, STORE, READ)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (decide(freshness="stale"), Reason.VIEW_STALE),
        (decide(None), Reason.GRANT_UNKNOWN),
        (decide(replace(GRANT, store="other")), Reason.GRANT_OTHER_STORE),
        (decide(replace(GRANT, scope=Scope("other", ("read",)))), Reason.GRANT_OTHER_STORE),
        (decide(replace(GRANT, store_def="0" * 64)), Reason.GRANT_POLICY_CHANGED),
        (decide(subject="eve"), Reason.GRANT_OTHER_PERSON),
        (decide(replace(GRANT, state="issued")), Reason.GRANT_NOT_ACTIVE),
        (decide(replace(GRANT, state="ended")), Reason.GRANT_ENDED),
        (decide(replace(GRANT, state="expired")), Reason.GRANT_EXPIRED),
        (decide(replace(GRANT, state="revoked")), Reason.GRANT_REVOKED),
        (decide(now=2000.0), Reason.GRANT_EXPIRED),
        (decide(now=999.9), Reason.GRANT_NOT_ACTIVE),
        (decide(now=float("nan")), Reason.GRANT_EXPIRED),
        (decide(replace(GRANT, assurance="signed")), Reason.NO_LEASE),
        (decide(operation=Operation(("write",), ("/people",))), Reason.ACTION_NOT_GRANTED),
        (decide(operation=Operation((), ("/people",))), Reason.ACTION_NOT_GRANTED),
        (decide(replace(GRANT, scope=Scope("crm", ("read",), ("/orders",)))), Reason.RESOURCE_NOT_GRANTED),
    ],
)
def test_each_refusal_has_its_own_reason(verdict: Allow | Deny | Wait, reason: Reason) -> None:
    assert isinstance(verdict, Deny)
    assert verdict.reason is reason


def test_a_late_view_waits_but_never_to_allow_what_it_knows_is_over() -> None:
    assert decide(freshness="late") == Wait()
    assert decide(None, freshness="late") == Wait()
    assert decide(replace(GRANT, state="revoked"), freshness="late") == Deny(Reason.GRANT_REVOKED)


def test_nobody_else_makes_an_allow() -> None:
    with pytest.raises(TypeError, match=r"only proxy\.enforce"):
        Allow(GRANT, STORE, READ, object())


@given(
    subject=st.sampled_from(("ada", "eve")),
    state=st.sampled_from(("issued", "active", "ended", "expired", "revoked")),
    actions=st.lists(st.sampled_from(ACTIONS), unique=True).map(tuple),
    freshness=st.sampled_from(("fresh", "late", "stale")),
    now=st.floats(0, 3000),
)
def test_allowed_only_if_everything_holds(subject: str, state: Any, actions: Any, freshness: str, now: float) -> None:
    verdict = decide(
        replace(GRANT, state=state), subject=subject, operation=Operation(actions), freshness=freshness, now=now
    )
    everything = (subject, state, actions, freshness) == ("ada", "active", ("read",), "fresh") and 1000 <= now < 2000
    assert isinstance(verdict, Allow) == everything
