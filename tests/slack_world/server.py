"""The emulator as an aiohttp application: `/api/{method}`, `/socket/{ticket}`, and `/admin` for a driver elsewhere."""

import asyncio
import json
from typing import Any

import aiohttp
from aiohttp import web

from tests.slack_world import admin, methods
from tests.slack_world.delivery import Delivery, HttpDelivery, SocketHub
from tests.slack_world.driver import Person
from tests.slack_world.faults import ApiFault, Faults
from tests.slack_world.limits import Unserved
from tests.slack_world.world import App, World

__all__ = ["SlackWorld"]

Json = dict[str, Any]


class SlackWorld:
    """Everything together: `async with SlackWorld(world) as slack:`; `slack.url` is the Web API's base."""

    def __init__(self, world: World | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.world = world or World()
        self.faults = Faults()
        self.hub = SocketHub(self.world, self.faults)
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.url = ""

    async def __aenter__(self) -> "SlackWorld":
        self._session = aiohttp.ClientSession(trust_env=False)
        self.http = HttpDelivery(self.world, self.faults, self._session)
        application = web.Application(client_max_size=4 * 1024 * 1024)
        application.add_routes(
            [web.route("*", "/api/{method}", self._api), web.get("/socket/{ticket}", self.hub.connect)]
        )
        application.add_routes(admin.routes(self))
        self._runner = web.AppRunner(application, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}/api/"
        self.hub.base_url = f"ws://{self._host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.faults.released.set()
        await self.hub.close()
        assert self._session is not None
        await self._session.close()
        assert self._runner is not None
        await self._runner.cleanup()

    def user(self, name: str) -> Person:
        """The person of that handle, at their Slack."""
        app = self.world.apps[0]
        delivery: Delivery = self.http if app.request_url else self.hub
        return Person(self.world, delivery, app, self.world.user(name))

    # --- the Web API ----------------------------------------------------------------------------------------
    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        fault = self.faults.next_api(method)
        if fault is not None and fault.kind != "lost_answer":
            return await self._misbehave(fault)
        token, arguments = await _arguments(request)
        try:
            answer = methods.call(self.world, method, token, arguments)
            if method == "apps.connections.open":
                answer = self.hub.open(self._app_of(token))
        except methods.SlackError as refused:
            answer = {"ok": False, "error": refused.word}
            if refused.details:
                answer["response_metadata"] = {"messages": refused.details}
        except Unserved as gap:
            self.world.fail(str(gap))
            return web.json_response({"ok": False, "error": "emulator_gap", "detail": str(gap)}, status=501)
        await self.world.announce()
        if fault is not None:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(answer)

    async def _misbehave(self, fault: ApiFault) -> web.StreamResponse:
        if fault.kind == "rate_limited":
            body = {"ok": False, "error": "ratelimited"}
            return web.json_response(body, status=429, headers={"Retry-After": str(fault.retry_after_s)})
        if fault.kind == "error":
            return web.json_response({"ok": False, "error": fault.word})
        if fault.kind == "timeout":
            await asyncio.wait_for(self.faults.released.wait(), None)
        return web.Response(status=503, text="<html>upstream connect error</html>", content_type="text/html")

    def _app_of(self, token: str) -> App:
        return next(app for app in self.world.apps if token in (app.app_token, app.bot_token))


async def _arguments(request: web.Request) -> tuple[str, Json]:
    """Token and arguments from query, form or JSON; values that are JSON inside a form are opened."""
    arguments: Json = dict(request.query)
    if request.content_type == "application/json":
        arguments |= await request.json()
    else:
        arguments |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    for name in ("blocks", "view", "metadata"):
        if isinstance(arguments.get(name), str):
            arguments[name] = json.loads(arguments[name])
    header = request.headers.get("Authorization", "")
    token = header.removeprefix("Bearer ") or str(arguments.pop("token", ""))
    arguments.pop("token", None)
    return token, arguments
