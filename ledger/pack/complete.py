"""Whether anything is missing from a pack that the log itself counted.

What the log counts are the accesses of a grant that is over (`grant.summed`), and its own indexes. A pack about a
grant, or about a request that led to one, is measured by the first; a pack of a period by the second. Nothing counts
the entries of a store, or those of a request that led nowhere: such packs are never shown complete.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from ledger.entry import Entry
from ledger.pack.contents import Scope
from ledger.pack.count import ISSUED, SUMMED, Count, Counter, belongs

__all__ = ["Completeness", "completeness"]

NOT_SHOWN: Final = "NOT SHOWN COMPLETE"


class Completeness(NamedTuple):
    """Whether the pack is shown to have everything, and the sentence for people."""

    shown: bool
    text: str


class _Issued(msgspec.Struct, frozen=True):
    grant: str
    request: str
    store: str
    decision: str


class _Summed(Count, frozen=True, kw_only=True):
    grant: str
    upto: int


Entries = Sequence[tuple[int, Entry]]
_T = TypeVar("_T")


def completeness(scope: Scope, entries: Entries, size: int) -> Completeness:
    """Of a pack whose entries are verified, in a log of `size`."""
    if scope.kind == "period":
        return _period(scope, entries, size)
    issued = [_read(entry, _Issued) for _, entry in entries if entry.stub.kind == ISSUED]
    grants = [grant for grant in issued if grant is not None]
    if scope.kind == "grant":
        mine = [grant for grant in grants if grant.grant == scope.name]
        return _grant(mine[0], entries) if mine else Completeness(False, f"{NOT_SHOWN}: the grant is not in the pack")
    if scope.kind == "request":
        mine = [grant for grant in grants if grant.request == scope.name]
        if not mine:
            text = f"{NOT_SHOWN}: no grant of the request is in the pack, and only a grant's accesses are counted"
            return Completeness(False, text)
        results = [_grant(grant, entries) for grant in mine]
        return next((one for one in results if not one.shown), results[0])
    mine = [grant for grant in grants if grant.store == scope.name]
    whole = sum(_grant(grant, entries).shown for grant in mine)
    text = f"{NOT_SHOWN}: nothing counts a store's entries; of its {len(mine)} grants in the pack {whole} are complete"
    return Completeness(False, text)


def _period(scope: Scope, entries: Entries, size: int) -> Completeness:
    held = sum(1 for index, _ in entries if scope.first <= index < scope.end)
    wanted = scope.end - scope.first
    if held != wanted or scope.end > size:
        return Completeness(False, f"{NOT_SHOWN}: {held} of {wanted} entries")
    times = {index: entry.stub.time for index, entry in entries}
    since, _, until = scope.name.partition("/")
    if wanted and (times[scope.first] < since or times[scope.end - 1] >= until):
        return Completeness(False, f"{NOT_SHOWN}: its first and last entry are not of {scope.name}")
    text = f"complete: every entry from {scope.first} to {scope.end - 1}; times are the writers' own"
    return Completeness(True, text)


def _grant(grant: _Issued, entries: Entries) -> Completeness:
    sums = [(index, _read(entry, _Summed)) for index, entry in entries if entry.stub.kind == SUMMED]
    mine = [(index, one) for index, one in sums if one is not None and one.grant == grant.grant]
    if not mine:
        held, _ = _counted(grant, entries, None)
        text = f"{NOT_SHOWN}: {held.accesses} accesses, and no entry grant.summed says how many there were"
        return Completeness(False, text)
    # The furthest counts most. The others must agree all the same: one that somebody wrote to hide behind does not.
    results = [_measured(grant, entries, index, said) for index, said in sorted(mine, key=lambda one: -one[1].upto)]
    return next((one for one in results if not one.shown), results[0])


def _measured(grant: _Issued, entries: Entries, index: int, said: _Summed) -> Completeness:
    held, later = _counted(grant, entries, said.upto)
    wanted = Count(**{name: getattr(said, name) for name in Count.__struct_fields__})
    beyond = f" {later} later entries are here that it does not count." if later else ""
    if held == wanted:
        text = (
            f"complete: {held.accesses} of {wanted.accesses} accesses and {held.refused} of {wanted.refused} refusals "
            f"below index {said.upto}, as entry {index} counts them.{beyond}"
        )
        return Completeness(True, text)
    named = [
        f"{getattr(held, name)} of {getattr(wanted, name)} {words}"
        for name, words in (("refused", "refusals"), ("sessions", "sessions"), ("counted", "access entries"))
        if getattr(held, name) != getattr(wanted, name)
    ]
    what = ", ".join([f"{held.accesses} of {wanted.accesses} accesses", *named])
    if held.counted == wanted.counted and held.entries != wanted.entries:
        what += ", but not those that were counted"
    return Completeness(False, f"{NOT_SHOWN}: {what} (as entry {index} counts them).{beyond}")


def _counted(grant: _Issued, entries: Entries, upto: int | None) -> tuple[Count, int]:
    """What is here of the grant's accesses below `upto`, and how many access entries there are beyond."""
    counter = Counter()
    later = 0
    for index, entry in entries:
        stub, facts = entry.stub, entry.facts.data
        if not belongs(stub.kind, stub.grant, facts, grant.grant, grant.decision):
            continue
        if upto is None or index < upto:
            counter.add(stub.id, stub.kind, facts)
        elif stub.kind.startswith("access."):
            later += 1
    return counter.total(), later


def _read(entry: Entry, shape: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(entry.facts.data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
