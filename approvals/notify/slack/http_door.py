"""Signed HTTP from Slack: read bounded, verify the raw bytes, and only then let bolt parse them.

bolt's own check runs after it has decoded the body, and answers 500 to a timestamp that is no number, to a
signature that is not ASCII and to a body that is not UTF-8. Here all of these are 401 or 400, and cost no parsing.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from approvals.notify.slack.signature import MAX_BODY_BYTES, SignatureRefused, verify

__all__ = ["PATHS", "HttpDoor"]

_log = logging.getLogger(__name__)

PATHS: Final = ("/slack/events", "/slack/commands", "/slack/interactive")


class HttpDoor:
    """`app` is a bolt AsyncApp whose own request verification is off; `unix` gives the time in seconds."""

    def __init__(self, app: Any, signing_secret: str, unix: Callable[[], float]) -> None:
        self._app, self._secret, self._unix = app, signing_secret.encode(), unix

    def routes(self) -> list[web.RouteDef]:
        """Public routes: the signature is the credential."""
        return [web.post(path, self.receive) for path in PATHS]

    async def receive(self, request: web.Request) -> web.StreamResponse:
        body = await _bounded(request)
        if body is None:
            return web.Response(status=413)
        try:
            verify(
                self._secret,
                _raw(request, "X-Slack-Request-Timestamp"),
                _raw(request, "X-Slack-Signature"),
                body,
                self._unix(),
            )
        except SignatureRefused as refused:
            _log.warning("a request to %s was not Slack's: %s", request.path, refused)
            return web.Response(status=401)
        return await self._dispatch(request, body)

    async def _dispatch(self, request: web.Request, body: bytes) -> web.StreamResponse:
        from slack_bolt.adapter.aiohttp import to_aiohttp_response
        from slack_bolt.request.async_request import AsyncBoltRequest

        try:
            parsed = AsyncBoltRequest(body=body.decode("utf-8"), headers=dict(request.headers))
        except (UnicodeDecodeError, json.JSONDecodeError, ValueError, TypeError, AttributeError, RecursionError):
            return web.Response(status=400)  # signed, yet not what Slack sends: the library's parser gave up
        # A header of bolt's own for calling itself on function platforms: from outside it would skip listeners.
        parsed.lazy_only, parsed.lazy_function_name = False, None
        return await to_aiohttp_response(await self._app.async_dispatch(parsed))


def _raw(request: web.Request, name: str) -> list[bytes]:
    """Every value of a header as bytes: aiohttp decodes them with surrogateescape, so this gives the bytes back."""
    return [value.encode("utf-8", "surrogateescape") for value in request.headers.getall(name, [])]


async def _bounded(request: web.Request) -> bytes | None:
    """The whole body, or None when it is larger than anything Slack sends us."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
