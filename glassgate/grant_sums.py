"""Counts what a closed grant's accesses add up to, and records it as `grant.summed`.

Approvals close a grant at once; what was under way still ends, and its last entries are numbered some time later. So
the count is made behind the log, by whoever leads the sequencer, and says below which index it holds. That makes it
right whenever it is made, by whomever, and twice as well as once: anybody with the log can count again.

A grant is counted once it has been closed for SETTLE_S and every access has its outcome, or after GRACE_S in any case;
and again when an access entry of it turns up later (a journal that was shipped late).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import asyncpg
import msgspec
import structlog

from approvals.kinds import GrantSummed
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.pack.count import SUMMED, Counter, belongs
from ledger.postgres import append_in
from ledger.stub import StubRefused, parse_stub

__all__ = ["GrantSums", "due"]

SETTLE_S: Final = 15.0  # proxies that lost contact serve for 10 s at most
GRACE_S: Final = 600.0
PAUSE_S: Final = 1.0
SWEEP_S: Final = 3600.0
RETRY_S: Final = 5.0
AT_ONCE: Final = 100

# Grants closed behind index $1 that are not counted, or of which something came after the newest count.
_CLOSED: Final = """
SELECT c.idx, c.at, c."grant" FROM ledger.lookup AS c
LEFT JOIN LATERAL (
    SELECT (convert_from(b.facts, 'UTF8')::jsonb ->> 'upto')::bigint AS upto
    FROM ledger.lookup AS s JOIN ledger.body AS b USING (idx)
    WHERE s."grant" = c."grant" AND s.kind = 'grant.summed' ORDER BY s.idx DESC LIMIT 1
) AS summed ON true
WHERE c.kind = 'grant.closed' AND c.idx > $1 AND c."grant" IS NOT NULL AND (
    summed.upto IS NULL OR EXISTS (
        SELECT 1 FROM ledger.lookup AS l WHERE l."grant" = c."grant" AND l.idx >= summed.upto
        AND l.kind IN ('access.intent', 'access.progress', 'access.outcome')
    )
) ORDER BY c.idx
"""
_UNFINISHED: Final = """
SELECT count(*) FILTER (WHERE kind = 'access.intent') > count(*) FILTER (WHERE kind = 'access.outcome')
FROM ledger.lookup WHERE "grant" = $1
"""
_ENTRIES: Final = """
SELECT e.leaf, b.facts FROM ledger.lookup AS l JOIN ledger.entry AS e USING (idx) JOIN ledger.body AS b USING (idx)
WHERE l."grant" = $1 AND (l.kind LIKE 'access.%' OR l.kind = 'session.started')
"""
_DECISION: Final = "SELECT encode(decision, 'hex') FROM ledger.lookup WHERE \"grant\" = $1 AND kind = 'grant.issued'"

_log = structlog.get_logger(__name__)


class Clock(Protocol):
    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _Closed:
    grant: str
    at: datetime


def due(closed_for: timedelta, unfinished: bool) -> bool:
    """Whether a grant is to be counted now, so long after it was closed, with accesses still without outcome or not."""
    return closed_for >= timedelta(seconds=GRACE_S if unfinished else SETTLE_S)


class GrantSums:
    """`connect` opens a connection with the sequencer's rights; `leading` says whether this process numbers the log."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        writer: Writer,
        clock: Clock,
        leading: Callable[[], bool],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connect = connect
        self._writer = writer
        self._clock = clock
        self._leading = leading
        self._pause = pause
        self._waiting: dict[str, _Closed] = {}
        self._seen = -1
        self._target: int | None = None
        self._swept = clock.monotonic()

    async def run(self) -> None:
        """Until cancelled. A failure costs a pause: a count comes later, and is as right then."""
        while True:
            connection = None
            try:
                connection = await self._connect()
                while True:
                    if self._leading():
                        await self.step(connection)
                    await self._pause(PAUSE_S)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
                _log.warning("grants.not_summed", cause=f"{type(cause).__name__}: {cause}")
            finally:
                if connection is not None:
                    connection.terminate()
            await self._pause(RETRY_S)

    async def step(self, connection: Any) -> int:
        """Count what is due and record it, in one transaction; returns how many grants were counted."""
        async with connection.transaction(isolation="repeatable_read"):
            # A writer speaks only after its introduction, which another task of this process may still be making.
            if not await connection.fetchval(_INTRODUCED, self._writer.writer_id, self._writer.log):
                return 0
            # The table is filled in the order of the log, so one snapshot of it is the log below one index.
            upto = await connection.fetchval("SELECT coalesce(max(idx), -1) + 1 FROM ledger.lookup")
            if self._target is None:
                self._target = await connection.fetchval("SELECT coalesce(max(size), 0) FROM ledger.head")
            if upto < self._target:
                return 0  # it is being filled anew: a count would be right, and short
            await self._look(connection)
            now = self._clock.now()
            drafts: dict[str, Draft] = {}
            for closed in list(self._waiting.values()):
                age = now - closed.at
                if due(age, True) or (due(age, False) and not await connection.fetchval(_UNFINISHED, closed.grant)):
                    drafts[closed.grant] = await _sum(connection, closed.grant, upto)
                if len(drafts) == AT_ONCE:
                    break
        if drafts:
            # Apart from the snapshot: the writer's row may have been moved by somebody since, and that is no conflict.
            async with connection.transaction():
                await append_in(connection, list(drafts.values()), writer=self._writer, now=now)
        for grant in drafts:
            del self._waiting[grant]
        return len(drafts)

    async def _look(self, connection: Any) -> None:
        """Which grants were closed since the last look; now and then all that ever were, for what came late."""
        now = self._clock.monotonic()
        if now - self._swept >= SWEEP_S:
            self._seen, self._swept = -1, now
        for row in await connection.fetch(_CLOSED, self._seen):
            self._waiting[row["grant"]] = _Closed(row["grant"], _time(row["at"], self._clock.now()))
        newest = "SELECT coalesce(max(idx), -1) FROM ledger.lookup WHERE kind = 'grant.closed'"
        self._seen = await connection.fetchval(newest)


_INTRODUCED: Final = "SELECT 1 FROM ledger.writer_head WHERE writer = $1 AND log = $2"


async def _sum(connection: Any, grant: str, upto: int) -> Draft:
    decision = await connection.fetchval(_DECISION, grant) or ""
    counter = Counter()
    async for row in connection.cursor(_ENTRIES, grant, prefetch=1000):
        try:
            stub = parse_stub(row["leaf"])
        except StubRefused:
            continue  # somebody changed the row: verification names it
        facts = row["facts"] or b""
        if belongs(stub.kind, stub.grant, facts, grant, decision):
            counter.add(stub.id, stub.kind, facts)
    total = msgspec.structs.asdict(counter.total())
    return Draft(SUMMED, GrantSummed(grant=grant, upto=upto, **total), grant=decision)


def _time(text: str, now: datetime) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return now
