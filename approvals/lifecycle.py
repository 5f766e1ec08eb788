"""The life of a request and of a grant, as tables.

The same pairs stand in `approvals.transition` (a migration), a foreign key holds every change to them, a test
compares the two, and the diagram in docs/ is drawn from here.
"""

from typing import Final, Literal

__all__ = [
    "GRANT",
    "REQUEST",
    "GrantState",
    "RequestState",
    "TransitionRefused",
    "grant_step",
    "request_step",
]

RequestState = Literal["pending", "approved", "denied", "cancelled", "expired"]
GrantState = Literal["issued", "active", "ended", "expired", "revoked"]

REQUEST: Final[dict[tuple[RequestState, str], RequestState]] = {
    ("pending", "approve"): "approved",  # the quorum was met: a grant is issued in the same transaction
    ("pending", "deny"): "denied",
    ("pending", "cancel"): "cancelled",
    ("pending", "expire"): "expired",  # nobody answered: that is a denial
}

GRANT: Final[dict[tuple[GrantState, str], GrantState]] = {
    ("issued", "activate"): "active",
    ("issued", "expire"): "expired",  # approved, never used
    ("issued", "revoke"): "revoked",
    ("issued", "end"): "ended",
    ("active", "expire"): "expired",
    ("active", "revoke"): "revoked",
    ("active", "end"): "ended",
}


class TransitionRefused(ValueError):
    """That event does not happen in that state."""


def request_step(state: RequestState, event: str) -> RequestState:
    """The state after `event`; raises TransitionRefused when the table has no such pair."""
    try:
        return REQUEST[state, event]
    except KeyError:
        raise TransitionRefused(f"a request that is {state} cannot {event}") from None


def grant_step(state: GrantState, event: str) -> GrantState:
    """The state after `event`; raises TransitionRefused when the table has no such pair."""
    try:
        return GRANT[state, event]
    except KeyError:
        raise TransitionRefused(f"a grant that is {state} cannot {event}") from None
