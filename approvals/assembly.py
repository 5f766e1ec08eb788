"""Rows put together into views, a page at a time: a fixed number of statements whatever the page holds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from approvals.access_key import login_name
from approvals.decisions import Review, standing_approvals
from approvals.policy import MEMBER, Policy, Slot
from approvals.requests import Request
from approvals.revocation import Worker, acknowledgement
from approvals.store import GRANT_COLUMNS, REVIEW_COLUMNS, grant_from, request_from, review_from
from approvals.views import GrantView, KeyView, QuorumView, RequestView, ReviewView, RevocationView

__all__ = ["assemble_grants", "assemble_requests"]

Connection = Any
Row = Any


async def assemble_requests(connection: Connection, policy: Policy, rows: Sequence[Row]) -> list[RequestView]:
    """Views of request rows (REQUEST_COLUMNS), in their order."""
    ids = [row["id"] for row in rows]
    if not ids:
        return []
    reviews: dict[str, list[Review]] = defaultdict(list)
    for row in await connection.fetch(_REVIEWS, ids):
        reviews[row["request"]].append(review_from(row))
    closed = {row["request"]: row for row in await connection.fetch(_REQUEST_ENDS, ids)}
    grants = {
        grant.request: grant
        for grant in await assemble_grants(connection, policy, await connection.fetch(_GRANTS_OF, ids))
    }
    views = []
    for row in rows:
        request = request_from(row)
        views.append(_request(policy, request, reviews[request.id], closed.get(request.id), grants.get(request.id)))
    return views


def _request(
    policy: Policy, request: Request, reviews: list[Review], closed: Row | None, grant: GrantView | None
) -> RequestView:
    definition = policy.stores.get(request.scope.store)
    code = policy.reasons.get(request.reason)
    return RequestView(
        id=request.id,
        state=request.state,
        requester=request.requester,
        requester_name=_name(policy, request.requester),
        organisation=request.organisation,
        organisation_name=_organisation(policy, request.organisation),
        store=request.scope.store,
        protocol=definition.protocol if definition is not None else "",
        data_class=definition.data_class if definition is not None else "",
        actions=request.scope.actions,
        resources=request.scope.resources,
        limits=request.scope.limits,
        reason=request.reason,
        reason_text=code.text if code is not None else "",
        purpose=request.purpose,
        ticket=request.ticket,
        duration_s=request.duration_s,
        rule=request.rule,
        assurance=request.assurance,
        digest=request.digest,
        cnf=request.cnf,
        created_at=request.created_at,
        expires_at=request.expires_at,
        closed_at=closed["at"] if closed is not None else None,
        closed_by=closed["by_person"] if closed is not None else "",
        comment=closed["comment"] if closed is not None else "",
        quorum=_quorum(policy, request, reviews),
        reviews=tuple(_review(policy, review) for review in reviews),
        grant=grant,
        version=request.version,
    )


def _quorum(policy: Policy, request: Request, reviews: list[Review]) -> tuple[QuorumView, ...]:
    """The slots of the rule as it reads now, and whose approvals count today."""
    rule = next((rule for rule in policy.rules if rule.name == request.rule), None)
    if rule is None:
        return ()
    standing = standing_approvals(policy, request, reviews)
    return tuple(
        QuorumView(
            slot.source,
            _side(policy, slot),
            slot.count,
            tuple(review.reviewer for review in standing if review.slot == slot.source),
        )
        for slot in rule.approvals
    )


def _side(policy: Policy, slot: Slot) -> str:
    return _organisation(policy, policy.member if slot.source == MEMBER else slot.source.partition(":")[2])


def _review(policy: Policy, review: Review) -> ReviewView:
    return ReviewView(
        id=review.id,
        reviewer=review.reviewer,
        reviewer_name=_name(policy, review.reviewer),
        organisation=review.organisation,
        organisation_name=_organisation(policy, review.organisation),
        verdict=review.verdict,
        comment=review.comment,
        actions=review.scope.actions,
        resources=review.scope.resources,
        duration_s=review.duration_s,
        via=review.via,
        at=review.at,
    )


async def assemble_grants(connection: Connection, policy: Policy, rows: Sequence[Row]) -> list[GrantView]:
    """Views of grant rows (GRANT_COLUMNS), in their order."""
    ids = [row["id"] for row in rows]
    if not ids:
        return []
    closed = {row["access_grant"]: row for row in await connection.fetch(_GRANT_ENDS, ids)}
    keys: dict[str, list[Row]] = defaultdict(list)
    for row in await connection.fetch(_KEYS, ids):
        keys[row["access_grant"]].append(row)
    revocations = await _revocations(connection, rows)
    return [_grant(policy, row, closed.get(row["id"]), keys[row["id"]], revocations.get(row["id"])) for row in rows]


async def _revocations(connection: Connection, rows: Sequence[Row]) -> dict[str, RevocationView]:
    """Of what people ended. What the clock ended, proxies end by their own clocks."""
    over = [row for row in rows if row["state"] in ("ended", "revoked")]
    if not over:
        return {}
    seen = await connection.fetch(_WORKERS)
    now = await connection.fetchval("SELECT clock_timestamp()")
    workers = [Worker(w["worker"], w["applied_version"], w["first_version"], w["seen_at"]) for w in seen]
    return {row["id"]: acknowledgement(row["sync_version"], row["over_since"], workers, now) for row in over}


def _grant(
    policy: Policy, row: Row, closed: Row | None, keys: list[Row], revocation: RevocationView | None
) -> GrantView:
    grant = grant_from(row)
    definition = policy.stores.get(grant.scope.store)
    return GrantView(
        id=grant.id,
        request=grant.request,
        subject=grant.subject,
        subject_name=_name(policy, grant.subject),
        organisation=grant.organisation,
        store=grant.scope.store,
        protocol=definition.protocol if definition is not None else "",
        actions=grant.scope.actions,
        resources=grant.scope.resources,
        limits=grant.scope.limits,
        duration_s=grant.duration_s,
        state=grant.state,
        decision=grant.decision,
        assurance=grant.assurance,
        approvers=grant.approvers,
        cnf=grant.cnf,
        issued_at=grant.issued_at,
        use_by=grant.use_by,
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        closed_at=closed["at"] if closed is not None else None,
        closed_by=closed["by_person"] if closed is not None else "",
        comment=closed["comment"] if closed is not None else "",
        revocation=revocation,
        keys=tuple(
            KeyView(
                key["key"],
                login_name(grant.subject, key["key"]),
                grant.id,
                grant.scope.store,
                key["created_at"],
                grant.ends_at or grant.use_by,
            )
            for key in keys
        ),
        version=grant.version,
    )


def _name(policy: Policy, person: str) -> str:
    known = policy.people.get(person)
    return known.name if known is not None else person


def _organisation(policy: Policy, organisation: str) -> str:
    known = policy.organisations.get(organisation)
    return known.name if known is not None else organisation


_REVIEWS: Final = f"""
SELECT {REVIEW_COLUMNS} FROM approvals.review v JOIN approvals.request r ON r.id = v.request
WHERE v.request = ANY ($1::text[]) ORDER BY v.at, v.id
"""  # noqa: S608
_REQUEST_ENDS: Final = """
SELECT request, at, by_person, comment FROM approvals.request_change WHERE request = ANY ($1::text[])
"""
_GRANTS_OF: Final = f"""
SELECT {GRANT_COLUMNS} FROM approvals.access_grant g WHERE g.request = ANY ($1::text[])
"""  # noqa: S608
_GRANT_ENDS: Final = """
SELECT access_grant, at, by_person, comment FROM approvals.grant_change
WHERE access_grant = ANY ($1::text[]) AND to_state IN ('ended', 'expired', 'revoked')
"""
_KEYS: Final = """
SELECT access_grant, key, created_at FROM approvals.access_key
WHERE access_grant = ANY ($1::text[]) AND live ORDER BY serial
"""
_WORKERS: Final = """
SELECT worker, applied_version, first_version, seen_at FROM approvals.proxy_worker
WHERE seen_at > clock_timestamp() - interval '1 minute'
"""
