"""Every address of the API, in one table: method, path, who may, what goes in, what comes out, what it does.

The handlers are thin: input to the service's words, the service's answer back. Whether this person may do it to
this very object is decided by the service and the queries, under the policy in force; `permission` says by which
rule (PERMISSIONS), and everything but "public" needs a session.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from approvals.api.backend import Backend
from approvals.api.credentials import reads_everything
from approvals.api.schema import (
    CommentInput,
    ConnectionInfo,
    Empty,
    EntryList,
    EntryView,
    GrantQuery,
    KeyInput,
    LogInfo,
    LoginInput,
    LogQuery,
    PersonView,
    RequestInput,
    RequestQuery,
    ReviewInput,
    SessionView,
    StoreList,
)
from approvals.decisions import Narrowing
from approvals.errors import Refusal
from approvals.identity.subject import Person
from approvals.ids import is_id
from approvals.kinds import Via
from approvals.reasons import Reason
from approvals.requests import RequestInput as Asked
from approvals.views import GrantView, KeyView, MintedToken, Page, RequestStory, RequestView

__all__ = ["PERMISSIONS", "PREFIX", "ROUTES", "Call", "Permission", "Route"]

PREFIX: Final = "/api/v1"

Permission = Literal[
    "public", "person", "request.see", "request.review", "request.cancel", "grant.hold", "grant.close", "log.read"
]

PERMISSIONS: Final[dict[Permission, str]] = {
    "public": "Anybody, without a session.",
    "person": "Any enrolled person with a session; what is answered is about themselves.",
    "request.see": "The requester, overseers whom the store's rules ask, and stewards. To others it does not exist.",
    "request.review": "The people whom the policy asks about this request, never its requester.",
    "request.cancel": "The requester.",
    "grant.hold": "The person to whom the grant was given.",
    "grant.close": "The holder, overseers of the store, and stewards.",
    "log.read": "Overseers and stewards; others where the entries are about a request or grant of their own.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call, decoded. `body` and `query` have the types that the route names; `path` holds the address's parts."""

    person: Person | None
    session: str
    path: Mapping[str, str]
    body: Any
    query: Any
    via: Via
    client_address: str
    idempotency_key: str

    @property
    def who(self) -> str:
        """The caller's id. Every route but the public ones has one."""
        assert self.person is not None
        return self.person.id

    @property
    def request_id(self) -> str:
        """The id in the address; REQUEST_UNKNOWN for text that is spelled like none, which the database never sees."""
        if not is_id("req", self.path["id"]):
            raise Refusal(Reason.REQUEST_UNKNOWN)
        return self.path["id"]

    @property
    def grant_id(self) -> str:
        """As `request_id`; GRANT_UNKNOWN."""
        if not is_id("gr", self.path["id"]):
            raise Refusal(Reason.GRANT_UNKNOWN)
        return self.path["id"]


