"""Durable append on PostgreSQL: inside a caller's transaction, or as a sink of its own.

Nothing here notifies: a NOTIFY in a recording transaction serialises commits and costs more than half of them.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from ledger.batch import Writer
from ledger.entry import Draft
from ledger.storage import AppendRefused, AppendUnknown, Batch

__all__ = ["DatabaseSink", "append_in", "connect"]

APPEND_TIMEOUT_S: Final = 5.0

_INSERT: Final = "INSERT INTO ledger.entry_batch (log, writer, first_counter, n, bytes) VALUES ($1, $2, $3, $4, $5)"
_NEW_HEAD: Final = (
    "INSERT INTO ledger.writer_head (writer, log, next_counter, prev) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
)
_LOCK_HEAD: Final = "SELECT next_counter, prev FROM ledger.writer_head WHERE writer = $1 AND log = $2 FOR UPDATE"
_MOVE_HEAD: Final = "UPDATE ledger.writer_head SET next_counter = $3, prev = $4 WHERE writer = $1 AND log = $2"

# Sent when a session ends by force. The command may have committed before: the answer to it is then unknown.
_ENDED_BY_FORCE: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})


async def connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection for recording: commits wait for the disk whatever the server's default says."""
    connection = await asyncpg.connect(
        dsn,
        timeout=APPEND_TIMEOUT_S,
        server_settings={
            "application_name": "glassgate record",
            "statement_timeout": "5s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "10s",
        },
    )
    try:
        if await connection.fetchval("SHOW synchronous_commit") in ("off", "local"):
            await connection.execute("SET synchronous_commit TO on")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def append_in(
    connection: "asyncpg.Connection[asyncpg.Record]", drafts: Sequence[Draft], *, writer: Writer, now: datetime
) -> list[str]:
    """Record `drafts` in the caller's transaction: durable exactly if it commits. Returns the entry ids, in order.

    The writer's position is a row locked here, so entries of one writer are in the order of their commits, and a
    rollback gives the counters back. Callers of one writer wait for each other from here to their commit: record last.
    The log's entries of several writers are in the order in which batches were inserted. Raises what asyncpg raises.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("append_in records inside a transaction; there is none")
    at = writer.writer_id, writer.log
    row = await connection.fetchrow(_LOCK_HEAD, *at)
    if row is None:
        await connection.execute(_NEW_HEAD, *at, writer.next_counter, writer.prev)
        row = await connection.fetchrow(_LOCK_HEAD, *at)
        assert row is not None
    packed = writer.pack_at(drafts, now, os.urandom, row["next_counter"], row["prev"])
    batch = packed.batch
    await connection.execute(_INSERT, batch.log, batch.writer, batch.first_counter, batch.n, batch.data)
    await connection.execute(_MOVE_HEAD, *at, packed.next_counter, packed.prev)
    return packed.ids


class DatabaseSink:
    """RecordSink on one dedicated connection, made at the first append and again after it was lost.

    `open_connection` gives a fresh connection (ledger.postgres.connect with a DSN).
    """

    def __init__(self, open_connection: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]) -> None:
        self._open = open_connection
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._doubted: tuple[str, str, int] | None = None  # a batch whose commit nobody answered
        self._closed = False

    @classmethod
    def to(cls, dsn: str) -> "DatabaseSink":
        """A sink that connects to `dsn` by itself."""
        return cls(lambda: connect(dsn))

    async def append(self, batch: Batch) -> None:
        """Return once the batch is committed. Raises AppendRefused or AppendUnknown, or is cancelled."""
        doubted, self._doubted = self._doubted == _identity(batch), _identity(batch)
        try:
            await self._append(batch)
        except AppendRefused as cause:
            if doubted:
                # This attempt stored nothing, but an earlier one of the same batch may have.
                raise AppendUnknown(f"in doubt since an earlier attempt; now: {cause}") from cause
            self._doubted = None
            raise
        self._doubted = None

    async def _append(self, batch: Batch) -> None:
        connection = await self._connected()
        try:
            await connection.execute(
                _INSERT, batch.log, batch.writer, batch.first_counter, batch.n, batch.data, timeout=APPEND_TIMEOUT_S
            )
        except asyncpg.PostgresError as cause:
            if cause.sqlstate in _ENDED_BY_FORCE or cause.sqlstate is None or cause.sqlstate.startswith("08"):
                self._drop()
                raise AppendUnknown(f"the session ended before the commit was answered ({cause.sqlstate})") from cause
            raise AppendRefused(f"PostgreSQL refused the batch ({cause.sqlstate})") from cause
        except (OSError, TimeoutError, asyncpg.InterfaceError) as cause:
            # TimeoutError: the cancel that asyncpg sends may come too late to stop the commit.
            self._drop()
            raise AppendUnknown("the connection was lost before the commit was answered") from cause
        except BaseException:
            self._drop()
            raise

    async def ready(self) -> None:
        """Connect if needed, so that the first append does not pay for it. Raises AppendRefused."""
        await self._connected()

    async def close(self) -> None:
        """Close for good: what comes later is refused, as by every sink."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        connection = self._connection
        if connection is not None and not connection.is_closed():
            return connection
        self._connection = None
        if self._closed:
            raise AppendRefused("the sink is closed")
        try:
            self._connection = connection = await self._open()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as cause:
            raise AppendRefused(f"no connection to the record database ({type(cause).__name__})") from cause
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _identity(batch: Batch) -> tuple[str, str, int]:
    return batch.writer, batch.log, batch.first_counter
