"""Refusals as HTTP: one status per reason, and the problem document (RFC 9457) that goes with it. Pure."""

from typing import Final

from approvals.api.schema import Problem, ProblemFault
from approvals.errors import Refusal
from approvals.reasons import Reason

__all__ = ["CONTENT_TYPE", "RETRY_AFTER_S", "STATUS", "TITLE", "problem", "status_of"]

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 60
"""What a 429 asks for: failed log-ins are counted per minute."""

STATUS: Final[dict[Reason, int]] = {
    Reason.NO_CREDENTIAL: 401,
    Reason.SEVERAL_CREDENTIALS: 401,
    Reason.CREDENTIAL_MALFORMED: 401,
    Reason.CREDENTIAL_UNKNOWN: 401,
    Reason.SESSION_UNKNOWN: 401,
    Reason.CODE_UNKNOWN: 401,
    Reason.TOO_MANY_ATTEMPTS: 429,
    Reason.REQUEST_UNKNOWN: 404,
    Reason.GRANT_UNKNOWN: 404,
    Reason.STORE_UNKNOWN: 404,
    Reason.PERSON_UNKNOWN: 404,
    Reason.ENTRY_UNKNOWN: 404,
    Reason.ADDRESS_UNKNOWN: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.REQUEST_NOT_PENDING: 409,
    Reason.ALREADY_REVIEWED: 409,
    Reason.SHOWN_OTHER: 409,
    Reason.CONFLICT: 409,
    Reason.POLICY_CHANGED: 409,
    Reason.GRANT_POLICY_CHANGED: 409,
    Reason.GRANT_NOT_ACTIVE: 409,
    Reason.GRANT_EXPIRED: 409,
    Reason.GRANT_ENDED: 409,
    Reason.GRANT_REVOKED: 409,
    Reason.BODY_TOO_LARGE: 413,
    Reason.MEDIA_TYPE: 415,
    Reason.REQUEST_INVALID: 422,
    Reason.WIDER_THAN_ASKED: 422,
    Reason.INTERNAL: 500,
    Reason.RECORD_FAILED: 503,
    Reason.VIEW_STALE: 503,
    Reason.DRAINING: 503,
    Reason.OVERLOADED: 503,
    Reason.UNAVAILABLE: 503,
}
"""Everything else is a plain 403: understood, and not allowed."""

TITLE: Final[dict[int, str]] = {
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not in this state",
    413: "Too large",
    415: "Not JSON",
    422: "Not acceptable as written",
    429: "Too many attempts",
    500: "Internal error",
    503: "Not able to right now",
}


def status_of(reason: Reason) -> int:
    return STATUS.get(reason, 403)


def problem(refusal: Refusal) -> Problem:
    """What the person is told. The refusal's private cause stays out."""
    status = status_of(refusal.reason)
    return Problem(
        type=f"urn:glassgate:problem:{refusal.reason.value.replace('_', '-')}",
        title=TITLE[status],
        status=status,
        detail=refusal.public,
        code=refusal.reason.value,
        faults=[ProblemFault(field=fault.field, text=fault.text) for fault in refusal.faults],
    )
