"""A disk that forgets what was not synced, fails when told to, and can lose power at any call.

Files and directories have two states: what everybody sees, and what a power cut leaves. Of a file's writes since its
last sync, a power cut keeps any subset of 512-byte sectors; of a directory's changes since its last sync, any subset
in order. A failed sync drops the written pages from what later syncs will write, as kernels do.
"""

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


class PowerCut(BaseException):
    """Nothing after this call happened."""


@dataclass
class Inode:
    """`seen` by readers; `kept` across a power cut, as far as it is certain; `loose` may be kept or not."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    loose: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, data), or (size, None) for a cut
    forgotten: bool = False  # a sync has failed: what was loose then will never be certain

    def after_power_cut(self, chance: random.Random) -> bytearray:
        data = bytearray(self.kept)
        keep = chance.choice([0.0, 0.5, 0.9, 1.0])
        for offset, part in self.loose:
            if part is None:
                if chance.random() < keep:
                    del data[offset:]
                continue
            for at in range(0, len(part), SECTOR):
                if chance.random() < keep:
                    _put(data, offset + at, part[at : at + SECTOR])
        return data


def _put(data: bytearray, offset: int, part: bytes) -> None:
    data.extend(bytes(max(0, offset + len(part) - len(data))))
    data[offset : offset + len(part)] = part


Plan = Callable[[int, str], str]
"""(number of the call, its name) -> "", "cut before", "cut after", "short", "short by a byte", or an errno's name."""


class SimulatedDisk:
    """Disk, in memory. One directory; `calls` names every call that changes something or makes it durable."""

    def __init__(self, plan: Plan = lambda number, name: "") -> None:
        self.plan = plan
        self.calls: list[str] = []
        self.seen: dict[str, Inode] = {}
        self.kept: dict[str, Inode] = {}
        self.loose: list[tuple[str, Inode | None]] = []  # a name that came or went since the last directory sync
        self.handles: dict[int, Inode] = {}
        self.locked = False
        self._short_of: Inode | None = None

    def after_power_cut(self, chance: random.Random) -> "SimulatedDisk":
        """What the next start finds."""
        names = dict(self.kept)
        keep = chance.choice([0.0, 0.5, 1.0])
        for name, inode in self.loose:
            if chance.random() < keep:
                if inode is None:
                    names.pop(name, None)
                else:
                    names[name] = inode
        after = SimulatedDisk()
        for name, inode in names.items():
            data = inode.after_power_cut(chance)
            after.seen[name] = after.kept[name] = Inode(bytearray(data), bytearray(data))
        return after

    def after_kill(self) -> "SimulatedDisk":
        """What the next start finds where only the process died: everything that was seen."""
        after = SimulatedDisk()
        after.seen, after.kept, after.loose = dict(self.seen), dict(self.kept), list(self.loose)
        return after

    def _call(self, name: str) -> str:
        number = len(self.calls)
        self.calls.append(name)
        what = self.plan(number, name)
        if what == "cut before":
            raise PowerCut
        if what.startswith("E"):
            raise OSError(getattr(errno, what), what)
        return what

    def _done(self, what: str) -> None:
        if what == "cut after":
            raise PowerCut

    # -- Disk -------------------------------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        self._done(self._call("make_directory"))

    def names(self, directory: Path) -> list[str]:
        return list(self.seen)

    def lock(self, path: Path) -> int:
        if self.locked:
            raise BlockingIOError
        self.locked = True
        return self._handle(Inode())

    def create(self, path: Path) -> int:
        what = self._call("create")
        if path.name in self.seen:
            raise FileExistsError(errno.EEXIST, "File exists")
        inode = self.seen[path.name] = Inode()
        self.loose.append((path.name, inode))
        self._done(what)
        return self._handle(inode)

    def open(self, path: Path) -> int:
        what = self._call("open")
        self._done(what)
        return self._handle(self._inode(path))

    def read(self, path: Path) -> bytes:
        return bytes(self._inode(path).seen)

    def write(self, handle: int, data: bytes | memoryview, offset: int) -> int:
        inode = self.handles[handle]
        if self._short_of is inode:
            self._short_of = None
            raise OSError(errno.ENOSPC, "No space left on device")
        what = self._call("write")
        part = bytes(data)
        if what.startswith("short"):
            part = part[: len(part) // 2] if what == "short" else part[:-1]
            self._short_of = inode
        _put(inode.seen, offset, part)
        inode.loose.append((offset, part))
        self._done(what)
        return len(part)

    def cut(self, handle: int, size: int) -> None:
        what = self._call("cut")
        inode = self.handles[handle]
        del inode.seen[size:]
        inode.loose.append((size, None))
        self._done(what)

    def sync(self, handle: int) -> None:
        inode = self.handles[handle]
        try:
            what = self._call("sync")
        except OSError:
            inode.forgotten = True
            raise
        if not inode.forgotten:
            inode.kept = bytearray(inode.seen)
            inode.loose.clear()
        self._done(what)

    def close(self, handle: int) -> None:
        del self.handles[handle]
        if not self.handles:
            self.locked = False

    def rename(self, source: Path, target: Path) -> None:
        what = self._call("rename")
        inode = self.seen.pop(source.name)
        self.seen[target.name] = inode
        self.loose.append((target.name, inode))
        self.loose.append((source.name, None))
        self._done(what)

    def remove(self, path: Path) -> None:
        what = self._call("remove")
        del self.seen[path.name]
        self.loose.append((path.name, None))
        self._done(what)

    def sync_directory(self, path: Path) -> None:
        what = self._call("sync_directory")
        self.kept = dict(self.seen)
        self.loose.clear()
        self._done(what)

    def _inode(self, path: Path) -> Inode:
        inode = self.seen.get(path.name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return inode

    def _handle(self, inode: Inode) -> int:
        handle = max(self.handles, default=0) + 1
        self.handles[handle] = inode
        return handle


def at_call(number: int, what: str) -> Plan:
    """Meet `what` at this call, once."""
    return lambda n, name: what if n == number else ""


def always(name: str, what: str) -> Plan:
    """Meet `what` at every call of this name."""
    return lambda n, called: what if called == name else ""
