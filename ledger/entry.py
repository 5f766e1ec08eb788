"""What one entry says: a draft in, a stub with two salted commitments out.

An entry has two parts. *Facts* (who, which store, counts, result) and *content* (literals, bodies, purpose)
are canonical JSON, committed to separately with HMAC-SHA256 under a fresh 32-byte blind each, and stored
beside the log. The *stub* is the leaf of the tree: what stays for ever and tells nobody anything by itself.

Stub, version 1: one canonical JSON object, at most 65,535 bytes.

    v         1
    kind      dotted kind, e.g. "access.intent";  kv  its version, an integer
    id        UUIDv7, made by the writer
    time      RFC 3339, UTC, microseconds, "Z"
    member    whose log this is
    writer    SHA-256 of the writer's public key, first 16 bytes, hex
    counter   0, 1, 2, ... without gaps per writer and log
    prev      SHA-256 of that writer's previous stub, hex; "" for counter 0
    policy, store_def, release, grant   SHA-256 digests in force, hex; "" where there is none
    facts, content                      commitments, hex; "" where there is no content
    trial     true, only in a trial
    sig       base64 Ed25519 over SIGNED_PREFIX + the canonical stub without `sig`;
              only the last stub of a flush carries it, and through `prev` it covers the others
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

__all__ = [
    "BLIND_BYTES",
    "MAX_STUB_BYTES",
    "SIGNED_PREFIX",
    "Draft",
    "Entry",
    "Part",
    "Stub",
    "commit",
    "stub_digest",
]

MAX_STUB_BYTES = 65_535  # c2sp.org/tlog-tiles: an entry has a 16-bit length
BLIND_BYTES = 32
SIGNED_PREFIX = b"glassgate-stub/v1\n"


class Draft(msgspec.Struct, frozen=True, gc=False):
    """What somebody wants to have recorded; the writer adds identity, order and signature.

    `facts` and `content` are JSON-shaped (or msgspec Structs), or bytes that are canonical already.
    """

    kind: str
    facts: Mapping[str, Any] | msgspec.Struct | bytes
    content: Mapping[str, Any] | msgspec.Struct | bytes | None = None
    version: int = 1
    grant: str = ""
    store_def: str = ""
    entry_id: str = ""  # made by the writer when empty; given when the caller must know it beforehand


class Stub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The leaf, as written above. `omit_defaults` leaves out only `trial` and `sig`."""

    v: int
    kind: str
    kv: int
    id: str
    time: str
    member: str
    writer: str
    counter: int
    prev: str
    policy: str
    store_def: str
    release: str
    grant: str
    facts: str
    content: str
    trial: bool = False
    sig: str = ""


# gc=False: neither holds anything that could lead back to it, and a busy sequencer makes thousands a second.
class Part(msgspec.Struct, frozen=True, gc=False):
    """Facts or content as stored beside the log. `form` says how `data` is kept."""

    data: bytes
    blind: bytes
    form: Literal["clear", "sealed", "erased"] = "clear"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry whole: the exact leaf bytes, what they say, and the two parts."""

    leaf: bytes
    stub: Stub
    facts: Part
    content: Part | None = None


# HMAC pads its key to the hash's block of 64 bytes and mixes it with one constant inside and one outside (RFC 2104).
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * (64 - BLIND_BYTES)
_OUTER_REST: Final = b"\x5c" * (64 - BLIND_BYTES)


def commit(data: bytes, blind: bytes) -> str:
    """HMAC-SHA256(blind, data), hex: binding because the blind's length is fixed, hiding because it is fresh."""
    if len(blind) != BLIND_BYTES:
        raise ValueError("a blind is 32 bytes")
    # Spelled out: what OpenSSL does to set an HMAC up costs more than the two hashes of an entry's few hundred bytes.
    inner = hashlib.sha256(blind.translate(_INNER) + _INNER_REST + data).digest()
    return hashlib.sha256(blind.translate(_OUTER) + _OUTER_REST + inner).hexdigest()


def stub_digest(leaf: bytes) -> str:
    """What the writer's next stub carries as `prev`."""
    return hashlib.sha256(leaf).hexdigest()
