"""What the accesses of one grant add up to: how many there were, and which.

A log proves what is in it, not what was left out of an excerpt. So once a grant is over, an entry `grant.summed` states
what the log holds of it below one index; whoever has the log can count again, and whoever has an excerpt can compare.

A grant's access entries are those of the kinds `access.*` whose stub names the grant's decision or whose facts name the
grant. Their digest is SHA-256 over their ids, sorted, each followed by a line feed.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

__all__ = ["ISSUED", "SUMMED", "Count", "Counter", "belongs"]

ISSUED: Final = "grant.issued"
SUMMED: Final = "grant.summed"
SESSION: Final = "session.started"
_MAX: Final = 2**53 - 1  # canonical JSON has no larger number; a sum beyond it stays there


class Count(msgspec.Struct, frozen=True):
    """`unfinished`: accesses without an outcome. `rows` and `bytes_out` are those of the outcomes. `counted`: all
    access entries, `entries` the digest over their ids."""

    sessions: int
    accesses: int
    unfinished: int
    refused: int
    rows: int
    bytes_out: int
    counted: int
    entries: str


class _Said(msgspec.Struct, frozen=True):
    """What counts of an entry's facts; of other types where somebody wrote them by hand, and then it is nothing."""

    grant: Any = None
    session: Any = None
    access: Any = None
    rows: Any = None
    bytes_out: Any = None


_decoder: Final = msgspec.json.Decoder(_Said)


def belongs(kind: str, decision: str, facts: bytes, grant: str, grants_decision: str) -> bool:
    """Whether the entry (its kind, its stub's `grant`, its facts) is an access entry or session of that grant."""
    if not kind.startswith("access.") and kind != SESSION:
        return False
    return bool(grants_decision and decision == grants_decision) or _read(facts).grant == grant


@dataclass(slots=True)
class Counter:
    """Takes a grant's access entries and sessions, in any order, each once."""

    _ids: set[str] = field(default_factory=set)
    _sessions: set[str] = field(default_factory=set)
    _intents: set[str] = field(default_factory=set)
    _finished: set[str] = field(default_factory=set)
    _refused: int = 0
    _rows: int = 0
    _bytes_out: int = 0

    def add(self, entry_id: str, kind: str, facts: bytes) -> None:
        said = _read(facts)
        if isinstance(said.session, str) and said.session:
            self._sessions.add(said.session)
        if not kind.startswith("access."):
            return
        self._ids.add(entry_id)
        if kind == "access.intent":
            self._intents.add(entry_id)
        elif kind == "access.refused":
            self._refused += 1
        elif kind == "access.outcome":
            if isinstance(said.access, str):
                self._finished.add(said.access)
            self._rows += _natural(said.rows)
            self._bytes_out += _natural(said.bytes_out)

    def total(self) -> Count:
        """The count so far."""
        return Count(
            sessions=len(self._sessions),
            accesses=len(self._intents),
            unfinished=len(self._intents - self._finished),
            refused=self._refused,
            rows=min(self._rows, _MAX),
            bytes_out=min(self._bytes_out, _MAX),
            counted=len(self._ids),
            entries=hashlib.sha256("".join(f"{one}\n" for one in sorted(self._ids)).encode()).hexdigest(),
        )


def _read(facts: bytes) -> _Said:
    try:
        return _decoder.decode(facts)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Said()


def _natural(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
