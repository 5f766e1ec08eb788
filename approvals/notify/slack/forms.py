"""The modals: ask, approve, deny, end, read. Pure: views in, Block Kit out; and what was filled in, back out."""

from collections.abc import Sequence
from typing import Any, Final

from approvals.decisions import Narrowing
from approvals.errors import Fault, Refusal
from approvals.notify.slack import elements as e
from approvals.notify.slack import words
from approvals.notify.slack.blocks import scope_text, ticket
from approvals.notify.slack.payloads import Carried, PayloadRefused, Submission, carry
from approvals.notify.slack.prefill import Prefill
from approvals.requests import RequestInput
from approvals.scope import ACTIONS
from approvals.views import RequestView, StoreView

__all__ = [
    "APPROVE_FORM",
    "ASK_FORM",
    "DENY_FORM",
    "END_FORM",
    "NOTE_FORM",
    "approve_form",
    "ask_form",
    "asked",
    "deny_form",
    "end_form",
    "errors",
    "narrowing",
    "note",
    "show_all",
]

ASK_FORM: Final = "gg.ask"
APPROVE_FORM: Final = "gg.approve"
DENY_FORM: Final = "gg.deny"
END_FORM: Final = "gg.end"
NOTE_FORM: Final = "gg.note"

MAX_PURPOSE: Final = 2000
MAX_COMMENT: Final = 2000
MAX_TICKET: Final = 64
DURATIONS_S: Final = (900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600)
DEFAULT_DURATION_S: Final = 3600

Block = dict[str, Any]


def ask_form(stores: Sequence[StoreView], filled: Prefill) -> Block:
    """What a person may ask for, with what they typed behind the command filled in. `stores` has an askable one."""
    askable = [store for store in stores if store.askable]
    actions = [action for action in ACTIONS if any(action in store.askable for store in askable)]
    reasons = {reason.code: reason for store in askable for reason in store.reasons}
    longest_s = max(store.max_duration_s for store in askable)
    duration_s = filled.duration_s or min(DEFAULT_DURATION_S, longest_s)
    store = filled.store or (askable[0].name if len(askable) == 1 else "")
    reason = filled.reason or (next(iter(reasons)) if len(reasons) == 1 else "")
    tickets = [item for item in reasons.values() if item.ticket]
    hint = "Needed for: " + words.listed([item.text for item in tickets]) if tickets else ""
    return e.modal(
        "Ask for access",
        ASK_FORM,
        [
            e.input_block("store", "Store", e.select("v", [e.option(s.name, s.name) for s in askable], store)),
            e.input_block("actions", "May", e.checkboxes("v", [e.option(a, a) for a in actions], actions[:1])),
            e.input_block("duration", "How long", _durations(longest_s, duration_s)),
            e.input_block(
                "reason", "Reason", e.select("v", [e.option(r.text, r.code) for r in reasons.values()], reason)
            ),
            e.input_block(
                "ticket", "Ticket", e.text_input("v", most=MAX_TICKET, initial=filled.ticket), hint=hint, optional=True
            ),
            e.input_block(
                "purpose",
                "Purpose",
                e.text_input("v", most=MAX_PURPOSE, initial=filled.purpose, multiline=True),
                hint="What you are going to look for, and why. The people who decide read this.",
            ),
        ],
        submit="Ask",
    )


def approve_form(view: RequestView) -> Block:
    """Everything that is asked, whole, above the button that approves it; it can be narrowed here."""
    carried = Carried(view.id, view.digest)
    return e.modal(
        "Approve",
        APPROVE_FORM,
        [
            *_whole(view),
            e.input_block("actions", "May", e.checkboxes("v", [e.option(a, a) for a in view.actions], view.actions)),
            e.input_block("duration", "How long", _durations(view.duration_s, view.duration_s)),
            e.input_block(
                "comment",
                "Comment",
                e.text_input("v", most=MAX_COMMENT, multiline=True),
                hint="The person who asked reads this. Kept in the record.",
                optional=True,
            ),
        ],
        submit="Approve",
        metadata=carry(carried),
    )


