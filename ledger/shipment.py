"""Batches that are durable elsewhere, inserted into the record database: many a transaction, in order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import asyncpg

from ledger.postgres import APPEND_TIMEOUT_S, connect
from ledger.storage import Batch

__all__ = ["DatabaseShipment", "NotShipped", "Shipment"]

# Ids are given in the order of the rows: the sequencer takes batches by id.
_INSERT: Final = """
INSERT INTO ledger.entry_batch (log, writer, first_counter, n, bytes)
SELECT log, writer, first_counter, n, bytes
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::bytea[])
     WITH ORDINALITY AS b (log, writer, first_counter, n, bytes, position)
ORDER BY position
"""


class NotShipped(Exception):
    """Perhaps, or surely, nothing was committed. Which of both makes no difference: send the same bytes again."""


class Shipment(Protocol):
    """Where a journal's batches go."""

    async def ship(self, batches: Sequence[Batch]) -> None:
        """Return once all are committed, in this order. Raises NotShipped, and then all of them or none are."""

    async def close(self) -> None: ...


class DatabaseShipment:
    """Shipment on one dedicated connection, made when first needed and again after it was lost."""

    def __init__(self, open_connection: Callable[[], Awaitable[Any]]) -> None:
        self._open = open_connection
        self._connection: Any = None

    @classmethod
    def to(cls, dsn: str) -> "DatabaseShipment":
        """A shipment that connects to `dsn` by itself."""
        return cls(lambda: connect(dsn))

    async def ship(self, batches: Sequence[Batch]) -> None:
        """One transaction."""
        columns = zip(*((b.log, b.writer, b.first_counter, b.n, b.data) for b in batches), strict=True)
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open()
            await self._connection.execute(_INSERT, *columns, timeout=APPEND_TIMEOUT_S)
        except asyncpg.PostgresError as cause:
            self._drop()
            raise NotShipped(f"PostgreSQL refused ({cause.sqlstate}: {type(cause).__name__})") from cause
        except (OSError, TimeoutError, asyncpg.InterfaceError, ValueError) as cause:
            self._drop()
            raise NotShipped(f"no answer from the record database ({type(cause).__name__})") from cause
        except BaseException:
            self._drop()
            raise

    async def close(self) -> None:
        """Close the connection; a later shipment opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
