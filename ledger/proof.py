"""Self-contained proofs that an entry is in a log (c2sp.org/tlog-proof@v1).

c2sp.org/tlog-proof@v1
extra <base64>              at most once; authenticated by nothing
index <decimal>
<base64 of a hash>          leaf side first, any number of lines
<empty line>
<signed checkpoint, with all its signatures>
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import MAX_SIZE, Checkpoint, CheckpointRefused, parse_checkpoint
from ledger.merkle import HASH_BYTES, inclusion_proof, leaf_hash, verify_inclusion
from ledger.note import MAX_NOTE_BYTES, NoteRefused, parse_note
from ledger.tiles import HEIGHT, WIDTH, Resource, node_in_tile, width_at
from ledger.trust import Trust, TrustRefused

__all__ = ["Proof", "ProofRefused", "node_reader", "parse_proof", "prove", "verify_proof"]

_FIRST: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)
MAX_HASHES: Final = 63
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 128 * 1024


class ProofRefused(ValueError):
    """Not a proof, or one that does not prove it; the text says which step failed."""


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry's index, the path from its leaf to the root, and the signed checkpoint that has the root."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __bytes__(self) -> bytes:
        lines = [_FIRST]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(value).decode() for value in self.hashes]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint


def parse_proof(data: bytes) -> Proof:
    """A proof, nothing of it verified; raises ProofRefused."""
    if len(data) > MAX_PROOF_BYTES:
        raise ProofRefused("longer than any proof")
    head, found, checkpoint = data.partition(b"\n\n")
    if not found:
        raise ProofRefused("no empty line before the checkpoint")
    try:
        first, *lines = head.decode().split("\n")
    except UnicodeDecodeError as cause:
        raise ProofRefused("not UTF-8") from cause
    if first != _FIRST or not lines:
        raise ProofRefused("not a tlog-proof of version 1")
    extra = None
    if lines[0].startswith("extra "):
        extra = _base64(lines.pop(0)[len("extra ") :])
    match = _INDEX.fullmatch(lines[0]) if lines else None
    if match is None or int(match[1]) > MAX_SIZE:
        raise ProofRefused("no index")
    hashes = tuple(_base64(line) for line in lines[1:])
    if len(hashes) > MAX_HASHES or any(len(value) != HASH_BYTES for value in hashes):
        raise ProofRefused("the path is at most 63 hashes of 32 bytes")
    return Proof(int(match[1]), hashes, checkpoint, extra)


def verify_proof(proof: Proof, leaf: bytes, trust: Trust) -> Checkpoint:
    """The checkpoint in which the entry `leaf` is proven to be. Raises ProofRefused.

    1 the checkpoint is signed by a trusted log and its witnesses' quorum; 2 the leaf's hash is in its tree.
    """
    try:
        note = parse_note(proof.checkpoint)
        checkpoint = parse_checkpoint(note.text)
        trust.check(note, checkpoint.origin)
    except (NoteRefused, CheckpointRefused, TrustRefused) as cause:
        raise ProofRefused(f"checkpoint: {cause}") from cause
    if not verify_inclusion(proof.index, checkpoint.size, leaf_hash(leaf), proof.hashes, checkpoint.root):
        raise ProofRefused("the entry is not where the proof says")
    return checkpoint


def prove(index: int, note: bytes, fetch_tile: Callable[[Resource], bytes]) -> Proof:
    """A proof that the entry at `index` is in the tree of the signed checkpoint `note`.

    `fetch_tile` gives a tile's hashes, at least `width` of them. Raises ProofRefused if there is no such entry.
    """
    try:
        checkpoint = parse_checkpoint(parse_note(note).text)
    except (NoteRefused, CheckpointRefused) as cause:
        raise ProofRefused(f"checkpoint: {cause}") from cause
    if not 0 <= index < checkpoint.size:
        raise ProofRefused(f"there is no entry {index} in a log of {checkpoint.size}")
    hashes = inclusion_proof(index, checkpoint.size, node_reader(checkpoint.size, fetch_tile))
    return Proof(index, tuple(hashes), note)


def node_reader(size: int, fetch_tile: Callable[[Resource], bytes]) -> Callable[[int, int], bytes]:
    """Perfect subtrees of a tree of `size`, from its tiles: what merkle's proof builders ask for."""

    def node(height: int, index: int) -> bytes:
        level, within = divmod(height, HEIGHT)
        n, place = divmod(index << within, WIDTH)
        tile = fetch_tile(Resource("tile", level, n, width_at(level, n, size)))
        return node_in_tile(tile, within, place >> within)

    return node


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as cause:
        raise ProofRefused("not base64") from cause
    if base64.b64encode(data).decode() != text:
        raise ProofRefused("not the one base64 spelling")
    return data
