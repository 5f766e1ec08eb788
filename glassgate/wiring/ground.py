"""What every role of a process stands on: configuration, time, tasks, its key and how it introduces itself."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from glassgate.clock import SystemClock
from glassgate.database import Dsns
from glassgate.diagnostics import Readiness
from glassgate.keys import HOST, load_private
from glassgate.metrics import Metrics
from glassgate.migrate import ROLES, MigrationRefused, check_schema, check_server, read_migrations
from glassgate.predecessors import Predecessors
from glassgate.release.identity import release_digest
from glassgate.settings import Config
from glassgate.supervise import Supervisor
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import started

__all__ = ["Ground", "server_context"]

CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class Ground:
    """Made once per process, before any role."""

    config: Config
    dsns: Dsns
    clock: SystemClock = field(default_factory=SystemClock)
    supervisor: Supervisor = field(default_factory=Supervisor)
    readiness: Readiness = field(default_factory=Readiness)
    metrics: Metrics = field(default_factory=Metrics)
    predecessors: Predecessors = field(init=False)
    host_key: Ed25519PrivateKey = field(init=False)

    def __post_init__(self) -> None:
        self.config.gate.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.predecessors = Predecessors(self.config.gate.data_dir)
        self.host_key = load_private(self.config.keys.dir / HOST)

    def writer(self) -> Writer:
        """A new hand in the log. Its key exists in this process's memory only and dies with it."""
        gate = self.config.gate
        return Writer(
            gate.origin,
            gate.member,
            Ed25519PrivateKey.generate(),
            release=release_digest().digest,
            trial=gate.trial,
            validate=validate,
        )

    def introduction(self, writer: Writer, role: str) -> Draft:
        """Its first entry."""
        before = self.predecessors.of(role)
        return started(
            writer,
            self.host_key,
            role=role,
            host=socket.gethostname()[:255],
            version=version(),
            predecessor=before.writer,
            predecessor_counter=before.counter,
        )

    async def pool(self, role: str, *, size: int, name: str) -> Any:
        """A pool of that role's connections, none made yet but one; the server is checked on it."""
        settings = session_settings(name)
        async with entering(role):
            if await self._promises_too_little(role, name):
                settings["synchronous_commit"] = "on"
            pool = await asyncpg.create_pool(
                self.dsns.get(role),
                min_size=1,
                max_size=size,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=30.0,
                max_inactive_connection_lifetime=120.0,
                server_settings=settings,
            )
        async with pool.acquire() as connection:
            await check_server(connection)
            if role in ("approvals", "sequencer"):  # the others may not read which migrations there are
                await check_schema(connection, read_migrations())
        return pool

    async def _promises_too_little(self, role: str, name: str) -> bool:
        """Whether this server, left to itself, says "committed" before that would survive its own end."""
        connection = await self.connect(role, name)
        try:
            return await connection.fetchval("SHOW synchronous_commit") in ("off", "local")
        finally:
            await connection.close()

    async def connect(self, role: str, name: str) -> Any:
        """One connection of that role."""
        return await asyncpg.connect(
            self.dsns.get(role), timeout=CONNECT_TIMEOUT_S, server_settings=session_settings(name)
        )

    async def check(self, role: str, name: str) -> None:
        """Whether that role gets in, to a server that will do. Raises MigrationRefused."""
        async with entering(role):
            connection = await self.connect(role, name)
        try:
            await check_server(connection)
        finally:
            await connection.close()


@asynccontextmanager
async def entering(role: str) -> AsyncIterator[None]:
    """Turns "not let in" into what to do about it."""
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as cause:
        raise MigrationRefused(
            f"the database does not let {ROLES[role]} in ({cause}): run `glassgate migrate`, or look at its DSN"
        ) from cause
    except (OSError, TimeoutError, asyncpg.PostgresError) as cause:
        raise MigrationRefused(
            f"the database cannot be used as {ROLES[role]}: {cause or 'no answer in time'}"
        ) from cause


def session_settings(name: str) -> dict[str, str]:
    """Bounds that hold even when we are gone: what a dead process left locked is released by the server."""
    return {
        "application_name": f"glassgate {name}",
        "idle_in_transaction_session_timeout": "30s",
        "lock_timeout": "5s",
        "timezone": "GMT",
    }


def version() -> str:
    """This program's version, and if it is one, that it is a checkout or not as it was installed."""
    return release_digest().words


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer (RFC 9325) for a listener."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
