"""What a sequencer checks before it continues a log: that the rows it would build on are the ones it signed."""

from datetime import datetime
from typing import Any, Final

from ledger.checkpoint import Checkpoint, CheckpointRefused, open_checkpoint, sign_checkpoint
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, root_of
from ledger.note import Signer
from ledger.tiles import WIDTH, Edge

__all__ = ["BootRefused", "load_edge"]

_FIRST: Final = """
INSERT INTO ledger.head (log, size, root, note, epoch, signed_at) VALUES ($1, 0, $2, $3, 0, $4) ON CONFLICT DO NOTHING
"""
# Taking the epoch ends every other leader's: its next compare-and-swap finds another number.
_TAKE: Final = "UPDATE ledger.head SET epoch = epoch + 1 RETURNING log, size, root, note, epoch"
_LEAVES: Final = "SELECT idx, leaf, leaf_hash FROM ledger.entry WHERE idx >= $1 AND idx < $2 ORDER BY idx"
_TILES: Final = "SELECT n, hashes, root FROM ledger.tile WHERE level = $1 AND n >= $2 AND n < $3 ORDER BY n"


class BootRefused(Exception):
    """The database does not hold the log that this key signed; going on would sign a second history."""


async def load_edge(connection: Any, signer: Signer, now: datetime, floor: Checkpoint | None) -> tuple[Edge, int]:
    """Take the epoch and return the right edge with it; creates the head of a new log.

    Raises BootRefused if 1 the head is another log's, 2 its checkpoint is not signed by this key or says other
    numbers than the row, 3 entries stand behind the head, 4 a leaf or tile at the right edge does not hash to what
    is stored, 5 the root over them is not the head's, 6 the log is smaller than `floor` or inconsistent with it.
    """
    origin = signer.verifier.name
    empty = sign_checkpoint(Checkpoint(origin, 0, EMPTY_ROOT), signer)
    async with connection.transaction():
        await connection.execute(_FIRST, origin, EMPTY_ROOT, empty, now)
        head = await connection.fetchrow(_TAKE)
        # 1
        if head["log"] != origin:
            raise BootRefused(f"this database holds the log {head['log']!r}, not {origin!r}")
        # 2
        try:
            checkpoint, _ = open_checkpoint(head["note"], signer.verifier)
        except CheckpointRefused as cause:
            raise BootRefused(f"the stored checkpoint: {cause}") from cause
        if (checkpoint.size, checkpoint.root) != (head["size"], head["root"]):
            raise BootRefused("the head row says another size or root than its checkpoint")
        # 3
        newest = await connection.fetchval("SELECT max(idx) FROM ledger.entry")
        if (-1 if newest is None else newest) != checkpoint.size - 1:
            raise BootRefused(f"the newest entry is {newest}, the checkpoint's size {checkpoint.size}")
        # 4
        edge = Edge.at(checkpoint.size, await _edge_rows(connection, checkpoint.size))
        # 5
        if edge.root() != checkpoint.root:
            raise BootRefused("the stored tiles and entries do not add up to the checkpoint's root")
        # 6
        if floor is not None:
            await _check_floor(connection, checkpoint, floor)
        return edge, int(head["epoch"])


async def _edge_rows(connection: Any, size: int) -> list[list[bytes]]:
    """The hashes of each level's unfinished tile, recomputed from what lies under them."""
    rows = [await _leaf_hashes(connection, size // WIDTH * WIDTH, size)]
    level = 1
    while size >> (8 * level):
        width = size >> (8 * level)
        rows.append(await _tile_roots(connection, level - 1, width // WIDTH * WIDTH, width))
        level += 1
    return rows


async def _leaf_hashes(connection: Any, start: int, end: int) -> list[bytes]:
    found = await connection.fetch(_LEAVES, start, end)
    for idx, row in enumerate(found, start):
        if row["idx"] != idx or leaf_hash(row["leaf"]) != row["leaf_hash"]:
            raise BootRefused(f"entry {idx} is missing or not the one that was hashed")
    if len(found) != end - start:
        raise BootRefused(f"entry {start + len(found)} is missing")
    return [row["leaf_hash"] for row in found]


async def _tile_roots(connection: Any, level: int, start: int, end: int) -> list[bytes]:
    found = await connection.fetch(_TILES, level, start, end)
    for n, row in enumerate(found, start):
        hashes = row["hashes"]
        parts = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        if row["n"] != n or len(parts) != WIDTH or root_of(parts) != row["root"]:
            raise BootRefused(f"tile {level}/{n} is missing or does not hash to its root")
    if len(found) != end - start:
        raise BootRefused(f"tile {level}/{start + len(found)} is missing")
    return [row["root"] for row in found]


async def _check_floor(connection: Any, checkpoint: Checkpoint, floor: Checkpoint) -> None:
    if floor.size > checkpoint.size:
        raise BootRefused(
            f"the log has {checkpoint.size} entries, but {floor.size} were cosigned: this is an older copy of the"
            " database; restore the missing entries from a mirror, or begin a new log that names this one"
        )
    if floor.origin != checkpoint.origin:
        raise BootRefused("the cosigned checkpoint is another log's")
    if floor.size == 0:
        return
    rows = await _edge_rows(connection, floor.size)
    if Edge.at(floor.size, rows).root() != floor.root:
        raise BootRefused(f"the first {floor.size} entries are not the cosigned ones: this is another history")
