"""The API as an aiohttp application: bytes to calls, answers to bytes, refusals to problem documents.

Mounted by the program under PREFIX. Everything that differs between addresses stands in the route table; what
is here holds for all of them: one credential, bounded bodies, JSON only, nothing cached, no details of a fault.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from approvals.api import decoding
from approvals.api.backend import Backend
from approvals.api.credentials import authenticated
from approvals.api.log_reading import WATCH_EVERY, LogReading
from approvals.api.openapi import document_bytes
from approvals.api.problems import CONTENT_TYPE, RETRY_AFTER_S, problem
from approvals.api.routes import ROUTES, Call, Route
from approvals.errors import Refusal
from approvals.kinds import Via
from approvals.reasons import Reason

__all__ = ["make_app"]

BODY_TIMEOUT_S: Final = 10.0
CLI_AGENT: Final = "glassgate-cli"

_KEY: Final = re.compile(r"[!-~]{1,128}")
_JSON: Final = "application/json"

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "glassgate",
    "X-Content-Type-Options": "nosniff",
}

_log = logging.getLogger("glassgate.api")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(backend: Backend) -> web.Application:
    """The application, to be mounted under PREFIX with `add_subapp`."""
    app = web.Application(middlewares=[_problems])
    app.on_response_prepare.append(_with_headers)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route, backend))
    described = document_bytes()

    async def openapi(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type=_JSON)

    app.router.add_route("GET", "/openapi.json", openapi)
    app.cleanup_ctx.append(_settling(backend.log))
    return app


def _settling(log: LogReading) -> Callable[[web.Application], AsyncIterator[None]]:
    """While the application runs, what people watched is recorded each minute, and the rest at the end."""

    async def settle(everything: bool) -> None:
        try:
            await log.settle(everything=everything)
        except Refusal as refusal:
            _log.warning("what was watched could not be recorded: %s (%s)", refusal.reason, refusal.cause)
        except Exception:
            # One bad round must not end the recording of all later ones, unseen.
            _log.exception("what was watched could not be recorded")

    async def run() -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY.total_seconds())
            await settle(False)

    async def context(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settle(True)

    return context


def _handler(route: Route, backend: Backend) -> Next:
    async def handle(request: web.Request) -> web.Response:
        # Who is asking comes before what is asked: strangers learn nothing about inputs, nor make us read them.
        session, person = "", None
        if route.permission != "public":
            session, person = await authenticated(request, backend.service)
        call = Call(
            person=person,
            session=session,
            path=request.match_info,
            body=decoding.body(route.body, await _body(request)) if route.body else None,
            query=decoding.query(route.query or _NoQuery, request.query.items()),
            via=_via(request),
            client_address=request.remote or "",
            idempotency_key=_idempotency_key(request),
        )
        answer = await route.handler(call, backend)
        if route.answer is None:
            return web.Response(status=204)
        return web.Response(status=route.status, body=msgspec.json.encode(answer), content_type=_JSON)

    return handle


class _NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that take no query."""


async def _body(request: web.Request) -> bytes:
    if request.content_type != _JSON:
        # Also what keeps a web page from posting here: a form cannot send this type without asking first.
        raise Refusal(Reason.MEDIA_TYPE)
    if (request.content_length or 0) > decoding.MAX_BODY_BYTES:
        raise Refusal(Reason.BODY_TOO_LARGE)
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.content.iter_any():
                data += part
                if len(data) > decoding.MAX_BODY_BYTES:
                    raise Refusal(Reason.BODY_TOO_LARGE)
    except TimeoutError as cause:
        raise Refusal(Reason.REQUEST_INVALID, "The body did not arrive in time. Send it again.") from cause
    return bytes(data)


def _via(request: web.Request) -> Via:
    # A label for the people who read the log; nothing is decided by it, since the client chooses it.
    return "cli" if request.headers.get("User-Agent", "").startswith(CLI_AGENT) else "api"


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if key and not _KEY.fullmatch(key):
        raise Refusal(Reason.REQUEST_INVALID, "Idempotency-Key takes 1 to 128 printable ASCII characters.")
    return key


@web.middleware
async def _problems(request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        if refusal.cause:
            _log.info("%s %s refused: %s (%s)", request.method, _address(request), refusal.reason, refusal.cause)
        return _refused(refusal)
    except web.HTTPMethodNotAllowed as fault:
        return _refused(Refusal(Reason.METHOD_NOT_ALLOWED), {"Allow": fault.headers.get("Allow", "")})
    except web.HTTPNotFound:
        return _refused(Refusal(Reason.ADDRESS_UNKNOWN))
    except web.HTTPException as fault:
        # aiohttp's own refusals of malformed HTTP.
        return _refused(Refusal(Reason.REQUEST_INVALID, fault.reason))
    except Exception:
        _log.exception("%s %s failed", request.method, _address(request))
        return _refused(Refusal(Reason.INTERNAL))


def _address(request: web.Request) -> str:
    """The route, not what was sent: ids and queries are other people's text, and a log is read in terminals."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown address)"


def _refused(refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
    document = problem(refusal)
    sent = dict(headers or {})
    if document.status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="glassgate"'
    if document.status in (429, 503):
        sent["Retry-After"] = str(RETRY_AFTER_S if document.status == 429 else 1)
    body: Any = msgspec.json.encode(document)
    return web.Response(status=document.status, body=body, content_type=CONTENT_TYPE, headers=sent)


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
