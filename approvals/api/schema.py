"""The contract of the HTTP API: every body and every query as a struct.

Answers about requests, grants and stores are the views of approvals/views.py as they are; here stand the inputs
and what only the API says. Times are RFC 3339 in UTC, durations are seconds (`…_s`), digests are SHA-256 in
hex, ids are those of approvals/ids.py and sort by time. Inputs forbid unknown fields, so a misspelt `duration`
is a fault and not a default. What a text may say is checked by the service, which names every fault at once;
the bounds here only keep sizes sane. docs/openapi.json is generated from this file.
"""

from typing import Annotated, Any, Literal

import msgspec

from approvals.lifecycle import GrantState, RequestState
from approvals.views import StoreView

__all__ = [
    "CommentInput",
    "ConnectionInfo",
    "ContentForm",
    "Empty",
    "EntryList",
    "EntryView",
    "GrantQuery",
    "KeyInput",
    "LogInfo",
    "LogQuery",
    "LoginInput",
    "PersonView",
    "Problem",
    "ProblemFault",
    "RequestInput",
    "RequestQuery",
    "ReviewInput",
    "SessionView",
    "StoreList",
]

Short = Annotated[str, msgspec.Meta(max_length=256)]
Prose = Annotated[str, msgspec.Meta(max_length=16_384)]
Names = Annotated[tuple[Short, ...], msgspec.Meta(max_length=256)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
ContentForm = Literal["none", "clear", "sealed", "erased"]
Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Output(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Empty(_Input, frozen=True):
    """An empty object: for acts that say everything in their address."""


# people


class LoginInput(_Input, frozen=True):
    code: Short


class PersonView(_Output, frozen=True):
    id: str
    name: str
    organisation: str
    organisation_name: str
    roles: tuple[str, ...]


class SessionView(_Output, frozen=True):
    """A session just opened. The token is shown once; only its digest is kept."""

    session: str
    person: PersonView


# stores


class StoreList(_Output, frozen=True):
    stores: tuple[StoreView, ...]


class ConnectionInfo(_Output, frozen=True):
    """How to reach the gate for one store. `base_url` is for HTTP stores, `database` for PostgreSQL ones; `ca` is
    the PEM certificate that vouches for the gate, "" where the system's own list does or where TLS is off.
    `placement` says who could get around the gate (P10): L0 is one machine, evidence only."""

    store: str
    protocol: Literal["http", "postgres"]
    host: str
    port: int
    ca: str
    base_url: str
    database: str
    placement: Literal["L0", "L1", "L2", "L3"]


# requests and reviews


class RequestInput(_Input, frozen=True):
    store: Short
    actions: Names
    reason: Short
    purpose: Prose
    duration_s: int
    resources: Names = ("*",)
    ticket: Short = ""


class RequestQuery(_Input, frozen=True):
    state: RequestState | None = None
    store: Short = ""
    mine: bool = False
    limit: Limit = 50
    after: Short = ""


class GrantQuery(_Input, frozen=True):
    state: GrantState | None = None
    store: Short = ""
    mine: bool = False
    limit: Limit = 50
    after: Short = ""


class ReviewInput(_Input, frozen=True):
    """`shown_digest` is the digest of the request as it was shown; what is left out is approved as asked."""

    verdict: Literal["approve", "deny"]
    shown_digest: Hex64
    comment: Prose = ""
    actions: Names | None = None
    resources: Names | None = None
    duration_s: int | None = None


class CommentInput(_Input, frozen=True):
    comment: Prose = ""


# access keys


class KeyInput(_Input, frozen=True):
    """An access key that stays with the engineer: only its id, digest and SCRAM verifier (RFC 5802) are sent."""

    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-hjkmnp-tv-z]{4}$")]
    sha256: Hex64
    scram: Annotated[str, msgspec.Meta(max_length=256)]


# the log


class LogInfo(_Output, frozen=True):
    """Which log this gate writes: its origin, its verifier key (c2sp.org/signed-note) and where its tiles are."""

    origin: str
    verifier_key: str
    url: str


class LogQuery(_Input, frozen=True):
    """Entries with an index above `after`, oldest first; with `last`, that many of the newest instead. `watch` says
    that the same question comes again and again: such a session is recorded once a minute, not once a query."""

    after: Annotated[int, msgspec.Meta(ge=-1, le=2**53 - 1)] = -1
    last: Annotated[int, msgspec.Meta(ge=1, le=200)] | None = None
    limit: Limit = 50
    kind: Short = ""
    grant: Short = ""
    request: Short = ""
    store: Short = ""
    watch: bool = False


class EntryView(_Output, frozen=True):
    """`content` is null where there is none or where it is not readable here (sealed, erased: see `content_form`)."""

    idx: int
    id: str
    time: str
    kind: str
    version: int
    writer: str
    counter: int
    facts: dict[str, Any]
    content: Any
    content_form: ContentForm


class EntryList(_Output, frozen=True):
    """`next` is the `after` of the following page; it stays where it was when nothing came."""

    entries: tuple[EntryView, ...]
    next: int


# problems


class ProblemFault(_Output, frozen=True):
    field: str
    text: str


class Problem(_Output, frozen=True):
    """RFC 9457. `code` is one of the closed list in approvals/reasons.py; `faults` names everything that is wrong
    with an input, at once."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    faults: list[ProblemFault] = []
