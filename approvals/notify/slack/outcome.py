"""What became of a request, in one sentence: the same words in the channel, in direct messages and in refusals.

EXPIRED is not REVOKED is not DENIED: each says what happened and who did it.
"""

from collections.abc import Mapping

from approvals.notify.slack import words
from approvals.views import GrantView, QuorumView, RequestView

__all__ = ["headline", "notification", "plain_notification", "quorum_text", "said"]

Names = Mapping[str, str]


def headline(view: RequestView, names: Names) -> str:
    """mrkdwn: the state in bold, then what it means."""
    word, rest = said(view, names)
    return f"*{words.escaped(word)}* {words.escaped(rest)}".rstrip()


def notification(view: RequestView, names: Names) -> str:
    """One line of mrkdwn, for notifications."""
    return words.escaped(plain_notification(view, names))


def plain_notification(view: RequestView, names: Names) -> str:
    """The same as plain text."""
    if view.state == "pending":
        wish = f"{words.listed(view.actions)} access to {view.store} for {words.duration(view.duration_s)}"
        return f"{view.requester_name} ({view.organisation_name}) asks for {wish}"
    word, rest = said(view, names)
    return f"{view.store}, {view.requester_name}: {word} {rest}".rstrip()


def said(view: RequestView, names: Names) -> tuple[str, str]:
    """A few words that name the state and who brought it about, and the rest of the sentence. Plain text."""
    if view.state == "pending":
        until = f"Without an answer it is refused on {words.at(view.expires_at)}."
        if view.assurance == "signed":
            until = f"Approving takes a signature at the overseer's own station. {until}"
        return "Waiting for approval:", f"{quorum_text(view.quorum)}. {until}"
    if view.state == "denied":
        return f"Denied by {_deniers(view)}.", ""
    if view.state == "cancelled":
        return f"Cancelled by {_name(view.closed_by, names)}.", ""
    if view.state == "expired":
        return "Expired:", "nobody answered in time, which counts as a denial."
    if view.grant is None:
        return f"Approved by {_approvers(view)}.", ""
    return _granted(view, view.grant, names)


def _granted(view: RequestView, grant: GrantView, names: Names) -> tuple[str, str]:
    approved = f"Approved by {_approvers(view)} {_allowed(view, grant)}."
    if grant.state == "issued":
        return approved, f"Not used yet; it lapses on {words.at(grant.use_by)}."
    if grant.state == "active":
        until = f" until {words.at(grant.ends_at)}" if grant.ends_at else ""
        return approved, f"In use{until}."
    over = f" on {words.at(grant.closed_at)}" if grant.closed_at else ""
    if grant.state == "revoked":
        return f"Revoked by {_name(grant.closed_by, names)}{over}.", approved
    if grant.state == "ended":
        return f"Ended by {_name(grant.closed_by, names)}{over}.", approved
    unused = " unused" if grant.starts_at is None else ""
    return f"Expired{unused}{over}.", approved


def _allowed(view: RequestView, grant: GrantView) -> str:
    """`for 30 min, asked 1 h`: what was narrowed is said, what was not is not."""
    text = f"for {words.duration(grant.duration_s)}"
    if grant.duration_s != view.duration_s:
        text += f", asked {words.duration(view.duration_s)}"
    if grant.actions != view.actions:
        text += f"; {words.listed(grant.actions)} only, asked {words.listed(view.actions)}"
    if grant.resources != view.resources:
        text += "; for a part of what was asked"
    return text


def _approvers(view: RequestView) -> str:
    names = [f"{r.reviewer_name} ({r.organisation_name})" for r in view.reviews if r.verdict == "approve"]
    return words.listed(names) or "the quorum"


def _deniers(view: RequestView) -> str:
    names = [f"{r.reviewer_name} ({r.organisation_name})" for r in view.reviews if r.verdict == "deny"]
    return words.listed(names) or "the clock"


def _name(person: str, names: Names) -> str:
    """Who closed it; nobody named means the program itself did: its clock, or a policy that dropped the person."""
    return names.get(person, person) or "the gate"


def quorum_text(quorum: tuple[QuorumView, ...]) -> str:
    """`Zurich Data Oversight 0 of 1 · Acme AG 1 of 1`."""
    return " · ".join(f"{slot.label} {len(slot.approved_by)} of {slot.needed}" for slot in quorum)
