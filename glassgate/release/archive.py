"""Wheels and sdists as what they hold: file by file, so that a difference has a name."""

import hashlib
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Final

from glassgate.release.errors import ReleaseRefused
from glassgate.release.record import differences, parse_record
from glassgate.release.source_digest import is_source

__all__ = ["ArchiveRefused", "digests", "first_difference", "members", "sources", "wheel_record"]

MAX_MEMBERS: Final = 20_000
MAX_UNPACKED_BYTES: Final = 256 << 20
"""An archive may come from somebody else, and compresses a thousandfold if it was made to."""

# What the two modules raise on garbage, seen by feeding them some.
_GARBAGE: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError,
    RuntimeError, IndexError, KeyError, OverflowError,
)  # fmt: skip


class ArchiveRefused(ReleaseRefused):
    """Neither a wheel nor an sdist that can be read."""


def members(name: str, data: bytes) -> dict[str, bytes]:
    """Path -> bytes of every file in the archive called `name`. Raises ArchiveRefused."""
    held: dict[str, bytes] = {}
    left = MAX_UNPACKED_BYTES
    try:
        for path, content in _zip(data) if name.endswith(".whl") else _tar(data):
            left -= len(content)
            if left < 0 or len(held) >= MAX_MEMBERS:
                raise ArchiveRefused(
                    f"{name}: unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB or {MAX_MEMBERS} files"
                )
            if held.setdefault(path, content) is not content:
                # Tools disagree on which of two wins, so one file could be shown and another installed.
                raise ArchiveRefused(f"{name}: {path} is in it twice")
    except _GARBAGE as cause:
        raise ArchiveRefused(f"{name}: cannot be read: {cause}") from cause
    return held


def digests(held: Mapping[str, bytes]) -> dict[str, str]:
    """Path -> SHA-256 in hex."""
    return {path: hashlib.sha256(content).hexdigest() for path, content in held.items()}


def sources(name: str, held: Mapping[str, bytes]) -> dict[str, str]:
    """The digests of the program's own files in a wheel, or in an sdist, which has all below one directory."""
    top = "" if name.endswith(".whl") else name.removesuffix(".tar.gz") + "/"
    return {
        path.removeprefix(top): digest
        for path, digest in digests(held).items()
        if path.startswith(top) and is_source(path.removeprefix(top))
    }


def wheel_record(name: str, held: Mapping[str, bytes]) -> dict[str, str]:
    """Path -> SHA-256 in hex from a wheel's RECORD, which must be true of it. Raises ArchiveRefused, RecordRefused."""
    found = [path for path in held if path.endswith(".dist-info/RECORD") and path.count("/") == 1]
    if len(found) != 1:
        raise ArchiveRefused(f"{name}: expected one RECORD in it, found {len(found)}")
    record = parse_record(held[found[0]])
    wrong = differences({path: digest for path, digest in digests(held).items() if path != found[0]}, record)
    if wrong:
        # Installers do not look: what RECORD promises and what they unpack could be two things.
        raise ArchiveRefused(f"{name}: its RECORD is not true: {wrong[0]}")
    return record


def first_difference(name: str, expected: bytes, found: bytes) -> str:
    """Why two archives of one name are not the same bytes, beginning with a file. Raises ArchiveRefused."""
    unlike = differences(digests(members(name, expected)), digests(members(name, found)))
    # Whatever differs in a wheel, its RECORD does too, and says nothing by it.
    unlike = tuple(one for one in unlike if not one.path.endswith(".dist-info/RECORD")) or unlike
    if unlike:
        more = f" (and {len(unlike) - 1} more)" if len(unlike) > 1 else ""
        return f"{name}: {unlike[0]}{more}"
    return (
        f"{name}: every file in it is the same, but not how they are packed; "
        "another version of Python, hatchling or zlib packs differently"
    )


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as stream:
                    yield info.filename, stream.read(MAX_UNPACKED_BYTES + 1)


def _tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as archive:
        for info in archive:
            if info.isdir():
                continue
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None:
                raise ArchiveRefused(f"{info.name} is not a plain file")
            yield info.name, stream.read(MAX_UNPACKED_BYTES + 1)
