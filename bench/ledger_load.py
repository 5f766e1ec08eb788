"""The load for the ledger's benchmark: closed-loop writers, a backlog, and who spent how much processor time."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import AccessIntent, SqlContent
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import started
from ledger.postgres import DatabaseSink

__all__ = ["ORIGIN", "Flusher", "Lag", "Row", "connected", "percentile", "processor_time"]

ORIGIN = "bench.example/log/acme"
PARAMETERS = 4096
FLUSH = 1024  # most entries in one flush
SAMPLE_S = 0.02
POLL_S = 0.005

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    writers: int
    entries_per_s: int
    committed_per_s: int
    commit_p50_ms: float
    commit_p99_ms: float
    lag_p50_ms: float
    lag_max_ms: float
    cpu_us: dict[str, float]


def access(sequence: int) -> Draft:
    """An access as the PostgreSQL gate records it: about 450 bytes of facts and 160 of content, no two alike."""
    facts = AccessIntent(
        grant="gr_0190f1b2c3d47abc8def0123456789ab",
        request="req_0190f1b2c3d47abc8def0123456789ab",
        subject="ada",
        store="customers-db",
        protocol="postgres",
        actions=["read"],
        operation="SELECT",
        resources=["public.orders", "public.customers"],
        client_address="10.1.2.3",
        address_grade="direct",
        credential="k7f3",
        session="ses_0190f1b2c3d47abc8def0123456789ab",
        sequence=sequence,
        fingerprint="50fde20626009aba",
        parameters=1,
    )
    content = SqlContent(
        text="SELECT * FROM orders JOIN customers USING (customer_id) WHERE order_id = $1",
        parameters=[{"oid": 23, "value": str(100_000 + sequence)}],
    )
    return Draft("access.intent", facts, content, grant="ab" * 32, store_def="cd" * 32)


DRAFTS = [access(sequence) for sequence in range(PARAMETERS)]


class Flusher:
    """One writer on one connection, with the callers that share it: each has one entry under way at any time."""

    def __init__(self, writer: Writer, dsn: str, callers: int = 0) -> None:
        self.writer = writer
        self.sink = DatabaseSink.to(dsn)
        self.callers = callers
        self.latencies: list[float] = []
        self.durable = (0, 0.0)  # how many entries, and since when
        self._drafts = cycle(DRAFTS)

    async def append(self, drafts: list[Draft]) -> None:
        batch = self.writer.pack(drafts, datetime.now(UTC), os.urandom)
        await self.sink.append(batch)
        self.writer.accepted()
        self.durable = self.writer.next_counter, time.perf_counter()

    async def run(self, stop_at: float) -> None:
        """Flush whatever is queued; every caller whose entry became durable queues its next one."""
        asked_at = [time.perf_counter()] * self.callers
        while asked_at and asked_at[0] < stop_at:
            taken, asked_at = asked_at[:FLUSH], asked_at[FLUSH:]
            await self.append(list(islice(self._drafts, len(taken))))
            done = time.perf_counter()
            self.latencies += [done - asked for asked in taken]
            asked_at += [done] * len(taken)

    async def fill(self, entries: int, flush: int = 128) -> None:
        """So many entries, as fast as they go."""
        while entries > 0:
            taken = min(flush, entries)
            await self.append(list(islice(self._drafts, taken)))
            entries -= taken


async def connected(host: Ed25519PrivateKey, dsn: str, callers: int = 0) -> Flusher:
    """A new writer, certified and introduced, its connection open."""
    writer = Writer(ORIGIN, "acme", Ed25519PrivateKey.generate())
    flusher = Flusher(writer, dsn, callers)
    await flusher.append([started(writer, host, role="bench", host="bench", version="0")])
    return flusher


class Lag:
    """How far the signed checkpoint is behind an entry that has just been committed, sampled while the load runs."""

    def __init__(self, flushers: list[Flusher], database: Any) -> None:
        self.samples: list[float] = []
        self._flushers = flushers
        self._database = database

    async def run(self) -> None:
        """Until cancelled: take the newest durable entry, wait until a checkpoint covers it."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            flusher = max(self._flushers, key=lambda flusher: flusher.durable[1])
            counter, since = flusher.durable
            # A writer's row moves in the transaction that stores the checkpoint.
            while await self._numbered(flusher.writer.writer_id) < counter:  # noqa: ASYNC110 - another process's work
                await asyncio.sleep(POLL_S)
            self.samples.append(time.perf_counter() - since)

    async def _numbered(self, writer: str) -> int:
        sql = "SELECT next_counter FROM ledger.writer WHERE writer = $1"
        return int(await self._database.fetchval(sql, writer) or 0)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all are not above, in milliseconds; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)


def processor_time(sequencer: int, postmaster: int) -> Callable[[], dict[str, float]]:
    """A meter: seconds of processor time since now of this process, the sequencer's, and PostgreSQL's together."""

    def read() -> dict[str, float]:
        spent = {"writers": time.process_time(), "sequencer": 0.0, "postgres": 0.0}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid, parent = int(stat.parent.name), int(fields[1])
            if pid == sequencer:
                spent["sequencer"] = (int(fields[11]) + int(fields[12])) * _TICK_S
            elif postmaster in (pid, parent):
                spent["postgres"] += (int(fields[11]) + int(fields[12])) * _TICK_S
        return spent

    begin = read()
    return lambda: {name: spent - begin[name] for name, spent in read().items()}
