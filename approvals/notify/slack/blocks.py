"""The message about a request, as it stands now: a pure function of the request view.

Shown in a channel that two organisations share. It holds everything needed to decide and nothing secret, stays
below Slack's undocumented total (about 13,200 characters; we stop at 10,000), and what does not fit is behind
"Show all". Buttons carry the digest of what was shown, so that nobody approves what they have not seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from approvals.notify.slack import elements as e
from approvals.notify.slack import outcome, words
from approvals.notify.slack.payloads import Carried, carry
from approvals.views import RequestView, ReviewView

__all__ = ["APPROVE", "DENY", "END", "SHOW_ALL", "Message", "request_message", "scope_text", "ticket"]

APPROVE: Final = "gg.approve"
DENY: Final = "gg.deny"
END: Final = "gg.end"
SHOW_ALL: Final = "gg.show_all"

PURPOSE_SHOWN: Final = 1500
RESOURCES_SHOWN: Final = 400
COMMENT_SHOWN: Final = 300
REVIEWS_SHOWN: Final = 8

Names = Mapping[str, str]
"""Person id -> "Olga Example (Zurich Data Oversight)"."""


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is what notifications and screen readers say."""

    text: str
    blocks: list[dict[str, Any]]


def request_message(view: RequestView, names: Names) -> Message:
    """What the overseers' channel shows of this request now."""
    purpose, cut = words.clipped(words.plain(view.purpose), PURPOSE_SHOWN)
    resources, resources_cut = words.clipped(words.plain(", ".join(view.resources)), RESOURCES_SHOWN)
    carried = carry(Carried(view.id, view.digest, view.grant.id if view.grant else ""))
    more = e.button("Show all", SHOW_ALL, carried) if cut or resources_cut else None
    blocks = [
        e.header(f"Access to {view.store}"),
        e.fields(
            [
                e.field("Who", f"{view.requester_name} ({view.organisation_name})"),
                e.field("Store", _store_text(view)),
                e.field("May", scope_text(view.actions, resources)),
                e.field("How long", words.duration(view.duration_s)),
                e.field("Reason", view.reason_text),
                e.field(*ticket(view)),
            ]
        ),
        e.section(e.typed(f"Purpose\n{purpose}"), more),
        *_reviews(view),
        e.section(e.ours(outcome.headline(view, names))),
        *_closing_comment(view),
        *_buttons(view, carried),
        e.context(
            e.ours(f"Asked {words.at(view.created_at)} · request `{view.id}`"),
            e.ours(f"digest `{words.short_digest(view.digest)}` · rule {words.escaped(view.rule)}"),
        ),
    ]
    return Message(outcome.notification(view, names), blocks)


def ticket(view: RequestView) -> tuple[str, str]:
    """Label and value. A ticket that is spelled right may still not exist, and nobody has looked it up."""
    return ("Ticket (not verified)", view.ticket) if view.ticket else ("Ticket", "none")


def scope_text(actions: tuple[str, ...], resources: str) -> str:
    return f"{words.listed(actions)} · {'everything in it' if resources == '*' else resources}"


def _store_text(view: RequestView) -> str:
    protocol = {"postgres": "PostgreSQL", "http": "HTTP"}.get(view.protocol, "")
    data = f"{view.data_class} data" if view.data_class else ""
    about = ", ".join(part for part in (protocol, data) if part)
    return f"{view.store} ({about})" if about else view.store


def _buttons(view: RequestView, carried: str) -> list[dict[str, Any]]:
    """Only what can still be done. Saying no and ending work by a click everywhere; at stores whose approvals must
    be signed a click opens nothing, so no button pretends that it does."""
    if view.state == "pending":
        deny = e.button("Deny", DENY, carried, "danger")
        if view.assurance == "signed":
            return [e.actions(deny)]
        return [e.actions(e.button("Approve", APPROVE, carried, "primary"), deny)]
    if view.grant is not None and view.grant.state in ("issued", "active"):
        return [e.actions(e.button("End now", END, carried, "danger"))]
    return []


def _reviews(view: RequestView) -> list[dict[str, Any]]:
    """What each reviewer said, newest last."""
    return [e.section(e.typed(_review(review, view))) for review in view.reviews[-REVIEWS_SHOWN:]]


def _closing_comment(view: RequestView) -> list[dict[str, Any]]:
    """What the person who cancelled, or ended the grant, wrote."""
    comment = view.grant.comment if view.grant else view.comment
    if not comment:
        return []
    return [e.section(e.typed(f"“{words.clipped(words.plain(comment), COMMENT_SHOWN)[0]}”"))]


def _review(review: ReviewView, view: RequestView) -> str:
    """With what this person left of what was asked: the next one to approve must know what it will come to."""
    said = f"{review.reviewer_name} ({review.organisation_name}) {_verdict(review, view)}"
    comment = words.clipped(words.plain(review.comment), COMMENT_SHOWN)[0]
    return f"{said}: “{comment}”" if comment else f"{said}."


def _verdict(review: ReviewView, view: RequestView) -> str:
    if review.verdict == "deny":
        return "denied"
    less = [f"for {words.duration(review.duration_s)}"] if review.duration_s != view.duration_s else []
    less += [f"{words.listed(review.actions)} only"] if review.actions != view.actions else []
    less += ["a part of the resources"] if review.resources != view.resources else []
    return ", ".join(["approved", *less])
