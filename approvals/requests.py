"""What is asked: input checked whole, every fault at once; and the digest of everything that is shown."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, Literal

from approvals.errors import Fault, Refusal
from approvals.identity.subject import Person
from approvals.lifecycle import RequestState
from approvals.plain_text import check_line, check_text, quoted
from approvals.policy import HARD_CAP_S, Policy, Rule, evaluate
from approvals.reasons import Reason
from approvals.scope import ACTIONS, Action, Scope, resource_covers
from approvals.store_definition import StoreDefinition, definition_digest
from approvals.timestamps import rfc3339
from ledger.encoding import encode

__all__ = [
    "MAX_OPEN_REQUESTS",
    "MAX_TEXT_CHARS",
    "PENDING_FOR",
    "Asked",
    "Request",
    "RequestInput",
    "check",
    "check_actions",
    "check_resources",
    "input_digest",
    "make",
    "shown",
]

PENDING_FOR: Final = timedelta(hours=12)  # P7: no answer by then is a denial
MAX_OPEN_REQUESTS: Final = 20  # pending per person: a queue that one person can flood is read by nobody
MAX_TEXT_CHARS: Final = 2000
MAX_TICKET_CHARS: Final = 64
MAX_RESOURCES: Final = 50
MAX_RESOURCE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class RequestInput:
    """What a person typed, unchecked. `duration_s` 0 is not "the default": channels fill the default in."""

    store: str
    actions: tuple[str, ...]
    reason: str
    purpose: str
    ticket: str
    duration_s: int
    resources: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Asked:
    """Input that has passed every check, with the rule that lets it be asked."""

    scope: Scope
    reason: str
    purpose: str
    ticket: str
    duration_s: int
    rule: Rule
    store_def: str  # digest of the store's definition


@dataclass(frozen=True, slots=True)
class Request:
    """An access request as kept. `version` counts every write, so that each write can name the one it expects."""

    id: str
    requester: str
    organisation: str
    scope: Scope
    store_def: str
    reason: str
    purpose: str
    ticket: str
    duration_s: int
    rule: str
    assurance: Literal["click", "signed"]
    cnf: str
    created_at: datetime
    expires_at: datetime
    digest: str
    state: RequestState
    version: int
    step: int  # how many state changes there were


def check(policy: Policy, requester: Person, asked: RequestInput) -> Asked:
    """Check everything and name every fault. Refused as REQUEST_INVALID, NO_RULE or UNSUPPORTED."""
    faults: list[Fault] = []
    definition = _store(policy, asked.store, faults)
    actions = check_actions(asked.actions, faults)
    if definition is not None:
        faults += [
            Fault("actions", f"{asked.store} does not offer {action}; it offers {', '.join(definition.actions)}")
            for action in actions
            if action not in definition.actions
        ]
    resources = check_resources(asked.resources, faults)
    purpose = check_text("purpose", asked.purpose, MAX_TEXT_CHARS, faults, required=True)
    ticket = _ticket(policy, asked.reason, asked.ticket, faults)
    _duration(asked.duration_s, faults)
    rule, why = _rule(policy, requester, asked, actions, faults)
    if faults:
        raise Refusal(Reason.REQUEST_INVALID, faults=faults)
    if rule is None or definition is None:
        raise Refusal(Reason.NO_RULE, "No rule of the policy lets you ask for this: " + "; ".join(why))
    if rule.assurance != "click":
        raise Refusal(
            Reason.UNSUPPORTED,
            f"The rule {rule.name!r} asks for signed approvals, which this version cannot take yet, so nobody could "
            "open what you ask for.",
        )
    scope = Scope(store=asked.store, actions=actions, resources=resources)
    return Asked(scope, asked.reason, purpose, ticket, asked.duration_s, rule, definition_digest(definition))


def _store(policy: Policy, name: str, faults: list[Fault]) -> StoreDefinition | None:
    definition = policy.stores.get(name) if isinstance(name, str) else None
    if definition is None:
        faults.append(Fault("store", f"there is no store {quoted(name)}{_nearest(name, policy.stores)}"))
    return definition


def check_actions(actions: Iterable[str], faults: list[Fault], field: str = "actions") -> tuple[Action, ...]:
    """The actions that are known, once each and in the closed list's order; what is not known is a fault.

    Spelling is exact: "Read" and " read" are other words, and are said to be.
    """
    given = tuple(actions)
    if not given:
        faults.append(Fault(field, "name at least one action: an empty list means nothing, not everything"))
    for action in dict.fromkeys(given):
        if action not in ACTIONS:
            faults.append(Fault(field, f"there is no action {quoted(action)}{_nearest(action, ACTIONS)}"))
    return tuple(action for action in ACTIONS if action in given)


def check_resources(resources: Iterable[str], faults: list[Fault], field: str = "resources") -> tuple[str, ...]:
    """The resources, sorted, without those that another one covers; faults for what is no resource."""
    given = sorted(set(resources))
    if not given:
        faults.append(Fault(field, "name at least one resource: an empty list means nothing, not everything"))
    if len(given) > MAX_RESOURCES:
        faults.append(Fault(field, f"at most {MAX_RESOURCES} resources, got {len(given)}"))
        return ()
    for name in given:
        if "*" in name[:-1]:
            faults.append(Fault(field, f"{quoted(name)}: * may stand at the end only"))
        else:
            check_line(field, name, MAX_RESOURCE_CHARS, faults)
    return tuple(name for name in given if not any(other != name and resource_covers(other, name) for other in given))


def _ticket(policy: Policy, reason: str, ticket: str, faults: list[Fault]) -> str:
    code = policy.reasons.get(reason) if isinstance(reason, str) else None
    if code is None:
        faults.append(Fault("reason", f"there is no reason code {quoted(reason)}{_nearest(reason, policy.reasons)}"))
    if not ticket:
        if code is not None and code.ticket:
            faults.append(Fault("ticket", f"the reason {reason} needs a ticket like {code.ticket}"))
        return ""
    checked = check_line("ticket", ticket, MAX_TICKET_CHARS, faults)
    if checked and code is not None and code.ticket and not re.fullmatch(code.ticket, checked):
        faults.append(Fault("ticket", f"the reason {reason} needs a ticket like {code.ticket}, got {quoted(ticket)}"))
    return checked


def _duration(duration_s: int, faults: list[Fault]) -> None:
    if isinstance(duration_s, bool) or not isinstance(duration_s, int):
        faults.append(Fault("duration_s", "expected a whole number of seconds"))
    elif duration_s <= 0:
        faults.append(Fault("duration_s", f"expected more than 0 s, got {duration_s}"))
    elif duration_s > HARD_CAP_S:
        faults.append(Fault("duration_s", f"no grant lasts longer than {HARD_CAP_S} s, got {duration_s}"))


def _rule(
    policy: Policy, requester: Person, asked: RequestInput, actions: tuple[Action, ...], faults: list[Fault]
) -> tuple[Rule | None, tuple[str, ...]]:
    """The rule that fits, or why none does. Too long a duration is a fault like any other; with an unknown store,
    reason or action there is nothing to find a rule for, and the faults say so already."""
    broken = {fault.field for fault in faults}
    if broken & {"store", "reason", "actions"}:
        return None, ()
    duration_s = 1 if "duration_s" in broken else asked.duration_s
    verdict = evaluate(policy, requester.id, asked.store, actions, asked.reason, duration_s)
    if verdict.max_duration_s:
        faults.append(
            Fault("duration_s", f"the policy allows at most {verdict.max_duration_s} s here, got {asked.duration_s}")
        )
    return verdict.rule, verdict.reasons


def _nearest(name: object, known: Iterable[str]) -> str:
    if not isinstance(name, str):
        return ""
    near = get_close_matches(name.strip().lower()[:100], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def make(request_id: str, requester: Person, asked: Asked, now: datetime, cnf: str = "") -> Request:
    """A new pending request, with the digest of what will be shown."""
    made = Request(
        id=request_id,
        requester=requester.id,
        organisation=requester.organisation,
        scope=asked.scope,
        store_def=asked.store_def,
        reason=asked.reason,
        purpose=asked.purpose,
        ticket=asked.ticket,
        duration_s=asked.duration_s,
        rule=asked.rule.name,
        assurance=asked.rule.assurance,
        cnf=cnf,
        created_at=now,
        expires_at=now + PENDING_FOR,
        digest="",
        state="pending",
        version=0,
        step=0,
    )
    return replace(made, digest=hashlib.sha256(shown(made)).hexdigest())


def shown(request: Request) -> bytes:
    """The canonical bytes of everything that the people who decide are shown. Their SHA-256 is `request.digest`."""
    document: dict[str, Any] = {
        "v": 1,
        "request": request.id,
        "requester": request.requester,
        "organisation": request.organisation,
        "store": request.scope.store,
        "store_def": request.store_def,
        "actions": request.scope.actions,
        "resources": request.scope.resources,
        "limits": request.scope.limits,
        "reason": request.reason,
        "purpose": request.purpose,
        "ticket": request.ticket,
        "duration_s": request.duration_s,
        "rule": request.rule,
        "assurance": request.assurance,
        "cnf": request.cnf,
        "created_at": rfc3339(request.created_at),
        "expires_at": rfc3339(request.expires_at),
    }
    return encode(document)


def input_digest(asked: RequestInput) -> str:
    """SHA-256 of the input as typed: the same idempotency key with other input is another request."""
    return hashlib.sha256(encode(asked)).hexdigest()
