"""Driving the emulator from another process: read what a person sees, do what a person does. Loopback only.

All answers are JSON. People and channels go by name or id.
    GET  /admin/health                                        {"ok": true, "apps": [...], "connections": n}
    GET  /admin/failures                                      {"failures": [...]}
    GET  /admin/channels/{channel}?as=USER&containing=TEXT&wait=SECONDS   {"messages": [MESSAGE, ...]}
    GET  /admin/users/{user}/direct?containing=TEXT&wait=SECONDS          {"messages": [MESSAGE, ...]}
    GET  /admin/users/{user}/modal?wait=SECONDS               {"view": VIEW | null}
    POST /admin/users/{user}/slash   {command, text, channel} {"error": "", "text": "…"}
    POST /admin/users/{user}/click   {channel, ts, button}    {"error": "", "view": VIEW | null}
    POST /admin/users/{user}/submit  {view, values: {label: text | [text]}}
                                                              {"error": "", "errors": {label: text}, "view": …}
    POST /admin/faults               {"down": true | false}
MESSAGE = {channel, ts, text, buttons, edits}; VIEW = {id, text, inputs}. With `containing`, the list holds the
messages that contain the text, and `wait` is how long to wait for the first. What a person cannot do is 409.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.slack_world import render
from tests.slack_world.world import Message, View

if TYPE_CHECKING:
    from tests.slack_world.server import SlackWorld

__all__ = ["routes"]

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]


def routes(slack: "SlackWorld") -> list[web.RouteDef]:
    desk = _Desk(slack)
    return [
        web.get("/admin/health", _guarded(desk.health)),
        web.get("/admin/failures", _guarded(desk.failures)),
        web.get("/admin/channels/{channel}", _guarded(desk.channel)),
        web.get("/admin/users/{user}/direct", _guarded(desk.direct)),
        web.get("/admin/users/{user}/modal", _guarded(desk.modal)),
        web.post("/admin/users/{user}/slash", _guarded(desk.slash)),
        web.post("/admin/users/{user}/click", _guarded(desk.click)),
        web.post("/admin/users/{user}/submit", _guarded(desk.submit)),
        web.post("/admin/faults", _guarded(desk.faults)),
    ]


def _guarded(handler: Callable[[web.Request], Awaitable[Json]]) -> Handler:
    """Only from this machine, and never from a page in a browser: who drives this can approve anything."""

    async def answer(request: web.Request) -> web.Response:
        if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback or "Origin" in request.headers:
            return web.json_response({"error": "loopback only"}, status=403)
        try:
            return web.json_response(await handler(request))
        except LookupError as refused:
            return web.json_response({"error": str(refused)}, status=409)
        except TimeoutError as late:
            return web.json_response({"error": str(late)}, status=504)

    return answer


class _Desk:
    def __init__(self, slack: "SlackWorld") -> None:
        self._slack, self._world = slack, slack.world

    async def health(self, _request: web.Request) -> Json:
        apps = [app.id for app in self._world.apps]
        return {"ok": True, "apps": apps, "connections": len(self._slack.hub.connections)}

    async def failures(self, _request: web.Request) -> Json:
        return {"failures": self._world.failures}

    async def channel(self, request: web.Request) -> Json:
        name = request.match_info["channel"]
        person = self._slack.user(request.query["as"]) if "as" in request.query else None

        def read() -> list[Message]:
            if person is not None:
                return person.messages(name)
            place = self._world.channel(name)
            if place is None:
                raise LookupError(f"no channel {name!r}")
            return self._world.visible(place.id)

        return {"messages": await self._read(request, read)}

    async def direct(self, request: web.Request) -> Json:
        return {"messages": await self._read(request, self._slack.user(request.match_info["user"]).direct)}

    async def _read(self, request: web.Request, read: Callable[[], list[Message]]) -> list[Json]:
        wanted = request.query.get("containing", "")

        def found() -> list[Message]:
            return [message for message in read() if wanted in render.message_text(message)]

        if "wait" in request.query:
            await self._world.until(found, float(request.query["wait"]))
        return [_message(message) for message in found()]

    async def modal(self, request: web.Request) -> Json:
        person = self._slack.user(request.match_info["user"])
        if "wait" in request.query:
            return {"view": _view(await person.modal(float(request.query["wait"])))}
        return {"view": _view(person.top_view())}

    async def slash(self, request: web.Request) -> Json:
        body = await request.json()
        person = self._slack.user(request.match_info["user"])
        answer = await person.slash(body["command"], body.get("text", ""), body.get("channel", "general"))
        return {"error": answer.error, "text": answer.body.get("text", "")}

    async def click(self, request: web.Request) -> Json:
        body = await request.json()
        person = self._slack.user(request.match_info["user"])
        place = self._world.channel(body["channel"])
        message = self._world.message(place.id if place else body["channel"], body["ts"])
        if message is None:
            raise LookupError("no such message")
        answer = await person.click(message, body["button"])
        return {"error": answer.error, "view": _view(person.top_view())}

    async def submit(self, request: web.Request) -> Json:
        body = await request.json()
        person = self._slack.user(request.match_info["user"])
        view = self._world.views.get(body["view"])
        if view is None or not view.open or view.user != person.account.id:
            raise LookupError("no such modal is open for this person")
        done = await person.submit(view, body.get("values", {}))
        return {"error": done.failed, "errors": done.errors, "view": _view(done.view)}

    async def faults(self, request: web.Request) -> Json:
        self._slack.faults.down = bool((await request.json())["down"])
        return {"down": self._slack.faults.down}


def _message(message: Message) -> Json:
    return {
        "channel": message.channel,
        "ts": message.ts,
        "text": render.message_text(message),
        "buttons": render.buttons(message.blocks),
        "edits": message.edits,
    }


def _view(view: View | None) -> Json | None:
    if view is None:
        return None
    labels = [block["label"]["text"] for block in view.body["blocks"] if block["type"] == "input"]
    return {"id": view.id, "text": render.view_text(view), "inputs": labels}
