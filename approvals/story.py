"""A request's story in sentences, oldest first: asked, reviewed, decided, used, over."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from approvals.views import Event, RequestView

__all__ = ["tell"]

# (machine, event) -> (the entry's kind, what happened)
_CHANGES: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("request", "approve"): ("grant.issued", "The quorum is met: a grant was issued"),
    ("request", "deny"): ("request.denied", "Denied"),
    ("request", "cancel"): ("request.cancelled", "Taken back"),
    ("request", "expire"): ("request.expired", "Nobody answered in time: denied"),
    ("grant", "activate"): ("grant.activated", "Activated"),
    ("grant", "expire"): ("grant.closed", "The grant's time is over"),
    ("grant", "revoke"): ("grant.revoked", "Revoked"),
    ("grant", "end"): ("grant.closed", "Given back early"),
}


def tell(request: RequestView, changes: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The events of `request` and of its grant. `changes` are rows of both machines' state changes."""
    events = [Event(request.created_at, "request.created", request.requester, request.purpose)]
    for review in request.reviews:
        word = "Approved" if review.verdict == "approve" else "Denied"
        text = f"{word}: {review.comment}" if review.comment else word
        events.append(Event(review.at, "review.recorded", review.reviewer, text))
    for change in changes:
        kind, text = _CHANGES[change["machine"], change["event"]]
        if change["comment"] and change["event"] in ("cancel", "revoke"):
            text = f"{text}: {change['comment']}"
        events.append(Event(change["at"], kind, change["by_person"], text))
    # Stable: a review and what it led to bear the same time and stay in this order.
    return tuple(sorted(events, key=lambda event: event.at))
