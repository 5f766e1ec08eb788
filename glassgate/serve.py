"""`glassgate serve`: ports first, then the database, then the roles; and everything back in order at the end.

Ends with 0 on SIGTERM or SIGINT, with 1 when something ended that must not, and at once, recording what it can:
a gate that cannot record must not stay up and look alive.
"""

import asyncio
import gc
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import structlog
import uvloop
from aiohttp import web

from glassgate import diagnostics
from glassgate.config import ConfigFaults, load
from glassgate.database import Dsns, embedded, open_database
from glassgate.listeners import Listener, PortTaken, listen
from glassgate.log import set_up
from glassgate.settings import Config
from glassgate.wiring.ground import Ground, version

__all__ = ["Role", "main"]

Role = Literal["all", "approvals", "proxy", "sequencer"]
MAX_FILES: Final = 65_536
DRAIN_S: Final = 10.0
FINISH_S: Final = 8.0
DATABASE_WATCH_S: Final = 0.2

_log = structlog.get_logger(__name__)


def main(config_file: Path, role: Role = "all") -> int:
    """Run until told to stop; the exit status. Main thread only. Raises ConfigFaults, PostgresFailed, KeyRefused,
    MigrationRefused before anything is served."""
    config = load(config_file, os.environ)
    set_up()
    _allow_many_connections()
    if role != "all" and embedded(config) is not None:
        raise ConfigFaults(
            [f"database.dsn_{role}: is required for --role {role}; an embedded PostgreSQL serves one process"]
        )
    try:
        listeners = take_ports(config, role)
    except PortTaken as cause:
        raise ConfigFaults([str(cause)]) from cause
    try:
        # The embedded PostgreSQL is a child of this thread and outlives the event loop on purpose.
        with open_database(config) as dsns:
            return uvloop.run(Process(config, dsns, role, listeners).run())
    finally:
        for listener in listeners.values():
            listener.close()


