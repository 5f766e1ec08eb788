"""The steps in the life of a request: ask, review, cancel."""

from datetime import timedelta
from typing import Final

import structlog

from approvals import store
from approvals.decisions import Narrowing, Outcome, Review, ReviewVerdict, Said, review_step
from approvals.errors import Fault, Refusal
from approvals.grants import Grant, issue
from approvals.identity.subject import Person
from approvals.kinds import (
    CommentContent,
    GrantIssued,
    PurposeContent,
    RequestClosed,
    RequestCreated,
    ReviewRecorded,
    Via,
)
from approvals.plain_text import check_line, check_text
from approvals.reasons import Reason
from approvals.requests import MAX_OPEN_REQUESTS, MAX_TEXT_CHARS, Request, RequestInput, check, input_digest, make
from approvals.timestamps import rfc3339
from approvals.transaction import Step, Transactions
from ledger.encoding import NotCanonical
from ledger.entry import Draft

__all__ = ["cancel", "create", "review"]

IDEMPOTENT_FOR: Final = timedelta(hours=24)
MAX_KEY_CHARS: Final = 200

_log = structlog.get_logger(__name__)


async def create(transactions: Transactions, person: str, asked: RequestInput, via: Via, key: str) -> str:
    """A new request, or the one that the same key led to before; returns its id."""
    if key:
        faults: list[Fault] = []
        check_line("Idempotency-Key", key, MAX_KEY_CHARS, faults)
        if faults:
            raise Refusal(Reason.REQUEST_INVALID, faults=faults)

    async def body(step: Step) -> str:
        requester = step.person(person)
        # The person's turn: neither the cap nor a key may be passed by asking twice at the same moment.
        await step.connection.execute(_PERSONS_TURN, person)
        typed = _digest(asked)
        known = await _same_key(step, person, key, typed)
        if known:
            return known
        checked = check(step.policy, requester, asked)
        if await step.connection.fetchval(_OPEN_REQUESTS, person, step.now) >= MAX_OPEN_REQUESTS:
            raise Refusal(
                Reason.TOO_MANY_ATTEMPTS,
                f"You have {MAX_OPEN_REQUESTS} requests waiting already. Cancel one or wait for an answer.",
            )
        request = make(step.new_id("req"), requester, checked, step.now)
        await store.add_request(step.connection, request, via)
        if key:
            await step.connection.execute(_KEEP_KEY, person, key, request.id, typed, step.now)
        step.record(_created(request, via))
        step.tell("request.created", request.id, None, request.requester)
        return request.id

    try:
        return await transactions.run(body)
    except Refusal as refusal:
        _log.info(
            "request refused",
            person=person,
            reason=refusal.reason,
            faults=[fault.field for fault in refusal.faults],
        )
        raise


def _digest(asked: RequestInput) -> str:
    try:
        return input_digest(asked)
    except NotCanonical:
        return ""  # lone surrogates: `check` says where


async def _same_key(step: Step, person: str, key: str, typed: str) -> str:
    """The request this key led to within a day; "" when there is none."""
    if not key:
        return ""
    await step.connection.execute(_FORGET_KEY, person, key, step.now - IDEMPOTENT_FOR)
    row = await step.connection.fetchrow(_KNOWN_KEY, person, key)
    if row is None:
        return ""
    if row["input_digest"] != typed:
        raise Refusal(Reason.CONFLICT, "This idempotency key was used for another request already.")
    return str(row["request"])


def _created(request: Request, via: Via) -> Draft:
    facts = RequestCreated(
        request=request.id,
        requester=request.requester,
        organisation=request.organisation,
        store=request.scope.store,
        actions=list(request.scope.actions),
        resources=list(request.scope.resources),
        limits=request.scope.limits,
        reason=request.reason,
        duration_s=request.duration_s,
        assurance=request.assurance,
        rule=request.rule,
        digest=request.digest,
        expires_at=rfc3339(request.expires_at),
        via=via,
        cnf=request.cnf,
    )
    content = PurposeContent(purpose=request.purpose, ticket=request.ticket)
    return Draft("request.created", facts, content, store_def=request.store_def)


