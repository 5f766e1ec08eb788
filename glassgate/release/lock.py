"""A hashed requirements file, read strictly: which packages, in which version, as which files.

The form is pip's (https://pip.pypa.io/en/stable/reference/requirements-file-format/), of which a lock uses little:
`name==version`, perhaps `; marker`, and one `--hash=sha256:…` per file that will do, on continued lines.
"""

import re
from typing import Final, NamedTuple

from glassgate.release.errors import ReleaseRefused

__all__ = ["LockRefused", "Pin", "native", "parse_lock"]

MAX_BYTES: Final = 4 << 20

_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)(?: ; (?P<marker>\S.*))?"
)
_HASH: Final = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")


class LockRefused(ReleaseRefused):
    """Not a lock: something is not pinned, not hashed, or not to be understood. Names the line."""


class Pin(NamedTuple):
    """One package of a lock."""

    name: str  # normalised (PEP 503): lower case, runs of -_. as one -
    version: str
    marker: str  # PEP 508; "" = everywhere
    hashes: tuple[str, ...]  # SHA-256 in hex of every file that will do, sorted


def parse_lock(data: bytes, name: str) -> tuple[Pin, ...]:
    """The pins in `data`, sorted by name; `name` stands in the messages. Raises LockRefused."""
    if len(data) > MAX_BYTES:
        raise LockRefused(f"{name}: larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as cause:
        raise LockRefused(f"{name}: byte {cause.start} is not ASCII") from cause
    pins: dict[tuple[str, str], Pin] = {}
    for number, line in _logical_lines(text):
        pin = _pin(line, f"{name}: line {number}")
        if pins.setdefault((pin.name, pin.marker), pin) is not pin:
            raise LockRefused(f"{name}: line {number}: {pin.name} stands there twice")
    if not pins:
        raise LockRefused(f"{name}: no package is named in it")
    return tuple(pins[key] for key in sorted(pins))


def native(pins: tuple[Pin, ...]) -> tuple[Pin, ...]:
    """Those that come as a wheel per platform, so with machine code in it that nobody here rebuilds.

    A package that is the same everywhere has at most two files: one sdist and one wheel. More than two means wheels
    for platforms or interpreters. The lock alone decides, so that every machine names the same packages; what a
    wheel says of itself (`Root-Is-Purelib`) is no help: there are wheels that bring programs and say they are pure.
    """
    return tuple(pin for pin in pins if len(pin.hashes) > 2)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Continued lines joined, comments and empty lines dropped; each with the number of its first line."""
    joined: list[tuple[int, str]] = []
    first, held = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not held:
            first = number
        if line.endswith("\\"):
            held += line[:-1].strip() + " "
            continue
        whole = (held + line.strip()).strip()
        held = ""
        if whole and not whole.startswith("#"):
            joined.append((first, whole))
    if held:
        joined.append((first, held.strip()))
    return joined


def _pin(line: str, where: str) -> Pin:
    requirement, *options = re.split(r" +(?=--)", line)
    found = _PIN.fullmatch(requirement.strip())
    if found is None:
        raise LockRefused(f"{where}: expected name==version, got {requirement[:80]!r}")
    hashes = []
    for option in options:
        digest = _HASH.fullmatch(option)
        if digest is None:
            raise LockRefused(f"{where}: expected --hash=sha256:…, got {option[:80]!r}")
        hashes.append(digest["digest"])
    if not hashes:
        raise LockRefused(f"{where}: {found['name']} has no hash")
    normalised = re.sub(r"[-_.]+", "-", found["name"]).lower()
    return Pin(normalised, found["version"], found["marker"] or "", tuple(sorted(set(hashes))))
