"""Crockford's base32, lower case: what people can read aloud, without i, l, o and u."""

from typing import Final

__all__ = ["ALPHABET", "crockford"]

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def crockford(data: bytes) -> str:
    """`data` as base32; its length must be a multiple of 5 bytes, so that no bits are left over."""
    if len(data) % 5:
        raise ValueError("only multiples of 5 bytes have a form without padding")
    number = int.from_bytes(data, "big")
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(len(data) * 8 - 5, -1, -5))
