"""The closed list of verdict codes, shared by log, page, Slack, API and proxy.

A refusal names exactly one of these; the text beside it is what a person reads and says what to do next.
EXPIRED is not REVOKED is not DENIED.
"""

from enum import StrEnum
from typing import Final

__all__ = ["TEXT", "Reason"]


class Reason(StrEnum):
    # credential and token
    NO_CREDENTIAL = "no_credential"
    SEVERAL_CREDENTIALS = "several_credentials"
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    TOKEN_FORGED = "token_forged"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105
    TOKEN_FOREIGN = "token_foreign"  # noqa: S105
    NOT_KEY_HOLDER = "not_key_holder"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    # grant
    GRANT_UNKNOWN = "grant_unknown"
    GRANT_NOT_ACTIVE = "grant_not_active"
    GRANT_EXPIRED = "grant_expired"
    GRANT_ENDED = "grant_ended"
    GRANT_REVOKED = "grant_revoked"
    GRANT_OTHER_STORE = "grant_other_store"
    GRANT_OTHER_PERSON = "grant_other_person"
    GRANT_POLICY_CHANGED = "grant_policy_changed"
    # the gate itself
    VIEW_STALE = "view_stale"
    RECORD_FAILED = "record_failed"
    RECORD_TOO_LARGE = "record_too_large"
    BLOCKED = "blocked"
    NO_LEASE = "no_lease"
    DRAINING = "draining"
    OVERLOADED = "overloaded"
    # scope
    ACTION_NOT_GRANTED = "action_not_granted"
    RESOURCE_NOT_GRANTED = "resource_not_granted"
    LIMIT_REACHED = "limit_reached"
    STATEMENT_UNPARSED = "statement_unparsed"
    STATEMENT_FORBIDDEN = "statement_forbidden"
    # routing and protocol
    STORE_UNKNOWN = "store_unknown"
    STORE_UNREACHABLE = "store_unreachable"
    STORE_IDENTITY = "store_identity"
    PROTOCOL_VIOLATION = "protocol_violation"
    UNSUPPORTED = "unsupported"
    TLS_REQUIRED = "tls_required"
    # requests and reviews
    PERSON_UNKNOWN = "person_unknown"
    NOT_PERMITTED = "not_permitted"
    REQUEST_UNKNOWN = "request_unknown"
    REQUEST_INVALID = "request_invalid"
    REQUEST_NOT_PENDING = "request_not_pending"
    NO_RULE = "no_rule"
    SELF_REVIEW = "self_review"
    ALREADY_REVIEWED = "already_reviewed"
    NOT_AN_APPROVER = "not_an_approver"
    WIDER_THAN_ASKED = "wider_than_asked"
    SHOWN_OTHER = "shown_other"
    POLICY_CHANGED = "policy_changed"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    # the API and its log-in
    SESSION_UNKNOWN = "session_unknown"
    CODE_UNKNOWN = "code_unknown"
    ENTRY_UNKNOWN = "entry_unknown"
    ADDRESS_UNKNOWN = "address_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    MEDIA_TYPE = "media_type"
    INTERNAL = "internal"


