"""Tree heads, parsed strictly and printed (c2sp.org/tlog-checkpoint@v1.0.0)."""

import base64
import re
from dataclasses import dataclass
from typing import Final

from ledger.merkle import EMPTY_ROOT, HASH_BYTES
from ledger.note import ED25519, Note, NoteRefused, Signer, Verifier, open_note, parse_note

__all__ = ["Checkpoint", "CheckpointRefused", "open_checkpoint", "parse_checkpoint", "sign_checkpoint"]

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
MAX_SIZE: Final = 2**63 - 1


class CheckpointRefused(ValueError):
    """Not a checkpoint, or not one that the log's key signed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of the log named `origin`. Extension lines are kept as they are: cosignatures cover them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __bytes__(self) -> bytes:
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """The checkpoint that a note's text is; raises CheckpointRefused for any other spelling."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as cause:
        raise CheckpointRefused("not UTF-8") from cause
    if len(lines) < 4 or lines.pop() != "" or not all(lines):
        raise CheckpointRefused("a checkpoint has three lines or more, none of them empty")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise CheckpointRefused("the size is a decimal number without leading zeros")
    try:
        raw = base64.b64decode(root, validate=True)
    except ValueError as cause:
        raise CheckpointRefused("the root is not base64") from cause
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode() != root:
        raise CheckpointRefused("the root is the base64 of 32 bytes")
    return Checkpoint(origin, int(size), raw, tuple(extensions))


def open_checkpoint(data: bytes, log: Verifier) -> tuple[Checkpoint, Note]:
    """A signed checkpoint of the log whose key is `log` and whose origin is that key's name.

    Raises CheckpointRefused.
    """
    try:
        note = parse_note(data)
        if log.type != ED25519:
            raise CheckpointRefused("a log signs with a key of type 1")
        open_note(note, [log])
    except NoteRefused as cause:
        raise CheckpointRefused(str(cause)) from cause
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log.name:
        raise CheckpointRefused("the checkpoint is of another log")
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise CheckpointRefused("the root of an empty tree is SHA-256 of nothing")
    return checkpoint, note


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """The checkpoint as a note with the log's signature."""
    text = bytes(checkpoint)
    return bytes(Note(text, (signer.sign(text),)))
