"""Entries per second from commit to numbered, on a PostgreSQL of its own: the whole path, everything durable.

    make bench-ledger             1, 16, 64, 256 and 1024 closed-loop writers, 5 s each, and what stands below
    QUICK=1 make bench-ledger     the same in under a minute, 2 s each

A *writer* here is a caller that waits until its entry is committed and then makes the next one; they share two
database connections, as a gate's workers do, each of which flushes whatever queued up while its last flush was under
way. The sequencer runs in a process of its own, with every check on. Clients, sequencer and PostgreSQL share the
machine's cores.

    numbered/s     entries in the tree, over the time from the first one made until the last one was numbered
    committed/s    entries that became durable while the writers ran
    commit         from a caller's asking until its entry is durable
    lag            from an entry's commit until a signed checkpoint covers it, sampled
    cpu            microseconds of processor time per entry, of this process, the sequencer and PostgreSQL

Then: a backlog numbered with nobody writing, proofs in large trees (ledger_proofs.py), and the disk that a million
entries take. The last line is one JSON object.
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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from bench.ledger_load import ORIGIN, Lag, Row, connected, percentile, processor_time
from bench.ledger_proofs import proof_costs
from glassgate.embedded_postgres import EmbeddedPostgres
from glassgate.migrate import ROLES, migrate, read_migrations
from ledger.genesis import bootstrap
from ledger.intake import Rules
from ledger.note import Signer
from ledger.postgres import connect
from ledger.sequencer import Sequencer

CONNECTIONS = 2
WRITERS = (1, 16, 64, 256, 1024)
_TABLES = ("entry", "body", "tile", "numbered_batch")
_BYTES = """
SELECT relname, pg_total_relation_size(c.oid) AS bytes FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname = 'ledger' AND relname = ANY($1::text[])
"""
_LINE = (
    "{writers:5} writers  {entries_per_s:7,} numbered/s  {committed_per_s:7,} committed/s"
    "  commit p50 {commit_p50_ms:6} ms  p99 {commit_p99_ms:6} ms  lag p50 {lag_p50_ms:6} ms  max {lag_max_ms:6} ms  cpu"
)


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class Site:
    """A migrated database with a log in it, and the keys."""

    dsn: Any
    host: Ed25519PrivateKey
    log_key: Ed25519PrivateKey
    owner: Any
    postmaster: int
    quick: bool
    sequencer: Any = None

    @property
    def seconds(self) -> float:
        return 2.0 if self.quick else 5.0

    async def size(self) -> int:
        return int(await self.owner.fetchval("SELECT size FROM ledger.head") or 0)

    async def settled(self) -> None:
        """Everything that was committed is numbered."""
        while await self.owner.fetchval("SELECT EXISTS (SELECT FROM ledger.entry_batch)"):  # noqa: ASYNC110 - another process's work
            await asyncio.sleep(0.002)


def sequence(dsn: str, log_seed: bytes, host_public: bytes) -> None:
    """The sequencer's process."""

    async def run() -> None:
        signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(log_seed))
        rules = Rules(ORIGIN, "acme", (host_public,), validate)
        await Sequencer(lambda: connect(dsn), signer, rules, SystemClock()).run()

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    uvloop.run(run())


async def backlog(site: Site) -> dict[str, float]:
    """Entries per second of a sequencer that has the machine to itself; it is left running."""
    flusher = await connected(site.host, site.dsn("proxy"))
    await flusher.fill(30_000 if site.quick else 200_000)
    await flusher.sink.close()
    arguments = site.dsn("sequencer"), site.log_key.private_bytes_raw(), site.host.public_key().public_bytes_raw()
    site.sequencer = multiprocessing.get_context("spawn").Process(target=sequence, args=arguments)
    site.sequencer.start()
    # The first rounds are not counted: they include the start of the process.
    while (first := await site.size()) < 1000:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.001)
    begun = time.perf_counter()
    await site.settled()
    rate = (await site.size() - first) / (time.perf_counter() - begun)
    print(f"a backlog alone: {rate:,.0f} numbered/s")
    return {"backlog_entries_per_s": round(rate)}


