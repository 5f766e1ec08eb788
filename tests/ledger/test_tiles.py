"""Paths in their one spelling, and the right edge against the definition of a tile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import HASH_BYTES, leaf_hash, root_of
from ledger.tiles import Edge, PathRefused, Resource, node_in_tile, number_path, parse_path, tiles_of, width_at


@pytest.mark.parametrize(
    ("n", "path"),
    [(0, "000"), (255, "255"), (1000, "x001/000"), (1234067, "x001/x234/067"), (123456789, "x123/x456/789")],
)
def test_numbers_as_paths(n: int, path: str) -> None:
    assert number_path(n) == path


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("tile/0/x001/x234/067.p/89", Resource("tile", 0, 1234067, 89)),
        ("tile/63/x999/x999/x999/x999/x999/999.p/255", Resource("tile", 63, 10**18 - 1, 255)),
        ("tile/0/000", Resource("tile", 0, 0)),
        ("tile/entries/000.p/1", Resource("entries", 0, 0, 1)),
        ("tile/entries/x001/000", Resource("entries", 0, 1000)),
        ("body/000.p/3", Resource("body", 0, 0, 3)),
    ],
)
def test_paths_that_are_some(path: str, resource: Resource) -> None:
    assert parse_path(path) == resource
    assert resource.path == path


NO_PATHS = """
tile/0/000.p/ tile/0/000.p tile/0/000/ tile/0/x001/x234 tile/0/x001 tile/64/000 tile/-1/000 tile/abc/000
tile/0/001/002 tile/0/x001/0002 tile/0/x001/-002 tile/0/000.p/256 tile/0/x001/x002/x003/x004/x005/x006/007
tile/00/000 tile/0/00 tile/0/0000 tile/0/x000/001 tile/0/x000/x001/002 tile/0/000.p/0 tile/0/000.p/01
tile/0/000.p/1/ tile/0/000.P/1 tile/0/000.p/-1 tile/0/000.p/+1 tile//000 tile/0 tile/0/ tile entries/000
tile/entries tile/entries/ body body/ body/0 body/x000/000 tile/0/٠٠٠ tile/0/000.p/٣ tile/٠/000 tile/0/000%00
/tile/0/000 checkpoint x
"""


@pytest.mark.parametrize("path", NO_PATHS.split())
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(PathRefused):
        parse_path(path)


@pytest.mark.parametrize("tail", ["", "\n", " ", "\0", "?x"])
def test_nothing_stands_behind_a_path(tail: str) -> None:
    if tail:
        with pytest.raises(PathRefused):
            parse_path("tile/0/000" + tail)


@given(st.text(max_size=40))
def test_any_text_is_a_resource_or_refused(text: str) -> None:
    for path in (text, "tile/" + text, "tile/0/" + text):
        try:
            resource = parse_path(path)
        except PathRefused:
            continue
        assert resource.path == path


def test_the_tiles_of_seventy_thousand() -> None:
    found = [(tile.level, tile.n, tile.width) for tile in tiles_of(70_000)]
    assert found[:2] == [(0, 0, 256), (0, 1, 256)]
    assert found[273:] == [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    assert [tile.path for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []
    assert (width_at(0, 273, 70_000), width_at(0, 274, 70_000), width_at(2, 0, 70_000)) == (112, 0, 1)


@pytest.mark.parametrize("steps", [[1] * 5, [255, 1, 1], [256], [300, 300, 1], [65_535, 1, 1], [70_000]])
def test_the_edge_is_the_tree(steps: list[int]) -> None:
    edge, leaves, tiles = Edge(), [], {}
    for step in steps:
        new = [leaf_hash(b"%d" % i) for i in range(len(leaves), len(leaves) + step)]
        leaves += new
        for tile in edge.append(new):
            tiles[tile.level, tile.n] = tile
    assert edge.size == len(leaves)
    assert edge.root() == root_of(leaves)
    for tile in tiles_of(len(leaves)):
        span = 256**tile.level
        start = tile.n * 256
        rows = [root_of(leaves[i * span : (i + 1) * span]) for i in range(start, start + tile.width)]
        if tile.width == 256:
            assert tiles[tile.level, tile.n].hashes == b"".join(rows)
            assert tiles[tile.level, tile.n].root == root_of(rows)
        else:
            assert edge.partial(tile.level) == b"".join(rows)
    again = Edge.at(
        edge.size,
        [
            [edge.partial(level)[at : at + 32] for at in range(0, len(edge.partial(level)), 32)]
            for level in range(edge.levels)
        ],
    )
    assert again.root() == edge.root()
    copy = edge.copy()
    copy.append([leaf_hash(b"more")])
    assert (edge.size, edge.root()) == (len(leaves), root_of(leaves))
    assert again.append([leaf_hash(b"more")]) == edge.append([leaf_hash(b"more")])
    assert copy.root() == again.root() == edge.root()


@pytest.mark.parametrize(
    ("size", "rows"),
    [(3, [[b"x" * 32] * 2]), (256, [[]]), (0, []), (1, [[b"short"]]), (256, [[b"x" * 32], [b"x" * 32]])],
)
def test_an_edge_that_does_not_fit_its_size(size: int, rows: list[list[bytes]]) -> None:
    with pytest.raises(ValueError, match=r"tile of level|more levels"):
        Edge.at(size, rows)


def test_nodes_within_a_tile() -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(200)]
    hashes = b"".join(leaves)
    assert node_in_tile(hashes, 0, 7) == leaves[7]
    assert node_in_tile(hashes, 3, 2) == root_of(leaves[16:24])
    with pytest.raises(ValueError, match="does not reach"):
        node_in_tile(hashes, 3, 25)
    assert len(hashes) % HASH_BYTES == 0
