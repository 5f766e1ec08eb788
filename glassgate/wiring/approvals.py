"""The approvals role: the service, its API and log tiles on one listener, channels, and the clock's own work."""

import ssl
from collections.abc import Sequence
from typing import Any, Final, Literal

import structlog
from aiohttp import web

from approvals.api.app import make_app
from approvals.api.backend import Backend
from approvals.api.log_reading import LogReading
from approvals.api.routes import PREFIX
from approvals.notify.slack.app import Slack, build_slack
from approvals.outbox import Outbox
from approvals.policies import InForce
from approvals.policy import Policy
from approvals.service import Approvals
from glassgate.keys import ISSUER, key_id, load_private
from glassgate.listeners import Listener
from glassgate.policy_adoption import settle
from glassgate.wiring.body_readers import BodyReaders
from glassgate.wiring.doors import ConfiguredDoors, log_prefix, verifier_key
from glassgate.wiring.ground import Ground, server_context
from glassgate.wiring.log_source import DatabaseLog
from glassgate.wiring.sequencer import record_stopped
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.postgres import append_in
from ledger.reader import LogReader
from ledger.server import log_routes

__all__ = ["ApprovalsRole", "make_service", "open_listener"]

ROLE: Final = "approvals"
SHUTDOWN_S: Final = 2.0
SILENT_S: Final = 5.0  # without the database for so long: not ready

_log = structlog.get_logger(__name__)


class _Append:
    """Entries of this role that belong to no step of the service: what somebody read of the log."""

    def __init__(self, pool: Any, writer: Writer, ground: Ground) -> None:
        self._pool = pool
        self._writer = writer
        self._ground = ground

    async def record(self, drafts: Sequence[Draft]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await append_in(connection, drafts, writer=self._writer, now=self._ground.clock.now())


class ApprovalsRole:
    def __init__(self, ground: Ground, listener: Listener, placement: Literal["L0", "L1"]) -> None:
        self._ground = ground
        self._listener = listener
        self._placement: Literal["L0", "L1"] = placement
        self._runner: web.AppRunner | None = None
        self._slack: Slack | None = None
        self._pool: Any = None
        self._readers: Any = None
        self._in_force: InForce | None = None
        self._alive_at = ground.clock.monotonic()
        self.writer = ground.writer()

    async def start(self) -> None:
        ground = self._ground
        self._pool = await ground.pool("approvals", size=10, name="approvals")
        self._readers = await ground.pool("reader", size=4, name="log reader")
        await introduce(self._pool, self.writer, ROLE, ground)
        service = make_service(self._pool, self.writer, ground)
        self._in_force = await settle(service, ground.config)
        outbox = self._channels(service)
        await outbox.register()
        await self._listen(service)
        if self._slack is not None:
            await self._slack.start()
        supervisor = ground.supervisor
        supervisor.run("outbox", outbox.run())
        supervisor.every("expiry", 1.0, lambda: self._expire(service))
        supervisor.every("writer position", 2.0, self._remember)
        ground.readiness.add("approvals database", self._silent)

    async def stop_accepting(self) -> None:
        """No new calls; those under way are answered."""
        if self._runner is not None:
            await self._runner.cleanup()  # waits for what is under way, at most SHUTDOWN_S
        if self._slack is not None:
            await self._slack.stop()

    async def finish(self) -> None:
        """The last entry. The database may be what ended us: then there is none, and that shows."""
        if self._pool is None:
            return
        try:
            async with self._pool.acquire(timeout=2.0) as connection:
                await record_stopped(connection, self.writer, ROLE, self._ground)
        except Exception as cause:
            _log.error("process.not_closed", role=ROLE, cause=f"{type(cause).__name__}: {cause}")
        for pool in (self._pool, self._readers):
            if pool is not None:
                pool.terminate()

    def _channels(self, service: Approvals) -> Outbox:
        ground, slack = self._ground, self._ground.config.slack
        if slack.mode == "off":
            return Outbox(self._pool, (), ground.clock)
        nudges: list[Outbox] = []  # Slack is built before the outbox that delivers to it
        self._slack = build_slack(
            service,
            service.queries,
            self._pool,
            ground.clock,
            mode=slack.mode,
            channel=slack.channel,
            bot_token=slack.bot_token.reveal(),
            app_token=slack.app_token.reveal(),
            signing_secret=slack.signing_secret.reveal(),
            api_url=slack.api_url + "/",
            nudge=lambda: nudges[0].nudge() if nudges else None,
        )
        nudges.append(Outbox(self._pool, (self._slack.channel,), ground.clock))
        return nudges[0]

    async def _listen(self, service: Approvals) -> None:
        ground, config = self._ground, self._ground.config
        reading = LogReading(DatabaseLog(self._readers), _Append(self._pool, self.writer, ground), ground.clock)
        doors = ConfiguredDoors(config, self._policy, verifier_key(config), self._placement)
        app = web.Application()
        app.add_subapp(PREFIX, make_app(Backend(service, service.queries, reading, doors)))
        bodies = BodyReaders(service, reading)
        app.add_routes(log_routes(LogReader(self._readers), log_prefix(config), bodies.may_read))
        if self._slack is not None:
            app.add_routes(self._slack.http_routes())
        cert, key = config.api.tls_cert, config.api.tls_key
        tls = server_context(cert, key) if cert and key else None
        self._runner = await open_listener(app, self._listener, tls)

    def _policy(self) -> Policy | None:
        return self._in_force.policy if self._in_force is not None else None

    async def _expire(self, service: Approvals) -> None:
        await service.expire_due()
        self._in_force = await service.policy_in_force()
        self._alive_at = self._ground.clock.monotonic()

    async def _remember(self) -> None:
        at = self.writer.writer_id, self.writer.log
        following = await self._pool.fetchval(_POSITION, *at)
        if following is not None:
            self._ground.predecessors.remember(ROLE, self.writer.writer_id, following - 1)

    def _silent(self) -> str:
        silent = self._ground.clock.monotonic() - self._alive_at
        return f"no answer from the database for {silent:.0f} s" if silent > SILENT_S else ""


def make_service(pool: Any, writer: Writer, ground: Ground) -> Approvals:
    gate = ground.config.gate
    issuer_key = load_private(ground.config.keys.dir / ISSUER)
    return Approvals(
        pool,
        writer,
        ground.clock,
        issuer=gate.issuer,
        issuer_key=issuer_key,
        issuer_kid=key_id(issuer_key.public_key()),
    )


async def introduce(pool: Any, writer: Writer, role: str, ground: Ground) -> None:
    """The writer's first entry, before any other of it can be."""
    async with pool.acquire() as connection, connection.transaction():
        draft = ground.introduction(writer, role)
        await append_in(connection, [draft], writer=writer, now=ground.clock.now())
    ground.predecessors.remember(role, writer.writer_id, 0)


async def open_listener(app: web.Application, listener: Listener, tls: ssl.SSLContext | None) -> web.AppRunner:
    """Serve on sockets that are held already. No access log: addresses carry ids, and the record is elsewhere."""
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=30.0, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    for one in listener.sockets:
        await web.SockSite(runner, one, ssl_context=tls).start()
    return runner


_POSITION: Final = "SELECT next_counter FROM ledger.writer_head WHERE writer = $1 AND log = $2"
