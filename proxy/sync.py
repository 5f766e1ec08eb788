"""Keeps the view of grants fresh: `proxy_sync` every 500 ms on a connection of its own.

A notification only makes the next call early; it carries a version number, and anybody may send one. A dead
or half-open connection is noticed by the call's own timeout, never by silence.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from approvals.reasons import Reason
from proxy.clock import Clock
from proxy.live_grants import LiveGrants, PolicyRow, Sync

__all__ = ["CHANNEL", "ProxySync"]

CHANNEL: Final = "glassgate_sync"
INTERVAL_S: Final = 0.5
TICK_S: Final = 0.1  # how often expiry is looked at: bounds how long past its end a grant can still be used
CALL_TIMEOUT_S: Final = 0.3
RETRY_S: Final = 0.25
_CALL: Final = "SELECT approvals.proxy_sync($1, $2)"

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Sync).decode


class ProxySync:
    """One worker's line to approvals. `on_policy` is called before the grants of the same report are applied;
    if it raises, the report is not applied and the view grows old."""

    def __init__(
        self,
        worker: str,
        live: LiveGrants,
        clock: Clock,
        connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
        on_policy: Callable[[PolicyRow], None],
    ) -> None:
        self._worker = worker
        self._live = live
        self._clock = clock
        self._connect = connect
        self._on_policy = on_policy
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next_waiting = 0
        self._wake = asyncio.Event()
        self._was_stale = True  # before the first report there is nothing to lose
        self._behind_said = False

    def when_fresh(self, callback: Callable[[], None], timeout_s: float = 2.0) -> Callable[[], None]:
        """Call `callback` once: as soon as the view is fresh, or after the timeout. Returns how to give up."""
        self._next_waiting += 1
        number = self._next_waiting

        def fire() -> None:
            if self._waiting.pop(number, None) is not None:
                timer.cancel()
                try:
                    callback()
                except Exception:
                    # Isolated: one connection's trouble must not stop the line that all others live by.
                    _log.exception("proxy_sync.callback_failed")

        timer = asyncio.get_running_loop().call_later(timeout_s, fire)
        self._waiting[number] = fire
        self._wake.set()

        def give_up() -> None:
            if self._waiting.pop(number, None) is not None:
                timer.cancel()

        return give_up

    async def run(self) -> None:
        """Sync until cancelled. Every failure is a reconnect; the view's age does the rest."""
        ticking = asyncio.create_task(self._tick(), name="grant-expiry")
        try:
            while True:
                try:
                    await self._session()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as cause:
                    _log.warning("proxy_sync.lost_contact", cause=f"{type(cause).__name__}: {cause}")
                except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as cause:
                    _log.error("proxy_sync.report_refused", cause=str(cause))
                await asyncio.sleep(RETRY_S)
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def _session(self) -> None:
        connection = await asyncio.wait_for(self._connect(), 5.0)
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
            while True:
                self._wake.clear()
                await self._once(connection)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), INTERVAL_S)
        finally:
            connection.terminate()

    async def _once(self, connection: "asyncpg.Connection[Any]") -> None:
        asked_at = self._clock.monotonic()
        text = await connection.fetchval(_CALL, self._worker, self._live.version, timeout=CALL_TIMEOUT_S)
        sync = _decode(text)
        if sync.version < self._live.version:
            # A restored backup, or another database: what it says is older than what this worker knows.
            if not self._behind_said:
                _log.error("proxy_sync.went_back", reported=sync.version, known=self._live.version)
                self._behind_said = True
            return
        self._behind_said = False
        if sync.policy is not None:
            self._on_policy(sync.policy)
        # The report was true when it was asked for, so its age counts from then.
        self._live.apply(sync, asked_at)
        if self._live.freshness(self._clock.monotonic()) == "fresh":
            self._was_stale = False
            for fire in list(self._waiting.values()):
                fire()

    async def _tick(self) -> None:
        while True:
            self._live.expire(self._clock.unix())
            stale = self._live.freshness(self._clock.monotonic()) == "stale"
            if stale and not self._was_stale:
                _log.error("proxy_sync.stale", worker=self._worker)
                self._live.cut_all(Reason.VIEW_STALE)
            self._was_stale = stale
            await asyncio.sleep(TICK_S)
