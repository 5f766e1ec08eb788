"""An append's latency through both sinks, side by side: the record database, and a journal on a local disk.

    python -m bench.journal            1, 16, 64 and 256 closed-loop callers, 5 s each and sink
    QUICK=1 python -m bench.journal    1, 16 and 64, 2 s each

A *caller* waits until its entry is durable and then makes the next one. All callers share one writer, as in a worker
of the gate, which flushes whatever queued up while its last flush was under way. The sequencer runs in a process of
its own; it, PostgreSQL and the callers share the machine's cores and its disk. `behind` is how long the database was
behind the last append when the callers stopped. `fdatasync` is the bare disk: 3,000 bytes and a sync, nothing else.
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
from ledger.journal import JournalSink
from ledger.note import Signer
from ledger.postgres import DatabaseSink, connect
from ledger.sequencer import Sequencer
from ledger.shipment import DatabaseShipment

SINKS = ("database", "journal")
ORIGIN = "bench.example/log/acme"
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

    async def numbering() -> None:
        signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(log_seed))
        rules = Rules(ORIGIN, "acme", (host_public,), validate)
        await Sequencer(lambda: connect(dsn), signer, rules, SystemClock()).run()

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    uvloop.run(numbering())


async def measure(
    kind: str, callers: int, seconds: float, host: Ed25519PrivateKey, dsn: str, place: Path
) -> dict[str, float]:
    """One sink under so many callers."""
    draft = Draft("access.intent", FACTS, CONTENT, grant="ab" * 32, store_def="cd" * 32)
    writer = Writer(ORIGIN, "acme", Ed25519PrivateKey.generate())
    sink: Any = DatabaseSink.to(dsn) if kind == "database" else JournalSink(place, DatabaseShipment.to(dsn))
    await sink.ready()
    latencies: list[float] = []
    flushes: list[float] = []

    async def append(drafts: list[Draft]) -> None:
        batch = writer.pack(drafts, datetime.now(UTC), os.urandom)
        begun = time.perf_counter()
        await sink.append(batch)
        flushes.append(time.perf_counter() - begun)
        writer.accepted()

    await append([started(writer, host, role="bench", host="bench", version="0")])
    begun = time.perf_counter()
    asked_at = [begun] * callers
    while asked_at[0] < begun + seconds:
        taken, asked_at = asked_at[:1024], asked_at[1024:]
        await append([draft] * len(taken))
        done = time.perf_counter()
        latencies += [done - asked for asked in taken]
        asked_at += [done] * len(taken)
    took = time.perf_counter() - begun
    stopped = time.perf_counter()
    await sink.close()
    return {
        "entries_per_s": round(len(latencies) / took),
        "append_p50_ms": _ms(flushes, 50),
        "append_p99_ms": _ms(flushes, 99),
        "entry_p50_ms": _ms(latencies, 50),
        "entry_p99_ms": _ms(latencies, 99),
        "behind_ms": round((time.perf_counter() - stopped) * 1000, 1),
    }


def _ms(seconds: list[float], percent: int) -> float:
    return round(sorted(seconds)[len(seconds) * percent // 100] * 1000, 2)


def bare_disk(place: Path, count: int) -> dict[str, float]:
    """What an append cannot be faster than."""
    took = []
    handle = os.open(place / "bare", os.O_RDWR | os.O_CREAT, 0o600)
    for i in range(count):
        begun = time.perf_counter()
        os.pwrite(handle, b"x" * 3000, i * 3000)
        os.fdatasync(handle)
        took.append(time.perf_counter() - begun)
    os.close(handle)
    return {"fdatasync_p50_ms": _ms(took, 50), "fdatasync_p99_ms": _ms(took, 99)}


async def numbered(owner: Any) -> None:
    """What one line wrote must not burden the next."""
    async with asyncio.timeout(120):
        while await owner.fetchval("SELECT count(*) FROM ledger.entry_batch"):  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.02)


async def run(dsn: Any, place: Path, quick: bool) -> dict[str, float]:
    """All lines of the table, against a migrated database."""
    host, log_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    connection = await asyncpg.connect(dsn("sequencer"))
    await bootstrap(connection, Signer(ORIGIN, log_key).verifier, "acme", host, datetime.now(UTC))
    await connection.close()
    arguments = dsn("sequencer"), log_key.private_bytes_raw(), host.public_key().public_bytes_raw()
    process = multiprocessing.get_context("spawn").Process(target=sequence, args=arguments)
    process.start()
    owner = await asyncpg.connect(dsn("owner"))
    result = bare_disk(place, 500)
    try:
        for callers in (1, 16, 64) if quick else (1, 16, 64, 256):
            for kind in SINKS:
                line = await measure(kind, callers, 2.0 if quick else 5.0, host, dsn("proxy"), place / "journal")
                figures = "".join(f"  {name} {value:,}" for name, value in line.items())
                print(f"{callers:5} callers  {kind:9}{figures}", flush=True)
                result |= {f"{kind}_{name}_{callers}": value for name, value in line.items()}
                await numbered(owner)
        assert await owner.fetchval("SELECT count(*) FROM ledger.quarantine") == 0
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
            result = uvloop.run(run(dsn, Path(directory), os.environ.get("QUICK") == "1"))
    print(json.dumps(result | {"python": platform.python_version(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
