"""The process that is killed: opens a journal, writes through it, and tells what was offered and what acknowledged."""

import asyncio
import json
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.batch import Writer
from ledger.genesis import started
from ledger.journal import JournalSink
from ledger.shipment import DatabaseShipment, NotShipped
from ledger.storage import Batch
from tests.ledger.world import MEMBER, ORIGIN, read_draft

SEGMENT_BYTES = 16 * 1024


class _Away:
    """Everything stays in the journal."""

    async def ship(self, batches: Sequence[Batch]) -> None:
        raise NotShipped("away")

    async def close(self) -> None:
        pass


class _Leaving(DatabaseShipment):
    """Ships what an earlier process left, and then some, and then nothing any more."""

    left = 40

    async def ship(self, batches: Sequence[Batch]) -> None:
        self.left -= 1
        await (super().ship(batches) if self.left > 0 else _Away().ship(batches))


def run(out: Any, directory: str, dsn: str, host_seed: bytes, seed: int, ships: bool, known: dict[str, Any]) -> None:
    """Until killed. `known`: journal_id, and the last acknowledged counter of every writer so far."""
    asyncio.run(_run(out.fileno(), Path(directory), dsn, host_seed, random.Random(seed), ships, known))


async def _run(
    out: int, directory: Path, dsn: str, host_seed: bytes, chance: random.Random, ships: bool, known: dict[str, Any]
) -> None:
    def tell(**what: Any) -> None:
        os.write(out, json.dumps(what).encode() + b"\n")  # one write: shorter than a pipe's atomic 4096 bytes

    shipment = DatabaseShipment.to(dsn) if ships else _Leaving.to(dsn)
    try:
        sink = JournalSink(
            directory,
            shipment,
            expected=known["counters"],
            expected_id=known["journal_id"],
            segment_bytes=SEGMENT_BYTES,
        )
        await sink.ready()
    except BaseException as cause:
        tell(failed=repr(cause))
        raise
    tell(journal_id=sink.journal_id)
    writer = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), trial=True)
    host_key = Ed25519PrivateKey.from_private_bytes(host_seed)
    drafts = [started(writer, host_key, role="proxy", host="h1", version="0.1.0")]
    while True:
        batch = writer.pack(drafts, datetime.now(UTC), os.urandom)
        last = batch.first_counter + batch.n - 1
        tell(offered=writer.writer_id, last=last)
        await sink.append(batch)
        writer.accepted()
        tell(acknowledged=writer.writer_id, last=last)
        drafts = [read_draft(what=f"{writer.writer_id} {last + 1 + i}") for i in range(chance.randint(1, 4))]
