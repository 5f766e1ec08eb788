"""How writers end, told from the log alone: which never closed, and which had written more than the log holds.

A counter gap shows only when the same writer speaks again, so whoever withholds the last entries of a writer and
kills it leaves no gap. Two things are left to see: the writer never closed, and the process that came after it on its
host names it, with the highest counter that the host knew to be durable. That number may lag behind by as much as
the writer wrote since its host last made a note of it: what was withheld within that span is bounded in time by this
writer's last entry and its successor's first, and not counted.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from ledger.certificate import CREATED
from ledger.entry import Stub

__all__ = ["Missing", "Remark", "Unclosed", "WriterEnds"]

STOPPED: Final = "process.stopped"
MAX_REMARKS: Final = 1000

MAY_BE_AHEAD: Final = 1
"""A host notes a writer's closing entry while it is being committed. If that commit fails, the note is one ahead of the
log and nothing was withheld. Every other note is made of what is durable already."""


@dataclass(frozen=True, slots=True)
class Unclosed:
    """A writer whose last entry in the log does not close it: it runs, or was killed, or its last was withheld.

    `index`, `counter` and `time` are its last entry's. `successor` is the first writer that names it as the one
    before, "" if none does, and `succeeded_at` the time of that one's first entry.
    """

    index: int
    writer: str
    role: str
    host: str
    counter: int
    time: str
    successor: str = ""
    succeeded_at: str = ""

    def __str__(self) -> str:
        who = f"writer {self.writer} ({self.role or 'role unknown'} on {self.host or 'a host unknown'})"
        if self.successor:
            state = f"replaced by {self.successor} at {self.succeeded_at}: it ended without closing, or runs beside it"
        else:
            state = "still running, or ended without closing"
        return f"{who} is not closed after entry {self.index}, its counter {self.counter}, of {self.time}: {state}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A writer's entries that its successor says there were. `held`: its highest counter in the log; -1 = none.

    `index` is the entry that says so. `certain`: no honest run of ours explains it.
    """

    index: int
    writer: str
    held: int
    said: int

    @property
    def certain(self) -> bool:
        return self.held >= 0 and self.said - self.held > MAY_BE_AHEAD

    def __str__(self) -> str:
        says = f"its successor says it had written {self.said} (entry {self.index})"
        if self.certain:
            return f"entries of writer {self.writer} beyond counter {self.held} are missing: {says}"
        if self.held < 0:
            return f"writer {self.writer} is not in this log: {says}; it wrote to another log, or all of it is missing"
        return (
            f"writer {self.writer} ends at counter {self.held}, but {says}; "
            "that entry is missing, or was never stored: a closing entry is noted as it is being stored"
        )


Remark = Unclosed | Missing


@dataclass(slots=True)
class _Life:
    first_index: int
    index: int = -1
    counter: int = -1
    kind: str = ""
    time: str = ""
    role: str = ""
    host: str = ""


class _Started(msgspec.Struct, frozen=True):
    """The part of `process.started` that counts here."""

    role: str = ""
    host: str = ""
    predecessor: str = ""
    predecessor_counter: int = -1


@dataclass(frozen=True, slots=True)
class _Claim:
    index: int
    writer: str
    time: str
    counter: int


@dataclass(slots=True)
class WriterEnds:
    """Fed every entry of a log in its order; asked once all were."""

    _lives: dict[str, _Life] = field(default_factory=dict)
    _claims: dict[str, list[_Claim]] = field(default_factory=dict)  # by the writer that they are about

    def entry(self, index: int, stub: Stub) -> None:
        """One more entry."""
        life = self._lives.get(stub.writer)
        if life is None:
            life = self._lives[stub.writer] = _Life(index)
        life.index, life.kind, life.time = index, stub.kind, stub.time
        life.counter = max(life.counter, stub.counter)

    def started(self, index: int, stub: Stub, facts: bytes) -> None:
        """What a certified writer's first entry, fed before, says of itself and of the one before it.

        `facts` open the stub's commitment; what is none of `process.started` says nothing.
        """
        try:
            said = msgspec.json.decode(facts, type=_Started)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        life = self._lives[stub.writer]
        life.role, life.host = said.role, said.host
        if said.predecessor and said.predecessor != stub.writer:
            claim = _Claim(index, stub.writer, stub.time, said.predecessor_counter)
            self._claims.setdefault(said.predecessor, []).append(claim)

    def missing(self) -> list[Missing]:
        """By writer, the highest counter that a successor names, where the log does not hold it.

        A writer may outlive its successor's start, so that the whole log counts, not what stood before the claim.
        """
        found = []
        for writer, claims in self._claims.items():
            held = self._lives[writer].counter if writer in self._lives else -1
            highest = max(claims, key=lambda claim: (claim.counter, -claim.index))
            if highest.counter > held:
                found.append(Missing(highest.index, writer, held, highest.counter))
        return found

    def unclosed(self) -> list[Unclosed]:
        """Writers that did not close, the one that spoke last first. The log's own first entry needs no closing."""
        found = []
        for writer, life in self._lives.items():
            if life.kind in (STOPPED, CREATED):
                continue
            after = next((claim for claim in self._claims.get(writer, ()) if claim.index > life.first_index), None)
            successor, at = (after.writer, after.time) if after else ("", "")
            found.append(Unclosed(life.index, writer, life.role, life.host, life.counter, life.time, successor, at))
        return sorted(found, key=lambda one: one.index, reverse=True)
