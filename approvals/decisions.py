"""Reviews and quorum: distinct people and organisations, never the requester; what they grant together.

An approval may narrow what was asked. What several people approved combines to the narrowest: the intersection
of their scopes and the shortest of their durations. A single denial denies.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from approvals.errors import Fault, Refusal
from approvals.identity.subject import Person
from approvals.plain_text import check_text
from approvals.policy import Policy, Rule, Slot, fits, overseers_of, slot_of
from approvals.reasons import Reason
from approvals.requests import MAX_TEXT_CHARS, Request, check_actions, check_resources
from approvals.scope import ACTIONS, Limits, Scope, narrower, resource_covers
from approvals.store_definition import definition_digest
from ledger.encoding import encode

__all__ = [
    "Narrowing",
    "Outcome",
    "Review",
    "ReviewVerdict",
    "Said",
    "approved_by",
    "decision_digest",
    "intersect",
    "narrow",
    "quorum_met",
    "review_step",
    "standing_approvals",
]

ReviewVerdict = Literal["approve", "deny"]
_LIMITS: Final = ("rows", "bytes", "requests")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What an approver leaves of what was asked; None = as asked. Empty means nothing, and is refused."""

    actions: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    duration_s: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One review as it arrives, unchecked."""

    id: str
    verdict: ReviewVerdict
    comment: str
    narrowing: Narrowing | None
    shown_digest: str
    via: str


@dataclass(frozen=True, slots=True)
class Review:
    """One person's word, as kept. On a denial `scope` has no actions and no resources, and `duration_s` is 0."""

    id: str
    request: str
    reviewer: str
    organisation: str
    slot: str
    verdict: ReviewVerdict
    comment: str
    shown_digest: str
    scope: Scope
    duration_s: int
    via: str
    assurance: Literal["click", "signed"]
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a review leads to: "" (still pending), "approve" or "deny". With "approve": what is granted, by whom."""

    review: Review
    event: Literal["", "approve", "deny"]
    scope: Scope
    duration_s: int
    approvers: tuple[str, ...]


def review_step(
    policy: Policy, request: Request, reviews: Sequence[Review], reviewer: Person, said: Said, now: datetime
) -> Outcome:
    """The outcome of one more review, under the policy in force now.

    Checked in this order: 1 never the requester; 2 once per person; 3 still pending, in state and by the clock;
    4 the person is asked (to deny, any overseer of the store will do); 5 what was shown is what was asked;
    6 the comment; and for an approval 7 the policy still has the rule, the store its definition; 8 the narrowing;
    9 something is left of it together with what others approved.
    """
    if reviewer.id == request.requester:  # 1
        raise Refusal(Reason.SELF_REVIEW)
    if any(review.reviewer == reviewer.id for review in reviews):  # 2
        raise Refusal(Reason.ALREADY_REVIEWED)
    if request.state != "pending" or now >= request.expires_at:  # 3
        raise Refusal(Reason.REQUEST_NOT_PENDING)
    rule, changed = _rule_in_force(policy, request)
    slot = _slot(policy, request, rule, reviewer, said.verdict)  # 4
    if said.shown_digest != request.digest:  # 5
        raise Refusal(Reason.SHOWN_OTHER)
    faults: list[Fault] = []
    comment = check_text("comment", said.comment, MAX_TEXT_CHARS, faults)  # 6
    if said.verdict == "deny":
        _raise(faults)
        nothing = Scope(request.scope.store, (), ())
        review = _review(request, reviewer, slot, said, comment, nothing, 0, now)
        return Outcome(review, "deny", nothing, 0, ())
    if rule is None or changed:  # 7
        raise Refusal(Reason.POLICY_CHANGED, cause=changed)
    scope, duration_s = narrow(request, said.narrowing or Narrowing(), faults)  # 8
    review = _review(request, reviewer, slot, said, comment, scope, duration_s, now)
    approvals = [*standing_approvals(policy, request, reviews), review]
    for other in approvals[:-1]:  # 9
        scope = intersect(scope, other.scope)
        duration_s = min(duration_s, other.duration_s)
    if not scope.actions or not scope.resources:
        faults.append(Fault("narrowing", "leaves nothing in common with what others approved"))
    _raise(faults)
    if not quorum_met(rule.approvals, approvals):
        return Outcome(review, "", scope, duration_s, ())
    return Outcome(review, "approve", scope, duration_s, approved_by(approvals))


def _raise(faults: list[Fault]) -> None:
    if faults:
        raise Refusal(Reason.REQUEST_INVALID, "The review has mistakes.", faults=faults)


def _rule_in_force(policy: Policy, request: Request) -> tuple[Rule | None, str]:
    """The rule the request was made under, as it reads now, and why it does not carry the request any more."""
    rule = next((rule for rule in policy.rules if rule.name == request.rule), None)
    if rule is None:
        return None, "the rule is gone"
    definition = policy.stores.get(request.scope.store)
    if definition is None or definition_digest(definition) != request.store_def:
        return rule, "the store's definition changed"
    if rule.assurance != request.assurance:
        return rule, "the rule's assurance changed"
    if request.duration_s > rule.max_duration_s:
        return rule, "the rule allows less time now"
    return rule, fits(policy, rule, request.requester, request.scope.store, request.scope.actions, request.reason)


def _slot(policy: Policy, request: Request, rule: Rule | None, reviewer: Person, verdict: ReviewVerdict) -> str:
    slot = slot_of(policy, reviewer.id)
    asked = {slot.source for slot in rule.approvals} if rule is not None else set()
    if verdict == "deny":
        # Saying no is easy: a rule that has gone does not leave the store's overseers without a word.
        asked |= overseers_of(policy, request.scope.store)
    if not slot or slot not in asked:
        raise Refusal(Reason.NOT_AN_APPROVER)
    return slot


def _review(
    request: Request,
    reviewer: Person,
    slot: str,
    said: Said,
    comment: str,
    scope: Scope,
    duration_s: int,
    now: datetime,
) -> Review:
    return Review(
        id=said.id,
        request=request.id,
        reviewer=reviewer.id,
        organisation=reviewer.organisation,
        slot=slot,
        verdict=said.verdict,
        comment=comment,
        shown_digest=said.shown_digest,
        scope=scope,
        duration_s=duration_s,
        via=said.via,
        assurance="click",
        at=now,
    )


def narrow(request: Request, narrowing: Narrowing, faults: list[Fault]) -> tuple[Scope, int]:
    """What `narrowing` leaves of the request. WIDER_THAN_ASKED if it is not narrower; faults for what is nonsense."""
    asked = request.scope
    actions, resources, duration_s = asked.actions, asked.resources, request.duration_s
    if narrowing.actions is not None:
        actions = check_actions(narrowing.actions, faults)
    if narrowing.resources is not None:
        resources = check_resources(narrowing.resources, faults)
    if narrowing.duration_s is not None:
        duration_s = narrowing.duration_s
        if isinstance(duration_s, bool) or not isinstance(duration_s, int) or duration_s <= 0:
            faults.append(Fault("duration_s", "expected a whole number of seconds above 0"))
            duration_s = request.duration_s
    scope = Scope(asked.store, actions, resources, asked.limits)
    if not narrower(scope, asked) or duration_s > request.duration_s:
        raise Refusal(Reason.WIDER_THAN_ASKED)
    return scope, duration_s


def intersect(one: Scope, other: Scope) -> Scope:
    """What both scopes allow, and nothing else: the widest scope that is narrower than either.

    Of two patterns one covers the other or they share nothing, so pairs are enough. Raises ValueError for scopes
    of two stores.
    """
    if one.store != other.store:
        raise ValueError("scopes of two stores have nothing in common")
    shared: set[str] = set()
    for mine in one.resources:
        for theirs in other.resources:
            if resource_covers(mine, theirs):
                shared.add(theirs)
            elif resource_covers(theirs, mine):
                shared.add(mine)
    resources = sorted(name for name in shared if not any(o != name and resource_covers(o, name) for o in shared))
    actions = tuple(action for action in ACTIONS if action in one.actions and action in other.actions)
    limits = Limits(**{name: _least(getattr(one.limits, name), getattr(other.limits, name)) for name in _LIMITS})
    return Scope(one.store, actions, tuple(resources), limits)


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def standing_approvals(policy: Policy, request: Request, reviews: Iterable[Review]) -> list[Review]:
    """The approvals that count today: of what was shown, by people who still fill the slot they spoke for."""
    return [
        review
        for review in reviews
        if review.verdict == "approve"
        and review.reviewer != request.requester
        and review.shown_digest == request.digest
        and slot_of(policy, review.reviewer) == review.slot
    ]


def quorum_met(slots: Sequence[Slot], approvals: Iterable[Review]) -> bool:
    """Whether every slot has as many distinct people as it asks for. No slots is no quorum."""
    people: dict[str, set[str]] = {}
    for review in approvals:
        people.setdefault(review.slot, set()).add(review.reviewer)
    return bool(slots) and all(len(people.get(slot.source, ())) >= slot.count for slot in slots)


def approved_by(approvals: Iterable[Review]) -> tuple[str, ...]:
    """The people behind the approvals, sorted."""
    return tuple(sorted({review.reviewer for review in approvals}))


def decision_digest(request: Request, scope: Scope, duration_s: int, approvers: Sequence[str]) -> str:
    """SHA-256 over the decision: which request (by digest), what is granted, for how long, to whom and whose key, by
    whom."""
    document: dict[str, Any] = {
        "v": 1,
        "request": request.id,
        "request_digest": request.digest,
        "scope": {
            "store": scope.store,
            "actions": scope.actions,
            "resources": scope.resources,
            "limits": scope.limits,
        },
        "store_def": request.store_def,
        "duration_s": duration_s,
        "subject": request.requester,
        "cnf": request.cnf,
        "assurance": request.assurance,
        "approvers": sorted(approvers),
    }
    return hashlib.sha256(encode(document)).hexdigest()
