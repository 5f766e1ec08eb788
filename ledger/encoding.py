"""Canonical bytes for whatever is hashed or signed: one place to be right.

The form is RFC 8785 (JCS) restricted to a subset in which it is easy to be right: objects with ASCII keys,
arrays, strings, booleans, null and integers of magnitude below 2**53. No floats. Bytes are made once, by
`encode`, and carried as bytes from then on; `decode` accepts exactly what `encode` makes.
"""

from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

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


def is_canonical_as(data: bytes, shape: type[msgspec.Struct]) -> bool:
    """Whether `data` is surely the canonical form of a `shape` with every field written out; a fast yes.

    No is no verdict: ask `decode`. For the hot path, where typed structs were encoded; costs a tenth of looking at
    every value in turn.
    """
    form = _form_of(shape)
    if form is None:
        return False
    begin, read, write = form
    if not data.startswith(begin) or not data.isascii():
        return False
    try:
        return write(read(data)) == data
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


@cache
def _form_of(shape: type[msgspec.Struct]) -> tuple[bytes, Callable[[bytes], Any], Callable[[Any], bytes]] | None:
    """How the canonical form of `shape` begins, and a decoder and an encoder that give back nothing but that form.

    None where a field may hold anything (Any, float).
    """
    try:
        twin, has_objects = _twin(shape)
    except TypeError:
        return None
    names = [field.encode_name for field in msgspec.structs.fields(twin)]
    begin = f'{{"{names[0]}":' if names else "{}"
    # A struct's fields come in the order in which the twin has them; sorting is for what else has members.
    encoder = msgspec.json.Encoder(order="sorted" if has_objects else None)
    return begin.encode(), msgspec.json.Decoder(twin).decode, encoder.encode


def _twin(shape: type[msgspec.Struct]) -> tuple[type[msgspec.Struct], bool]:
    """`shape` with its fields in canonical order, none optional, every integer bounded; and whether dicts are in it."""
    members = []
    has_objects = False
    for field in sorted(msgspec.structs.fields(shape), key=lambda field: field.encode_name):
        kind, objects = _bounded(field.type)
        members.append((field.encode_name, kind))
        has_objects |= objects
    twin = msgspec.defstruct(shape.__name__, members, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False)
    return twin, has_objects


def _bounded(kind: Any) -> tuple[Any, bool]:
    """`kind` with its integers bounded, and whether dicts are in it. Raises TypeError for what may hold anything."""
    if kind is int:
        return Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)], False
    if kind in (str, bool, NoneType) or get_origin(kind) is Literal:
        return kind, False
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _twin(kind)
    origin, parts = get_origin(kind), [_bounded(part) for part in get_args(kind)]
    kinds, objects = tuple(part[0] for part in parts), any(part[1] for part in parts)
    if origin is list:
        return list[kinds], objects  # type: ignore[valid-type]
    if origin is dict and kinds[0] is str:
        return dict[kinds], True  # type: ignore[valid-type,misc]
    if origin in (Union, UnionType):
        return reduce(or_, kinds), objects
    raise TypeError(f"{kind} has no bounded form")


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
