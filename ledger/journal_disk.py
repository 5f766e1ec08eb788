"""The few system calls that a journal makes, behind one small interface: so that tests can fail each of them.

Every method raises OSError, and nothing else.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Disk", "LocalDisk"]

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_PRIVATE: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Disk(Protocol):
    """Files by handle, directories by path. What was written is durable after `sync`; a name after `sync_directory`."""

    def make_directory(self, path: Path) -> None:
        """Make it, unless it is there; then close it to everybody else."""

    def names(self, directory: Path) -> list[str]: ...

    def lock(self, path: Path) -> int:
        """A handle that holds the one lock of this file, until it is closed. BlockingIOError: somebody has it."""

    def create(self, path: Path) -> int:
        """A new file, open to its owner alone; FileExistsError."""

    def open(self, path: Path) -> int: ...

    def read(self, path: Path) -> bytes: ...

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        """How many bytes were written, perhaps fewer than given."""

    def cut(self, handle: int, size: int) -> None: ...

    def sync(self, handle: int) -> None: ...

    def close(self, handle: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None: ...


class LocalDisk:
    """Disk, on the operating system's files. A lock ends with the process, kill -9 included."""

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            if not path.parent.is_dir():
                self.make_directory(path.parent)
            path.mkdir(mode=_DIRECTORY_MODE)
            self.sync_directory(path.parent)
        # A volume's mount may have opened it to a group: entries may stand here in clear.
        if path.stat().st_mode & 0o777 != _DIRECTORY_MODE:
            path.chmod(_DIRECTORY_MODE)

    def names(self, directory: Path) -> list[str]:
        return [path.name for path in directory.iterdir()]

    def lock(self, path: Path) -> int:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _PRIVATE, _FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PRIVATE, _FILE_MODE)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | _PRIVATE)

    def read(self, path: Path) -> bytes:
        handle = os.open(path, os.O_RDONLY | _PRIVATE)
        with os.fdopen(handle, "rb") as file:
            return file.read()

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(handle, data, offset)

    def cut(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