def deny_form(view: RequestView) -> Block:
    return e.modal(
        "Deny",
        DENY_FORM,
        [
            e.section(e.typed(_about(view))),
            e.input_block(
                "comment",
                "Comment",
                e.text_input("v", most=MAX_COMMENT, multiline=True),
                hint="The person who asked reads this. Kept in the record.",
            ),
        ],
        submit="Deny",
        metadata=carry(Carried(view.id, view.digest)),
    )


def end_form(view: RequestView) -> Block:
    """`view` has a grant."""
    assert view.grant is not None
    return e.modal(
        "End access now",
        END_FORM,
        [
            e.section(e.typed(_about(view))),
            e.section(e.ours("Open sessions and streams are cut at once. This cannot be undone.")),
            e.input_block(
                "comment",
                "Comment",
                e.text_input("v", most=MAX_COMMENT, multiline=True),
                hint="The person whose access ends reads this. Kept in the record.",
            ),
        ],
        submit="End now",
        metadata=carry(Carried(view.id, view.digest, view.grant.id)),
    )


def show_all(view: RequestView) -> Block:
    """The whole request, to read."""
    return e.modal("The whole request", NOTE_FORM, _whole(view))


def note(title: str, text: str) -> Block:
    """Something to read and close."""
    return e.modal(title, NOTE_FORM, [e.section(e.typed(text))])


def asked(sent: Submission) -> RequestInput:
    """What was filled in, for the service to judge: an empty choice is empty, never a default."""
    return RequestInput(
        store=_choice(sent, "store"),
        actions=sent.choices.get("actions", ()),
        reason=_choice(sent, "reason"),
        purpose=sent.texts.get("purpose", ""),
        ticket=sent.texts.get("ticket", "").strip(),
        duration_s=_seconds(sent),
    )


def narrowing(sent: Submission) -> Narrowing:
    """What the approver left. Everything is named, so that what is approved is what was on the screen."""
    return Narrowing(actions=sent.choices.get("actions", ()), duration_s=_seconds(sent))


def errors(refusal: Refusal, blocks: Sequence[str], otherwise: str) -> dict[str, str]:
    """Faults beside their fields. One about something the form does not show stands beside `otherwise`."""
    texts: dict[str, list[str]] = {}
    for fault in refusal.faults or (Fault(otherwise, refusal.public),):
        block = {"duration_s": "duration"}.get(fault.field, fault.field)
        texts.setdefault(block if block in blocks else otherwise, []).append(fault.text)
    return {block: words.clipped(words.plain(" ".join(said)), 2000)[0] for block, said in texts.items()}


def _whole(view: RequestView) -> list[Block]:
    return [
        e.section(e.typed(_about(view))),
        e.fields(
            [
                e.field("Reason", view.reason_text),
                e.field(*ticket(view)),
                e.field("Rule", view.rule),
                e.field("Digest", words.short_digest(view.digest)),
            ]
        ),
        e.section(e.ours("*Covers*")),
        *e.chunks(scope_text(view.actions, ", ".join(view.resources))),
        e.section(e.ours("*Purpose*")),
        *e.chunks(view.purpose),
    ]


def _about(view: RequestView) -> str:
    """Who has or wants what: the grant once there is one, since it may be less than what was asked."""
    who = f"{view.requester_name} ({view.organisation_name})"
    actions, duration_s = (view.grant.actions, view.grant.duration_s) if view.grant else (view.actions, view.duration_s)
    return f"{who}: {words.listed(actions)} at {view.store} for {words.duration(duration_s)}"


def _durations(longest_s: int, initial_s: int) -> Block:
    """The usual steps up to the longest, and whatever else was asked for."""
    offered = sorted({*(step for step in DURATIONS_S if step <= longest_s), longest_s, initial_s})
    return e.select("v", [e.option(words.duration(step), str(step)) for step in offered], str(initial_s))


def _choice(sent: Submission, block: str) -> str:
    chosen = sent.choices.get(block, ())
    return chosen[0] if chosen else ""


def _seconds(sent: Submission) -> int:
    """0 when nothing was chosen, which the service refuses by name."""
    text = _choice(sent, "duration")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise PayloadRefused("duration: not one of ours")
    return int(text)