TEXT: Final[dict[Reason, str]] = {
    Reason.NO_CREDENTIAL: "No credential was sent. Ask for access with `glassgate request create`, then use `glassgate connect` or `glassgate curl`.",
    Reason.SEVERAL_CREDENTIALS: "More than one credential was sent. Send exactly one.",
    Reason.CREDENTIAL_MALFORMED: "The credential cannot be read. Get a fresh one with `glassgate token`.",
    Reason.CREDENTIAL_UNKNOWN: "Name or access key is wrong, or its grant has ended. `glassgate connect` makes a new key.",
    Reason.TOKEN_FORGED: "The token was not signed by this gate's issuer, or was changed.",
    Reason.TOKEN_EXPIRED: "The token has expired. While the grant lives, `glassgate token` gives a fresh one.",
    Reason.TOKEN_NOT_YET_VALID: "The token is not valid yet. Check this machine's clock.",
    Reason.TOKEN_FOREIGN: "The token was issued for another store or another gate.",
    Reason.NOT_KEY_HOLDER: "The token is bound to a key, and the key was not proven.",
    Reason.TOO_MANY_ATTEMPTS: "Too many failed attempts from here. Wait a minute and try again.",
    Reason.GRANT_UNKNOWN: "This gate knows no such grant.",
    Reason.GRANT_NOT_ACTIVE: "The grant has not been activated. `glassgate connect` or `glassgate token` activates it.",
    Reason.GRANT_EXPIRED: "The grant's time is over. Ask again with `glassgate request create`.",
    Reason.GRANT_ENDED: "The grant was ended early by its holder. Ask again with `glassgate request create`.",
    Reason.GRANT_REVOKED: "The grant was revoked. `glassgate request show` says by whom and why.",
    Reason.GRANT_OTHER_STORE: "The grant is for another store.",
    Reason.GRANT_OTHER_PERSON: "The grant belongs to somebody else.",
    Reason.GRANT_POLICY_CHANGED: "The policy or the store's definition changed after this was granted. Ask again.",
    Reason.VIEW_STALE: "The gate has lost contact with the approvals service and will not decide on old facts. Try again shortly.",
    Reason.RECORD_FAILED: "The access could not be recorded, so it was not let through. Try again shortly.",
    Reason.RECORD_TOO_LARGE: "The request is larger than what this gate may record. Make it smaller.",
    Reason.BLOCKED: "Access is blocked for now. Ask the overseer.",
    Reason.NO_LEASE: "The overseer's station has not confirmed this gate recently, so signed stores are closed.",
    Reason.DRAINING: "The gate is shutting down. Connect again.",
    Reason.OVERLOADED: "The gate is at its limit. Try again in a moment.",
    Reason.ACTION_NOT_GRANTED: "The grant does not cover this kind of operation. Ask for it with `--action`.",
    Reason.RESOURCE_NOT_GRANTED: "The grant does not cover this part of the store.",
    Reason.LIMIT_REACHED: "The grant's limit of rows, bytes or requests is used up.",
    Reason.STATEMENT_UNPARSED: "The statement could not be understood well enough to be allowed.",
    Reason.STATEMENT_FORBIDDEN: "This statement is never let through the gate.",
    Reason.STORE_UNKNOWN: "No such store here. `glassgate store ls` lists them.",
    Reason.STORE_UNREACHABLE: "The store does not answer. The gate itself is well.",
    Reason.STORE_IDENTITY: "The store's identity is not the one on file, so nothing was sent to it.",
    Reason.PROTOCOL_VIOLATION: "The request breaks the protocol's rules and was not passed on.",
    Reason.UNSUPPORTED: "This gate does not support that.",
    Reason.TLS_REQUIRED: "This gate speaks TLS only. Connect with sslmode=verify-full (or https).",
    Reason.PERSON_UNKNOWN: "No such person is enrolled here.",
    Reason.NOT_PERMITTED: "You are not permitted to do that.",
    Reason.REQUEST_UNKNOWN: "There is no such request.",
    Reason.REQUEST_INVALID: "The request has mistakes.",
    Reason.REQUEST_NOT_PENDING: "The request has been decided already, or is over.",
    Reason.NO_RULE: "No rule of the policy lets you ask for this.",
    Reason.SELF_REVIEW: "Nobody reviews their own request.",
    Reason.ALREADY_REVIEWED: "You have reviewed this request already.",
    Reason.NOT_AN_APPROVER: "The policy does not ask you about this request.",
    Reason.WIDER_THAN_ASKED: "An approval may narrow what was asked, never widen it.",
    Reason.SHOWN_OTHER: "The request changed since it was shown to you. Look at it again.",
    Reason.POLICY_CHANGED: "The policy or the store's definition changed after this was asked. It has to be asked again.",
    Reason.CONFLICT: "Somebody else was faster. Look at it again.",
    Reason.UNAVAILABLE: "The gate's own database does not answer. Look whether it happened before you try again.",
    Reason.SESSION_UNKNOWN: "You are not logged in here, or the session is over. Run `glassgate login`.",
    Reason.CODE_UNKNOWN: "This login code is wrong, was used already, or is older than ten minutes. Ask for a new one.",
    Reason.ENTRY_UNKNOWN: "The log has no such entry yet.",
    Reason.ADDRESS_UNKNOWN: "There is nothing at this address. /api/v1/openapi.json lists what there is.",
    Reason.METHOD_NOT_ALLOWED: "This address does not take that method. /api/v1/openapi.json lists what it takes.",
    Reason.BODY_TOO_LARGE: "The body is larger than this API takes (64 KiB).",
    Reason.MEDIA_TYPE: "Send the body as application/json.",
    Reason.INTERNAL: "Something went wrong on our side. See whether it took effect, then try again; if it stays, tell the people who run this gate.",
}
