"""Prepared statements and portals of one session, as the store will know them; pure.

Names live in two maps, and an execution is resolved through its portal: reading them the other way round put
the wrong text on record elsewhere. A name's new meaning is provisional until the store confirms it, because a
failed Parse of a name that exists leaves the old text in force: to look such a name up across a Sync before
the store has answered would record one text and run another. SQL's PREPARE and DECLARE share these names.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from proxy.classify.sql import EMPTY, Classified, Statement
from proxy.postgres.access import Access
from proxy.postgres.messages import Bind

__all__ = ["Names", "Portal", "Prepared", "Unsettled", "Version"]


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=_Sized)

MAX_NAMES = 10_000  # of each sort and session; a client that needs more leaks them
MAX_HELD_BYTES = 128 * 1024 * 1024  # of texts, and of parameters: two of the largest Bind may be held at once


class Unsettled(Exception):
    """What the name means depends on an answer of the store's that has not come: ask again after it."""


@dataclass(slots=True, eq=False)
class Prepared:
    """A prepared statement. `oids` are the parameters' types: as declared, later as the store describes them.
    `entry` is the entry that holds its text, "" while no entry does."""

    text: str
    classified: Classified
    oids: tuple[int, ...] = ()
    entry: str = ""

    @property
    def size(self) -> int:
        return len(self.text)

    @property
    def statement(self) -> Statement:
        """A prepared text holds one statement at most; the store sees to that."""
        return self.classified.statements[0] if self.classified.statements else EMPTY


@dataclass(slots=True, eq=False)
class Portal:
    """A bound statement; `access` is the one that its first execution began. `bind` is None for SQL cursors."""

    prepared: Prepared
    bind: Bind | None = None
    access: Access | None = None
    holdable: bool = False  # outlives its transaction

    @property
    def size(self) -> int:
        """A protocol portal shares the text of its statement; a cursor's is its own."""
        return len(self.prepared.text) if self.bind is None else sum(len(v) for v in self.bind.values if v is not None)


@dataclass(slots=True, eq=False)
class Version(Generic[T]):
    """One meaning of a name; `value` None says that the name is gone.

    Compared by identity: a DEALLOCATE ALL makes a second meaning just like the one that its query made already.
    """

    name: bytes
    value: T | None
    segment: int  # which stretch between two Syncs (or simple queries) it was said in
    confirmed: bool = False


@dataclass(slots=True)
class Names(Generic[T]):
    _versions: dict[bytes, list[Version[T]]] = field(default_factory=dict)
    held_bytes: int = 0

    def __len__(self) -> int:
        return len(self._versions)

    @property
    def full(self) -> bool:
        return len(self._versions) >= MAX_NAMES or self.held_bytes >= MAX_HELD_BYTES

    def define(self, name: bytes, value: T | None, segment: int) -> Version[T]:
        version = Version(name, value, segment)
        self._versions.setdefault(name, []).append(version)
        self.held_bytes += _size(value)
        return version

    def get(self, name: bytes, segment: int) -> T | None:
        """What the name will mean to the store. Raises Unsettled where only the store's answer can tell."""
        versions = self._versions.get(name)
        if not versions:
            return None
        latest = versions[-1]
        if not latest.confirmed and latest.segment != segment:
            raise Unsettled
        return latest.value

    def confirm(self, version: Version[T]) -> None:
        version.confirmed = True
        versions = self._versions.get(version.name, [])
        if version in versions:
            before = versions.index(version)
            self.held_bytes -= sum(_size(older.value) for older in versions[:before])
            del versions[:before]
            if versions == [version] and version.value is None:
                del self._versions[version.name]

    def fail(self, version: Version[T]) -> None:
        versions = self._versions.get(version.name)
        if versions and version in versions:
            versions.remove(version)
            self.held_bytes -= _size(version.value)
            if not versions:
                del self._versions[version.name]

    def forget(self, segment: int, gone: Callable[[T], bool]) -> None:
        """The store has dropped what `gone` says of all that was defined up to that stretch."""
        for versions in list(self._versions.values()):
            for version in list(versions):
                if version.value is not None and version.segment <= segment and gone(version.value):
                    self.fail(version)

    def close_all(self, segment: int) -> list[Version[T]]:
        """Provisionally forget every name."""
        return [self.define(name, None, segment) for name in list(self._versions)]

    def values(self) -> list[T]:
        return [v.value for versions in self._versions.values() for v in versions if v.value is not None]


def _size(value: _Sized | None) -> int:
    return value.size if value is not None else 0
