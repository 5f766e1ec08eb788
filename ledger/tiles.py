"""Tile coordinates, widths and paths (c2sp.org/tlog-tiles@v0.1.0), and the tree's right edge in tiles.

A full tile is 256 hashes; tile n of level l covers leaves [n * 256**(l+1), (n+1) * 256**(l+1)). A partial tile is
a prefix of the later full one, so only full tiles are ever stored.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ledger.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, fold, node_hash

__all__ = ["WIDTH", "Edge", "FullTile", "PathRefused", "Resource", "node_in_tile", "parse_path", "tiles_of", "width_at"]

WIDTH: Final = 256
HEIGHT: Final = 8
MAX_LEVEL: Final = 63

Kind = Literal["tile", "entries", "body"]

_GROUPS: Final = re.compile(r"((?:x[0-9]{3}/){0,5})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_LEVEL: Final = re.compile(r"0|[1-9][0-9]?", re.ASCII)


class PathRefused(ValueError):
    """The text names no tile, entry bundle or body bundle."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One tile (of a level), entry bundle or body bundle (level 0); `width` below 256 means a partial one."""

    kind: Kind
    level: int
    n: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix, without a leading slash."""
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        place = {"tile": f"tile/{self.level}", "entries": "tile/entries", "body": "body"}[self.kind]
        return f"{place}/{number_path(self.n)}{partial}"


def number_path(n: int) -> str:
    """Zero-padded groups of three digits, all but the last with an x: 1234067 is x001/x234/067."""
    text = f"{n % 1000:03d}"
    while n >= 1000:
        n //= 1000
        text = f"x{n % 1000:03d}/{text}"
    return text


def parse_path(path: str) -> Resource:
    """The resource that `path` (below the log's prefix) names; raises PathRefused for any other spelling."""
    place, _, rest = path.partition("/")
    kind: Kind = "body"
    level = 0
    if place == "tile":
        where, _, rest = rest.partition("/")
        kind = "entries" if where == "entries" else "tile"
        if kind == "tile":
            if not _LEVEL.fullmatch(where) or int(where) > MAX_LEVEL:
                raise PathRefused("a tile's level is 0 to 63")
            level = int(where)
    elif place != "body":
        raise PathRefused("no such resource")
    match = _GROUPS.fullmatch(rest)
    if match is None:
        raise PathRefused("not a tile number")
    n = int(match[1].replace("x", "").replace("/", "") + match[2])
    width = int(match[3] or WIDTH)
    resource = Resource(kind, level, n, width)
    # 256 is never spelled as a partial width, and no number has a leading group of zeros.
    if width > WIDTH or resource.path != path:
        raise PathRefused("not the one spelling of this resource")
    return resource


def width_at(level: int, n: int, size: int) -> int:
    """How many hashes tile n of `level` has in a tree of `size`: 0 to 256."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - n * WIDTH))


def tiles_of(size: int) -> Iterable[Resource]:
    """Every tile of a tree of `size`, level by level, the partial one last in each."""
    level = 0
    while (hashes := size >> (HEIGHT * level)) > 0:
        for n in range(hashes // WIDTH):
            yield Resource("tile", level, n)
        if hashes % WIDTH:
            yield Resource("tile", level, hashes // WIDTH, hashes % WIDTH)
        level += 1


def node_in_tile(hashes: bytes, height: int, index: int) -> bytes:
    """The root over hashes [index * 2**height, (index + 1) * 2**height) of one tile, 0 <= height <= 8.

    Raises ValueError where the tile is too short for it.
    """
    count = 1 << height
    part = hashes[index * count * HASH_BYTES : (index + 1) * count * HASH_BYTES]
    if len(part) != count * HASH_BYTES:
        raise ValueError("the tile does not reach that far")
    row = [part[at : at + HASH_BYTES] for at in range(0, len(part), HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


class FullTile(NamedTuple):
    """A tile that has just become full."""

    level: int
    n: int
    hashes: bytes
    root: bytes


class _Row:
    """The unfinished tile of one level: its hashes, and the frontier over them."""

    __slots__ = ("frontier", "hashes", "n")

    def __init__(self, n: int) -> None:
        self.n = n
        self.hashes: list[bytes] = []
        self.frontier = Frontier()


class Edge:
    """The right edge of a growing tree: what is needed to append, and to know the root."""

    def __init__(self) -> None:
        self.size = 0
        self._rows = [_Row(0)]

    @classmethod
    def at(cls, size: int, rows: list[list[bytes]]) -> "Edge":
        """The edge of a tree of `size`, from the hashes of its unfinished tiles (empty lists where there is none).

        Raises ValueError where the numbers do not fit together.
        """
        edge = cls()
        edge.size = size
        edge._rows = []
        for level, hashes in enumerate(rows):
            width = size >> (HEIGHT * level)
            if len(hashes) != width % WIDTH or any(len(value) != HASH_BYTES for value in hashes):
                raise ValueError(f"the unfinished tile of level {level} has {width % WIDTH} hashes, not {len(hashes)}")
            row = _Row(width // WIDTH)
            for value in hashes:
                row.hashes.append(value)
                row.frontier.push(value)
            edge._rows.append(row)
        if size >> (HEIGHT * len(rows)) or not rows:
            raise ValueError("the tree has more levels than were given")
        return edge

    def append(self, leaf_hashes: list[bytes]) -> list[FullTile]:
        """Append leaves; returns the tiles that became full, in the order in which they did."""
        full: list[FullTile] = []
        for leaf in leaf_hashes:
            self._push(0, leaf, full)
        self.size += len(leaf_hashes)
        return full

    def _push(self, level: int, value: bytes, full: list[FullTile]) -> None:
        row = self._rows[level]
        row.hashes.append(value)
        row.frontier.push(value)
        if len(row.hashes) < WIDTH:
            return
        root = row.frontier.hashes[0]
        full.append(FullTile(level, row.n, b"".join(row.hashes), root))
        self._rows[level] = _Row(row.n + 1)
        if len(self._rows) == level + 1:
            self._rows.append(_Row(0))
        self._push(level + 1, root, full)

    def copy(self) -> "Edge":
        """An independent copy, for a step that may fail."""
        edge = Edge()
        edge.size = self.size
        edge._rows = []
        for row in self._rows:
            twin = _Row(row.n)
            twin.hashes = row.hashes.copy()
            twin.frontier.size = row.frontier.size
            twin.frontier.hashes = row.frontier.hashes.copy()
            edge._rows.append(twin)
        return edge

    def root(self) -> bytes:
        """The root of the tree."""
        return fold(value for row in self._rows for value in reversed(row.frontier.hashes)) or EMPTY_ROOT

    def partial(self, level: int) -> bytes:
        """The hashes of the unfinished tile of `level`."""
        return b"".join(self._rows[level].hashes) if level < len(self._rows) else b""

    @property
    def levels(self) -> int:
        return len(self._rows)
