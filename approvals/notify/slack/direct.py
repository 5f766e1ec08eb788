"""Direct messages to the engineer: what was decided, and the exact next command. Never a token or a key."""

from collections.abc import Mapping
from typing import Any, Final

from approvals.notify.slack import elements as e
from approvals.notify.slack import outcome, words
from approvals.notify.slack.blocks import COMMENT_SHOWN, Message
from approvals.views import RequestView

__all__ = ["TOLD", "direct_message", "next_command"]

TOLD: Final = frozenset({"request.approved", "request.denied", "request.expired", "grant.revoked", "grant.expired"})
"""Topics the requester hears of. Not their own acts: asking, cancelling, activating, ending."""


def direct_message(view: RequestView, topic: str, names: Mapping[str, str]) -> Message:
    """What the requester is told, from what is true now: after an outage more may have happened since."""
    word, rest = outcome.said(view, names)
    blocks: list[dict[str, Any]] = [
        e.section(e.ours(f"*{words.escaped(view.store)}*: {words.escaped(word)} {words.escaped(rest)}".rstrip()))
    ]
    blocks += [e.section(e.typed(text)) for text in _comments(view, topic)]
    if topic == "request.approved" and view.grant is not None and view.grant.state in ("issued", "active"):
        blocks.append(e.section(e.ours(f"Next:\n```{words.escaped(next_command(view))}```")))
    elif view.state != "approved" or view.grant is None or view.grant.state in ("revoked", "expired", "ended"):
        blocks.append(e.context(e.ours(f"To ask again: `/access {words.escaped(view.store)}`")))
    blocks.append(e.context(e.ours(f"Request `{view.id}`")))
    return Message(words.escaped(f"{view.store}: {word} {rest}".rstrip()), blocks)


def next_command(view: RequestView) -> str:
    """What to type in a terminal."""
    if view.protocol == "http":
        return f"glassgate curl {view.store} /"
    return f"glassgate connect {view.store}"


def _comments(view: RequestView, topic: str) -> list[str]:
    """What the people who decided wrote to go with it."""
    if topic == "grant.revoked" and view.grant is not None and view.grant.comment:
        return [f"“{words.clipped(words.plain(view.grant.comment), COMMENT_SHOWN)[0]}”"]
    if topic not in ("request.approved", "request.denied"):
        return []
    return [
        f"{review.reviewer_name}: “{words.clipped(words.plain(review.comment), COMMENT_SHOWN)[0]}”"
        for review in view.reviews
        if review.comment
    ]
