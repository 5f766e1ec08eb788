"""Puts Slack together: bolt, the desk behind it, the way in (signed HTTP or Socket Mode) and the outbox's channel.

The only file that builds bolt's app, and it imports bolt when it is asked to: that import costs most of a second.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from aiohttp import web

from approvals.notify.slack.client import SLACK_API, SlackClient
from approvals.notify.slack.desk import Desk
from approvals.notify.slack.http_door import HttpDoor
from approvals.notify.slack.routes import register
from approvals.notify.slack.socket_mode import SocketMode, connection_maker
from approvals.notify.slack.telling import SlackChannel
from approvals.queries import Queries
from approvals.service import Approvals

__all__ = ["Slack", "build_slack"]

Mode = Literal["socket", "http"]
COMMAND: Final = "/access"


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""


class Slack:
    """What wiring needs: `.channel` for the outbox, `.http_routes()` for the server, `start` and `stop`."""

    def __init__(self, client: SlackClient, channel: SlackChannel, door: HttpDoor | None, socket: SocketMode | None):
        self.channel = channel
        self.socket = socket
        self._client, self._door = client, door

    def http_routes(self) -> list[web.RouteDef]:
        """Empty in Socket Mode: no inbound address, nothing to attack."""
        return self._door.routes() if self._door else []

    async def start(self) -> None:
        """Does not wait for Slack: a gate starts also while Slack is away."""
        if self.socket:
            await self.socket.start()

    async def stop(self) -> None:
        if self.socket:
            await self.socket.stop()
        await self._client.close()


def build_slack(
    service: Approvals,
    queries: Queries,
    pool: Any,
    clock: Clock,
    *,
    mode: Mode,
    channel: str,
    bot_token: str,
    app_token: str = "",
    signing_secret: str = "",
    api_url: str = SLACK_API,
    connections: int = 2,
    nudge: Callable[[], None] = lambda: None,
) -> Slack:
    """Call inside the running event loop. `channel` is the id of the overseers' channel; `pool` connects as
    glassgate_approvals; `nudge` is the outbox's. Raises ValueError for a mode without its secret."""
    if mode == "http" and not signing_secret:
        raise ValueError('slack.signing_secret: needed with mode = "http"')
    if mode == "socket" and not app_token:
        raise ValueError('slack.app_token: needed with mode = "socket"')
    client = SlackClient(bot_token, api_url)
    app = _bolt(client, bot_token)
    register(app, Desk(service, client, nudge), COMMAND)
    door = HttpDoor(app, signing_secret, lambda: clock.now().timestamp()) if mode == "http" else None
    socket = SocketMode(connection_maker(app, app_token), connections) if mode == "socket" else None
    return Slack(client, SlackChannel(client, queries, pool, channel), door, socket)


def _bolt(client: SlackClient, bot_token: str) -> Any:
    """A bolt app that asks Slack nothing per request."""
    from slack_bolt.app.async_app import AsyncApp
    from slack_bolt.authorization import AuthorizeResult

    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        # One workspace's installation, whose token we hold: auth.test before every click would tell nothing new.
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=bot_token)

    return AsyncApp(
        name="glassgate",
        logger=logging.getLogger("glassgate.slack"),
        client=client.for_bolt,
        # Given, so that neither SLACK_BOT_TOKEN nor SLACK_CLIENT_ID in the environment decides who we are.
        authorize=authorize,
        request_verification_enabled=False,  # http_door.py has verified the raw bytes; sockets are not signed
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
    )
