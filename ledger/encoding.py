"""Canonical bytes for whatever is hashed or signed: one place to be right.

The form is RFC 8785 (JCS) restricted to a subset in which it is easy to be right: objects with ASCII keys,
arrays, strings, booleans, null and integers of magnitude below 2**53. No floats. Bytes are made once, by
`encode`, and carried as bytes from then on; `decode` accepts exactly what `encode` makes.
"""

import re
from functools import cache
from typing import Any, Final, Literal, get_origin

import msgspec

__all__ = ["MAX_INT", "NotCanonical", "decode", "encode", "is_canonical_as"]

MAX_INT = 2**53 - 1
MAX_DEPTH = 32

_encoder = msgspec.json.Encoder(order="sorted")


class NotCanonical(ValueError):
    """The bytes are not the canonical form of any value, or the value has no canonical form."""


def encode(value: Any) -> bytes:
    """The canonical bytes of `value` (a JSON-shaped value or a msgspec Struct).

    Does not walk the value: callers on the hot path hand in typed structs. Raises NotCanonical for text with
    lone surrogates, which has no UTF-8 form.
    """
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, TypeError) as cause:
        raise NotCanonical(str(cause)) from cause


def decode(data: bytes) -> Any:
    """The value whose canonical bytes are `data`; raises NotCanonical for any other spelling of it.

    Re-encoding is the check: duplicate keys, other key orders, white space, needless escapes and
    non-shortest numbers all come back as different bytes.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise NotCanonical(f"not JSON: {cause}") from cause
    _check(value, MAX_DEPTH)
    if _encoder.encode(value) != data:
        raise NotCanonical("JSON, but not in canonical form")
    return value


# A long run of digits where a value may stand: perhaps an integer out of range (or just text that looks like one).
_PERHAPS_TOO_BIG: Final = re.compile(rb"[:\[,]-?[0-9]{16}")


def is_canonical_as(data: bytes, shape: type[msgspec.Struct]) -> bool:
    """Whether `data` is surely the canonical form of a `shape` with every field written out; a fast yes.

    No is no verdict: ask `decode`. `shape` has no fields of free form (Any, float). For the hot path, where typed
    structs were encoded; costs a tenth of looking at every value in turn.
    """
    try:
        value = msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if not data.isascii() or _encoder.encode(value) != data:
        return False
    integers = _integers_of(shape)
    if integers is None:
        return _PERHAPS_TOO_BIG.search(data) is None
    return all(-MAX_INT <= getattr(value, name) <= MAX_INT for name in integers)


@cache
def _integers_of(shape: type[msgspec.Struct]) -> tuple[str, ...] | None:
    """The fields of `shape` that are integers; None if there may be others further inside."""
    names = []
    for field in msgspec.structs.fields(shape):
        if field.type is int:
            names.append(field.name)
        elif field.type not in (str, bool, list[str]) and get_origin(field.type) is not Literal:
            return None
    return tuple(names)


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, member in value.items():
            if not key.isascii():
                # JCS sorts by UTF-16 code unit, we by byte: the two agree on ASCII only.
                raise NotCanonical("object keys must be ASCII")
            _check(member, depth - 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth - 1)
    elif isinstance(value, float):
        raise NotCanonical("floating-point numbers have no place in a record")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INT:
        raise NotCanonical("integers must stay below 2**53")
