"""UUIDv7 (RFC 9562 §5.7) from a time and entropy that the caller brings, so that cores stay free of clocks."""

from uuid import UUID

__all__ = ["uuid7", "uuid7_text"]


def uuid7(unix_ms: int, entropy: bytes) -> UUID:
    """A version 7 UUID. `unix_ms` < 2**48; `entropy` is at least 10 bytes, of which 74 bits are used."""
    return UUID(int=_value(unix_ms, entropy))


def uuid7_text(unix_ms: int, entropy: bytes) -> str:
    """As `uuid7`, spelled out: for those who make many and need nothing but the text."""
    digits = f"{_value(unix_ms, entropy):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _value(unix_ms: int, entropy: bytes) -> int:
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError("unix_ms is out of the 48 bits that UUIDv7 has for it")
    rand = int.from_bytes(entropy[:10], "big")
    if len(entropy) < 10:
        raise ValueError("UUIDv7 needs 10 bytes of entropy")
    rand_a = (rand >> 62) & 0xFFF
    rand_b = rand & ((1 << 62) - 1)
    return (unix_ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b
