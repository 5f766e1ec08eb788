"""How a payload reaches the app: signed HTTP with Slack's 3 s, or an envelope on one of its Socket Mode connections."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import uuid4

import aiohttp
from aiohttp import web

from tests.slack_world import payloads
from tests.slack_world.faults import Faults
from tests.slack_world.world import App, World

__all__ = ["ANSWER_WITHIN_S", "Answer", "Delivery", "HttpDelivery", "SocketHub"]

Json = dict[str, Any]
Kind = Literal["slash_commands", "interactive", "events_api"]

ANSWER_WITHIN_S = 3.0
_PATH = {"slash_commands": "/slack/commands", "interactive": "/slack/interactive", "events_api": "/slack/events"}


@dataclass(frozen=True)
class Answer:
    """What came back. `error` is what Slack would show the person: empty, or e.g. `operation_timeout`."""

    status: int
    body: Json = field(default_factory=dict)
    error: str = ""


class Delivery(Protocol):
    async def deliver(self, app: App, kind: Kind, payload: Json) -> Answer:
        """Hand the payload over and wait for the app's answer, at most ANSWER_WITHIN_S per attempt."""


class _Held:
    """Payloads that the script holds back until the next one has gone out."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Awaitable[Answer]]] = []

    async def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for send in waiting:
            await send()


class HttpDelivery:
    """Signed HTTP. `sent` keeps every body with its headers, so that a test can replay one as an attacker would."""

    def __init__(self, world: World, faults: Faults, session: aiohttp.ClientSession) -> None:
        self._world, self._faults, self._session = world, faults, session
        self._held = _Held()
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    async def deliver(self, app: App, kind: Kind, payload: Json) -> Answer:
        fault = self._faults.next_delivery()
        if fault == "hold":
            self._held.waiting.append(lambda: self._send(app, kind, payload))
            return Answer(0, error="operation_timeout")
        answer = await self._send(app, kind, payload)
        if fault == "duplicate":
            url, headers, body = self.sent[-1]
            await self.post(url, headers, body)
        await self._held.release()
        if fault == "lose_ack":
            return Answer(0, error="operation_timeout")
        return answer

    async def _send(self, app: App, kind: Kind, payload: Json) -> Answer:
        """Events are tried three times; a person's click once: the person sees that it failed."""
        tries = 3 if kind == "events_api" else 1
        answer = Answer(0, error="operation_timeout")
        for attempt in range(tries):
            body = json.dumps(payload).encode() if kind == "events_api" else payloads.form_body(kind, payload)
            now = int(self._world.clock.now())
            headers = {
                "Content-Type": "application/json" if kind == "events_api" else "application/x-www-form-urlencoded",
                "X-Slack-Request-Timestamp": str(now),
                "X-Slack-Signature": payloads.sign(app.signing_secret, now, body),
            }
            if attempt:
                headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_error"}
            url = app.request_url + _PATH[kind]
            self.sent.append((url, headers, body))
            answer = await self.post(url, headers, body)
            if not answer.error:
                break
        return answer

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """One HTTP delivery, as given."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        try:
            async with self._session.post(url, headers=headers, data=body, timeout=timeout) as response:
                text = await response.text()
        except TimeoutError:
            return Answer(0, error="operation_timeout")
        except aiohttp.ClientError:
            return Answer(0, error="dispatch_failed")
        if response.status != 200:
            return Answer(response.status, error="dispatch_failed")
        if not text:
            return Answer(200)
        if response.content_type == "application/json":
            return Answer(200, json.loads(text))
        return Answer(200, {"text": text})


class SocketHub:
    """The Socket Mode side: connections of an app, `hello`, envelopes spread over them, acknowledgements."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world, self._faults = world, faults
        self._tickets: dict[str, App] = {}
        self.connections: list[tuple[App, web.WebSocketResponse]] = []
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._held = _Held()
        self._turn = 0
        self.base_url = ""  # ws://host:port, set by the server once it listens

    def open(self, app: App) -> Json:
        """The answer of apps.connections.open: an address that works once."""
        ticket = uuid4().hex
        self._tickets[ticket] = app
        return {"ok": True, "url": f"{self.base_url}/socket/{ticket}"}

    async def connect(self, request: web.Request) -> web.StreamResponse:
        app = self._tickets.pop(request.match_info["ticket"], None)
        if app is None:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections.append((app, socket))
        await socket.send_json(
            {
                "type": "hello",
                "num_connections": sum(1 for other, _ in self.connections if other is app),
                "connection_info": {"app_id": app.id},
                "debug_info": {"host": "slack-world", "approximate_connection_time": 18060},
            }
        )
        await self._world.announce()
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._acknowledged(json.loads(message.data))
        finally:
            self.connections.remove((app, socket))
            await self._world.announce()
        return socket

    def _acknowledged(self, frame: Json) -> None:
        waiting = self._waiting.get(frame.get("envelope_id", ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(frame.get("payload") or {})

    async def deliver(self, app: App, kind: Kind, payload: Json) -> Answer:
        fault = self._faults.next_delivery()
        if fault == "hold":
            self._held.waiting.append(lambda: self._send(app, kind, payload, retry=0))
            return Answer(0, error="operation_timeout")
        if fault == "disconnect":
            await self.disconnect(app)
        answer = await self._send(app, kind, payload, retry=0)
        if answer.error or fault in ("duplicate", "lose_ack"):
            answer = await self._send(app, kind, payload, retry=1)
        await self._held.release()
        return answer

    async def _send(self, app: App, kind: Kind, payload: Json, *, retry: int) -> Answer:
        socket = await self._next_connection(app)
        envelope: Json = {
            "envelope_id": str(uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if retry:
            envelope |= {"retry_attempt": retry, "retry_reason": "timeout"}
        waiting: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[envelope["envelope_id"]] = waiting
        try:
            await socket.send_json(envelope)
            return Answer(200, await asyncio.wait_for(waiting, ANSWER_WITHIN_S))
        except (TimeoutError, ConnectionError):
            return Answer(0, error="operation_timeout")
        finally:
            del self._waiting[envelope["envelope_id"]]

    async def _next_connection(self, app: App) -> web.WebSocketResponse:
        """Any connection of the app may get any payload: they take turns."""

        def ready() -> list[web.WebSocketResponse]:
            return [socket for owner, socket in self.connections if owner is app and not socket.closed]

        await self._world.until(ready)
        self._turn += 1
        return ready()[self._turn % len(ready())]

    async def disconnect(self, app: App, reason: str = "refresh_requested") -> None:
        """Tell one connection to go; it gets no payload any more, and closes when the app has a new one."""
        for owner, socket in self.connections:
            if owner is app and not socket.closed:
                await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "slack-world"}})
                await socket.close()
                return

    async def close(self) -> None:
        for _, socket in list(self.connections):
            await socket.close()
