"""A wheel's RECORD: which files it installs, with their digests; and what a copy has become since.

https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

import base64
import binascii
import csv
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from glassgate.release.errors import ReleaseRefused

__all__ = ["Difference", "RecordRefused", "differences", "parse_record"]

MAX_BYTES: Final = 4 << 20

_HASH: Final = re.compile(r"sha256=([A-Za-z0-9_-]{43})")


class RecordRefused(ReleaseRefused):
    """Not a RECORD. Names the line."""


class Difference(NamedTuple):
    """One file that is not as it should be."""

    path: str
    what: str  # "differs", "is missing", "does not belong there"

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


def parse_record(data: bytes) -> dict[str, str]:
    """Path -> SHA-256 in hex, for every file that has a digest. Raises RecordRefused.

    Lines without one (RECORD itself, bytecode that an installer compiled) say nothing that could be checked.
    """
    if len(data) > MAX_BYTES:
        raise RecordRefused(f"RECORD: larger than {MAX_BYTES} bytes")
    try:
        rows = list(csv.reader(data.decode("utf-8").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as cause:
        raise RecordRefused(f"RECORD: not comma-separated text: {cause}") from cause
    digests: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or not row[0]:
            raise RecordRefused(f"RECORD: line {number}: expected path,hash,size")
        path, written, _ = row
        if not written:
            continue
        if digests.setdefault(path, digest := _hex(written, number)) != digest:
            raise RecordRefused(f"RECORD: line {number}: {path} stands there twice")
    return digests


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> tuple[Difference, ...]:
    """What stands between two sets of files (path -> digest), sorted by path."""
    return tuple(
        Difference(
            path,
            "is missing" if path not in found else "does not belong there" if path not in expected else "differs",
        )
        for path in sorted({*expected, *found})
        if expected.get(path) != found.get(path)
    )


def _hex(written: str, number: int) -> str:
    digest = _HASH.fullmatch(written)
    if digest is None:
        # md5 and sha1 are forbidden there, and hatchling writes this one.
        raise RecordRefused(f"RECORD: line {number}: expected sha256=…, got {written[:80]!r}")
    try:
        return base64.urlsafe_b64decode(digest[1] + "=").hex()
    except binascii.Error as cause:
        raise RecordRefused(f"RECORD: line {number}: not base64") from cause
