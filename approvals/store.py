"""Writes, each guarded by the version it expects, and the rows they start from. One function, one statement.

A guarded write that changes no row raises Stale: somebody else was faster, and the step has to look again.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

from approvals.decisions import Review
from approvals.grants import Grant
from approvals.lifecycle import grant_step, request_step
from approvals.requests import Request
from approvals.scope import Limits, Scope
from approvals.transaction import Stale

__all__ = [
    "add_grant",
    "add_key",
    "add_request",
    "add_review",
    "change_grant",
    "change_request",
    "due_grants",
    "due_requests",
    "end_keys",
    "grant_from",
    "load_grant",
    "load_request",
    "load_reviews",
    "request_from",
    "review_from",
    "touch_request",
]

Connection = Any
"""An asyncpg connection inside a transaction."""
Row = Any


# --- rows and values ------------------------------------------------------------------------------------------------


def _limits(limits: Limits) -> str:
    return msgspec.json.encode(limits).decode()


def _scope(row: Row) -> Scope:
    limits = msgspec.json.decode(row["limits"], type=Limits)
    return Scope(row["store"], tuple(row["actions"]), tuple(row["resources"]), limits)


def request_from(row: Row) -> Request:
    """A row of REQUEST_COLUMNS as a value."""
    return Request(
        id=row["id"],
        requester=row["requester"],
        organisation=row["organisation"],
        scope=_scope(row),
        store_def=row["store_def"],
        reason=row["reason"],
        purpose=row["purpose"],
        ticket=row["ticket"],
        duration_s=row["duration_s"],
        rule=row["rule"],
        assurance=row["assurance"],
        cnf=row["cnf"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        digest=row["digest"],
        state=row["state"],
        version=row["version"],
        step=row["step"],
    )


def review_from(row: Row) -> Review:
    """A row of approvals.review, joined with its request's store, as a value."""
    return Review(
        id=row["id"],
        request=row["request"],
        reviewer=row["reviewer"],
        organisation=row["organisation"],
        slot=row["slot"],
        verdict=row["verdict"],
        comment=row["comment"],
        shown_digest=row["shown_digest"],
        scope=_scope(row),
        duration_s=row["duration_s"],
        via=row["via"],
        assurance=row["assurance"],
        at=row["at"],
    )


