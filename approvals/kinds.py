"""Every kind of entry, one struct per kind and version; the list is closed.

`FACTS[kind, version]` is the shape of an entry's facts, `CONTENT` that of its content. The sequencer refuses
what does not fit (`validate`). Fields are only ever added, in a new version. Times are RFC 3339 in UTC,
durations are seconds, sizes are bytes, digests are SHA-256 in hex. The table in docs/entries.md is generated
from this file.
"""

from typing import Final, Literal

import msgspec

from approvals.scope import Limits
from ledger.encoding import NotCanonical, decode, is_canonical_as

__all__ = ["CONTENT", "FACTS", "KindRefused", "validate"]


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


Via = Literal["api", "cli", "slack", "portal", "system"]
Protocol = Literal["http", "postgres"]


class LogCreated(_Facts, frozen=True):
    """The first entry of a log."""

    origin: str
    log_key: str  # the verifier key (vkey) of the log
    member: str
    host_key: str  # base64, raw Ed25519: who may certify writers from the start


class ProcessStarted(_Facts, frozen=True):
    """A process that writes entries came up, with its own key, certified by its host's."""

    role: str
    host: str
    public_key: str  # base64, raw Ed25519; the writer id is derived from it
    host_key: str  # base64, raw Ed25519
    certificate: str  # base64 signature of the host key over "glassgate-writer/v1\n" + the raw public key
    release: str
    version: str
    predecessor: str = ""  # the writer that this host ran before in this role
    predecessor_counter: int = -1  # the highest counter of it that this host knows; -1 = none


class ProcessStopped(_Facts, frozen=True):
    role: str
    last_counter: int  # of this writer, this entry's own


class PolicyChanged(_Facts, frozen=True):
    digest: str
    previous: str
    stores: dict[str, str]  # store name -> definition digest


class PersonLoggedIn(_Facts, frozen=True):
    person: str
    organisation: str
    method: Literal["code", "oidc", "passkey"]
    client_address: str


class LoginCodeIssued(_Facts, frozen=True):
    """Whoever runs the gate made a one-time login code in a person's name."""

    person: str
    organisation: str
    expires_at: str


class RequestCreated(_Facts, frozen=True):
    request: str
    requester: str
    organisation: str
    store: str
    actions: list[str]
    resources: list[str]
    limits: Limits
    reason: str
    duration_s: int
    assurance: Literal["click", "signed"]
    rule: str
    digest: str  # of everything that is shown to the people who decide
    expires_at: str
    via: Via
    cnf: str = ""  # thumbprint of the engineer's key


class PurposeContent(_Facts, frozen=True):
    """What the engineer wrote. Personal data may be in it, so it is content."""

    purpose: str
    ticket: str


class ReviewRecorded(_Facts, frozen=True):
    request: str
    review: str
    reviewer: str
    organisation: str
    verdict: Literal["approve", "deny"]
    shown_digest: str
    via: Via
    assurance: Literal["click", "signed"]
    actions: list[str]  # what was approved: never wider than what was asked; [] on a denial
    resources: list[str]
    limits: Limits
    duration_s: int


class CommentContent(_Facts, frozen=True):
    comment: str


class RequestClosed(_Facts, frozen=True):
    """request.denied, request.cancelled, request.expired."""

    request: str
    by: str  # a person, or "" for the clock
    via: Via


class GrantIssued(_Facts, frozen=True):
    grant: str
    request: str
    subject: str
    organisation: str
    store: str
    actions: list[str]
    resources: list[str]
    limits: Limits
    duration_s: int
    use_by: str
    assurance: Literal["click", "signed"]
    decision: str  # digest of the decision: request digest, scope, subject, reviewers
    approvers: list[str]
    cnf: str = ""


class GrantActivated(_Facts, frozen=True):
    grant: str
    subject: str
    starts_at: str
    ends_at: str
    via: Via


class GrantRevoked(_Facts, frozen=True):
    grant: str
    by: str
    organisation: str
    via: Via


