"""A copy of the program where it lies on a disk: what is in it, and what it was installed as."""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from glassgate.release.errors import ReleaseRefused
from glassgate.release.record import Difference, differences, parse_record
from glassgate.release.source_digest import PACKAGES, is_source

__all__ = ["InstalledRefused", "against", "bytecode", "measure", "own_record", "version_at"]

NO_FILE: Final = "0" * 64
"""Stands for what is not a file: a digest that no file has."""


class InstalledRefused(ReleaseRefused):
    """There is no installed copy there, or it cannot be read."""


def measure(site: Path) -> dict[str, str]:
    """Path -> SHA-256 in hex of every file of the program below `site`. Raises InstalledRefused.

    Files are read as Python would read them, through links. A linked directory is not walked (it may lead anywhere,
    also back); it counts as a file with its target as content, which no release has.
    """
    found: dict[str, str] = {}
    for path in _below(site):
        name = path.relative_to(site).as_posix()
        if is_source(name):
            found[name] = _digest(path)
    return found


def bytecode(site: Path) -> int:
    """How many files of compiled code lie beside the sources. Python runs these; nothing here reads them."""
    return sum(not is_source(path.relative_to(site).as_posix()) for path in _below(site))


def own_record(site: Path) -> dict[str, str] | None:
    """The RECORD that the installer left for glassgate in `site`; None if it was not installed there from a wheel.

    Raises RecordRefused.
    """
    for one in importlib.metadata.distributions(name="glassgate", path=[str(site)]):
        text = one.read_text("RECORD")
        if text is not None:
            record = parse_record(text.encode("utf-8", "surrogateescape"))
            # An editable install has a RECORD too; it lists a .pth file, and the sources are elsewhere.
            return record if any(map(is_source, record)) else None
    return None


def version_at(site: Path) -> str:
    """The version that is installed in `site`; "" if none is."""
    for one in importlib.metadata.distributions(name="glassgate", path=[str(site)]):
        return one.version
    return ""


def against(record: Mapping[str, str], site: Path) -> tuple[Difference, ...]:
    """What differs between a wheel's RECORD and the copy in `site`, sorted by path. Raises InstalledRefused.

    The program must hold the same files and no others; of what else a wheel installs (its own description), the
    named files must be the same, and what an installer adds is its affair. So is what it puts outside `site`.
    """
    inside = {name: digest for name, digest in record.items() if ".." not in name.split("/") and name[:1] != "/"}
    found = measure(site)
    for name in inside:
        if not is_source(name) and (site / name).exists():
            found[name] = _digest(site / name)
    return differences(inside, found)


def _below(site: Path) -> Iterator[Path]:
    for package in PACKAGES:
        for directory, directories, files in os.walk(site / package, onerror=_raise):
            directories.sort()
            yield from (Path(directory, name) for name in sorted(files))
            yield from (path for name in directories if (path := Path(directory, name)).is_symlink())


def _raise(cause: OSError) -> None:
    raise InstalledRefused(f"{cause.filename} cannot be read: {cause.strerror}") from cause


def _digest(path: Path) -> str:
    try:
        if path.is_symlink() and path.is_dir():
            return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        if not path.is_file():
            return NO_FILE  # a pipe would never end, a dangling link has nothing to read
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise InstalledRefused(f"{path} cannot be read: {cause.strerror}") from cause
