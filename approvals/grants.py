"""The time-bound right: issued by a decision, begun by its holder, over once and for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from approvals.decisions import Outcome, Review, decision_digest, quorum_met, standing_approvals
from approvals.errors import Refusal
from approvals.lifecycle import GrantState
from approvals.policy import Policy, fits
from approvals.reasons import Reason
from approvals.requests import Request
from approvals.scope import Scope
from approvals.store_definition import definition_digest

__all__ = ["USE_WITHIN", "Grant", "check_open", "check_standing", "issue", "window"]

USE_WITHIN: Final = timedelta(hours=1)  # P7: approved and unused for an hour is over


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as kept. `starts_at` and `ends_at` are None until it is activated."""

    id: str
    request: str
    subject: str
    organisation: str
    scope: Scope
    store_def: str
    duration_s: int
    decision: str
    assurance: Literal["click", "signed"]
    approvers: tuple[str, ...]
    cnf: str
    issued_at: datetime
    use_by: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    state: GrantState
    version: int
    step: int


_OVER: Final[dict[GrantState, Reason]] = {
    "ended": Reason.GRANT_ENDED,
    "expired": Reason.GRANT_EXPIRED,
    "revoked": Reason.GRANT_REVOKED,
}


def issue(request: Request, outcome: Outcome, grant_id: str, now: datetime) -> Grant:
    """The grant that a decision gives."""
    return Grant(
        id=grant_id,
        request=request.id,
        subject=request.requester,
        organisation=request.organisation,
        scope=outcome.scope,
        store_def=request.store_def,
        duration_s=outcome.duration_s,
        decision=decision_digest(request, outcome.scope, outcome.duration_s, outcome.approvers),
        assurance=request.assurance,
        approvers=outcome.approvers,
        cnf=request.cnf,
        issued_at=now,
        use_by=now + USE_WITHIN,
        starts_at=None,
        ends_at=None,
        state="issued",
        version=0,
        step=0,
    )


def check_open(grant: Grant, now: datetime, *, active: bool) -> None:
    """Refuse a grant that is over, in state or by the clock; with `active`, one that has not begun too.

    The clock counts even before anybody has written its verdict down.
    """
    if grant.state in _OVER:
        raise Refusal(_OVER[grant.state])
    if grant.state == "issued":
        if now >= grant.use_by:
            raise Refusal(Reason.GRANT_EXPIRED, "The grant was not used within an hour of its approval. Ask again.")
        if active:
            raise Refusal(Reason.GRANT_NOT_ACTIVE)
    elif grant.ends_at is None or now >= grant.ends_at:
        raise Refusal(Reason.GRANT_EXPIRED)


def window(grant: Grant, now: datetime) -> tuple[datetime, datetime]:
    """From when to when the grant opens something if it is activated now. Another process, whose clock is ahead of
    ours, may have issued it: nothing begins before it was issued."""
    starts_at = max(now, grant.issued_at)
    return starts_at, starts_at + timedelta(seconds=grant.duration_s)


def check_standing(policy: Policy, request: Request, reviews: Sequence[Review], grant: Grant) -> None:
    """Refuse a grant that the policy in force would not give any more: GRANT_POLICY_CHANGED.

    The store must be defined as it was, and some rule must still let this person ask for what was granted, with a
    quorum that the same approvals meet, counting only people who still fill their slot.
    """
    store = grant.scope.store
    definition = policy.stores.get(store)
    if definition is None or definition_digest(definition) != grant.store_def:
        raise Refusal(Reason.GRANT_POLICY_CHANGED, cause="the store's definition changed")
    approvals = standing_approvals(policy, request, reviews)
    for rule in policy.rules:
        if (
            not fits(policy, rule, grant.subject, store, grant.scope.actions, request.reason)
            and grant.duration_s <= rule.max_duration_s
            and rule.assurance == grant.assurance
            and quorum_met(rule.approvals, approvals)
        ):
            return
    raise Refusal(Reason.GRANT_POLICY_CHANGED, cause="no rule in force carries this grant with its approvals")
