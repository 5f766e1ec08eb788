"""The log as its resources, read from PostgreSQL: what the HTTP server serves and a local verification reads."""

from collections import OrderedDict
from typing import Any, Final

from ledger.entry import Part
from ledger.framing import body_bytes, bundle
from ledger.tiles import WIDTH, Resource, width_at

__all__ = ["LogReader", "ResourceMissing"]

MAX_CACHED: Final = 1024  # full tiles, 8 KiB each

_NAMES: Final = {1: "clear", 2: "sealed", 3: "erased"}


class ResourceMissing(Exception):
    """No such resource in a log of this size, or rows of it are gone; `index` is the first entry that is missing."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        self.index = index


class LogReader:
    """Reads checkpoint, tiles and bundles. `database` is an asyncpg pool or connection with the reader's rights.

    Full tiles never change and are kept, at most MAX_CACHED of them.
    """

    def __init__(self, database: Any) -> None:
        self._database = database
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0

    async def checkpoint(self) -> bytes:
        """The newest signed checkpoint; raises ResourceMissing before a sequencer has begun the log."""
        row = await self._database.fetchrow("SELECT size, note FROM ledger.head")
        if row is None:
            raise ResourceMissing("this log has no checkpoint yet")
        self._size = row["size"]
        return bytes(row["note"])

    async def read(self, resource: Resource) -> bytes:
        """A tile or bundle, whole or up to `width`; never beyond the newest checkpoint. Raises ResourceMissing."""
        if width_at(resource.level, resource.n, self._size) < resource.width:
            await self.checkpoint()
            if width_at(resource.level, resource.n, self._size) < resource.width:
                raise ResourceMissing(f"{resource.path} is beyond the log's {self._size} entries")
        start = resource.n * WIDTH
        end = start + resource.width
        if resource.kind == "entries":
            return bundle(await self._column("SELECT idx, leaf FROM ledger.entry", start, end))
        if resource.kind == "body":
            return await self._bodies(start, end)
        if resource.width == WIDTH:
            return await self._full_tile(resource)
        if resource.level == 0:
            return b"".join(await self._column("SELECT idx, leaf_hash FROM ledger.entry", start, end))
        return await self._roots(resource.level - 1, start, end)

    async def _column(self, select: str, start: int, end: int) -> list[bytes]:
        rows = await self._database.fetch(f"{select} WHERE idx >= $1 AND idx < $2 ORDER BY idx", start, end)
        for idx, row in enumerate(rows, start):
            if row[0] != idx:
                raise ResourceMissing(f"entry {idx} is missing", idx)
        if len(rows) != end - start:
            raise ResourceMissing(f"entry {start + len(rows)} is missing", start + len(rows))
        return [row[1] for row in rows]

    async def _full_tile(self, resource: Resource) -> bytes:
        key = resource.level, resource.n
        hashes = self._tiles.get(key)
        if hashes is None:
            hashes = await self._database.fetchval("SELECT hashes FROM ledger.tile WHERE level = $1 AND n = $2", *key)
            if hashes is None:
                raise ResourceMissing(f"{resource.path} is missing")
            self._tiles[key] = hashes
            if len(self._tiles) > MAX_CACHED:
                self._tiles.popitem(last=False)
        else:
            self._tiles.move_to_end(key)
        return hashes

    async def _roots(self, level: int, start: int, end: int) -> bytes:
        rows = await self._database.fetch(
            "SELECT n, root FROM ledger.tile WHERE level = $1 AND n >= $2 AND n < $3 ORDER BY n", level, start, end
        )
        if [row["n"] for row in rows] != list(range(start, end)):
            raise ResourceMissing(f"a tile of level {level} between {start} and {end} is missing")
        return b"".join(row["root"] for row in rows)

    async def _bodies(self, start: int, end: int) -> bytes:
        # In pieces: 256 bodies with large contents need not be in memory as rows and as bytes at once.
        out: list[bytes] = []
        for at in range(start, end, 16):
            upto = min(at + 16, end)
            rows = {
                row["idx"]: row
                for row in await self._database.fetch(
                    "SELECT * FROM ledger.body WHERE idx >= $1 AND idx < $2", at, upto
                )
            }
            out += [_body(rows.get(idx)) for idx in range(at, upto)]
        return b"".join(out)


def _body(row: Any) -> bytes:
    """A body's bytes; a row that is gone, or parts that are, show as what they are: nothing."""
    if row is None:
        return body_bytes(None, None)
    forms = row["form"]
    return body_bytes(
        _part(forms >> 4, row["facts"], row["facts_blind"]), _part(forms & 15, row["content"], row["content_blind"])
    )


def _part(form: int, data: bytes | None, blind: bytes | None) -> Part | None:
    name = _NAMES.get(form)
    if name == "erased":
        return Part(b"", b"", "erased")
    if name is None or data is None or blind is None:
        return None
    return Part(data, blind, "clear" if name == "clear" else "sealed")
