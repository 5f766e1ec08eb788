"""The one place that decides: (subject, store, operation, grants, now) -> Allow | Deny | Wait.

Opening an upstream takes an `Allow`, and only this module makes one. Every way of not knowing is a Deny of its
own: no grant, another store, another person, not begun, over, a view that is too old.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from approvals.reasons import Reason
from approvals.scope import Operation, Scope, covers
from approvals.store_definition import StoreDefinition

__all__ = ["Allow", "Deny", "Freshness", "LiveGrant", "Wait", "enforce"]

Freshness = Literal["fresh", "late", "stale"]
"""How old the view of grants is: fresh <= 1 s; late: new accesses wait for a fresh one; stale > 10 s: denied."""

_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """A grant as the proxy holds it. Times are Unix seconds."""

    grant: str
    request: str
    subject: str
    store: str
    scope: Scope
    state: Literal["issued", "active", "ended", "expired", "revoked"]
    starts_at: float
    ends_at: float
    store_def: str  # digest of the store definition it was decided against
    decision: str  # digest of the decision, for the entries' `grant` field
    assurance: Literal["click", "signed"] = "click"
    cnf: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """Authority as a value: this grant, at this store, for this operation. Made by `enforce` alone."""

    grant: LiveGrant
    store: StoreDefinition
    operation: Operation
    _seal: object = field(repr=False)

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("only proxy.enforce makes an Allow")


@dataclass(frozen=True, slots=True)
class Deny:
    """Refused. `detail` is our own words for the record and the person; never text of the client's."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Undecided: the view is late. Ask again when it is fresh, for 2 s at most; then it is VIEW_STALE."""


_GONE: Final = {
    "issued": Reason.GRANT_NOT_ACTIVE,
    "ended": Reason.GRANT_ENDED,
    "expired": Reason.GRANT_EXPIRED,
    "revoked": Reason.GRANT_REVOKED,
}


def enforce(
    subject: str,
    store: StoreDefinition,
    store_def: str,
    operation: Operation,
    grant: LiveGrant | None,
    freshness: Freshness,
    now: float,
) -> Allow | Deny | Wait:
    """Whether `subject` may do `operation` at `store` under `grant`, at Unix time `now`.

    `store_def` is the digest of `store`. Steps, in order: 1 the view is not stale; 2 the grant is known; 3 it
    is for this store and its definition as decided; 4 it is this person's; 5 it is active and inside its time;
    6 signed stores need a verified decision and a lease, which this version has no way to hold; 7 the scope
    covers every action and resource; 8 the view is fresh.
    """
    if freshness == "stale":  # 1
        return Deny(Reason.VIEW_STALE)
    if grant is None:  # 2
        return Wait() if freshness == "late" else Deny(Reason.GRANT_UNKNOWN)
    if grant.store != store.name or grant.scope.store != store.name:  # 3
        return Deny(Reason.GRANT_OTHER_STORE)
    if grant.store_def != store_def:
        return Deny(Reason.GRANT_POLICY_CHANGED)
    if grant.subject != subject:  # 4
        return Deny(Reason.GRANT_OTHER_PERSON)
    if grant.state != "active":  # 5
        return Deny(_GONE[grant.state])
    if not now < grant.ends_at:  # spelled so that a NaN denies
        return Deny(Reason.GRANT_EXPIRED)
    if not now >= grant.starts_at:
        return Deny(Reason.GRANT_NOT_ACTIVE)
    if grant.assurance != "click":  # 6
        return Deny(Reason.NO_LEASE)
    verdict = covers(grant.scope, operation)  # 7
    if verdict == "action":
        missing = ", ".join(sorted(set(operation.actions) - set(grant.scope.actions)))
        return Deny(Reason.ACTION_NOT_GRANTED, f"needs {missing or 'an action that no grant has'}")
    if verdict == "resource":
        return Deny(Reason.RESOURCE_NOT_GRANTED)
    if freshness == "late":  # 8
        return Wait()
    return Allow(grant, store, operation, _SEAL)
