"""People reading the log through the API: what they get, and the entry that says they did.

The entry is durable before the answer leaves. Whoever watches, or reads everything to verify it, asks the same
many times: that is recorded once a minute, with how much was given since. An entry per look would be news to look
at, without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from approvals.api.schema import EntryList, EntryView, LogQuery
from approvals.errors import Refusal
from approvals.identity.subject import Person
from approvals.kinds import LogRead
from approvals.reasons import Reason
from approvals.transaction import database_errors
from ledger.entry import Draft, Entry, Part

__all__ = ["WATCH_EVERY", "Clock", "LogReading", "LogSource", "Recorder"]

WATCH_EVERY: Final = timedelta(minutes=1)
MAX_WATCHES: Final = 1000
"""Watchers at once; beyond it the one that was quiet longest is recorded anew at its next look."""

Found = tuple[int, Entry]
"""An entry and its index in the log."""


class LogSource(Protocol):
    """Reads of the numbered log, as glassgate_reader."""

    async def entry(self, idx: int) -> Entry | None:
        """The entry with that index; None when the log is not that long."""

    async def entries(
        self, *, after: int, limit: int, kind: str, grant: str, request: str, store: str
    ) -> Sequence[Found]:
        """Entries with an index above `after` that fit every filter ("" = any), oldest first."""

    async def newest(self, *, limit: int, kind: str, grant: str, request: str, store: str) -> Sequence[Found]:
        """The newest entries that fit, the oldest of them first."""


class Recorder(Protocol):
    async def record(self, drafts: Sequence[Draft]) -> None:
        """Record these; returns once they are durable."""


class Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass(slots=True)
class _Watch:
    person: Person
    what: str
    recorded: datetime
    unrecorded: int = 0


class LogReading:
    def __init__(self, source: LogSource, recorder: Recorder, clock: Clock) -> None:
        self._source = source
        self._recorder = recorder
        self._clock = clock
        self._watches: dict[tuple[str, str], _Watch] = {}

    async def entries(self, person: Person, session: str, query: LogQuery) -> EntryList:
        """A page of entries; reading it is recorded."""
        chosen = {"kind": query.kind, "grant": query.grant, "request": query.request, "store": query.store}
        async with database_errors():
            if query.last is not None:
                found = await self._source.newest(limit=query.last, **chosen)
            else:
                found = await self._source.entries(after=query.after, limit=query.limit, **chosen)
        what = " ".join(["entries", *(f"{name}={value}" for name, value in chosen.items() if value)])
        if query.watch:
            await self.watched(person, session, f"watching {what}", len(found))
        else:
            await self.was_read(person, what, len(found))
        return EntryList(
            entries=tuple(_view(idx, entry) for idx, entry in found),
            next=found[-1][0] if found else query.after,
        )

    async def entry(self, idx: int) -> EntryView:
        """One entry; ENTRY_UNKNOWN. The caller decides who may see it, and says `was_read` if they were shown it."""
        async with database_errors():
            found = await self._source.entry(idx)
        if found is None:
            raise Refusal(Reason.ENTRY_UNKNOWN)
        return _view(idx, found)

    async def was_read(self, person: Person, what: str, entries: int) -> None:
        """Record that this person was given that many entries."""
        facts = LogRead(person=person.id, organisation=person.organisation, what=what, entries=entries)
        async with database_errors():
            await self._recorder.record([Draft("log.read", facts)])

    async def watched(self, person: Person, session: str, what: str, count: int) -> None:
        """As `was_read`, once a minute per session and question; `settle` records what is left."""
        if count == 0:
            return
        now = self._clock.now()
        watch = self._watches.pop((session, what), None)
        if watch is None or now - watch.recorded >= WATCH_EVERY:
            await self.was_read(person, what, count + (watch.unrecorded if watch else 0))
            watch = _Watch(person, what, now)
        else:
            watch.unrecorded += count
        quietest = None
        if len(self._watches) >= MAX_WATCHES:
            quietest = self._watches.pop(next(iter(self._watches)))
        self._watches[session, what] = watch
        if quietest is not None and quietest.unrecorded:
            # Before the answer leaves: questions enough would otherwise wash away what was read under another.
            await self.was_read(quietest.person, quietest.what, quietest.unrecorded)

    async def settle(self, *, everything: bool = False) -> None:
        """Record what watchers were given since their last entry, once that is a minute old (or `everything`)."""
        now = self._clock.now()
        for key, watch in list(self._watches.items()):
            if not everything and now - watch.recorded < WATCH_EVERY:
                continue
            # Gone before the entry is written: a look meanwhile begins a count of its own.
            self._watches.pop(key, None)
            if watch.unrecorded:
                await self.was_read(watch.person, watch.what, watch.unrecorded)


def _view(idx: int, entry: Entry) -> EntryView:
    stub = entry.stub
    return EntryView(
        idx=idx,
        id=stub.id,
        time=stub.time,
        kind=stub.kind,
        version=stub.kv,
        writer=stub.writer,
        counter=stub.counter,
        facts=_clear(entry.facts) or {},
        content=_clear(entry.content),
        content_form="none" if entry.content is None else entry.content.form,
    )


def _clear(part: Part | None) -> Any:
    """What a part says, where it can be read here. Bytes that somebody spoiled are shown as spoiled, not as a fault
    of ours: it is verification that names them."""
    if part is None or part.form != "clear":
        return None
    try:
        return msgspec.json.decode(part.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"unreadable": part.data[:200].decode("utf-8", "replace")}
