"""Whether the entries of one matter tell one story: what was asked, by whom it was decided, what was done under it.

Everything here is recomputed from the entries themselves; that these are the log's is shown elsewhere.

    1 the policy in force is here, under the digest that the entries name
    2 a request's digest is that of what was shown to the people who decided
    3 a grant is what its approvers said yes to: distinct people, never the requester, nothing wider, and the digest of
      the decision is that of these very facts
    4 an access is of its grant: same person, store and decision, actions that were granted, and in its time
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from approvals.decisions import decision_digest
from approvals.kinds import (
    AccessIntent,
    GrantActivated,
    GrantIssued,
    PolicyChanged,
    PurposeContent,
    RequestCreated,
    ReviewRecorded,
)
from approvals.requests import PENDING_FOR, Request, shown
from approvals.scope import Scope, narrower
from ledger.entry import Entry

__all__ = ["check_story"]

SKEW: Final = timedelta(seconds=60)  # between the clocks of whoever activated and whoever let through

_WITHOUT_POLICY: Final = frozenset({"log.created", "process.started", "process.stopped", "policy.changed"})
_T = TypeVar("_T", bound=msgspec.Struct)

Entries = Sequence[tuple[int, Entry]]
Fault = tuple[int, str]


def check_story(entries: Entries) -> list[Fault]:
    """What does not fit together: (the entry's index, what is wrong). The entries have facts that fit their kinds."""
    return [*_unread(entries), *_policies(entries), *_requests(entries), *_grants(entries), *_accesses(entries)]


def _unread(entries: Entries) -> Iterable[Fault]:
    for index, entry in entries:
        shape = _READ.get(entry.stub.kind)
        if shape is not None and _facts(entry, shape) is None:
            yield index, f"{entry.stub.kind} in a version that cannot be checked here"


def _policies(entries: Entries) -> Iterable[Fault]:  # 1
    known = {""}
    for index, entry in entries:
        if entry.stub.kind != "policy.changed":
            continue
        changed = _facts(entry, PolicyChanged)
        digest = changed.digest if changed is not None else ""
        if entry.content is not None and hashlib.sha256(entry.content.data).hexdigest() == digest:
            known.add(digest)
        else:
            yield index, "the policy is not here under the digest that its entry names"
    for index, entry in entries:
        if entry.stub.policy not in known and entry.stub.kind not in _WITHOUT_POLICY:
            yield index, f"the policy in force at this entry, {entry.stub.policy}, is not in the pack"
            known.add(entry.stub.policy)


def _requests(entries: Entries) -> Iterable[Fault]:  # 2
    for index, entry, facts in _all(entries, "request.created", RequestCreated):
        if entry.content is None or entry.content.form != "clear":
            continue  # what was typed is not here, so the digest of what was shown cannot be made again
        try:
            said = msgspec.json.decode(entry.content.data, type=PurposeContent)
            digest = hashlib.sha256(shown(_request(entry, facts, said))).hexdigest()
        except (ValueError, OverflowError) as cause:  # also what is no time, and what is no PurposeContent
            yield index, f"the request cannot be made again from its entry: {cause}"
            continue
        if digest != facts.digest:
            yield index, "the request's digest is not that of what it says"


def _grants(entries: Entries) -> Iterable[Fault]:  # 3
    requests = {facts.request: (entry, facts) for _, entry, facts in _all(entries, "request.created", RequestCreated)}
    reviews = list(_all(entries, "review.recorded", ReviewRecorded))
    for index, entry, grant in _all(entries, "grant.issued", GrantIssued):
        if grant.request not in requests:
            yield index, f"the request {grant.request} behind this grant is not in the pack"
            continue
        asking, asked = requests[grant.request]
        if (grant.subject, grant.store, grant.cnf) != (asked.requester, asked.store, asked.cnf):
            yield index, "the grant is another person's, store's or key's than the request"
        try:
            request = _request(asking, asked, PurposeContent(purpose="", ticket=""))
        except (ValueError, OverflowError):
            continue  # named above
        granted = Scope(grant.store, tuple(grant.actions), tuple(grant.resources), grant.limits)  # type: ignore[arg-type]
        if not narrower(granted, request.scope) or grant.duration_s > asked.duration_s:
            yield index, "the grant is wider than the request"
        if decision_digest(request, granted, grant.duration_s, grant.approvers) != grant.decision:
            yield index, "the decision's digest is not that of this request, scope, duration and these approvers"
        if entry.stub.grant != grant.decision:
            yield index, "the leaf names another decision"
        yield from _approved(index, asked, granted, grant, [facts for at, _, facts in reviews if at < index])


def _approved(
    index: int, asked: RequestCreated, granted: Scope, grant: GrantIssued, reviews: list[ReviewRecorded]
) -> Iterable[Fault]:
    if not grant.approvers or len(set(grant.approvers)) != len(grant.approvers):
        yield index, "the approvers are not one or more distinct people"
    for approver in grant.approvers:
        yes = [
            review
            for review in reviews
            if review.reviewer == approver and review.request == asked.request and review.verdict == "approve"
        ]
        if approver == asked.requester or not yes:
            yield index, f"{approver} is said to have approved; no such review of somebody else is in the pack"
            continue
        review = yes[-1]
        scope = Scope(asked.store, tuple(review.actions), tuple(review.resources), review.limits)  # type: ignore[arg-type]
        if review.shown_digest != asked.digest:
            yield index, f"{approver} was shown something else than what was asked"
        if not narrower(granted, scope) or grant.duration_s > review.duration_s:
            yield index, f"the grant is wider than what {approver} approved"


def _accesses(entries: Entries) -> Iterable[Fault]:  # 4
    grants = {facts.grant: facts for _, _, facts in _all(entries, "grant.issued", GrantIssued)}
    windows = {facts.grant: facts for _, _, facts in _all(entries, "grant.activated", GrantActivated)}
    for index, entry, access in _all(entries, "access.intent", AccessIntent):
        grant = grants.get(access.grant)
        if grant is None:
            continue  # an access under a grant that the pack is not about: a period has such
        if (access.subject, access.store, access.request) != (grant.subject, grant.store, grant.request):
            yield index, "the access is another person's, store's or request's than its grant"
        if entry.stub.grant != grant.decision:
            yield index, "the leaf names another decision than the grant's"
        if not set(access.actions) <= set(grant.actions):
            yield index, f"did {', '.join(access.actions)}; the grant is for {', '.join(grant.actions)}"
        window = windows.get(access.grant)
        if window is None:
            yield index, "an access under a grant whose activation is not in the pack"
        elif not _inside(entry.stub.time, window):
            yield index, f"an access at {entry.stub.time}; the grant was open {window.starts_at} to {window.ends_at}"


def _inside(time: str, window: GrantActivated) -> bool:
    try:
        starts, ends = datetime.fromisoformat(window.starts_at), datetime.fromisoformat(window.ends_at)
        return starts - SKEW <= datetime.fromisoformat(time) <= ends + SKEW
    except (ValueError, TypeError):
        return False


def _request(entry: Entry, facts: RequestCreated, said: PurposeContent) -> Request:
    """The request as it was kept when it was made. Raises ValueError or OverflowError for what is no time."""
    expires_at = datetime.fromisoformat(facts.expires_at)
    if expires_at.tzinfo is None:
        raise ValueError("a time without a zone names no instant")
    return Request(
        id=facts.request,
        requester=facts.requester,
        organisation=facts.organisation,
        scope=Scope(facts.store, tuple(facts.actions), tuple(facts.resources), facts.limits),  # type: ignore[arg-type]
        store_def=entry.stub.store_def,
        reason=facts.reason,
        purpose=said.purpose,
        ticket=said.ticket,
        duration_s=facts.duration_s,
        rule=facts.rule,
        assurance=facts.assurance,
        cnf=facts.cnf,
        created_at=expires_at - PENDING_FOR,
        expires_at=expires_at,
        digest=facts.digest,
        state="pending",
        version=0,
        step=0,
    )


_READ: Final[dict[str, type[msgspec.Struct]]] = {
    "request.created": RequestCreated,
    "review.recorded": ReviewRecorded,
    "grant.issued": GrantIssued,
    "grant.activated": GrantActivated,
    "access.intent": AccessIntent,
}


def _all(entries: Entries, kind: str, shape: type[_T]) -> Iterable[tuple[int, Entry, _T]]:
    for index, entry in entries:
        if entry.stub.kind == kind and (facts := _facts(entry, shape)) is not None:
            yield index, entry, facts


def _facts(entry: Entry, shape: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(entry.facts.data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