def grant_from(row: Row) -> Grant:
    """A row of GRANT_COLUMNS as a value."""
    return Grant(
        id=row["id"],
        request=row["request"],
        subject=row["subject"],
        organisation=row["organisation"],
        scope=_scope(row),
        store_def=row["store_def"],
        duration_s=row["duration_s"],
        decision=row["decision"],
        assurance=row["assurance"],
        approvers=tuple(row["approvers"]),
        cnf=row["cnf"],
        issued_at=row["issued_at"],
        use_by=row["use_by"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        state=row["state"],
        version=row["version"],
        step=row["step"],
    )


# --- requests and reviews -------------------------------------------------------------------------------------------


async def add_request(connection: Connection, request: Request, via: str) -> None:
    """A new pending request."""
    scope = request.scope
    await connection.execute(
        _ADD_REQUEST,
        request.id,
        request.requester,
        request.organisation,
        scope.store,
        request.store_def,
        list(scope.actions),
        list(scope.resources),
        _limits(scope.limits),
        request.reason,
        request.purpose,
        request.ticket,
        request.duration_s,
        request.rule,
        request.assurance,
        request.cnf,
        via,
        request.digest,
        request.created_at,
        request.expires_at,
    )


async def load_request(connection: Connection, request: str) -> Request | None:
    row = await connection.fetchrow(_LOAD_REQUEST, request)
    return None if row is None else request_from(row)


async def load_reviews(connection: Connection, request: str) -> list[Review]:
    """The reviews of a request, oldest first."""
    return [review_from(row) for row in await connection.fetch(_LOAD_REVIEWS, request)]


async def add_review(connection: Connection, review: Review, requester: str) -> None:
    await connection.execute(
        _ADD_REVIEW,
        review.id,
        review.request,
        requester,
        review.reviewer,
        review.organisation,
        review.slot,
        review.verdict,
        review.comment,
        review.shown_digest,
        list(review.scope.actions),
        list(review.scope.resources),
        _limits(review.scope.limits),
        review.duration_s,
        review.via,
        review.assurance,
        review.at,
    )


async def touch_request(connection: Connection, request: Request) -> None:
    """Count a write that leaves the state: two reviews of the same moment must not both see a quorum of one."""
    _one(await connection.execute(_TOUCH_REQUEST, request.id, request.version, request.state))


async def change_request(
    connection: Connection, request: Request, event: str, at: datetime, by: str, via: str, comment: str = ""
) -> None:
    """Move a request on, by the lifecycle table; Stale unless it is exactly as it was loaded."""
    state = request_step(request.state, event)
    _one(await connection.execute(_MOVE_REQUEST, request.id, request.version, request.state, state))
    await connection.execute(
        _REQUEST_CHANGE, request.id, request.step + 1, request.state, event, state, at, by, via, comment
    )


async def due_requests(connection: Connection, now: datetime, limit: int) -> list[Request]:
    """Pending requests that nobody answered in time, locked; what another process has locked is left to it."""
    return [request_from(row) for row in await connection.fetch(_DUE_REQUESTS, now, limit)]


# --- grants and access keys -----------------------------------------------------------------------------------------


async def add_grant(connection: Connection, grant: Grant, sync_version: int) -> None:
    """A new issued grant."""
    scope = grant.scope
    await connection.execute(
        _ADD_GRANT,
        grant.id,
        grant.request,
        grant.subject,
        grant.organisation,
        scope.store,
        grant.store_def,
        list(scope.actions),
        list(scope.resources),
        _limits(scope.limits),
        grant.duration_s,
        grant.decision,
        grant.assurance,
        list(grant.approvers),
        grant.cnf,
        grant.issued_at,
        grant.use_by,
        sync_version,
    )


async def load_grant(connection: Connection, grant: str, *, hold: bool = False) -> Grant | None:
    """A grant as it is; with `hold` it stays so until the commit."""
    row = await connection.fetchrow(_HOLD_GRANT if hold else _LOAD_GRANT, grant)
    return None if row is None else grant_from(row)


async def change_grant(
    connection: Connection,
    grant: Grant,
    event: str,
    sync_version: int,
    at: datetime,
    by: str,
    via: str,
    *,
    comment: str = "",
    window: tuple[datetime, datetime] | None = None,
) -> None:
    """Move a grant on, by the lifecycle table; Stale unless it is exactly as it was loaded."""
    state = grant_step(grant.state, event)
    starts_at, ends_at = window or (grant.starts_at, grant.ends_at)
    _one(
        await connection.execute(
            _MOVE_GRANT, grant.id, grant.version, grant.state, state, starts_at, ends_at, sync_version
        )
    )
    await connection.execute(_GRANT_CHANGE, grant.id, grant.step + 1, grant.state, event, state, at, by, via, comment)


async def due_grants(connection: Connection, now: datetime, limit: int) -> list[Grant]:
    """Grants that were not used in time or have run out, locked."""
    return [grant_from(row) for row in await connection.fetch(_DUE_GRANTS, now, limit)]


async def end_keys(connection: Connection, grant: str, sync_version: int) -> list[str]:
    """End the live access key of a grant, if there is one; returns its name."""
    return [row["key"] for row in await connection.fetch(_END_KEYS, grant, sync_version)]


async def add_key(
    connection: Connection, key: str, grant: Grant, sha256: str, scram: str, at: datetime, sync_version: int
) -> bool:
    """A new live access key; False when its name or the key itself was taken before."""
    return bool(
        await connection.fetchval(
            _ADD_KEY, key, grant.id, grant.subject, grant.scope.store, sha256, scram, at, sync_version
        )
    )


def _one(status: str) -> None:
    """Exactly one row was changed."""
    if not status.endswith(" 1"):
        raise Stale


# --- statements -----------------------------------------------------------------------------------------------------

REQUEST_COLUMNS: Final = """r.id, r.requester, r.organisation, r.store, r.store_def, r.actions, r.resources, r.limits,
    r.reason, r.purpose, r.ticket, r.duration_s, r.rule, r.assurance, r.cnf, r.via, r.digest, r.created_at,
    r.expires_at, r.state, r.step, r.version"""
GRANT_COLUMNS: Final = """g.id, g.request, g.subject, g.organisation, g.store, g.store_def, g.actions, g.resources,
    g.limits, g.duration_s, g.decision, g.assurance, g.approvers, g.cnf, g.issued_at, g.use_by, g.starts_at,
    g.ends_at, g.state, g.step, g.version, g.sync_version, g.over_since"""
REVIEW_COLUMNS: Final = """v.id, v.request, v.reviewer, v.organisation, v.slot, v.verdict, v.comment, v.shown_digest,
    v.actions, v.resources, v.limits, v.duration_s, v.via, v.assurance, v.at, r.store"""

_ADD_REQUEST: Final = """
INSERT INTO approvals.request (id, requester, organisation, store, store_def, actions, resources, limits, reason,
    purpose, ticket, duration_s, rule, assurance, cnf, via, digest, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""
_LOAD_REQUEST: Final = f"SELECT {REQUEST_COLUMNS} FROM approvals.request r WHERE r.id = $1"  # noqa: S608
_LOAD_REVIEWS: Final = f"""
SELECT {REVIEW_COLUMNS} FROM approvals.review v JOIN approvals.request r ON r.id = v.request
WHERE v.request = $1 ORDER BY v.at, v.id
"""  # noqa: S608
_ADD_REVIEW: Final = """
INSERT INTO approvals.review (id, request, requester, reviewer, organisation, slot, verdict, comment, shown_digest,
    actions, resources, limits, duration_s, via, assurance, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
_TOUCH_REQUEST: Final = """
UPDATE approvals.request SET version = version + 1 WHERE id = $1 AND version = $2 AND state = $3
"""
_MOVE_REQUEST: Final = """
UPDATE approvals.request SET state = $4, step = step + 1, version = version + 1
WHERE id = $1 AND version = $2 AND state = $3
"""
_REQUEST_CHANGE: Final = """
INSERT INTO approvals.request_change (request, step, from_state, event, to_state, at, by_person, via, comment)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_DUE_REQUESTS: Final = f"""
SELECT {REQUEST_COLUMNS} FROM approvals.request r WHERE r.state = 'pending' AND r.expires_at <= $1
ORDER BY r.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""  # noqa: S608

_ADD_GRANT: Final = """
INSERT INTO approvals.access_grant (id, request, subject, organisation, store, store_def, actions, resources, limits,
    duration_s, decision, assurance, approvers, cnf, issued_at, use_by, sync_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
_LOAD_GRANT: Final = f"SELECT {GRANT_COLUMNS} FROM approvals.access_grant g WHERE g.id = $1"  # noqa: S608
_HOLD_GRANT: Final = f"{_LOAD_GRANT} FOR SHARE"
_MOVE_GRANT: Final = """
UPDATE approvals.access_grant
SET state = $4, step = step + 1, version = version + 1, starts_at = $5, ends_at = $6, sync_version = $7,
    over_since = CASE WHEN $4 IN ('ended', 'expired', 'revoked') THEN clock_timestamp() END
WHERE id = $1 AND version = $2 AND state = $3
"""
_GRANT_CHANGE: Final = """
INSERT INTO approvals.grant_change (access_grant, step, from_state, event, to_state, at, by_person, via, comment)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_DUE_GRANTS: Final = f"""
SELECT {GRANT_COLUMNS} FROM approvals.access_grant g
WHERE (g.state = 'issued' AND g.use_by <= $1) OR (g.state = 'active' AND g.ends_at <= $1)
ORDER BY g.id LIMIT $2 FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_END_KEYS: Final = """
UPDATE approvals.access_key SET live = false, sync_version = $2 WHERE access_grant = $1 AND live RETURNING key
"""
_ADD_KEY: Final = """
INSERT INTO approvals.access_key (key, access_grant, subject, store, sha256, scram, created_at, sync_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING true
"""
