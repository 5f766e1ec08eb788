"""What the services hand out: whole, typed, ready to show. API, CLI and channels render these and nothing else.

Times are aware datetimes in UTC; durations are seconds.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeVar

from approvals.lifecycle import GrantState, RequestState
from approvals.scope import Action, Limits

__all__ = [
    "Event",
    "GrantView",
    "KeyView",
    "MintedToken",
    "Page",
    "QuorumView",
    "ReasonView",
    "RequestStory",
    "RequestView",
    "ReviewView",
    "RevocationView",
    "StoreView",
]

T = TypeVar("T")

RevocationState = Literal["REVOKE_PENDING", "REVOKE_DONE", "REVOKE_FAILED"]


@dataclass(frozen=True, slots=True)
class QuorumView:
    """One slot of the quorum: how many approvals are needed from whom, and who has given one."""

    source: str  # "overseer:zurich" or "member"
    label: str  # the organisation's name
    needed: int
    approved_by: tuple[str, ...]  # person ids


@dataclass(frozen=True, slots=True)
class ReviewView:
    id: str
    reviewer: str
    reviewer_name: str
    organisation: str
    organisation_name: str
    verdict: Literal["approve", "deny"]
    comment: str
    actions: tuple[Action, ...]  # what this person approved; () on a denial
    resources: tuple[str, ...]
    duration_s: int
    via: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyView:
    """A live access key, without anything secret."""

    key: str  # the four characters after "+"
    login: str  # "ada+k7f3"
    grant: str
    store: str
    created_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class RevocationView:
    """How far the end of a grant has reached the proxies."""

    state: RevocationState
    version: int
    waiting_for: tuple[str, ...]  # workers in contact that have not applied it


@dataclass(frozen=True, slots=True)
class GrantView:
    id: str
    request: str
    subject: str
    subject_name: str
    organisation: str
    store: str
    protocol: str  # "http", "postgres", or "" when the policy no longer knows the store
    actions: tuple[Action, ...]
    resources: tuple[str, ...]
    limits: Limits
    duration_s: int
    state: GrantState
    decision: str
    assurance: Literal["click", "signed"]
    approvers: tuple[str, ...]
    cnf: str
    issued_at: datetime
    use_by: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    closed_at: datetime | None
    closed_by: str  # a person, or "" for the clock
    comment: str  # what the person who closed it wrote
    revocation: RevocationView | None  # None unless it was ended or revoked
    keys: tuple[KeyView, ...]
    version: int


@dataclass(frozen=True, slots=True)
class RequestView:
    id: str
    state: RequestState
    requester: str
    requester_name: str
    organisation: str
    organisation_name: str
    store: str
    protocol: str
    data_class: str
    actions: tuple[Action, ...]
    resources: tuple[str, ...]
    limits: Limits
    reason: str
    reason_text: str
    purpose: str
    ticket: str
    duration_s: int
    rule: str
    assurance: Literal["click", "signed"]
    digest: str  # of everything shown; a review must repeat it as `shown_digest`
    cnf: str
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    closed_by: str  # a person, or "" for the clock
    comment: str  # what the person who closed it wrote
    quorum: tuple[QuorumView, ...]
    reviews: tuple[ReviewView, ...]
    grant: GrantView | None
    version: int


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a story, oldest first. `kind` is the entry's kind, `by` a person or "" for the clock."""

    at: datetime
    kind: str
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class RequestStory:
    request: RequestView
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class MintedToken:
    token: str
    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ReasonView:
    code: str
    text: str
    ticket: str  # the pattern a ticket must match; "" = none needed


@dataclass(frozen=True, slots=True)
class StoreView:
    """A store as one person may ask for it. Empty `askable` = no rule lets them."""

    name: str
    protocol: str
    data_class: str
    regions: tuple[str, ...]
    actions: tuple[Action, ...]  # what the store offers
    askable: tuple[Action, ...]  # what some rule lets this person ask for
    reasons: tuple[ReasonView, ...]
    max_duration_s: int  # 0 = nothing may be asked
    assurance: Literal["click", "signed"]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    after: str  # pass it back for the next page; "" = this was the last