class GrantClosed(_Facts, frozen=True):
    grant: str
    how: Literal["ended", "expired", "revoked"]


class GrantSummed(_Facts, frozen=True):
    """What the log holds of a closed grant's accesses below the index `upto`. Later entries of the grant, such as
    refusals of what somebody still tried, are not in it; a newer sum may be."""

    grant: str
    upto: int
    sessions: int
    accesses: int
    unfinished: int  # accesses without an outcome
    refused: int
    rows: int  # of the outcomes
    bytes_out: int
    counted: int  # all entries of the kinds access.* that belong to the grant
    entries: str  # SHA-256 over their ids, sorted, each followed by a line feed


class TokenMinted(_Facts, frozen=True):
    grant: str
    subject: str
    store: str
    jti: str
    expires_at: str
    cnf: str = ""


class AccessKeyRegistered(_Facts, frozen=True):
    grant: str
    subject: str
    store: str
    key: str
    login: str
    replaces: str = ""


class SessionStarted(_Facts, frozen=True):
    """A PostgreSQL session passed login; covers what the greeting discloses (ParameterStatus)."""

    session: str
    grant: str
    request: str
    subject: str
    store: str
    key: str
    client_address: str
    address_grade: Literal["direct", "proxied", "unknown"]
    application: str
    tls: str


class SessionSetup(_Facts, frozen=True):
    """The gate's own statements on a session, so that the store's log can be matched in full."""

    session: str
    statements: list[str]


class SessionEnded(_Facts, frozen=True):
    session: str
    how: str
    statements: int
    rows: int
    bytes_out: int
    duration_us: int


class AccessIntent(_Facts, frozen=True):
    """Before: what is about to happen. The entry's own id is the access id."""

    grant: str
    request: str
    subject: str
    store: str
    protocol: Protocol
    actions: list[str]
    operation: str  # HTTP method, or the statement's command
    resources: list[str]
    client_address: str
    address_grade: Literal["direct", "proxied", "unknown"]
    credential: str  # jti or key id
    session: str = ""
    sequence: int = 0
    fingerprint: str = ""
    parameters: int = 0
    declared_bytes: int = -1  # Content-Length of the request body; -1 = not declared


class HttpContent(_Facts, frozen=True):
    target: str
    headers: list[list[str]]
    redacted: list[str] = []
    body: str = ""


class SqlContent(_Facts, frozen=True):
    text: str
    parameters: list[dict[str, str | int | None]] = []
    redacted: list[str] = []
    continues: str = ""  # entry id of the statement's earlier text (EXECUTE of a PREPARE, portal fetches)


class AccessProgress(_Facts, frozen=True):
    """Accounts for what an access has disclosed so far, before more leaves. For bytes that belong to no
    statement (an idle NOTIFY) `access` is the session's id."""

    access: str
    bytes_out: int
    rows: int


