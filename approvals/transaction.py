"""One step of the service as one transaction: the new state, its entries and its outbox rows, or none of them.

Locks are taken in one order, so that steps wait for each other but never in a circle: the policy in force
(shared; adoption alone), a person's turn, a request's row, the sync version, a grant's row, the writer's head.
Entries come last, because every step of this process waits for the writer's head from there to the commit.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import asyncpg
import msgspec
import structlog

from approvals.errors import Refusal
from approvals.identity.subject import Person, find
from approvals.ids import Prefix, new_id
from approvals.policies import InForce, Policies
from approvals.policy import Policy
from approvals.reasons import Reason
from ledger.batch import Writer
from ledger.entry import Draft

__all__ = ["Append", "Clock", "Pool", "Stale", "Step", "Transactions", "database_errors"]

Pool = Any
"""An asyncpg pool whose connections are glassgate_approvals."""
T = TypeVar("T")

CHANNEL: Final = "glassgate_sync"
ATTEMPTS: Final = 10

_log = structlog.get_logger(__name__)


class Clock(Protocol):
    """Wall time, brought by the wiring so that tests can move it."""

    def now(self) -> datetime: ...


class Append(Protocol):
    """ledger.postgres.append_in, or what a test puts in its place."""

    async def __call__(
        self, connection: Any, drafts: Sequence[Draft], *, writer: Writer, now: datetime
    ) -> list[str]: ...


class Stale(Exception):
    """A write found another version than the one it expected: somebody else was faster. The step runs again."""


class Step:
    """What a step sees and collects. Made by `Transactions.run` only."""

    def __init__(self, connection: Any, now: datetime, in_force: InForce | None) -> None:
        self.connection = connection
        self.now = now
        self.in_force = in_force
        self.drafts: list[Draft] = []
        self.told: list[tuple[str, dict[str, str | None]]] = []
        self.version: int | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force; without one nothing is allowed."""
        if self.in_force is None:
            raise Refusal(Reason.NO_RULE, "No policy has been adopted here yet, so nothing can be asked or decided.")
        return self.in_force.policy

    def person(self, person: str) -> Person:
        """That person as the policy in force knows them; PERSON_UNKNOWN for strangers and the switched off."""
        known = find(self.policy, person)
        if known is None:
            raise Refusal(Reason.PERSON_UNKNOWN)
        return known

    def new_id(self, prefix: Prefix) -> str:
        return new_id(prefix, int(self.now.timestamp() * 1000), os.urandom(10))

    def record(self, draft: Draft) -> None:
        """An entry of this step."""
        self.drafts.append(draft)

    def tell(self, topic: str, request: str, grant: str | None, subject: str) -> None:
        """What channels have to be told once this step is committed."""
        self.told.append((topic, {"request": request, "grant": grant, "subject": subject}))

    async def next_version(self) -> int:
        """The sync version that this step makes. Locks it until the commit: order of versions = order of commits."""
        if self.version is None:
            self.version = int(await self.connection.fetchval(_NEXT_VERSION))
        return self.version


class Transactions:
    """Runs steps. One per process, like the writer it records with."""

    def __init__(self, pool: Pool, writer: Writer, clock: Clock, append: Append) -> None:
        self.policies = Policies()
        self.clock = clock
        self._pool = pool
        self.writer = writer
        self._append = append

    async def run(self, body: Callable[[Step], Awaitable[T]], *, adopting: bool = False) -> T:
        """Run `body` in a transaction, again when it found somebody else faster; CONFLICT when that goes on.

        `adopting` keeps every other step out: the policy in force cannot change under a step. UNAVAILABLE when
        the database cannot be used.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._once(body, adopting)
            except (Stale, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                continue
        raise Refusal(Reason.CONFLICT)

    async def _once(self, body: Callable[[Step], Awaitable[T]], adopting: bool) -> T:
        async with database_errors(), self._pool.acquire() as connection:
            async with connection.transaction():
                await connection.execute(_BOUNDS)
                await connection.execute(_LOCK_POLICY if adopting else _SHARE_POLICY)
                in_force = await self.policies.in_force(connection)
                step = Step(connection, self.clock.now().astimezone(UTC), in_force)
                result = await body(step)
                await self._flush(step)
            if step.version is not None:
                await _notify(connection, step.version)
            return result

    async def _flush(self, step: Step) -> None:
        for topic, payload in step.told:
            await step.connection.execute(_TELL, topic, msgspec.json.encode(payload).decode(), step.now)
        if step.drafts:
            # Every running step holds the policy lock, so all of them set the same digest here.
            self.writer.policy = step.in_force.digest if step.in_force is not None else ""
            await self._append(step.connection, step.drafts, writer=self.writer, now=step.now)


async def _notify(connection: Any, version: int) -> None:
    """Wake the proxies early. After the commit and by itself: a full notification queue fails a COMMIT, and must not
    undo a revocation. Proxies ask by themselves twice a second anyway. The version is all it says, as anybody who
    may connect can listen."""
    try:
        await connection.execute(_NOTIFY, CHANNEL, str(version))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as cause:
        _log.warning("notification failed, proxies will find out by asking", version=version, cause=repr(cause))


@asynccontextmanager
async def database_errors() -> AsyncIterator[None]:
    """Turns a database that cannot be used into a Refusal; a statement that is wrong stays the error it is."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.InterfaceError) as cause:
        raise Refusal(Reason.UNAVAILABLE, cause=repr(cause)) from cause
    except asyncpg.PostgresError as cause:
        if (cause.sqlstate or "08")[:2] in _AWAY or isinstance(cause, asyncpg.LockNotAvailableError):
            raise Refusal(Reason.UNAVAILABLE, cause=repr(cause)) from cause
        raise


# Connection exceptions, insufficient resources, operator intervention (shutdown, timeouts), system errors.
_AWAY: Final = frozenset({"08", "53", "57", "58"})

# A process that hangs in a step holds what everybody needs, a revocation too: PostgreSQL ends it.
_BOUNDS: Final = """
SELECT set_config('lock_timeout', '5s', true), set_config('statement_timeout', '10s', true),
       set_config('idle_in_transaction_session_timeout', '10s', true)
"""
# A table's lock and no advisory one: those are anybody's who may connect, and a proxy's role that held this one would
# keep its own grants from being revoked.
_SHARE_POLICY: Final = "LOCK TABLE approvals.policy_turn IN ROW SHARE MODE"
_LOCK_POLICY: Final = "LOCK TABLE approvals.policy_turn IN EXCLUSIVE MODE"
_NEXT_VERSION: Final = "UPDATE approvals.sync_version SET version = version + 1 RETURNING version"
_TELL: Final = "INSERT INTO approvals.outbox (topic, payload, created_at) VALUES ($1, $2, $3)"
_NOTIFY: Final = "SELECT pg_notify($1, $2)"
