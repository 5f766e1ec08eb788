"""add-checkpoint as a pure step (c2sp.org/tlog-witness@v1.0.0): check, cosign, refuse rollback.

    request    old <size>\\n, up to 63 base64 hashes one a line, an empty line, a signed checkpoint
    1 the origin is known (404) and signed by one of its trusted keys, none of whose signatures fails (403)
    2 old is not larger than the checkpoint's size (400)
    3 old is the size that was cosigned last (409, with that size)
    4 the consistency proof holds (422)

The caller stores the new state by compare-and-swap on the old one, and gives out the response only after that.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import MAX_SIZE, Checkpoint, CheckpointRefused, parse_checkpoint
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from ledger.note import MAX_NOTE_BYTES, Note, NoteRefused, Signer, Verifier, open_note, parse_note

__all__ = ["Cosigned", "Request", "RequestRefused", "Response", "add_checkpoint", "parse_request", "request_bytes"]

MAX_HASHES: Final = 63
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


class RequestRefused(ValueError):
    """Not an add-checkpoint request."""


@dataclass(frozen=True, slots=True)
class Request:
    """The size that the client believes was cosigned last, a proof from there, and the new checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness remembers of a log: the largest tree it has vouched for."""

    size: int = 0
    root: bytes = EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Response:
    """Status, content type and body. `state` is to be stored first, where there is one.

    `evidence`: the log signed two histories; keep the request for ever.
    """

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    state: Cosigned | None = None
    evidence: bool = False


def request_bytes(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The body that a log sends."""
    lines = [f"old {old}", *(base64.b64encode(value).decode() for value in proof)]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + note


def parse_request(data: bytes) -> Request:
    """A request, nothing of it verified; raises RequestRefused."""
    if len(data) > MAX_NOTE_BYTES + 4096:
        raise RequestRefused("longer than any request")
    head, found, rest = data.partition(b"\n\n")
    if not found:
        raise RequestRefused("no empty line before the checkpoint")
    try:
        first, *lines = head.decode().split("\n")
        note = parse_note(rest)
        checkpoint = parse_checkpoint(note.text)
        proof = tuple(base64.b64decode(line, validate=True) for line in lines)
    except (UnicodeDecodeError, NoteRefused, CheckpointRefused, ValueError) as cause:
        raise RequestRefused(str(cause)) from cause
    match = _OLD.fullmatch(first)
    if match is None or int(match[1]) > MAX_SIZE:
        raise RequestRefused("the first line is old <size>")
    spelled = all(base64.b64encode(value).decode() == line for value, line in zip(proof, lines, strict=True))
    if len(proof) > MAX_HASHES or not spelled or any(len(value) != HASH_BYTES for value in proof):
        raise RequestRefused("a proof is at most 63 hashes of 32 bytes")
    return Request(int(match[1]), proof, note, checkpoint)


def add_checkpoint(
    data: bytes,
    logs: Mapping[str, Sequence[Verifier]],
    states: Mapping[str, Cosigned],
    cosigner: Signer,
    now: int,
) -> Response:
    """The witness's answer at POSIX time `now`. `logs`: trusted keys by origin; `states`: what was cosigned, by origin.

    The same size and root again is answered with a fresh cosignature: that is a log's heartbeat.
    """
    try:
        request = parse_request(data)
    except RequestRefused as cause:
        return _refuse(400, str(cause))
    checkpoint = request.checkpoint
    # 1
    keys = logs.get(checkpoint.origin)
    if not keys:
        return _refuse(404, "unknown log")
    try:
        open_note(request.note, keys)
    except NoteRefused as cause:
        return _refuse(403, str(cause))
    # 2
    if request.old > checkpoint.size:
        return _refuse(400, "old is larger than the checkpoint")
    # 3
    last = states.get(checkpoint.origin, Cosigned())
    if request.old != last.size:
        return Response(409, b"%d\n" % last.size, "text/x.tlog.size")
    # 4
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return _refuse(422, "the root of an empty tree is SHA-256 of nothing")
    if not verify_consistency(last.size, checkpoint.size, last.root, checkpoint.root, request.proof):
        # A wrong proof alone proves nothing, but two signed roots for one size do.
        forked = checkpoint.size == last.size and checkpoint.root != last.root
        return _refuse(422, "inconsistent with what was cosigned", evidence=forked)
    line = cosigner.sign(request.note.text, now).line.encode()
    return Response(200, line, state=Cosigned(checkpoint.size, checkpoint.root))


def _refuse(status: int, why: str, *, evidence: bool = False) -> Response:
    return Response(status, f"{why}\n".encode(), evidence=evidence)
