"""Who this person is to which gate: small files that only their owner can read.

A profile holds a session token, so it is 0600 in a directory that is 0700, and one that others could read or
change is refused rather than used. It also pins the log's verifier key as first seen at login: a gate that
later shows another key has another history.
"""

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

__all__ = [
    "MAX_PROFILE_BYTES",
    "Profile",
    "ProfileRefused",
    "forget",
    "home",
    "load",
    "path_of",
    "private_file",
    "save",
]

MAX_PROFILE_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ProfileRefused(Exception):
    """The profile cannot be used; the text says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`server` is the API's base URL, `ca` a PEM bundle that vouches for it ("" = the system's), `session` a
    session token, `person` whose it is, `log_key` the verifier key of the member's log."""

    server: str = ""
    session: str = ""
    person: str = ""
    ca: str = ""
    log_key: str = ""


def home(environ: os._Environ[str] | dict[str, str]) -> Path:
    """`$GLASSGATE_HOME`, else `$XDG_CONFIG_HOME/glassgate`, else `~/.config/glassgate`."""
    if chosen := environ.get("GLASSGATE_HOME"):
        return Path(chosen)
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "glassgate"


def path_of(directory: Path, name: str) -> Path:
    """Where the profile `name` is kept below `directory`. Raises ProfileRefused for a name that is no plain name."""
    if not _NAME.fullmatch(name):
        raise ProfileRefused(f'"{name}" cannot be a profile\'s name: letters, digits, ".", "_" and "-", at most 64')
    return directory / "profiles" / f"{name}.json"


def load(directory: Path, name: str) -> Profile | None:
    """The profile, or None when there is none. Raises ProfileRefused."""
    path = path_of(directory, name)
    try:
        # O_NOFOLLOW: a link planted in the directory must not make us trust another file.
        # O_NONBLOCK: nor a pipe in its place make us wait for ever.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise ProfileRefused(f"{path} cannot be opened: {cause.strerror}") from cause
    try:
        # Checked on the open file, not on the path: between two looks the file could be swapped.
        _check_private(os.fstat(number), path)
        data = os.read(number, MAX_PROFILE_BYTES + 1)
    finally:
        os.close(number)
    return _parse(data, path)


def _check_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ProfileRefused(f"{path} is not a regular file. Remove it and log in again")
    if status.st_uid != os.geteuid():
        raise ProfileRefused(f"{path} belongs to somebody else, so it is not used. Remove it and log in again")
    if status.st_mode & 0o077:
        raise ProfileRefused(
            f"{path} can be read or changed by others (mode {stat.S_IMODE(status.st_mode):04o}), so it is not used. "
            f"Its session may be known: run `chmod 600 {path}`, then `glassgate logout` and log in again"
        )


def _parse(data: bytes, path: Path) -> Profile:
    if len(data) > MAX_PROFILE_BYTES:
        raise ProfileRefused(f"{path} is larger than {MAX_PROFILE_BYTES} bytes. Remove it and log in again")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as cause:
        raise ProfileRefused(f"{path} is not readable as JSON. Remove it and log in again") from cause
    known = {field.name for field in fields(Profile)}
    if not isinstance(value, dict) or not set(value) <= known or not all(isinstance(v, str) for v in value.values()):
        raise ProfileRefused(f"{path} is not a profile of this program. Remove it and log in again")
    return Profile(**value)


def save(directory: Path, name: str, profile: Profile) -> Path:
    """Write the profile, whole or not at all."""
    path = path_of(directory, name)
    private_file(path, json.dumps(asdict(profile), indent=2).encode() + b"\n")
    return path


def private_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` by rename, readable by its owner only from its first byte on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def forget(directory: Path, name: str) -> None:
    """Remove the profile; nothing happens when there is none."""
    path_of(directory, name).unlink(missing_ok=True)
