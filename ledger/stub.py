"""The stub as bytes: its one spelling, and the writer's signature over it.

A stub's canonical form is a regular language, so one expression both checks the form of every field and that
no other spelling (key order, white space, escapes, duplicate keys) was used. What passes is decoded once.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger import encoding
from ledger.entry import MAX_STUB_BYTES, SIGNED_PREFIX, Stub

__all__ = [
    "Spelling",
    "StubRefused",
    "decode_alike",
    "is_entry_id",
    "parse_stub",
    "sign_stub",
    "spell_alike",
    "spelling_of",
    "stub_signed_by",
    "writer_id",
]


class StubRefused(ValueError):
    """The bytes are no stub of version 1, or not in the one spelling that a stub has."""


_DIGEST = "[0-9a-f]{64}"
_DIGEST_OR_NONE = f"(?:{_DIGEST})?"
_UUID7 = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
# The last character of 64 bytes in base64 has four unused bits; they must be zero or one signature had 16 spellings.
_SIGNATURE = "[A-Za-z0-9+/]{85}[AQgw]=="

_SHAPE: Final = re.compile(
    (
        r'\{"content":"' + _DIGEST_OR_NONE + '"'
        r',"counter":(?:0|[1-9][0-9]{0,14})'
        r',"facts":"' + _DIGEST + '"'
        r',"grant":"' + _DIGEST_OR_NONE + '"'
        r',"id":"' + _UUID7 + '"'
        r',"kind":"[a-z][a-z0-9_]{0,39}(?:\.[a-z][a-z0-9_]{0,39}){1,3}"'
        r',"kv":[1-9][0-9]{0,3}'
        r',"member":"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"'
        r',"policy":"' + _DIGEST_OR_NONE + '"'
        r',"prev":"' + _DIGEST_OR_NONE + '"'
        r',"release":"' + _DIGEST_OR_NONE + '"'
        r'(,"sig":"' + _SIGNATURE + '")?'
        r',"store_def":"' + _DIGEST_OR_NONE + '"'
        r',"time":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"'
        r'(?:,"trial":true)?'
        r',"v":1'
        r',"writer":"[0-9a-f]{32}"\}'
    ).encode()
)
_ENTRY_ID: Final = re.compile(_UUID7, re.ASCII)
_ENTRY_ID_BYTES: Final = re.compile(_UUID7.encode())
_ENTRY_ID_LENGTH: Final = 36
_MAX_COUNTER: Final = 10**15 - 1

Spelling = tuple[bytes, bytes, bytes]
"""What stubs of one flush and kind have in common: all bytes but content, counter, facts, id and prev."""
_decoder: Final = msgspec.json.Decoder(Stub)


def parse_stub(leaf: bytes) -> Stub:
    """The stub whose leaf bytes these are; raises StubRefused for any bytes that are not exactly one."""
    if len(leaf) > MAX_STUB_BYTES or _SHAPE.fullmatch(leaf) is None:
        raise StubRefused("not a canonical stub of version 1")
    stub = _decoder.decode(leaf)
    if (stub.counter == 0) != (stub.prev == ""):
        raise StubRefused("prev stands in every stub of a writer but its first")
    try:
        datetime.fromisoformat(stub.time)
    except ValueError as cause:
        raise StubRefused(f"time: {cause}") from cause
    return stub


def spelling_of(leaf: bytes) -> Spelling:
    """The bytes that `leaf`, a stub that parse_stub took, may share with others."""
    id_at = leaf.index(b',"id":"') + 7
    prev_at = leaf.index(b',"prev":"', id_at) + 9
    prev_end = leaf.index(b'"', prev_at)
    return leaf[leaf.index(b',"grant":"') : id_at], leaf[id_at + _ENTRY_ID_LENGTH : prev_at], leaf[prev_end:]


def spell_alike(shared: Spelling, content: str, counter: int, facts: str, entry_id: str, prev: str) -> bytes:
    """The unsigned leaf of this spelling with these fields of its own; the caller answers for their forms."""
    opening = f'{{"content":"{content}","counter":{counter},"facts":"{facts}"'.encode()
    return b"".join((opening, shared[0], entry_id.encode(), shared[1], prev.encode(), shared[2]))


def decode_alike(
    leaf: bytes, known: Iterable[Spelling], content: str, counter: int, facts: str, prev: str
) -> Stub | None:
    """The stub of `leaf` if it surely is one, with these commitments, this counter (> 0) and this `prev`; None: unsure.

    `known` are spellings of stubs that parse_stub took. The leaf is compared byte for byte with each of those, put
    together with what the caller computed; of the rest, which is the id, the form is checked. So no byte of it goes
    unchecked, at a third of the price of looking at one after the other.
    """
    opening = f'{{"content":"{content}","counter":{counter},"facts":"{facts}"'.encode()
    if not leaf.startswith(opening) or not 0 < counter <= _MAX_COUNTER:
        return None
    at = len(opening)
    link = prev.encode()
    for before_id, before_prev, rest in known:
        id_at = at + len(before_id)
        id_end = id_at + _ENTRY_ID_LENGTH
        prev_at = id_end + len(before_prev)
        if (
            leaf.startswith(before_prev, id_end)
            and leaf.startswith(before_id, at)
            and leaf.startswith(link, prev_at)
            and leaf.endswith(rest)
            and len(leaf) == prev_at + len(link) + len(rest)
            and _ENTRY_ID_BYTES.fullmatch(leaf, id_at, id_end)
        ):
            return _decoder.decode(leaf)
    return None


def is_entry_id(text: str) -> bool:
    """Whether this is a UUIDv7 in the spelling that a stub has for it."""
    return _ENTRY_ID.fullmatch(text) is not None


def writer_id(public_key: bytes) -> str:
    """SHA-256 of the raw public key, first 16 bytes, hex."""
    return hashlib.sha256(public_key).digest()[:16].hex()


def sign_stub(stub: Stub, key: Ed25519PrivateKey) -> bytes:
    """The leaf bytes of `stub` with its signature inside. The stub given has none."""
    signature = key.sign(SIGNED_PREFIX + encoding.encode(stub))
    return encoding.encode(msgspec.structs.replace(stub, sig=base64.b64encode(signature).decode()))


def stub_signed_by(leaf: bytes, stub: Stub, public_key: Ed25519PublicKey) -> bool:
    """Whether `stub`, parsed from `leaf`, carries a signature of `public_key` over itself without it."""
    if not stub.sig:
        return False
    unsigned = leaf.replace(b',"sig":"' + stub.sig.encode() + b'"', b"", 1)
    try:
        public_key.verify(base64.b64decode(stub.sig), SIGNED_PREFIX + unsigned)
    except InvalidSignature:
        return False
    return True