async def review(
    transactions: Transactions,
    person: str,
    request_id: str,
    verdict: ReviewVerdict,
    comment: str,
    narrowing: Narrowing | None,
    shown_digest: str,
    via: Via,
) -> None:
    """Record one person's word and what it leads to."""

    async def body(step: Step) -> None:
        reviewer = step.person(person)
        request = await _request(step, request_id)
        reviews = await store.load_reviews(step.connection, request.id)
        said = Said(step.new_id("rev"), verdict, comment, narrowing, shown_digest, via)
        outcome = review_step(step.policy, request, reviews, reviewer, said, step.now)
        step.record(_reviewed(request, outcome.review, via))
        step.tell("review.recorded", request.id, None, request.requester)
        if outcome.event:
            await store.change_request(
                step.connection, request, outcome.event, step.now, reviewer.id, via, outcome.review.comment
            )
        else:
            await store.touch_request(step.connection, request)
        await store.add_review(step.connection, outcome.review, request.requester)
        if outcome.event == "deny":
            step.record(_closed("request.denied", request, reviewer.id, via))
            step.tell("request.denied", request.id, None, request.requester)
        elif outcome.event == "approve":
            await _issue(step, request, outcome)

    await transactions.run(body)


async def _request(step: Step, request_id: str) -> Request:
    request = await store.load_request(step.connection, request_id)
    if request is None:
        raise Refusal(Reason.REQUEST_UNKNOWN)
    return request


async def _issue(step: Step, request: Request, outcome: Outcome) -> None:
    grant = issue(request, outcome, step.new_id("gr"), step.now)
    await store.add_grant(step.connection, grant, await step.next_version())
    step.record(_issued(grant))
    step.tell("request.approved", request.id, grant.id, request.requester)


def _issued(grant: Grant) -> Draft:
    facts = GrantIssued(
        grant=grant.id,
        request=grant.request,
        subject=grant.subject,
        organisation=grant.organisation,
        store=grant.scope.store,
        actions=list(grant.scope.actions),
        resources=list(grant.scope.resources),
        limits=grant.scope.limits,
        duration_s=grant.duration_s,
        use_by=rfc3339(grant.use_by),
        assurance=grant.assurance,
        decision=grant.decision,
        approvers=list(grant.approvers),
        cnf=grant.cnf,
    )
    return Draft("grant.issued", facts, grant=grant.decision, store_def=grant.store_def)


def _reviewed(request: Request, review: Review, via: Via) -> Draft:
    facts = ReviewRecorded(
        request=review.request,
        review=review.id,
        reviewer=review.reviewer,
        organisation=review.organisation,
        verdict=review.verdict,
        shown_digest=review.shown_digest,
        via=via,
        assurance=review.assurance,
        actions=list(review.scope.actions),
        resources=list(review.scope.resources),
        limits=review.scope.limits,
        duration_s=review.duration_s,
    )
    return Draft("review.recorded", facts, CommentContent(comment=review.comment), store_def=request.store_def)


def _closed(kind: str, request: Request, by: str, via: Via, comment: str | None = None) -> Draft:
    content = CommentContent(comment=comment) if comment is not None else None
    return Draft(kind, RequestClosed(request=request.id, by=by, via=via), content, store_def=request.store_def)


async def cancel(transactions: Transactions, person: str, request_id: str, comment: str, via: Via) -> None:
    """The requester takes a pending request back."""

    async def body(step: Step) -> None:
        requester = step.person(person)
        request = await _request(step, request_id)
        _may_cancel(request, requester, step)
        faults: list[Fault] = []
        clean = check_text("comment", comment, MAX_TEXT_CHARS, faults)
        if faults:
            raise Refusal(Reason.REQUEST_INVALID, "The comment has mistakes.", faults=faults)
        await store.change_request(step.connection, request, "cancel", step.now, requester.id, via, clean)
        step.record(_closed("request.cancelled", request, requester.id, via, clean))
        step.tell("request.cancelled", request.id, None, request.requester)

    await transactions.run(body)


def _may_cancel(request: Request, requester: Person, step: Step) -> None:
    if request.requester != requester.id:
        raise Refusal(Reason.NOT_PERMITTED, "Only the person who asked can take a request back.")
    if request.state != "pending" or step.now >= request.expires_at:
        raise Refusal(Reason.REQUEST_NOT_PENDING)


_PERSONS_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('glassgate.approvals.person.' || $1, 0))"
_OPEN_REQUESTS: Final = """
SELECT count(*) FROM approvals.request WHERE requester = $1 AND state = 'pending' AND expires_at > $2
"""
_FORGET_KEY: Final = "DELETE FROM approvals.idempotency WHERE person = $1 AND key = $2 AND created_at <= $3"
_KNOWN_KEY: Final = "SELECT request, input_digest FROM approvals.idempotency WHERE person = $1 AND key = $2"
_KEEP_KEY: Final = """
INSERT INTO approvals.idempotency (person, key, request, input_digest, created_at) VALUES ($1, $2, $3, $4, $5)
"""
