"""The tree against a naive one, and against other people's vectors."""

import base64
import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

VECTORS = json.loads((Path(__file__).parent / "vectors/rfc6962_proofs.json").read_text())
# Where the vectors' library and the specifications differ: it refuses an old size of 0, which tlog-witness asks for,
# and takes anything for a root where it need not compute one.
OLD_SIZE_ZERO = {
    "consistency/additional/consistency-check-on-empty-tree-size1-is-zero-is-useless",
    "consistency/additional/size1-is-zero-and-does-not-equal-size2",
}
NOT_A_HASH = {"consistency/additional/sizes-are-equal-one-and-proof-is-empty"}


@cache
def _naive(start: int, end: int) -> bytes:
    """MTH straight from RFC 6962 §2.1; leaf i is its number."""
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return leaf_hash(b"%d" % start)
    split = 1
    while split * 2 < end - start:
        split *= 2
    return sha256(b"\x01" + _naive(start, start + split) + _naive(start + split, end)).digest()


def _node(height: int, index: int) -> bytes:
    return _naive(index << height, (index + 1) << height)


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda vector: vector[0])
def test_inclusion_vectors(vector: list[Any]) -> None:
    _, index, size, leaf, root, proof, want_error = vector
    held = verify_inclusion(index, size, _bytes(leaf), [_bytes(value) for value in proof or []], _bytes(root))
    assert held is not want_error


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda vector: vector[0])
def test_consistency_vectors(vector: list[Any]) -> None:
    name, old, new, old_root, new_root, proof, want_error = vector
    hashes = [_bytes(value) for value in proof or []]
    held = verify_consistency(old, new, _bytes(old_root), _bytes(new_root), hashes)
    if name in NOT_A_HASH:
        assert not held and len(_bytes(old_root)) != 32
    elif name in OLD_SIZE_ZERO:
        assert held is (_bytes(old_root) == sha256(b"").digest() and not hashes)
    else:
        assert held is not want_error


def test_the_vectors_are_all_there() -> None:
    assert len(VECTORS["inclusion"]) + len(VECTORS["consistency"]) > 190


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 8, 13, 64, 255, 256, 257, 700])
def test_the_frontier_is_the_naive_root(size: int) -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    assert root_of(leaves) == _naive(0, size)
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    assert len(frontier.hashes) == size.bit_count()
    if size:
        assert subtree_root(0, size, _node) == _naive(0, size)


@given(st.integers(1, 600).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_inclusion_proofs_prove_their_entry_and_no_other(place: tuple[int, int]) -> None:
    index, size = place
    root = _naive(0, size)
    proof = inclusion_proof(index, size, _node)
    leaf = leaf_hash(b"%d" % index)
    assert verify_inclusion(index, size, leaf, proof, root)
    assert not verify_inclusion(index, size, leaf_hash(b"other"), proof, root)
    assert not verify_inclusion(index, size, leaf, [*proof, root], root)
    assert size == 1 or not verify_inclusion((index + 1) % size, size, leaf, proof, root)
    for i, value in enumerate(proof):
        assert not verify_inclusion(index, size, leaf, [*proof[:i], value[:-1], *proof[i + 1 :]], root)
        assert not verify_inclusion(index, size, leaf, proof[:i] + proof[i + 1 :], root)


@given(st.integers(0, 600).flatmap(lambda new: st.tuples(st.integers(0, new), st.just(new))))
@settings(deadline=None)
def test_consistency_proofs_prove_their_prefix_and_no_other(sizes: tuple[int, int]) -> None:
    old, new = sizes
    old_root, new_root = _naive(0, old), _naive(0, new)
    proof = consistency_proof(old, new, _node)
    assert verify_consistency(old, new, old_root, new_root, proof)
    assert not verify_consistency(old, new, leaf_hash(b"other"), new_root, proof)
    if 0 < old < new:
        assert not verify_consistency(old, new, old_root, leaf_hash(b"other"), proof)
        assert not verify_consistency(old, new, old_root, new_root, proof[:-1])


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree of"):
        inclusion_proof(index, size, _node)
    assert not verify_inclusion(index, size, leaf_hash(b""), [], _naive(0, max(size, 0)))
