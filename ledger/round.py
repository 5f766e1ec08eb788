"""One round of the sequencer: what it will store, and the statements that store it."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from ledger.checkpoint import Checkpoint
from ledger.entry import Entry
from ledger.intake import Accepted, Rejected, WriterState
from ledger.merkle import leaf_hash
from ledger.storage import Batch
from ledger.tiles import Edge, FullTile

__all__ = ["Rejection", "Round", "commit_round"]

_CLEAR: Final = 1
_SEALED: Final = 2

_MOVE_HEAD: Final = """
UPDATE ledger.head SET size = $1, root = $2, note = $3, signed_at = $4 WHERE epoch = $5 AND size = $6
"""
# One statement for everything that is a few rows: a round trip each would cost more than the work.
_SETTLE: Final = """
WITH moved AS (
    INSERT INTO ledger.writer (writer, public_key, next_counter, prev, last_idx, stopped)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::text[])
    ON CONFLICT (writer) DO UPDATE SET next_counter = excluded.next_counter, prev = excluded.prev,
        last_idx = excluded.last_idx, stopped = excluded.stopped
), numbered AS (
    INSERT INTO ledger.numbered_batch (writer, first_counter, n, first_idx)
    SELECT * FROM unnest($7::text[], $8::bigint[], $9::int[], $10::bigint[])
), filled AS (
    INSERT INTO ledger.tile (level, n, hashes, root)
    SELECT * FROM unnest($12::smallint[], $13::bigint[], $14::bytea[], $15::bytea[])
), gone AS (
    DELETE FROM ledger.entry_batch WHERE id = ANY($11::bigint[]) RETURNING 1
)
SELECT count(*) FROM gone
"""
_QUARANTINE: Final = """
INSERT INTO ledger.quarantine (batch_id, log, writer, first_counter, n, bytes, fault, detail, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A batch on its way into quarantine."""

    batch_id: int
    batch: Batch
    verdict: Rejected

    def facts(self, unreported: int) -> dict[str, Any]:
        """What the log says of it. Only our own words and numbers: whoever inserted the row chose the rest."""
        return {
            "writer": hashlib.sha256(self.batch.writer.encode()).hexdigest()[:32]
            if self.verdict.fault in ("malformed", "foreign")
            else self.batch.writer,
            "first_counter": min(self.batch.first_counter, 2**53 - 1),
            "entries": self.batch.n,
            "digest": hashlib.sha256(self.batch.data).hexdigest(),
            "fault": self.verdict.fault,
            "unreported": unreported,
        }


@dataclass(slots=True)
class Round:
    """Collected from verdicts; nothing of it is true before it is committed."""

    now: datetime
    edge: Edge
    writers: dict[str, WriterState]
    entries: list[Entry] = field(default_factory=list)
    leaf_hashes: list[bytes] = field(default_factory=list)
    tiles: list[FullTile] = field(default_factory=list)
    batches: list[tuple[str, int, int, int]] = field(default_factory=list)  # writer, first counter, n, first index
    rejections: list[Rejection] = field(default_factory=list)
    done: list[int] = field(default_factory=list)  # batch ids

    def accept(self, batch_id: int, batch: Batch, verdict: Accepted) -> None:
        """Number the batch's entries next."""
        first = self.edge.size
        hashes = [leaf_hash(entry.leaf) for entry in verdict.entries]
        self.tiles += self.edge.append(hashes)
        self.leaf_hashes += hashes
        self.entries += verdict.entries
        self.batches.append((batch.writer, batch.first_counter, batch.n, first))
        next_counter = batch.first_counter + batch.n
        self.writers[batch.writer] = WriterState(verdict.public_key, next_counter, verdict.prev, self.edge.size - 1)
        self.done.append(batch_id)

    def reject(self, batch_id: int, batch: Batch, verdict: Rejected, state: WriterState | None) -> None:
        """Into quarantine; and if its own writer signed it, that writer is done."""
        self.rejections.append(Rejection(batch_id, batch, verdict))
        self.done.append(batch_id)
        if verdict.stops and state is not None:
            self.writers[batch.writer] = replace(state, stopped=f"{verdict.fault}: {verdict.detail}"[:500])

    def drop(self, batch_id: int) -> None:
        """Numbered before: only the row goes."""
        self.done.append(batch_id)


async def commit_round(
    connection: Any, work: Round, checkpoint: Checkpoint, note: bytes, epoch: int, old_size: int
) -> bool:
    """Store a round inside the caller's transaction. False (store nothing, roll back): this epoch is over.

    The head goes first: it fences, and its row lock keeps another leader waiting until this one has committed.
    """
    moved = await connection.execute(_MOVE_HEAD, checkpoint.size, checkpoint.root, note, work.now, epoch, old_size)
    if moved != "UPDATE 1":
        return False
    if work.entries:
        await _copy_entries(connection, work, old_size)
    for rejection in work.rejections:
        batch, verdict = rejection.batch, rejection.verdict
        await connection.execute(
            _QUARANTINE,
            rejection.batch_id,
            batch.log,
            batch.writer,
            batch.first_counter,
            batch.n,
            batch.data,
            verdict.fault,
            verdict.detail,
            work.now,
        )
    if not work.done:
        return True
    states = work.writers
    gone = await connection.fetchval(
        _SETTLE,
        list(states),
        [state.public_key for state in states.values()],
        [state.next_counter for state in states.values()],
        [state.prev for state in states.values()],
        [state.last_idx for state in states.values()],
        [state.stopped for state in states.values()],
        [batch[0] for batch in work.batches],
        [batch[1] for batch in work.batches],
        [batch[2] for batch in work.batches],
        [batch[3] for batch in work.batches],
        work.done,
        [tile.level for tile in work.tiles],
        [tile.n for tile in work.tiles],
        [tile.hashes for tile in work.tiles],
        [tile.root for tile in work.tiles],
    )
    # Fewer: somebody else took one of these rows, which only another leader does.
    return bool(gone == len(work.done))


async def _copy_entries(connection: Any, work: Round, first: int) -> None:
    await connection.copy_records_to_table(
        "entry",
        schema_name="ledger",
        columns=("idx", "leaf", "leaf_hash"),
        records=[
            (idx, entry.leaf, digest)
            for idx, (entry, digest) in enumerate(zip(work.entries, work.leaf_hashes, strict=True), first)
        ],
    )
    bodies: list[tuple[int, bytes, bytes, bytes | None, bytes | None, int]] = []
    for idx, entry in enumerate(work.entries, first):
        facts, content = entry.facts, entry.content
        if content is None:
            bodies.append((idx, facts.data, facts.blind, None, None, _CLEAR << 4))
        else:
            form = _CLEAR << 4 | (_CLEAR if content.form == "clear" else _SEALED)
            bodies.append((idx, facts.data, facts.blind, content.data, content.blind, form))
    await connection.copy_records_to_table(
        "body",
        schema_name="ledger",
        columns=("idx", "facts", "facts_blind", "content", "content_blind", "form"),
        records=bodies,
    )
