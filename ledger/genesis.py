"""How a log begins, and how a process introduces itself to it."""

import base64
import hashlib
import os
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.batch import Writer
from ledger.certificate import CREATED, STARTED, certify
from ledger.entry import Draft
from ledger.note import Verifier

__all__ = ["bootstrap", "started"]

_INSERT: Final = "INSERT INTO ledger.entry_batch (log, writer, first_counter, n, bytes) VALUES ($1, $2, $3, $4, $5)"
_LOCK: Final = int.from_bytes(hashlib.sha256(b"glassgate genesis").digest()[:8], "big", signed=True)


async def bootstrap(
    connection: Any, log: Verifier, member: str, host_key: Ed25519PrivateKey, now: datetime, *, trial: bool = False
) -> bool:
    """Commit the log's first entry, unless it is there already. Returns whether this call did.

    The host key signs it as a writer of its own: there is nobody yet who could certify another. Needs the
    sequencer's rights; processes that start together take turns.
    """
    writer = Writer(log.name, member, host_key, trial=trial)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await connection.fetchval("SELECT 1 FROM ledger.entry WHERE idx = 0"):
            return False
        known = "SELECT 1 FROM ledger.entry_batch WHERE writer = $1 AND log = $2 AND first_counter = 0"
        if await connection.fetchval(known, writer.writer_id, log.name):
            return False
        facts = {
            "origin": log.name,
            "log_key": log.vkey,
            "member": member,
            "host_key": base64.b64encode(writer.public_key).decode(),
        }
        batch = writer.pack([Draft(CREATED, facts)], now, os.urandom)
        await connection.execute(_INSERT, batch.log, batch.writer, batch.first_counter, batch.n, batch.data)
    return True


def started(
    writer: Writer,
    host_key: Ed25519PrivateKey,
    *,
    role: str,
    host: str,
    version: str,
    predecessor: str = "",
    predecessor_counter: int = -1,
) -> Draft:
    """The draft of `process.started`: every writer's first entry, with its certificate."""
    facts = {
        "role": role,
        "host": host,
        "public_key": base64.b64encode(writer.public_key).decode(),
        "host_key": base64.b64encode(host_key.public_key().public_bytes_raw()).decode(),
        "certificate": certify(host_key, writer.public_key),
        "release": writer.release,
        "version": version,
        "predecessor": predecessor,
        "predecessor_counter": predecessor_counter,
    }
    return Draft(STARTED, facts)