async def measure(site: Site, writers: int) -> Row:
    """One line of the table."""
    connections = min(CONNECTIONS, writers)
    flushers = [
        await connected(site.host, site.dsn("proxy"), len(range(i, writers, connections))) for i in range(connections)
    ]
    await site.settled()
    before = await site.size()
    watcher = await asyncpg.connect(site.dsn("owner"))
    lag = Lag(flushers, watcher)
    spent = processor_time(site.sequencer.pid, site.postmaster)
    begun = time.perf_counter()
    sampling = asyncio.ensure_future(lag.run())
    await asyncio.gather(*(flusher.run(begun + site.seconds) for flusher in flushers))
    wrote = time.perf_counter() - begun
    await site.settled()
    took = time.perf_counter() - begun
    cpu = spent()
    numbered = await site.size() - before
    sampling.cancel()
    await asyncio.wait([sampling])
    await watcher.close()
    for flusher in flushers:
        await flusher.sink.close()
    latencies = [latency for flusher in flushers for latency in flusher.latencies]
    return Row(
        writers=writers,
        entries_per_s=round(numbered / took),
        committed_per_s=round(len(latencies) / wrote),
        commit_p50_ms=percentile(latencies, 0.5),
        commit_p99_ms=percentile(latencies, 0.99),
        lag_p50_ms=percentile(lag.samples, 0.5),
        lag_max_ms=percentile(lag.samples, 1.0),
        cpu_us={name: round(seconds / numbered * 1e6, 1) for name, seconds in cpu.items()},
    )


async def disk(site: Site) -> dict[str, float]:
    """Bytes per entry, tables and indexes; the log's own, without what finds entries and can be made again."""
    size = await site.size()
    found = {row["relname"]: row["bytes"] / size for row in await site.owner.fetch(_BYTES, _TABLES)}
    total = sum(found.values())
    parts = ", ".join(f"{name} {value:,.0f}" for name, value in found.items())
    print(f"disk: {total / 1000:.2f} GB per million entries (bytes per entry: {parts})")
    return {"disk_gb_per_million": round(total / 1000, 2), "bytes_per_entry": round(total), "entries": size}


async def run(dsn: Any, postmaster: int, quick: bool) -> dict[str, float]:
    """All of it, against a migrated database."""
    owner = await asyncpg.connect(dsn("owner"))
    site = Site(dsn, Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate(), owner, postmaster, quick)
    connection = await asyncpg.connect(dsn("sequencer"))
    await bootstrap(connection, Signer(ORIGIN, site.log_key).verifier, "acme", site.host, datetime.now(UTC))
    await connection.close()
    try:
        result = await backlog(site)
        for writers in WRITERS:
            row = await measure(site, writers)
            spent = "  ".join(f"{name} {used} us" for name, used in row.cpu_us.items())
            print(_LINE.format(**asdict(row)), spent, flush=True)
            for name, value in asdict(row).items():
                if name == "cpu_us":
                    result |= {f"cpu_us_{who}_{writers}": used for who, used in row.cpu_us.items()}
                elif name != "writers":
                    result[f"{name}_{writers}"] = value
        result |= await disk(site)
    finally:
        if site.sequencer is not None:
            site.sequencer.terminate()
            site.sequencer.join()
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
    quick = os.environ.get("QUICK", "") not in ("", "0")
    passwords = {role: secrets.token_urlsafe(12) for role in ROLES}
    with tempfile.TemporaryDirectory(prefix="gg-") as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "pg") as server:

            def dsn(role: str) -> str:
                if role == "owner":
                    return server.superuser_dsn("bench")
                return server.dsn(ROLES[role], passwords[role], "bench")

            uvloop.run(prepare(server, passwords))
            result = uvloop.run(run(dsn, server.pid or 0, quick))
    costs = proof_costs(200 if quick else 1000)
    for exponent in range(4, 9):
        made, checked = costs[f"proof_build_us_1e{exponent}"], costs[f"proof_verify_us_1e{exponent}"]
        hashes = costs[f"proof_hashes_1e{exponent}"]
        print(f"10^{exponent} entries: inclusion proof of {hashes} hashes, made in {made} us, verified in {checked} us")
    print(json.dumps(result | costs | {"python": platform.python_version(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
