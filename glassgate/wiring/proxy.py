"""The proxy role: one worker of the gate, with its own view of grants, its own recorder and key."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

import structlog

from approvals.kinds import ProcessStopped
from glassgate.keys import issuer_keys
from glassgate.listeners import Listener
from glassgate.wiring.ground import Ground, server_context
from ledger.entry import Draft
from ledger.postgres import DatabaseSink
from ledger.storage import AppendRefused, AppendUnknown
from proxy.credentials import Credentials
from proxy.gate import Gate
from proxy.http.server import HttpGate
from proxy.live_grants import LiveGrants
from proxy.postgres.listener import PostgresGate, TlsIdentity
from proxy.recorder import Recorder
from proxy.refusals import Refusals
from proxy.stores import Stores
from proxy.sync import ProxySync
from proxy.token_cache import TokenVerifier

__all__ = ["ProxyRole"]

ROLE: Final = "proxy"

_log = structlog.get_logger(__name__)


class ProxyRole:
    """`listeners` holds the sockets of proxy.http and proxy.postgres, as far as these are configured."""

    def __init__(self, ground: Ground, listeners: Mapping[str, Listener]) -> None:
        self._ground = ground
        self._listeners = listeners
        self.writer = ground.writer()
        self._sink = DatabaseSink.to(ground.dsns.get("proxy"))
        self._recorder = Recorder(self.writer, self._sink, ground.clock, self._lost)
        self._live = LiveGrants()
        self._sync = ProxySync(
            self.writer.writer_id, self._live, ground.clock, self._connect, lambda row: self.gate.adopt_policy(row)
        )
        keys = ground.config.keys.dir
        self.gate = Gate(
            stores=Stores(),
            live=self._live,
            recorder=self._recorder,
            clock=ground.clock,
            credentials=Credentials(ground.config.credentials, ground.clock),
            tokens=TokenVerifier(issuer_keys(keys), ground.config.gate.issuer, ground.clock),
            refusals=Refusals(self._recorder, ground.clock, os.urandom(32)),
            when_fresh=self._sync.when_fresh,
            set_policy=self._set_policy,
        )
        self.http: HttpGate | None = None
        self.postgres: PostgresGate | None = None

    async def start(self) -> None:
        ground = self._ground
        await ground.check("proxy", "proxy")
        await self._sink.ready()
        self._recorder.start()
        await self._introduce()
        ground.supervisor.run("proxy sync", self._sync.run())
        ground.supervisor.every("writer position", 2.0, self._remember)
        ground.supervisor.every("refusals", 1.0, self._count_refusals)
        await self._listen()
        ground.readiness.add("recorder", lambda: "" if self._recorder.able else "entries cannot be written")
        ground.readiness.add("view of grants", self._stale)
        ground.metrics.gauge("recorder_able", "Whether entries can be written.", lambda: self._recorder.able)
        ground.metrics.counter("recorder_entries", "Entries written by this process.", lambda: self.writer.next_counter)

    async def drain(self, within_s: float) -> None:
        """Accept nothing new and let what runs end; then cut."""
        gates = [gate for gate in (self.http, self.postgres) if gate is not None]
        await asyncio.gather(*(gate.drain(within_s) for gate in gates), return_exceptions=True)
        for gate in gates:
            await gate.stop()

    async def finish(self) -> None:
        """Write what is queued, then the last entry, whose own counter stands in it."""
        self.gate.refusals.flush()
        await self._recorder.close()
        writer = self.writer
        last = writer.next_counter
        if last == 0:
            return  # it never introduced itself, so there is nothing to close
        draft = Draft("process.stopped", ProcessStopped(role=ROLE, last_counter=last))
        try:
            await self._sink.append(writer.pack([draft], self._ground.clock.now(), os.urandom))
        except (AppendRefused, AppendUnknown, RuntimeError) as cause:
            # A writer that never closed is a finding for whoever reads the log; that is what it is for.
            _log.error("process.not_closed", role=ROLE, cause=str(cause))
        else:
            writer.accepted()
            self._ground.predecessors.remember(ROLE, writer.writer_id, last)
        await self._sink.close()

    async def _introduce(self) -> None:
        durable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._recorder.record(self._ground.introduction(self.writer, ROLE), durable.set_result)
        if not await durable:
            raise AppendRefused("the first entry could not be written: the record database refuses")
        self._ground.predecessors.remember(ROLE, self.writer.writer_id, 0)

    async def _listen(self) -> None:
        config = self._ground.config
        if "proxy.http" in self._listeners:
            held = self._listeners["proxy.http"]
            cert, key = config.http.tls_cert, config.http.tls_key
            tls = server_context(cert, key) if cert and key else None
            self.http = HttpGate(self.gate, str(held.bound), tls, sockets=held.sockets)
            await self.http.start()
        if "proxy.postgres" in self._listeners:
            cert, key = config.postgres.tls_cert, config.postgres.tls_key
            assert cert is not None and key is not None  # the configuration was checked for it
            self.postgres = PostgresGate(
                self.gate, TlsIdentity.load(cert, key), self._listeners["proxy.postgres"].sockets
            )
            await self.postgres.start()

    async def _connect(self) -> Any:
        return await self._ground.connect("proxy", f"proxy {self.writer.writer_id}")

    def _set_policy(self, digest: str) -> None:
        self.writer.policy = digest

    def _lost(self) -> None:
        self._ground.supervisor.fail("the recorder does not know whether its last entries are durable")

    def _stale(self) -> str:
        freshness = self._live.freshness(self._ground.clock.monotonic())
        return "" if freshness == "fresh" else f"it is {freshness}"

    async def _count_refusals(self) -> None:
        self.gate.refusals.tick()

    async def _remember(self) -> None:
        self._ground.predecessors.remember(ROLE, self.writer.writer_id, self.writer.next_counter - 1)
