"""Entries per second from commit to numbered, on a PostgreSQL of its own: the whole path, everything durable.

    python -m bench.ledger            1, 16, 64, 256 and 1024 closed-loop writers, 5 s each
    QUICK=1 python -m bench.ledger    1, 16, 64 and 256, 2 s each

A *writer* here is a caller that waits until its entry is committed and then makes the next one; they share two
database connections, as a gate's workers do, each of which flushes whatever queued up while its last flush was under
way. The sequencer runs in a process of its own, with every check on. Clients, sequencer and PostgreSQL share the
machine's cores. `commit` is the time until an entry is durable; `numbered/s` counts entries in the tree.
The last line is one JSON object.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import secrets
import signal
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from glassgate.embedded_postgres import EmbeddedPostgres
from glassgate.migrate import ROLES, migrate, read_migrations
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import bootstrap, started
from ledger.intake import Rules
from ledger.note import Signer
from ledger.postgres import DatabaseSink, connect
from ledger.sequencer import Sequencer

ORIGIN = "bench.example/log/acme"
CONNECTIONS = 2
FACTS = {
    "grant": "gr_0190f1b2c3d47abc8def0123456789ab",
    "request": "req_0190f1b2c3d47abc8def0123456789ab",
    "subject": "ada",
    "store": "customers-db",
    "protocol": "postgres",
    "actions": ["read"],
    "operation": "SELECT",
    "resources": ["public.orders", "public.customers"],
    "client_address": "10.1.2.3",
    "address_grade": "direct",
    "credential": "k7f3",
    "session": "ses_0190f1b2c3d47abc8def0123456789ab",
    "sequence": 17,
    "fingerprint": "50fde20626009aba",
    "parameters": 1,
    "declared_bytes": -1,
}
CONTENT = {
    "text": "SELECT * FROM orders JOIN customers USING (customer_id) WHERE order_id = $1",
    "parameters": [{"oid": 23, "value": "1881"}],
    "redacted": [],
    "continues": "",
}


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def sequence(dsn: str, log_seed: bytes, host_public: bytes) -> None:
    """The sequencer's process."""

    async def run() -> None:
        signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(log_seed))
        rules = Rules(ORIGIN, "acme", (host_public,), validate)
        await Sequencer(lambda: connect(dsn), signer, rules, SystemClock()).run()

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    uvloop.run(run())


class Flusher:
    """One writer on one connection, with the callers that share it: each has one entry under way at any time."""

    def __init__(self, writer: Writer, dsn: str, callers: int, draft: Draft) -> None:
        self.writer = writer
        self.sink = DatabaseSink.to(dsn)
        self.draft = draft
        self.callers = callers
        self.latencies: list[float] = []

    async def append(self, drafts: list[Draft]) -> None:
        batch = self.writer.pack(drafts, datetime.now(UTC), os.urandom)
        await self.sink.append(batch)
        self.writer.accepted()

    async def run(self, stop_at: float) -> None:
        """Flush whatever is queued; every caller whose entry became durable queues its next one."""
        asked_at = [time.perf_counter()] * self.callers
        while asked_at and asked_at[0] < stop_at:
            taken, asked_at = asked_at[:1024], asked_at[1024:]
            await self.append([self.draft] * len(taken))
            done = time.perf_counter()
            self.latencies += [done - asked for asked in taken]
            asked_at += [done] * len(taken)


async def measure(writers: int, seconds: float, host: Ed25519PrivateKey, dsn: Any, owner: Any) -> dict[str, float]:
    """One line of the table."""
    draft = Draft("access.intent", FACTS, CONTENT, grant="ab" * 32, store_def="cd" * 32)
    connections = min(CONNECTIONS, writers)
    flushers = []
    for i in range(connections):
        writer = Writer(ORIGIN, "acme", Ed25519PrivateKey.generate())
        flusher = Flusher(writer, dsn("proxy"), len(range(i, writers, connections)), draft)
        await flusher.append([started(writer, host, role="bench", host="bench", version="0")])
        flushers.append(flusher)
    before = await owner.fetchval("SELECT size FROM ledger.head")
    begun = time.perf_counter()
    await asyncio.gather(*(flusher.run(begun + seconds) for flusher in flushers))
    while await owner.fetchval("SELECT count(*) FROM ledger.entry_batch"):  # noqa: ASYNC110 - it is in another process
        await asyncio.sleep(0.002)
    took = time.perf_counter() - begun
    numbered = await owner.fetchval("SELECT size FROM ledger.head") - before
    for flusher in flushers:
        await flusher.sink.close()
    latencies = sorted(latency for flusher in flushers for latency in flusher.latencies)
    return {
        "writers": writers,
        "entries_per_s": round(numbered / took),
        "commit_p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
        "commit_p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 2),
    }


async def run(dsn: Any, quick: bool) -> dict[str, float]:
    """All lines of the table, against a migrated database."""
    host, log_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signer = Signer(ORIGIN, log_key)
    connection = await asyncpg.connect(dsn("sequencer"))
    await bootstrap(connection, signer.verifier, "acme", host, datetime.now(UTC))
    await connection.close()
    owner = await asyncpg.connect(dsn("owner"))
    arguments = (
        dsn("sequencer"),
        log_key.private_bytes_raw(),
        host.public_key().public_bytes_raw(),
    )
    process = multiprocessing.get_context("spawn").Process(target=sequence, args=arguments)
    process.start()
    result: dict[str, float] = {}
    try:
        while await owner.fetchval("SELECT size FROM ledger.head") != 1:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
        for writers in (1, 16, 64, 256) if quick else (1, 16, 64, 256, 1024):
            line = await measure(writers, 2.0 if quick else 5.0, host, dsn, owner)
            print("{writers:5} writers  {entries_per_s:7,} numbered/s  commit p50 {commit_p50_ms} ms"
                  "  p99 {commit_p99_ms} ms".format(**line), flush=True)  # fmt: skip
            for name in ("entries_per_s", "commit_p50_ms", "commit_p99_ms"):
                result[f"{name}_{writers}"] = line[name]
        size = await owner.fetchval("SELECT size FROM ledger.head")
        disk = await owner.fetchval(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'ledger' AND relname IN ('entry', 'body', 'tile', 'numbered_batch')"
        )
        result["bytes_per_entry"] = round(float(disk) / size)
        result["entries"] = size
    finally:
        process.terminate()
        process.join()
        await owner.close()
    return result


async def prepare(server: EmbeddedPostgres, passwords: dict[str, str]) -> None:
    """Roles and schema."""
    superuser = await asyncpg.connect(server.superuser_dsn())
    await superuser.execute("CREATE DATABASE bench")
    await superuser.close()
    owner = await asyncpg.connect(server.superuser_dsn("bench"))
    await migrate(owner, read_migrations(), passwords)
    await owner.close()


def main() -> None:
    """Start a PostgreSQL with its own, durable settings; measure; print."""
    passwords = {role: secrets.token_urlsafe(12) for role in ROLES}
    with tempfile.TemporaryDirectory(prefix="gg-") as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "pg") as server:

            def dsn(role: str) -> str:
                if role == "owner":
                    return server.superuser_dsn("bench")
                return server.dsn(ROLES[role], passwords[role], "bench")

            uvloop.run(prepare(server, passwords))
            result = uvloop.run(run(dsn, os.environ.get("QUICK") == "1"))
    print(json.dumps(result | {"python": platform.python_version(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
