"""The entries of one access over HTTP, as drafts."""

from typing import Literal

import msgspec

from approvals.kinds import AccessIntent, AccessOutcome, AccessProgress, AccessRefused
from ledger.entry import Draft
from proxy.classify.rest import Classified
from proxy.enforce import Allow, LiveGrant
from proxy.http.authenticate import Identity
from proxy.http.head import RequestHead
from proxy.http.redact import http_content

__all__ = ["Result", "Source", "intent", "outcome", "progress", "refused", "unreadable"]

Result = Literal[
    "complete",
    "error",
    "client_gone",
    "store_broke",
    "store_unreachable",
    "store_closed_before_answer",
    "revoked",
    "expired",
    "cancelled",
    "record_failed",
    "limit_reached",
    "view_stale",
]


class Source(msgspec.Struct, frozen=True):
    """Which connection a request came on, and as which of its requests."""

    address: str
    session: str
    sequence: int


def intent(
    allow: Allow, who: Identity, head: RequestHead, classified: Classified, source: Source, store_def: str
) -> Draft:
    """Before: what is about to happen. The path stands in the content, its pattern in the facts."""
    grant = allow.grant
    facts = AccessIntent(
        grant=grant.grant,
        request=grant.request,
        subject=grant.subject,
        store=grant.store,
        protocol="http",
        actions=list(allow.operation.actions),
        operation=head.method.decode("ascii"),
        resources=list(classified.patterns),
        client_address=source.address,
        address_grade="direct",
        credential=who.credential,
        session=source.session,
        sequence=source.sequence,
        declared_bytes=head.length if head.declared else -1,
    )
    return Draft("access.intent", facts, http_content(head), grant=grant.decision, store_def=store_def)


def progress(allow: Allow, store_def: str, access: str, bytes_out: int) -> Draft:
    """Accounts for what has left so far."""
    facts = AccessProgress(access=access, bytes_out=bytes_out, rows=0)
    return Draft("access.progress", facts, grant=allow.grant.decision, store_def=store_def)


def outcome(
    allow: Allow,
    store_def: str,
    access: str,
    result: Result,
    *,
    status: int,
    bytes_in: int,
    bytes_out: int,
    duration_us: int,
    body_digest: str,
) -> Draft:
    """After: how it ended. Sizes are those of bodies, decoded; `body_digest` is the request body's."""
    facts = AccessOutcome(
        access=access,
        result=result,
        status=status,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        duration_us=duration_us,
        body_digest=body_digest,
    )
    return Draft("access.outcome", facts, grant=allow.grant.decision, store_def=store_def)


def refused(
    reason: str,
    head: RequestHead,
    classified: Classified,
    source: Source,
    *,
    store: str,
    who: Identity | None,
    login_hash: str,
    grant: LiveGrant | None,
    status: int,
    detail: str,
) -> AccessRefused:
    """A refusal, as full as a granted access as far as it is known."""
    return AccessRefused(
        reason=reason,
        protocol="http",
        operation=head.method.decode("ascii"),
        client_address=source.address,
        address_grade="direct",
        store=store,
        grant=who.grant if who else "",
        request=grant.request if grant else "",
        subject=who.subject if who else "",
        credential=who.credential if who else login_hash,
        actions=list(classified.operation.actions),
        resources=list(classified.patterns),
        session=source.session,
        sequence=source.sequence,
        status=status,
        detail=detail,
    )


def unreadable(reason: str, source: Source, *, store: str, status: int, detail: str) -> AccessRefused:
    """Bytes that were no request."""
    return AccessRefused(
        reason=reason,
        protocol="http",
        operation="",
        client_address=source.address,
        address_grade="direct",
        store=store,
        session=source.session,
        sequence=source.sequence,
        status=status,
        detail=detail,
    )