def _allow_many_connections() -> None:
    """As many files as the hard limit lets us: the usual soft limit of 1024 is reached by sockets long before the
    gate's own caps on connections are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def take_ports(config: Config, role: Role) -> dict[str, Listener]:
    """Every address of this role, bound and held, before anything is started for them. Raises PortTaken."""
    taken: dict[str, Listener] = {}
    try:
        if role in ("all", "approvals"):
            taken["api"] = listen("api.listen", config.api.listen)
        if config.diagnostics.listen is not None:
            taken["diagnostics"] = listen("diagnostics.listen", config.diagnostics.listen)
        if role in ("all", "proxy"):
            for name, address in (("proxy.http", config.http.listen), ("proxy.postgres", config.postgres.listen)):
                if address is not None:
                    taken[name] = listen(f"{name}.listen", address)
    except PortTaken:
        for listener in taken.values():
            listener.close()
        raise
    return taken


class Process:
    """The roles of one process and their order: the sequencer first and last, the proxy between."""

    def __init__(self, config: Config, dsns: Dsns, role: Role, listeners: dict[str, Listener]) -> None:
        self._config = config
        self._role = role
        self._listeners = listeners
        self._dsns = dsns

    async def run(self) -> int:
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        ground = Ground(self._config, self._dsns)
        self._announce()
        roles = _Roles(ground, self._role, self._listeners)
        try:
            await roles.start()
            gc.collect()
            gc.freeze()  # what was built for good is never looked through again: fewer and shorter pauses
            ground.readiness.phase = "serving"
            _log.info("process.serving", role=self._role)
            failed = await _first(told, ground)
        finally:
            # A second signal does not wait for anything.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await roles.stop()
        _log.info("process.stopped", role=self._role, reason=failed or "asked to")
        return 1 if failed else 0

    def _announce(self) -> None:
        gate = self._config.gate
        _log.info("process.starting", role=self._role, version=version(), member=gate.member, origin=gate.origin)
        if self._role == "all":
            _log.warning(
                "placement.L0",
                meaning="one process holds approvals, proxy and log key: the log is evidence against users of the "
                "gate, not against whoever runs this machine",
            )
        if gate.trial:
            _log.warning("trial", meaning="every entry is marked as a trial's")


async def _first(told: asyncio.Event, ground: Ground) -> str:
    """Wait for a signal ("") or a failure (its reason)."""
    signalled = asyncio.ensure_future(told.wait())
    failed = asyncio.ensure_future(ground.supervisor.failed())
    try:
        done, _ = await asyncio.wait({signalled, failed}, return_when=asyncio.FIRST_COMPLETED)
        return failed.result() if failed in done else ""
    finally:
        signalled.cancel()
        failed.cancel()


class _Roles:
    """Starts and stops what this process does."""

    def __init__(self, ground: Ground, role: Role, listeners: dict[str, Listener]) -> None:
        from glassgate.wiring.approvals import ApprovalsRole
        from glassgate.wiring.proxy import ProxyRole
        from glassgate.wiring.sequencer import SequencerRole

        wanted: Callable[[str], bool] = lambda name: role in ("all", name)  # noqa: E731
        self._ground = ground
        self._listeners = listeners
        self._approvals = (
            ApprovalsRole(ground, listeners["api"], "L0" if role == "all" else "L1") if wanted("approvals") else None
        )
        self._sequencer = (
            SequencerRole(ground, self._approvals.writer if self._approvals else None) if wanted("sequencer") else None
        )
        self._proxy = ProxyRole(ground, listeners) if wanted("proxy") else None
        self._diagnostics: web.AppRunner | None = None
        self._begun: set[str] = set()

    async def start(self) -> None:
        from glassgate.wiring.approvals import open_listener

        ground = self._ground
        if "diagnostics" in self._listeners:
            app = diagnostics.make_app(ground.readiness, ground.metrics)
            self._diagnostics = await open_listener(app, self._listeners["diagnostics"], None)
        ground.supervisor.run("database process", self._watch_database())
        for name, role in (("sequencer", self._sequencer), ("approvals", self._approvals), ("proxy", self._proxy)):
            if role is not None:
                self._begun.add(name)
                await role.start()

    async def _watch_database(self) -> None:
        """An embedded PostgreSQL is a child of ours: when it has ended, nobody starts it again but the next process."""
        while self._ground.dsns.runs():  # noqa: ASYNC110 - a process that ends sets no event of ours
            await asyncio.sleep(DATABASE_WATCH_S)
        self._ground.supervisor.fail("the embedded PostgreSQL ended by itself")

    async def stop(self) -> None:
        """In this order: no new work, what runs may end, last entries, and the log numbered to its end.

        Also after a start that failed half-way: what had introduced itself to the log takes its leave.
        """
        ground = self._ground
        ground.readiness.phase = "draining"
        proxy = self._proxy if "proxy" in self._begun else None
        approvals = self._approvals if "approvals" in self._begun else None
        sequencer = self._sequencer if "sequencer" in self._begun else None
        if proxy is not None:
            await _within(DRAIN_S + 2.0, "proxy drain", proxy.drain(DRAIN_S))
        if approvals is not None:
            await _within(FINISH_S, "api", approvals.stop_accepting())
        await _within(FINISH_S, "background tasks", ground.supervisor.close())
        if proxy is not None:
            await _within(FINISH_S, "proxy", proxy.finish())
        if approvals is not None:
            await _within(FINISH_S, "approvals", approvals.finish())
        if sequencer is not None:
            await _within(FINISH_S, "sequencer", sequencer.finish())
        if self._diagnostics is not None:
            await self._diagnostics.cleanup()


async def _within(seconds: float, what: str, act: Awaitable[None]) -> None:
    """One step of stopping: bounded, and whatever goes wrong with it the next one still happens."""
    try:
        async with asyncio.timeout(seconds):
            await act
    except Exception as cause:
        _log.error("process.stop_failed", step=what, cause=f"{type(cause).__name__}: {cause}")