class AccessOutcome(_Facts, frozen=True):
    access: str
    result: Literal[
        "complete",
        "error",
        "skipped",
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
    status: int = 0
    sqlstate: str = ""
    command: str = ""
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    duration_us: int = 0
    body_digest: str = ""


class AccessRefused(_Facts, frozen=True):
    """As full as a granted one, as far as it is known; unknown names are keyed hashes, never clear text."""

    reason: str
    protocol: Protocol
    operation: str
    client_address: str
    address_grade: Literal["direct", "proxied", "unknown"]
    store: str = ""
    grant: str = ""
    request: str = ""
    subject: str = ""
    credential: str = ""
    actions: list[str] = []
    resources: list[str] = []
    session: str = ""
    sequence: int = 0
    status: int = 0
    detail: str = ""  # our own words, never the client's


class RefusalsCounted(_Facts, frozen=True):
    """Refusals without a valid credential beyond the first 20 of a source and minute."""

    client_address: str
    minute: str
    count: int
    reasons: dict[str, int]


class EntryRejected(_Facts, frozen=True):
    """A committed batch that could not be numbered; its bytes are in quarantine."""

    writer: str  # as the row claims; a digest of the claim where the row itself is malformed
    first_counter: int
    entries: int
    digest: str  # of the batch's bytes
    fault: str
    unreported: int  # batches rejected since the last such entry that have none of their own


class LogRead(_Facts, frozen=True):
    """A person looked at the log through the gate."""

    person: str
    organisation: str
    what: str
    entries: int


FACTS: Final[dict[tuple[str, int], type[_Facts]]] = {
    ("log.created", 1): LogCreated,
    ("process.started", 1): ProcessStarted,
    ("process.stopped", 1): ProcessStopped,
    ("policy.changed", 1): PolicyChanged,
    ("person.code_issued", 1): LoginCodeIssued,
    ("person.logged_in", 1): PersonLoggedIn,
    ("request.created", 1): RequestCreated,
    ("review.recorded", 1): ReviewRecorded,
    ("request.denied", 1): RequestClosed,
    ("request.cancelled", 1): RequestClosed,
    ("request.expired", 1): RequestClosed,
    ("grant.issued", 1): GrantIssued,
    ("grant.activated", 1): GrantActivated,
    ("grant.revoked", 1): GrantRevoked,
    ("grant.closed", 1): GrantClosed,
    ("grant.summed", 1): GrantSummed,
    ("token.minted", 1): TokenMinted,
    ("accesskey.registered", 1): AccessKeyRegistered,
    ("session.started", 1): SessionStarted,
    ("session.setup", 1): SessionSetup,
    ("session.ended", 1): SessionEnded,
    ("access.intent", 1): AccessIntent,
    ("access.progress", 1): AccessProgress,
    ("access.outcome", 1): AccessOutcome,
    ("access.refused", 1): AccessRefused,
    ("refusals.counted", 1): RefusalsCounted,
    ("entry.rejected", 1): EntryRejected,
    ("log.read", 1): LogRead,
}

CONTENT: Final[dict[tuple[str, int], tuple[type[_Facts], ...]]] = {
    ("request.created", 1): (PurposeContent,),
    ("review.recorded", 1): (CommentContent,),
    ("request.cancelled", 1): (CommentContent,),
    ("grant.revoked", 1): (CommentContent,),
    ("access.intent", 1): (HttpContent, SqlContent),
    ("access.refused", 1): (HttpContent, SqlContent),
}
"""Kinds not named here have no content. policy.changed carries the policy document itself (any object)."""

_DOCUMENT: Final = frozenset({("policy.changed", 1)})


class KindRefused(ValueError):
    """An entry that the closed list has no place for; the text says which part and why."""


def validate(kind: str, version: int, facts: bytes, content: bytes | None) -> None:
    """Raise KindRefused unless the kind is known and both parts have its shape, in canonical form.

    `content` is None where there is none or where it is not readable here (sealed, erased).
    """
    shape = FACTS.get((kind, version))
    if shape is None:
        raise KindRefused(f"no kind {kind!r} in version {version}")
    _fits(facts, (shape,), "facts")
    if content is None:
        return
    if (kind, version) in _DOCUMENT:
        _canonical(content, "content")
        return
    shapes = CONTENT.get((kind, version))
    if shapes is None:
        raise KindRefused(f"{kind} has no content")
    _fits(content, shapes, "content")


def _canonical(data: bytes, part: str) -> object:
    try:
        return decode(data)
    except NotCanonical as cause:
        raise KindRefused(f"{part}: {cause}") from cause


def _fits(data: bytes, shapes: tuple[type[_Facts], ...], part: str) -> None:
    for shape in shapes:
        if is_canonical_as(data, shape):
            return
    value = _canonical(data, part)
    faults = []
    for shape in shapes:
        try:
            msgspec.convert(value, shape)
        except msgspec.ValidationError as cause:
            faults.append(f"{shape.__name__}: {cause}")
        else:
            return
    raise KindRefused(f"{part}: {'; '.join(faults)}")
