"""What the log is for: one byte of one entry changed by somebody whom the database obeys, and put back after."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from glassgate.embedded_postgres import EmbeddedPostgres

__all__ = ["Tampering", "tampered"]

DATABASE: Final = "glassgate"
CHANGE: Final = "UPDATE ledger.body SET facts = set_byte(facts, $2, $3) WHERE idx = $1"


@dataclass(frozen=True, slots=True)
class Tampering:
    """The statement that was run, and the words around the byte before and after."""

    statement: str
    before: str
    after: str


@contextmanager
def tampered(cluster: Path, index: int, word: str) -> Iterator[Tampering]:
    """Within, entry `index` of the gate's database says one letter of `word` differently in its facts.

    `cluster` is the embedded PostgreSQL's directory; its superuser does this, past every permission of ours.
    """
    dsn = EmbeddedPostgres(cluster).superuser_dsn(DATABASE)
    facts = asyncio.run(_read(dsn, index))
    at = facts.index(f'"{word}"'.encode()) + 1
    other = ord("e") if facts[at] != ord("e") else ord("o")
    asyncio.run(_set_byte(dsn, index, at, other))
    try:
        changed = asyncio.run(_read(dsn, index))
        yield Tampering(_shown(index, at, other), _around(facts, at), _around(changed, at))
    finally:
        asyncio.run(_set_byte(dsn, index, at, facts[at]))


def _shown(index: int, at: int, byte: int) -> str:
    """The statement with its parameters in it, as one would type it."""
    return CHANGE.replace("$1", str(index)).replace("$2", str(at)).replace("$3", str(byte)) + ";"


def _around(facts: bytes, at: int) -> str:
    return "…" + facts[max(0, at - 24) : at + 16].decode(errors="replace") + "…"


async def _read(dsn: str, index: int) -> bytes:
    connection = await asyncpg.connect(dsn)
    try:
        return bytes(await connection.fetchval("SELECT facts FROM ledger.body WHERE idx = $1", index))
    finally:
        await connection.close()


async def _set_byte(dsn: str, index: int, at: int, byte: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        done = await connection.execute(CHANGE, index, at, byte)
    finally:
        await connection.close()
    if done != "UPDATE 1":
        raise RuntimeError(f"the tampering touched something else: {done}")
