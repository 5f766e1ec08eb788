"""A small world for ledger tests: keys, a clock that is moved by hand, writers, a sequencer on a real database."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import bootstrap, started
from ledger.intake import Rules
from ledger.note import Signer
from ledger.postgres import connect
from ledger.sequencer import Sequencer
from ledger.sources import DatabaseSource
from ledger.storage import Batch
from ledger.verify import Verdict, verify_log

ORIGIN = "test.example/log/acme"
MEMBER = "acme"


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        self.passed = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def move(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.passed += seconds


def read_draft(person: str = "ada", what: str = "entries", **more: Any) -> Draft:
    return Draft("log.read", {"person": person, "organisation": "acme", "what": what, "entries": 1}, **more)


def request_draft(request: str = "req_1", purpose: str = "order 1881 is missing") -> Draft:
    """A kind with content."""
    facts = {
        "request": request,
        "requester": "ada",
        "organisation": "acme",
        "store": "customers-db",
        "actions": ["read"],
        "resources": ["*"],
        "limits": {},
        "reason": "incident",
        "duration_s": 3600,
        "assurance": "click",
        "rule": "customer data for incidents",
        "digest": "00" * 32,
        "expires_at": "2026-03-02T00:00:00Z",
        "via": "cli",
    }
    return Draft("request.created", facts, {"purpose": purpose, "ticket": "INC-42"})


@dataclass
class LogWorld:
    """One log's keys and its database."""

    database: Any
    clock: MovedClock = field(default_factory=MovedClock)
    host_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    log_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def signer(self) -> Signer:
        return Signer(ORIGIN, self.log_key)

    @property
    def host_public(self) -> bytes:
        return self.host_key.public_key().public_bytes_raw()

    @property
    def rules(self) -> Rules:
        return Rules(ORIGIN, MEMBER, (self.host_public,), validate)

    def sequencer(self, **options: Any) -> Sequencer:
        async def open_connection() -> Any:
            return await connect(self.database.dsn("sequencer"))

        return Sequencer(options.pop("connect", open_connection), self.signer, self.rules, self.clock, **options)

    def writer(self) -> Writer:
        return Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), trial=True)

    def started(self, writer: Writer) -> Draft:
        return started(writer, self.host_key, role="proxy", host="h1", version="0.1.0")

    def pack(self, writer: Writer, drafts: Sequence[Draft]) -> Batch:
        """A batch that is durable as far as its writer knows."""
        batch = writer.pack(drafts, self.clock.now(), os.urandom)
        writer.accepted()
        return batch

    async def begin(self) -> None:
        """Commit the log's first entry."""
        connection = await self.database.connect("sequencer")
        await bootstrap(connection, self.signer.verifier, MEMBER, self.host_key, self.clock.now(), trial=True)

    async def insert(self, *batches: Batch) -> None:
        connection = await self.database.connect("proxy")
        for batch in batches:
            await connection.execute(
                "INSERT INTO ledger.entry_batch (log, writer, first_counter, n, bytes) VALUES ($1, $2, $3, $4, $5)",
                batch.log,
                batch.writer,
                batch.first_counter,
                batch.n,
                batch.data,
            )
        await connection.close()


async def drain(sequencer: Sequencer) -> int:
    """Rounds until one numbers nothing; returns how many entries were numbered."""
    total = 0
    while numbered := await sequencer.step():
        total += numbered
    return total


async def verified(world: LogWorld) -> Verdict:
    def run() -> Verdict:
        with DatabaseSource(world.database.dsn("reader")) as source:
            return verify_log(source, world.signer.verifier.vkey, [world.host_public], world.rules.validate)

    return await asyncio.to_thread(run)


async def started_writer(world: LogWorld) -> Writer:
    writer = world.writer()
    await world.insert(world.pack(writer, [world.started(writer)]))
    return writer


async def count(world: LogWorld, table: str) -> int:
    owner = await world.database.connect("owner")
    found = await owner.fetchval(f"SELECT count(*) FROM ledger.{table}")
    await owner.close()
    return int(found)


async def quarantined(world: LogWorld) -> list[str]:
    owner = await world.database.connect("owner")
    rows = await owner.fetch("SELECT fault FROM ledger.quarantine ORDER BY id")
    await owner.close()
    return [row["fault"] for row in rows]
