"""The stub as bytes: its one spelling, and the writer's signature over it.

A stub's canonical form is a regular language, so one expression both checks the form of every field and that
no other spelling (key order, white space, escapes, duplicate keys) was used. What passes is decoded once.
"""

import base64
import hashlib
import re
from datetime import datetime
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger import encoding
from ledger.entry import MAX_STUB_BYTES, SIGNED_PREFIX, Stub

__all__ = ["StubRefused", "is_entry_id", "parse_stub", "sign_stub", "stub_signed_by", "writer_id"]


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
