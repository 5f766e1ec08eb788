"""What this running copy says of itself: the digest of its own files, and whether it is what was installed.

A self-report, no proof: see docs/releases.md for what it does not show.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from glassgate.release.errors import ReleaseRefused
from glassgate.release.installed import against, measure, own_record, version_at
from glassgate.release.record import Difference
from glassgate.release.source_digest import PACKAGES, source_digest

__all__ = ["Copy", "Identity", "identify", "release_digest", "running"]

SITE: Final = Path(__file__).resolve().parents[2]
"""Where this copy lies: site-packages, or the root of a checkout."""


class Identity(NamedTuple):
    """How a process introduces itself in the log."""

    digest: str  # the source digest, measured; "" if the files could not be read
    words: str  # the version, and what speaks against taking it at its word


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the program on a disk, as it was found."""

    site: Path
    version: str  # "" if nothing there says one
    digest: str
    files: int
    installed: bool  # from a wheel, which left its RECORD
    changed: tuple[Difference, ...] = ()  # against that RECORD
    fault: str = ""  # why it could not be looked at

    @property
    def words(self) -> str:
        version = self.version or "unknown version"
        if self.fault:
            return f"{version} (not measured: {self.fault})"
        if not self.installed:
            return f"{version} (development checkout)"
        if self.changed:
            return f"{version} (not as installed: {self.changed[0]})"
        return version


@cache
def release_digest() -> Identity:
    """Digest and words of this process's own code, measured once: later changes on the disk are not what runs.

    Never raises: a gate whose files cannot be read still has to say in the log that it started, and that.
    """
    copy = running()
    return Identity(copy.digest, copy.words)


def running() -> Copy:
    """The copy that this process runs from."""
    elsewhere = _elsewhere(SITE)
    if elsewhere:
        return Copy(SITE, _version(SITE), "", 0, installed=False, fault=elsewhere)
    return identify(SITE)


def identify(site: Path) -> Copy:
    """The copy in `site`."""
    version = ""
    try:
        version = _version(site)
        found = measure(site)
        record = own_record(site)
        changed = () if record is None else against(record, site)
    except (ReleaseRefused, OSError, UnicodeError) as cause:
        return Copy(site, version, "", 0, installed=False, fault=str(cause))
    return Copy(site, version, source_digest(found), len(found), record is not None, changed)


def _elsewhere(site: Path) -> str:
    """Which of our packages Python would take from another place: then measuring `site` says nothing of them."""
    for package in PACKAGES:
        spec = find_spec(package)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
        if places != [(site / package).resolve()]:
            where = ", ".join(map(str, places)) or "nowhere"
            return f"{package} is taken from {where}"
    return ""


def _version(site: Path) -> str:
    installed = version_at(site)
    if installed:
        return installed
    try:
        return str(tomllib.loads((site / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
