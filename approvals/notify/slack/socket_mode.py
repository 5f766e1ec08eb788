"""Socket Mode: two connections to Slack, and a watchdog that replaces one which only looks alive.

Slack delivers each payload to any one of an app's connections (up to ten), so with two, a connection that is being
refreshed costs nobody a click. The library reconnects by itself; what it has been seen not to notice is a session
whose pings still succeed on our side while nothing arrives (bolt-python issues 417 and 1529). So the watchdog looks
at the last pong, and after a grace period puts a new connection in the old one's place.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

__all__ = ["Connection", "SocketMode"]

_log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 5.0
GRACE_CHECKS: Final = 6
"""Checks in a row that a connection may fail before it is replaced: the library's own repair comes first."""


class Connection(Protocol):
    """slack-sdk's SocketModeClient, as far as it is used here."""

    last_ping_pong_time: float | None

    async def connect(self) -> None: ...
    async def is_connected(self) -> bool: ...
    async def close(self) -> None: ...


class SocketMode:
    """`make` gives a fresh, unconnected connection."""

    def __init__(
        self, make: Callable[[], Connection], connections: int = 2, check_every_s: float = CHECK_EVERY_S
    ) -> None:
        self._make, self._count, self._check_every_s = make, connections, check_every_s
        self._tasks: list[asyncio.Task[None]] = []
        self._alive: dict[int, bool] = {}
        self._pongs: dict[int, float | None] = {}

    async def start(self) -> None:
        """Connects in the background: a gate starts also while Slack is away."""
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(self._count)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def connected(self) -> int:
        """How many connections were alive when last looked at."""
        return sum(self._alive.values())

    @property
    def last_pongs(self) -> Sequence[float]:
        """Unix seconds of each connection's newest answer to a ping, for metrics."""
        return [pong for pong in self._pongs.values() if pong is not None]

    async def _keep(self, number: int) -> None:
        while True:
            connection = self._make()
            try:
                await self._watch(number, connection)
            except Exception as cause:  # whatever the library raises, the next connection must come
                _log.warning("Socket Mode connection %d broke: %s", number, type(cause).__name__)
                await asyncio.sleep(self._check_every_s)
            finally:
                self._alive[number] = False
                with suppress(Exception):
                    await connection.close()

    async def _watch(self, number: int, connection: Connection) -> None:
        """Returns when the connection should be replaced."""
        await connection.connect()
        failed = 0
        while failed < GRACE_CHECKS:
            alive = await connection.is_connected()
            self._alive[number] = alive
            self._pongs[number] = connection.last_ping_pong_time
            failed = 0 if alive else failed + 1
            await asyncio.sleep(self._check_every_s)
        _log.warning(
            "Socket Mode connection %d has been silent for %.0f s: replacing it", number, failed * self._check_every_s
        )


def connection_maker(app: Any, app_token: str) -> Callable[[], Connection]:
    """Fresh connections of a bolt AsyncApp."""
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

    def make() -> Connection:
        client: Any = AsyncSocketModeHandler(app, app_token, ping_interval=5).client
        client.proxy = None  # set by the library from HTTP(S)_PROXY
        return client  # type: ignore[no-any-return]

    return make
