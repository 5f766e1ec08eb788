"""How leaves and bodies lie in a row of bytes: shared by flushes (batch.py) and by what is served (server.py).

    leaf    u16be length ‖ leaf                                      (c2sp.org/tlog-tiles, entry bundles)
    body    u8 forms ‖ facts ‖ content
            forms: facts' form in the high four bits, content's in the low four:
            0 none, 1 clear, 2 sealed, 3 erased
            a part whose form is clear or sealed: u32be length ‖ data ‖ blind (32 bytes); otherwise nothing

A whole bundle is its records one after another, with nothing before, between or after.
"""

import struct
from typing import Final

from ledger.entry import BLIND_BYTES, Part

__all__ = ["MAX_PART_BYTES", "FramingRefused", "body_bytes", "bundle", "read_bodies", "read_body", "read_bundle"]

MAX_PART_BYTES: Final = 17 * 1024 * 1024  # above the largest text a store may allow (16 MiB)
MAX_BODIES: Final = 256

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_FORMS: Final = {"clear": 1, "sealed": 2, "erased": 3}
_NAMES: Final = {1: "clear", 2: "sealed", 3: "erased"}


class FramingRefused(ValueError):
    """The bytes are not a sequence of records of this form."""


def body_bytes(facts: Part | None, content: Part | None) -> bytes:
    """One body as bytes."""
    forms = (_FORMS[facts.form] << 4 if facts else 0) | (_FORMS[content.form] if content else 0)
    return bytes((forms,)) + _part_bytes(facts) + _part_bytes(content)


def _part_bytes(part: Part | None) -> bytes:
    if part is None or part.form == "erased":
        return b""
    if len(part.blind) != BLIND_BYTES or len(part.data) > MAX_PART_BYTES:
        raise ValueError(f"a part has a blind of {BLIND_BYTES} bytes and at most {MAX_PART_BYTES} bytes of data")
    return _U32.pack(len(part.data)) + part.data + part.blind


def read_body(data: bytes, at: int) -> tuple[Part | None, Part | None, int]:
    """Facts, content and the position behind them; raises FramingRefused."""
    if at >= len(data):
        raise FramingRefused("ends before a body")
    forms = data[at]
    facts, at = _read_part(data, at + 1, forms >> 4)
    content, at = _read_part(data, at, forms & 15)
    return facts, content, at


def _read_part(data: bytes, at: int, form: int) -> tuple[Part | None, int]:
    if form == 0:
        return None, at
    name = _NAMES.get(form)
    if name == "clear" or name == "sealed":
        start = at + 4
        if start > len(data):
            raise FramingRefused("ends inside a length")
        end = start + _U32.unpack_from(data, at)[0]
        if end - start > MAX_PART_BYTES or end + BLIND_BYTES > len(data):
            raise FramingRefused("a part is longer than what holds it")
        return Part(
            data[start:end], data[end : end + BLIND_BYTES], "clear" if form == 1 else "sealed"
        ), end + BLIND_BYTES
    if name == "erased":
        return Part(b"", b"", "erased"), at
    raise FramingRefused(f"no form {form}")


def read_bodies(data: bytes, count: int) -> list[tuple[Part | None, Part | None]]:
    """Exactly `count` bodies, nothing behind them; raises FramingRefused."""
    bodies = []
    at = 0
    for _ in range(count):
        facts, content, at = read_body(data, at)
        bodies.append((facts, content))
    if at != len(data):
        raise FramingRefused("bytes behind the last body")
    return bodies


def bundle(leaves: list[bytes]) -> bytes:
    """An entry bundle: at most 256 leaves."""
    return b"".join([_U16.pack(len(leaf)) + leaf for leaf in leaves])


def read_bundle(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` leaves, nothing behind them; raises FramingRefused."""
    leaves = []
    at = 0
    for _ in range(count):
        leaf, at = read_leaf(data, at)
        leaves.append(leaf)
    if at != len(data):
        raise FramingRefused("bytes behind the last entry")
    return leaves


def read_leaf(data: bytes, at: int) -> tuple[bytes, int]:
    """One leaf and the position behind it; raises FramingRefused."""
    start = at + 2
    if start > len(data):
        raise FramingRefused("ends inside a length")
    end = start + int(_U16.unpack_from(data, at)[0])
    if end > len(data):
        raise FramingRefused("an entry is longer than what holds it")
    return data[start:end], end
