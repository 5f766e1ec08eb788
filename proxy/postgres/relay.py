"""Carries out what a session asks for, between a client's transport and a store's.

Backpressure goes both ways: who cannot write, and what waits for the record, stops the other side's reading.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from approvals.reasons import Reason
from proxy.barrier import HOLD_BYTES
from proxy.postgres.commands import AwaitFresh, CancelStore, Close, Command, FinishSoon, Record, ToClient, ToStore
from proxy.postgres.session import Session
from proxy.postgres.upstream import StoreConnection

if TYPE_CHECKING:
    from proxy.postgres.listener import PostgresGate

__all__ = ["FRESH_S", "Relay"]

FRESH_S: Final = 2.0  # how long a decision waits for a fresh view
FINISH_S: Final = 0.5  # for the rest of a message before the last words


class Relay:
    """`close` closes both sides; `gone` is told when the store's socket is closed."""

    def __init__(
        self,
        home: "PostgresGate",
        session: Session,
        client: asyncio.Transport,
        store: StoreConnection,
        close: Callable[[], None],
        gone: Callable[[], None],
    ) -> None:
        self.session = session
        self.store = store
        self._home = home
        self._gate = home.gate
        self._client = client
        self._close = close
        self._gone = gone
        self._client_full = self._store_full = False  # whose write buffer is full
        self._client_waits = self._store_waits = False  # whose reading is paused
        store.relay(self._from_store, self._store_lost, self._store_paused)

    def from_client(self, data: bytes) -> None:
        self._run(self.session.from_client(data, self._now()))

    def client_gone(self) -> None:
        self._run(self.session.client_gone(self._now()))

    def client_paused(self, full: bool) -> None:
        self._client_full = full
        self._flow()

    def cancel(self) -> None:
        self._run(self.session.cancel(self._now()))

    def tick(self) -> None:
        self._run(self.session.tick(self._now()))

    def end(self, reason: Reason) -> None:
        self._run(self.session.over(reason, self._now()))

    def _from_store(self, data: bytes) -> None:
        self._run(self.session.from_store(data, self._now()))

    def _store_lost(self) -> None:
        self._run(self.session.store_gone(self._now()))
        self._gone()

    def _store_paused(self, full: bool) -> None:
        self._store_full = full
        self._flow()

    def _run(self, commands: list[Command]) -> None:
        recorder = self._gate.recorder
        for command in commands:
            match command:
                case ToClient(data):
                    if not self._client.is_closing():
                        self._client.write(data)
                case ToStore(data):
                    self.store.write(data)
                case Record(draft, None):
                    recorder.record(draft)
                case Record(draft, waiter):
                    recorder.record(draft, partial(self._recorded, waiter))
                case AwaitFresh():
                    self._gate.when_fresh(self._fresh, FRESH_S)
                case CancelStore(wait):
                    self._cancel_store(wait)
                case FinishSoon():
                    asyncio.get_running_loop().call_later(FINISH_S, self._give_up)
                case Close():
                    self._close()
        self._flow()

    def _recorded(self, waiter: object, durable: bool) -> None:
        self._run(self.session.recorded(waiter, durable, self._now()))

    def _fresh(self) -> None:
        self._run(self.session.fresh(self._now()))

    def _give_up(self) -> None:
        self._run(self.session.give_up(self._now()))

    def _cancel_store(self, wait: bool) -> None:
        if self.store.cancel is not None:
            task = self._home.keep(self.store.cancel.send())
            if wait:
                task.add_done_callback(lambda _: self._cancelled())

    def _cancelled(self) -> None:
        self._run(self.session.cancelled(self._now()))

    def _flow(self) -> None:
        """Whoever's bytes cannot go on is not read from."""
        client, store = self._client, self.store.transport
        if store is None or client.is_closing() or store.is_closing():
            return
        waits = self._store_full or self.session.queued_bytes > HOLD_BYTES
        if waits is not self._client_waits:
            self._client_waits = waits
            (client.pause_reading if waits else client.resume_reading)()
        waits = self._client_full or self.session.held_bytes > HOLD_BYTES
        if waits is not self._store_waits:
            self._store_waits = waits
            (store.pause_reading if waits else store.resume_reading)()

    def _now(self) -> float:
        return self._gate.clock.monotonic()
