"""Where flushes go: the contract between a writer and whatever makes its bytes durable."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["AppendRefused", "AppendUnknown", "Batch", "RecordSink"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One flush as bytes (ledger/batch.py): `n` entries with counters first_counter ... first_counter + n - 1."""

    log: str
    writer: str
    first_counter: int
    n: int
    data: bytes


class AppendRefused(Exception):
    """Definitely not stored. The same counters may be used again, for other entries too."""


class AppendUnknown(Exception):
    """Perhaps stored: the answer to the commit was lost. Only the same bytes may be sent again."""


class RecordSink(Protocol):
    """Durable append, in groups.

    Ordering: one writer has one append in flight; batches of a writer are appended in counter order.
    Exactly once: a batch is identified by (writer, log, first_counter); appending equal bytes twice counts once.
    """

    async def append(self, batch: Batch) -> None:
        """Return once the batch is durable. Raises AppendRefused or AppendUnknown, nothing else."""
