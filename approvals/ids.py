"""Typed ids with a prefix, so that a request's id can never be taken for a grant's.

An id is `prefix_` + 26 characters of Crockford base32 over a UUIDv7: sortable by time, safe in URLs, file
names and double-click selection. The caller brings time and entropy.
"""

import re
from typing import Final, Literal

from ledger.uuid7 import uuid7

__all__ = ["Prefix", "is_id", "new_id"]

Prefix = Literal["req", "rev", "gr", "key", "ses", "wk", "jti"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID: Final = re.compile(r"(req|rev|gr|key|ses|wk|jti)_[0-7][0-9a-hjkmnp-tv-z]{25}")


def new_id(prefix: Prefix, unix_ms: int, entropy: bytes) -> str:
    """A fresh id such as `req_01k8…`. `entropy` is at least 10 random bytes."""
    number = uuid7(unix_ms, entropy).int
    digits = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(digits)}"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` is spelled like an id of that kind. Says nothing about its existence."""
    return _ID.fullmatch(text) is not None and text.startswith(prefix + "_")
