"""Refusals in PostgreSQL's own words: SQLSTATEs and error messages; pure."""

from typing import Final

from approvals.reasons import TEXT, Reason
from proxy.enforce import Deny
from proxy.postgres.messages import error_response

__all__ = ["FINAL", "ended", "login_failed", "refused", "refused_login"]

_SQLSTATE: Final = {
    Reason.RECORD_TOO_LARGE: "54000",
    Reason.RECORD_FAILED: "58000",
    Reason.VIEW_STALE: "57P03",
    Reason.OVERLOADED: "53300",
    Reason.UNSUPPORTED: "0A000",
    Reason.PROTOCOL_VIOLATION: "08P01",
    Reason.STORE_UNREACHABLE: "08006",
    Reason.STORE_IDENTITY: "08006",
    Reason.STORE_UNKNOWN: "3D000",
    Reason.TOO_MANY_ATTEMPTS: "53300",
}
"""What is not named here is a matter of rights."""

_RIGHTS: Final = "42501"
_INVALID_AUTHORIZATION: Final = "28000"
_ADMIN_SHUTDOWN: Final = "57P01"

FINAL: Final = frozenset(
    {
        Reason.GRANT_UNKNOWN,
        Reason.GRANT_NOT_ACTIVE,
        Reason.GRANT_EXPIRED,
        Reason.GRANT_ENDED,
        Reason.GRANT_REVOKED,
        Reason.GRANT_OTHER_STORE,
        Reason.GRANT_OTHER_PERSON,
        Reason.GRANT_POLICY_CHANGED,
        Reason.BLOCKED,
        Reason.NO_LEASE,
    }
)
"""Verdicts that no later statement of a session can escape: the session ends with them."""


def refused(deny: Deny) -> bytes:
    """A statement was refused; the session goes on."""
    return error_response(
        "ERROR",
        _SQLSTATE.get(deny.reason, _RIGHTS),
        TEXT[deny.reason],
        detail=deny.detail,
        hint=f"glassgate: {deny.reason}",
    )


def ended(reason: Reason, text: str = "") -> bytes:
    """The session is over."""
    sqlstate = _SQLSTATE.get(reason, _ADMIN_SHUTDOWN)
    if reason in (Reason.VIEW_STALE, Reason.OVERLOADED):
        sqlstate = _ADMIN_SHUTDOWN
    return error_response("FATAL", sqlstate, text or TEXT[reason], hint=f"glassgate: {reason}")


def refused_login(reason: Reason, text: str = "") -> bytes:
    """The person is who they say, but may not come in (now)."""
    return error_response(
        "FATAL", _SQLSTATE.get(reason, _INVALID_AUTHORIZATION), text or TEXT[reason], hint=f"glassgate: {reason}"
    )


def login_failed() -> bytes:
    """One text for every way of failing: it tells nobody which names, stores or keys exist."""
    return error_response("FATAL", "28P01", TEXT[Reason.CREDENTIAL_UNKNOWN])
