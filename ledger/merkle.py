"""The hash tree: leaf and node hashes, roots, inclusion and consistency proofs (RFC 6962 §2.1, RFC 9162 §2.1).

Every hash is 32 bytes; whatever else is handed in as one makes a verification fail.
Proofs are built from perfect subtrees: `node(height, index)` is the root over leaves
[index * 2**height, (index + 1) * 2**height).
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Frontier",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root_of",
    "subtree_root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

Node = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the perfect subtrees that make up a growing tree, largest first: log2(size) hashes."""

    __slots__ = ("hashes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    def push(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        hashes = self.hashes
        size = self.size
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        return fold(reversed(self.hashes)) or EMPTY_ROOT


def fold(from_the_right: Iterable[bytes]) -> bytes | None:
    """The root over perfect subtrees, given smallest (rightmost) first; None for none."""
    root = None
    for left in from_the_right:
        root = left if root is None else node_hash(left, root)
    return root


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.push(leaf)
    return frontier.root()


def subtree_root(start: int, end: int, node: Node) -> bytes:
    """The root over leaves [start, end), where start is a multiple of the smallest power of two >= end - start."""
    width = end - start
    if width <= 0:
        raise ValueError("a subtree has at least one leaf")
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return node(height, start >> height)
    split = start + _split(width)
    return node_hash(subtree_root(start, split, node), subtree_root(split, end, node))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 §2.1.1, leaf side first."""
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size}")
    start, end = 0, size
    proof: list[bytes] = []
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            proof.append(subtree_root(split, end, node))
            end = split
        else:
            proof.append(subtree_root(start, split, node))
            start = split
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 §2.1.2; empty where old is 0 or new."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} is no prefix of one of {new}")
    if old in (0, new):
        return []
    start, end = 0, new
    known = True  # the old root itself covers what is left: the verifier has it
    proof: list[bytes] = []
    while old != end:
        split = start + _split(end - start)
        if old <= split:
            proof.append(subtree_root(split, end, node))
            end = split
        else:
            proof.append(subtree_root(start, split, node))
            start = split
            known = False
    if not known:
        proof.append(subtree_root(start, end, node))
    return proof[::-1]


def _split(width: int) -> int:
    """The largest power of two smaller than `width` (>= 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` (a leaf hash) stands at `index` of the tree of `size` with `root` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    first, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            result = node_hash(sibling, result)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and result == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `old` leaves is a prefix of that of `new` (RFC 9162 §2.1.4.2).

    A tree of 0 is a prefix of every tree, with an empty proof (c2sp.org/tlog-witness).
    """
    if not 0 <= old <= new or not _hashes(old_root, new_root, *proof):
        return False
    if old == new:
        return old_root == new_root and not proof
    if old == 0:
        return old_root == EMPTY_ROOT and not proof
    path = list(proof)
    if not path:
        return False
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    seen_old = seen_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            seen_old, seen_new = node_hash(sibling, seen_old), node_hash(sibling, seen_new)
            while first and not first & 1:
                first >>= 1
                last >>= 1
        else:
            seen_new = node_hash(seen_new, sibling)
        first >>= 1
        last >>= 1
    return last == 0 and seen_old == old_root and seen_new == new_root


def _hashes(*candidates: bytes) -> bool:
    return all(len(candidate) == HASH_BYTES for candidate in candidates)
