"""Wheel and sdist of a commit, built twice in surroundings that have nothing in common but the tools.

What gets into an archive by accident (a path, an hour, a user's umask, the order in which a directory lists its
files, a hash seed) differs between the two, so a byte that depends on it is seen here and not by somebody who
rebuilds a release years later.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.release.archive import digests, first_difference, members, sources
from glassgate.release.builder import Builder, BuildRefused
from glassgate.release.checkout import Tree
from glassgate.release.record import differences
from glassgate.release.source_digest import is_source

__all__ = ["SURROUNDINGS", "Surroundings", "build_once", "build_twice", "tree_sources"]

_BUILD: Final = """
import os, sys
os.umask(int(sys.argv[2], 8))
from hatchling.build import build_sdist, build_wheel
for build in (build_wheel, build_sdist) if sys.argv[3] == "wheel" else (build_sdist, build_wheel):
    build(sys.argv[1])
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything around a build that must not matter."""

    directory: str  # below the temporary one
    umask: int
    mtime: int  # of every exported file; SOURCE_DATE_EPOCH is what archives are to say
    backwards: bool  # in which order files are created, and so perhaps listed
    first: str  # "wheel" or "sdist"
    environ: dict[str, str]


SURROUNDINGS: Final = (
    Surroundings(
        directory="a",
        umask=0o022,
        mtime=1_000_000_000,
        backwards=False,
        first="wheel",
        environ={"TZ": "UTC0", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "PYTHONHASHSEED": "1"},
    ),
    Surroundings(
        directory="another place/with a longer name",
        umask=0o077,
        mtime=1_700_000_001,
        backwards=True,
        first="sdist",
        environ={
            "TZ": "XYZ-11:30",
            "LC_ALL": "POSIX",
            "LANG": "de_CH.ISO-8859-1",
            "PYTHONHASHSEED": "4242",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        },
    ),
)


def build_twice(tree: Tree, builder: Builder) -> dict[str, bytes]:
    """Name -> bytes of wheel and sdist, the same from both surroundings. Raises BuildRefused naming what differs."""
    first, second = (build_once(tree, builder, around) for around in SURROUNDINGS)
    if first.keys() != second.keys():
        raise BuildRefused(f"two builds of one commit gave {sorted(first)} and {sorted(second)}")
    for name, data in first.items():
        if data != second[name]:
            raise BuildRefused(f"two builds of one commit differ: {first_difference(name, data, second[name])}")
    return first


def build_once(tree: Tree, builder: Builder, around: Surroundings) -> dict[str, bytes]:
    """Name -> bytes of the wheel and the sdist of `tree`, sorted by name. Raises BuildRefused.

    The wheel holds exactly the commit's program and the sdist the whole commit: nothing was left out by a pattern,
    nothing was generated into it.
    """
    with tempfile.TemporaryDirectory(prefix="glassgate-release-") as scratch:
        place = Path(scratch, around.directory)
        source, out, home, spare = (place / name for name in ("source", "out", "home", "tmp"))
        for directory in (source, out, home, spare):
            directory.mkdir(parents=True)
        _export(tree, source, around)
        environ = around.environ | {
            "HOME": str(home),
            "TMPDIR": str(spare),
            "PATH": os.defpath,
            "SOURCE_DATE_EPOCH": str(tree.epoch),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        builder.run(_BUILD, str(out), f"{around.umask:o}", around.first, cwd=source, environ=environ)
        made = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    _check(tree, made)
    return made


def tree_sources(tree: Tree) -> dict[str, str]:
    """Path -> SHA-256 in hex of the program's own files in the commit."""
    return {path: digest for path, digest in _digests(tree).items() if is_source(path)}


def _digests(tree: Tree) -> dict[str, str]:
    return {path: hashlib.sha256(file.data).hexdigest() for path, file in tree.files.items()}


def _export(tree: Tree, source: Path, around: Surroundings) -> None:
    for path in sorted(tree.files, reverse=around.backwards):
        target, file = source / path, tree.files[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod((0o777 if file.executable else 0o666) & ~around.umask)
        os.utime(target, (around.mtime, around.mtime))


def _check(tree: Tree, made: dict[str, bytes]) -> None:
    if sorted(name.rpartition(".")[2] for name in made) != ["gz", "whl"]:
        raise BuildRefused(f"expected a wheel and an sdist, the build made {sorted(made)}")
    for name, data in made.items():
        held = members(name, data)
        if name.endswith(".whl"):
            unlike = differences(tree_sources(tree), sources(name, held))
        else:  # the whole commit, and the description that a package index asks for
            top = name.removesuffix(".tar.gz") + "/"
            found = {
                path.removeprefix(top): digest for path, digest in digests(held).items() if path != top + "PKG-INFO"
            }
            unlike = differences(_digests(tree), found)
        if unlike:
            raise BuildRefused(f"{name} does not hold what the commit holds: {unlike[0]}")
