"""What a cosigner signs (c2sp.org/tlog-cosignature): version 1 for Ed25519, subtrees for ML-DSA-44.

Neither version 1 nor its timestamp names the cosigner: a key has one role (witness, mirror, log), never two.
"""

import struct
from typing import Final

__all__ = ["MAX_TIME", "cosigned_bytes", "split_signature", "subtree_bytes"]

MAX_TIME: Final = 2**63 - 1
_U64: Final = struct.Struct(">Q")


def cosigned_bytes(checkpoint: bytes, time: int) -> bytes:
    """The message of cosignature/v1 over a checkpoint's whole text, at POSIX time `time` in seconds."""
    return b"cosignature/v1\ntime %d\n" % time + checkpoint


def subtree_bytes(cosigner: str, time: int, origin: str, start: int, end: int, root: bytes) -> bytes:
    """The message of an ML-DSA-44 cosignature over leaves [start, end); a checkpoint is start 0. Raises ValueError."""
    names = cosigner.encode(), origin.encode()
    if any(not 1 <= len(name) <= 255 for name in names) or len(root) != 32:
        raise ValueError("names have 1 to 255 bytes, a root 32")
    if not 0 <= start < end <= MAX_TIME or not 0 <= time <= MAX_TIME or (start and time):
        raise ValueError("a subtree that does not start at 0 carries no time")
    parts = (
        b"subtree/v1\n\0",
        bytes((len(names[0]),)) + names[0],
        _U64.pack(time),
        bytes((len(names[1]),)) + names[1],
        _U64.pack(start),
        _U64.pack(end),
        root,
    )
    return b"".join(parts)


def join_signature(time: int, signature: bytes) -> bytes:
    """Time and signature as they stand behind the key id of a note's line."""
    return _U64.pack(time) + signature


def split_signature(data: bytes, length: int) -> tuple[int, bytes] | None:
    """Time and signature of exactly `length` bytes; None for any other length or a time of 2**63 and more."""
    if len(data) != 8 + length:
        return None
    time = _U64.unpack_from(data)[0]
    return None if time > MAX_TIME else (time, data[8:])
