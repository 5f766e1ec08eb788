"""Bodies and queries in, structs out; or every fault at once, each with its field. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from approvals.errors import Fault, Refusal
from approvals.reasons import Reason

__all__ = ["MAX_BODY_BYTES", "body", "query"]

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_FAULTS: Final = 20

T = TypeVar("T", bound=msgspec.Struct)


def body(shape: type[T], data: bytes) -> T:
    """`data` as a `shape`. Raises Refusal(REQUEST_INVALID), or BODY_TOO_LARGE; nothing else for any bytes."""
    if len(data) > MAX_BODY_BYTES:
        raise Refusal(Reason.BODY_TOO_LARGE)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        raise _invalid([Fault("", f"expected a JSON object in UTF-8: {_said(cause)}")]) from cause
    if not isinstance(value, dict):
        raise _invalid([Fault("", "expected a JSON object")])
    return _fitted(shape, value, strict=True)


def query(shape: type[T], pairs: Iterable[tuple[str, str]]) -> T:
    """A query string's decoded pairs as a `shape`. Raises Refusal(REQUEST_INVALID)."""
    value: dict[str, str] = {}
    faults = []
    for name, text in pairs:
        if name in value:
            faults.append(Fault(name, "given more than once"))
        value[name] = text
    if faults:
        raise _invalid(faults)
    return _fitted(shape, value, strict=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two equal names one parser takes the first and another the last: what was read must be what was sent.
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _fitted(shape: type[T], value: Mapping[str, Any], *, strict: bool) -> T:
    faults = [Fault(_shown(name), "no such field") for name in value if name not in shape.__struct_fields__]
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(shape):
        if field.name not in value:
            if field.required:
                faults.append(Fault(field.name, "is missing"))
            continue
        try:
            _storable(value[field.name])
            given[field.name] = msgspec.convert(value[field.name], field.type, strict=strict)
        except (msgspec.ValidationError, ValueError) as cause:
            faults.append(Fault(field.name, str(cause)))
    if faults:
        raise _invalid(faults)
    return shape(**given)


def _storable(value: Any) -> None:
    """Raise ValueError for text without a UTF-8 form (lone surrogates) or with NUL, which PostgreSQL cannot keep."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("must not contain the NUL character")
        try:
            value.encode()
        except UnicodeEncodeError as cause:
            raise ValueError("contains half a surrogate pair, which is no character") from cause
    elif isinstance(value, list):
        for item in value:
            _storable(item)


def _shown(name: str) -> str:
    return name[:64].encode("utf-8", "replace").decode()


def _said(cause: Exception) -> str:
    if isinstance(cause, RecursionError):
        return "nested too deeply"
    if isinstance(cause, UnicodeDecodeError):
        return f"byte {cause.start} is not UTF-8"
    return str(cause)


def _invalid(faults: list[Fault]) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, faults=faults[:_MAX_FAULTS])