Handler = Callable[[Call, Backend], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """`answer` None means status 204 without a body. `refuses` are the codes peculiar to this address."""

    method: Literal["GET", "POST"]
    path: str
    permission: Permission
    handler: Handler
    summary: str
    answer: Any = None
    body: type | None = None
    query: type | None = None
    status: int = 200
    refuses: tuple[Reason, ...] = ()


# people


async def login(call: Call, api: Backend) -> SessionView:
    session = await api.service.login(call.body.code, call.client_address)
    return SessionView(session=session, person=_person(await api.service.whoami(session)))


async def logout(call: Call, api: Backend) -> None:
    await api.service.logout(call.session)


async def whoami(call: Call, api: Backend) -> PersonView:
    assert call.person is not None
    return _person(call.person)


def _person(person: Person) -> PersonView:
    return PersonView(
        id=person.id,
        name=person.name,
        organisation=person.organisation,
        organisation_name=person.organisation_name,
        roles=person.roles,
    )


# stores


async def stores(call: Call, api: Backend) -> StoreList:
    return StoreList(stores=await api.queries.stores(call.who))


async def connection(call: Call, api: Backend) -> ConnectionInfo:
    try:
        return api.doors.connections()[call.path["store"]]
    except KeyError:
        raise Refusal(Reason.STORE_UNKNOWN) from None


# requests


async def create_request(call: Call, api: Backend) -> RequestView:
    body: RequestInput = call.body
    asked = Asked(
        store=body.store,
        actions=body.actions,
        reason=body.reason,
        purpose=body.purpose,
        ticket=body.ticket,
        duration_s=body.duration_s,
        resources=body.resources,
    )
    return await api.service.create_request(call.who, asked, call.via, call.idempotency_key)


async def list_requests(call: Call, api: Backend) -> Page[RequestView]:
    query: RequestQuery = call.query
    return await api.queries.requests(
        call.who, state=query.state or "", store=query.store, mine=query.mine, limit=query.limit, after=query.after
    )


async def show_request(call: Call, api: Backend) -> RequestStory:
    return await api.queries.request_story(call.request_id, call.who)


async def review(call: Call, api: Backend) -> RequestView:
    body: ReviewInput = call.body
    # A stranger must not learn from the refusal's wording that the request exists.
    await api.queries.request(call.request_id, call.who)
    narrow = None
    if body.actions is not None or body.resources is not None or body.duration_s is not None:
        narrow = Narrowing(body.actions, body.resources, body.duration_s)
    return await api.service.review(
        call.who, call.request_id, body.verdict, body.comment, narrow, body.shown_digest, call.via
    )


async def cancel(call: Call, api: Backend) -> RequestView:
    await api.queries.request(call.request_id, call.who)
    return await api.service.cancel(call.who, call.request_id, call.body.comment, call.via)


# grants


async def list_grants(call: Call, api: Backend) -> Page[GrantView]:
    query: GrantQuery = call.query
    return await api.queries.grants(
        call.who, state=query.state or "", store=query.store, mine=query.mine, limit=query.limit, after=query.after
    )


async def show_grant(call: Call, api: Backend) -> GrantView:
    return await api.queries.grant(call.grant_id, call.who)


async def activate(call: Call, api: Backend) -> GrantView:
    await api.queries.grant(call.grant_id, call.who)
    return await api.service.activate(call.who, call.grant_id, call.via)


async def mint_token(call: Call, api: Backend) -> MintedToken:
    await api.queries.grant(call.grant_id, call.who)
    return await api.service.mint_token(call.who, call.grant_id)


async def register_key(call: Call, api: Backend) -> KeyView:
    body: KeyInput = call.body
    await api.queries.grant(call.grant_id, call.who)
    return await api.service.register_key(call.who, call.grant_id, body.key, body.sha256, body.scram)


async def revoke(call: Call, api: Backend) -> GrantView:
    await api.queries.grant(call.grant_id, call.who)
    return await api.service.revoke(call.who, call.grant_id, call.body.comment, call.via)


async def end(call: Call, api: Backend) -> GrantView:
    await api.queries.grant(call.grant_id, call.who)
    return await api.service.end(call.who, call.grant_id, call.via)


# the log


async def log_info(call: Call, api: Backend) -> LogInfo:
    return api.doors.log()


async def log_entries(call: Call, api: Backend) -> EntryList:
    query: LogQuery = call.query
    assert call.person is not None
    if not reads_everything(call.person):
        await _must_concern(call.who, api, query.request, query.grant)
    return await api.log.entries(call.person, call.session, query)


async def log_entry(call: Call, api: Backend) -> EntryView:
    text = call.path["idx"]
    assert call.person is not None
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise Refusal(Reason.ENTRY_UNKNOWN)
    entry = await api.log.entry(int(text))
    if not reads_everything(call.person):
        try:
            await _must_concern(call.who, api, entry.facts.get("request", ""), entry.facts.get("grant", ""))
        except Refusal as refusal:
            # As if it were not there: which entries exist is not everybody's to know.
            raise Refusal(Reason.ENTRY_UNKNOWN) from refusal
    await api.log.was_read(call.person, f"entry {entry.idx}", 1)
    return entry


async def _must_concern(who: str, api: Backend, request: str, grant: str) -> None:
    """Raise unless the entries asked for are about a request or grant that this person may see."""
    if request:
        await api.queries.request(request, who)
    if grant:
        await api.queries.grant(grant, who)
    if not request and not grant:
        raise Refusal(
            Reason.NOT_PERMITTED, "The whole log is for overseers and stewards. Name a request or grant of your own."
        )


_REVIEWING: Final = (
    Reason.REQUEST_UNKNOWN,
    Reason.REQUEST_NOT_PENDING,
    Reason.SELF_REVIEW,
    Reason.NOT_AN_APPROVER,
    Reason.ALREADY_REVIEWED,
    Reason.SHOWN_OTHER,
    Reason.WIDER_THAN_ASKED,
    Reason.CONFLICT,
)
_OVER: Final = (Reason.GRANT_UNKNOWN, Reason.GRANT_EXPIRED, Reason.GRANT_ENDED, Reason.GRANT_REVOKED)
_HOLDING: Final = (*_OVER, Reason.GRANT_OTHER_PERSON, Reason.GRANT_POLICY_CHANGED)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/login",
        "public",
        login,
        "Change a one-time code for a session.",
        body=LoginInput,
        answer=SessionView,
        refuses=(Reason.CODE_UNKNOWN, Reason.TOO_MANY_ATTEMPTS),
    ),
    Route("POST", "/logout", "person", logout, "End this session.", body=Empty, status=204),
    Route("GET", "/whoami", "person", whoami, "Who this session belongs to.", answer=PersonView),
    Route("GET", "/stores", "person", stores, "The stores, and what you may ask of each.", answer=StoreList),
    Route(
        "GET",
        "/connection/{store}",
        "person",
        connection,
        "How to reach the gate for one store.",
        answer=ConnectionInfo,
        refuses=(Reason.STORE_UNKNOWN,),
    ),
    Route(
        "POST",
        "/requests",
        "person",
        create_request,
        "Ask for access. The same Idempotency-Key gives the same request again.",
        body=RequestInput,
        answer=RequestView,
        status=201,
        refuses=(Reason.REQUEST_INVALID, Reason.NO_RULE, Reason.CONFLICT),
    ),
    Route(
        "GET",
        "/requests",
        "request.see",
        list_requests,
        "Requests, newest first.",
        query=RequestQuery,
        answer=Page[RequestView],
    ),
    Route(
        "GET",
        "/requests/{id}",
        "request.see",
        show_request,
        "One request with its whole story.",
        answer=RequestStory,
        refuses=(Reason.REQUEST_UNKNOWN,),
    ),
    Route(
        "POST",
        "/requests/{id}/reviews",
        "request.review",
        review,
        "Approve or deny, once per person. An approval may narrow what was asked.",
        body=ReviewInput,
        answer=RequestView,
        status=201,
        refuses=_REVIEWING,
    ),
    Route(
        "POST",
        "/requests/{id}/cancel",
        "request.cancel",
        cancel,
        "Take back a request that is pending.",
        body=CommentInput,
        answer=RequestView,
        refuses=(Reason.REQUEST_UNKNOWN, Reason.NOT_PERMITTED, Reason.REQUEST_NOT_PENDING),
    ),
    Route(
        "GET",
        "/grants",
        "request.see",
        list_grants,
        "Grants, newest first.",
        query=GrantQuery,
        answer=Page[GrantView],
    ),
    Route(
        "GET",
        "/grants/{id}",
        "request.see",
        show_grant,
        "One grant, and how far its end has reached the proxies.",
        answer=GrantView,
        refuses=(Reason.GRANT_UNKNOWN,),
    ),
    Route(
        "POST",
        "/grants/{id}/activate",
        "grant.hold",
        activate,
        "Start the clock. Done twice, the first stands.",
        body=Empty,
        answer=GrantView,
        refuses=_HOLDING,
    ),
    Route(
        "POST",
        "/grants/{id}/tokens",
        "grant.hold",
        mint_token,
        "A token for an active grant, for at most 15 minutes.",
        body=Empty,
        answer=MintedToken,
        status=201,
        refuses=(*_HOLDING, Reason.GRANT_NOT_ACTIVE),
    ),
    Route(
        "POST",
        "/grants/{id}/keys",
        "grant.hold",
        register_key,
        "Register an access key by its verifiers; the key itself is never sent. Ends the grant's earlier key.",
        body=KeyInput,
        answer=KeyView,
        status=201,
        refuses=(*_HOLDING, Reason.GRANT_NOT_ACTIVE, Reason.CONFLICT),
    ),
    Route(
        "POST",
        "/grants/{id}/revoke",
        "grant.close",
        revoke,
        "End somebody's grant now.",
        body=CommentInput,
        answer=GrantView,
        refuses=(*_OVER, Reason.NOT_PERMITTED),
    ),
    Route(
        "POST",
        "/grants/{id}/end",
        "grant.hold",
        end,
        "Give your own grant back early.",
        body=Empty,
        answer=GrantView,
        refuses=(*_OVER, Reason.GRANT_OTHER_PERSON),
    ),
    Route("GET", "/log", "person", log_info, "Which log this gate writes, its key, and where.", answer=LogInfo),
    Route(
        "GET",
        "/log/entries",
        "log.read",
        log_entries,
        "Entries of the log. Reading is recorded.",
        query=LogQuery,
        answer=EntryList,
        refuses=(Reason.NOT_PERMITTED,),
    ),
    Route(
        "GET",
        "/log/entries/{idx}",
        "log.read",
        log_entry,
        "One entry by its index. Reading is recorded.",
        answer=EntryView,
        refuses=(Reason.ENTRY_UNKNOWN,),
    ),
)
"""GET /openapi.json (public) is the one address beside the table: it describes the table."""
