"""Collecting an evidence pack from a log: what belongs to a grant, a request, a period or a store.

Two sources are asked. The *catalogue* finds: it may be the gate's search, and needs no trust, because whatever it
leaves out shows when the pack is checked. The *source* gives the bytes: leaves, bodies, tiles, one signed checkpoint
for all.
"""

import base64
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeVar
from uuid import UUID

import msgspec

from approvals.timestamps import rfc3339
from ledger.batch import MAX_ENTRIES
from ledger.certificate import CREATED, STARTED
from ledger.checkpoint import CheckpointRefused, parse_checkpoint
from ledger.entry import Part, Stub
from ledger.framing import FramingRefused, read_bodies, read_bundle
from ledger.note import NoteRefused, parse_note
from ledger.pack.contents import ContentForm, Held, Pack, Scope
from ledger.pack.count import ISSUED
from ledger.pack.page import page
from ledger.proof import Proof, prove
from ledger.stub import StubRefused, parse_stub
from ledger.tiles import WIDTH, Resource
from ledger.verify import Source

__all__ = ["Asked", "Catalogue", "Listed", "LogBytes", "NotCollected", "ScanCatalogue", "collect", "hosts_of"]

MAX_CACHED: Final = 64
POLICY: Final = "policy.changed"
_T = TypeVar("_T")


class NotCollected(Exception):
    """There is no such thing in the log, or the log cannot give what a pack needs; says what and where."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as a catalogue knows it."""

    index: int
    kind: str
    writer: str
    facts: Mapping[str, Any]


class Catalogue(Protocol):
    def find(self, *, kind: str = "", grant: str = "", request: str = "", store: str = "") -> Iterable[Listed]:
        """Entries that fit every filter ("" = any), oldest first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pack is wanted of. A period (since, until: aware datetimes) stands alone or narrows a store."""

    kind: Literal["grant", "request", "period", "store"]
    name: str = ""
    period: tuple[datetime, datetime] | None = None


class LogBytes:
    """A log at one checkpoint. Raises Unavailable where the source does, NotCollected where its bytes are no log's."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.checkpoint = source.fetch("checkpoint")
        try:
            parsed = parse_checkpoint(parse_note(self.checkpoint).text)
        except (NoteRefused, CheckpointRefused) as cause:
            raise NotCollected(f"the log's checkpoint is none: {cause}") from cause
        self.origin, self.size = parsed.origin, parsed.size
        if not self.size:
            raise NotCollected(f"the log {self.origin} is empty")
        self._leaves: OrderedDict[int, list[bytes]] = OrderedDict()
        self._bodies: OrderedDict[int, list[tuple[Part | None, Part | None]]] = OrderedDict()
        self._tiles: OrderedDict[Resource, bytes] = OrderedDict()

    def leaves(self, n: int) -> list[bytes]:
        """Of the entry bundle n."""
        return _kept(self._leaves, n, lambda: self._records("entries", n, read_bundle))

    def leaf(self, index: int) -> bytes:
        return self.leaves(index // WIDTH)[index % WIDTH]

    def stub(self, index: int) -> Stub:
        try:
            return parse_stub(self.leaf(index))
        except StubRefused as cause:
            raise NotCollected(f"entry {index} is no entry any more: {cause}") from cause

    def body(self, index: int) -> tuple[Part | None, Part | None]:
        n = index // WIDTH
        # Bodies are large: few are kept, as entries are read in their order.
        bodies = _kept(self._bodies, n, lambda: self._records("body", n, read_bodies), 4)
        return bodies[index % WIDTH]

    def proof(self, index: int) -> Proof:
        return prove(index, self.checkpoint, self._tile)

    def _tile(self, resource: Resource) -> bytes:
        return _kept(self._tiles, resource, lambda: self._source.fetch(resource.path))

    def _records(self, kind: Literal["entries", "body"], n: int, read: Callable[[bytes, int], list[_T]]) -> list[_T]:
        resource = Resource(kind, 0, n, min(WIDTH, self.size - n * WIDTH))
        try:
            return read(self._source.fetch(resource.path), resource.width)
        except FramingRefused as cause:
            raise NotCollected(f"{resource.path}: {cause}") from cause

    # Entries are numbered about in the order of their times: a flush is late by milliseconds, a journal by minutes.

    def index_of(self, entry_id: str) -> int:
        """The entry with this id (UUIDv7), looked for around the time that the id names; raises NotCollected."""
        try:
            made = datetime.fromtimestamp((UUID(entry_id).int >> 80) / 1000, UTC)
        except (ValueError, OverflowError, OSError) as cause:
            raise NotCollected(f"{entry_id!r} is neither an index nor an entry's id") from cause
        wanted = f'"id":"{UUID(entry_id)}"'.encode()
        start = self._bundle_at(rfc3339(made))
        for n in sorted(range((self.size + WIDTH - 1) // WIDTH), key=lambda n: abs(n - start)):
            for place, leaf in enumerate(self.leaves(n)):
                if wanted in leaf:
                    return n * WIDTH + place
        raise NotCollected(f"no entry of the log's first {self.size} has the id {entry_id}")

    def range_of(self, since: str, until: str) -> tuple[int, int]:
        """[first, end): from the first entry of that time or later to the last one before `until`.

        Looks on for stragglers until a whole bundle has none.
        """
        first = end = None
        bundles = (self.size + WIDTH - 1) // WIDTH
        for n in range(min(self._bundle_at(since) + 1, bundles - 1), -1, -1):
            inside = [i for i, time in self._times(n) if time >= since]
            if first is not None and not inside:
                break
            first = min(inside, default=first) if first is None else min(first, *inside)
        for n in range(self._bundle_at(until), bundles):
            inside = [i for i, time in self._times(n) if time < until]
            if end is not None and not inside:
                break
            end = max(inside, default=-1) + 1 if end is None else max(end, max(inside) + 1)
        first = self.size if first is None else first
        return first, max(first, end or 0)

    def _bundle_at(self, time: str) -> int:
        """The last bundle that begins before `time`, by its first entry; 0 if none does."""
        low, high = 0, max(0, (self.size - 1) // WIDTH)
        while low < high:
            middle = (low + high + 1) // 2
            if self.stub(middle * WIDTH).time < time:
                low = middle
            else:
                high = middle - 1
        return low

    def _times(self, n: int) -> list[tuple[int, str]]:
        return [(index, self.stub(index).time) for index in range(n * WIDTH, min((n + 1) * WIDTH, self.size))]


class ScanCatalogue:
    """A catalogue that reads the whole log: for a folder of tiles, or where no search is to be asked."""

    def __init__(self, log: LogBytes) -> None:
        self._log = log

    def find(self, *, kind: str = "", grant: str = "", request: str = "", store: str = "") -> Iterator[Listed]:
        decisions: set[str] = set()
        for index in range(self._log.size):
            stub, facts = self._log.stub(index), self._log.body(index)[0]
            said = msgspec.json.decode(facts.data) if facts is not None and facts.form == "clear" else {}
            if stub.kind == ISSUED and said.get("grant") == grant:
                decisions.add(stub.grant)
            of_grant = said.get("grant") == grant or stub.grant in decisions
            if (
                (not kind or stub.kind == kind)
                and (not grant or of_grant)
                and (not request or said.get("request") == request)
                and (not store or said.get("store") == store)
            ):
                yield Listed(index, stub.kind, stub.writer, said)


def collect(log: LogBytes, catalogue: Catalogue, asked: Asked, *, content: bool = True) -> Pack:
    """The pack of what is asked for, ready to be written. `content` False leaves contents out, all but policies.

    Raises NotCollected; and Unavailable where the source does.
    """
    return _Collector(log, catalogue, content).collect(asked)


class _Introduction(msgspec.Struct):
    host_key: str


def hosts_of(pack: Pack) -> dict[bytes, str]:
    """The host keys that the pack's own entries name: enough to see that it hangs together, not to trust it."""
    found: dict[bytes, str] = {}
    for held in pack.entries:
        if parse_stub(held.leaf).kind not in (STARTED, CREATED):
            continue
        with contextlib.suppress(ValueError):  # what names no key will be a fault of the pack
            found[base64.b64decode(msgspec.json.decode(held.facts.data, type=_Introduction).host_key)] = ""
    return found


class _Collector:
    def __init__(self, log: LogBytes, catalogue: Catalogue, content: bool) -> None:
        self._log = log
        self._catalogue = catalogue
        self._content = content

    def collect(self, asked: Asked) -> Pack:
        scope, chosen = self._chosen(asked)
        if not chosen:
            raise NotCollected(f"the log's first {self._log.size} entries have nothing of this {asked.kind}")
        chosen = self._supported(chosen | {0})
        entries = tuple(self._held(index) for index in sorted(chosen))
        member = self._log.stub(0).member
        log = self._log
        made = page(log.origin, member, scope, log.checkpoint, entries)
        return Pack(log.origin, member, scope, log.checkpoint, entries, self._stubs(chosen), made)

    def _chosen(self, asked: Asked) -> tuple[Scope, set[int]]:
        first, end = 0, self._log.size
        if asked.period is not None:
            since, until = (rfc3339(moment) for moment in asked.period)
            first, end = self._log.range_of(since, until)
        match asked.kind:
            case "grant":
                chosen = self._of_grant(asked.name)
            case "request":
                chosen = self._of_request(asked.name)
            case "period":
                chosen = set(range(first, end))
                return Scope("period", f"{since}/{until}", first, end), chosen | self._behind(chosen)
            case "store":
                listed = list(self._catalogue.find(store=asked.name))
                chosen = {one.index for one in listed}
                for grant in {_name(one, "grant") for one in listed if one.kind == ISSUED}:
                    chosen |= {one.index for one in self._catalogue.find(grant=grant)}
                chosen = {index for index in chosen if first <= index < end}
                chosen |= self._behind(chosen)
        return Scope(asked.kind, asked.name, first, end), {index for index in chosen if index < self._log.size}

    def _of_grant(self, grant: str) -> set[int]:
        listed = list(self._catalogue.find(grant=grant))
        chosen = {one.index for one in listed}
        for one in listed:
            if one.kind == ISSUED:
                chosen |= {other.index for other in self._catalogue.find(request=_name(one, "request"))}
        return chosen

    def _of_request(self, request: str) -> set[int]:
        listed = list(self._catalogue.find(request=request))
        chosen = {one.index for one in listed}
        for one in listed:
            if one.kind == ISSUED:
                chosen |= {other.index for other in self._catalogue.find(grant=_name(one, "grant"))}
        return chosen

    def _behind(self, chosen: set[int]) -> set[int]:
        """What the grants issued among these rest on: their requests and reviews, which may be older."""
        found: set[int] = set()
        for index in sorted(chosen):
            if index < self._log.size and self._log.stub(index).kind == ISSUED:
                facts = self._log.body(index)[0]
                request = msgspec.json.decode(facts.data)["request"] if facts is not None and facts.data else ""
                for one in self._catalogue.find(request=request) if request else ():
                    if one.kind in ("request.created", "review.recorded"):
                        found.add(one.index)
        return found

    def _supported(self, chosen: set[int]) -> set[int]:
        """With the introduction of every writer and the policy in force at every entry, and theirs in turn."""
        started = {one.writer: one.index for one in self._catalogue.find(kind=STARTED)}
        started[self._log.stub(0).writer] = 0
        policies: dict[str, int] = {}
        for one in self._catalogue.find(kind=POLICY):
            policies.setdefault(_name(one, "digest"), one.index)
        whole: set[int] = set()
        while fresh := chosen - whole:
            whole |= fresh
            for index in sorted(fresh):
                stub = self._log.stub(index)
                if stub.writer not in started:
                    raise NotCollected(f"entry {index}: no entry introduces its writer {stub.writer}")
                chosen.add(started[stub.writer])
                if stub.policy in policies:
                    chosen.add(policies[stub.policy])
            chosen = {index for index in chosen if index < self._log.size}
        return whole

    def _held(self, index: int) -> Held:
        leaf, stub = self._log.leaf(index), self._log.stub(index)
        facts, content = self._log.body(index)
        if facts is None or facts.form != "clear":
            raise NotCollected(f"entry {index}: the log has not got its facts any more")
        form: ContentForm = "none" if not stub.content else content.form if content is not None else "withheld"
        if stub.content and not self._content and stub.kind != POLICY:
            form = "withheld"
        elif stub.content and content is None:
            raise NotCollected(f"entry {index}: the log has not got its content any more, and no erasure of it")
        kept = content if form in ("clear", "sealed") else None
        return Held(index, leaf, facts, kept, form, bytes(self._log.proof(index)))

    def _stubs(self, chosen: set[int]) -> dict[tuple[str, int], bytes]:
        """The stubs after each entry up to its writer's next signature. A flush is numbered without gaps."""
        stubs: dict[tuple[str, int], bytes] = {}
        for index in sorted(chosen):
            stub = self._log.stub(index)
            for at in range(index + 1, index + MAX_ENTRIES):
                if stub.sig:
                    break
                following = self._log.stub(at) if at < self._log.size else None
                if following is None or (following.writer, following.counter) != (stub.writer, stub.counter + 1):
                    raise NotCollected(f"entry {at - 1}: its writer's next stub does not follow it")
                stub = following
                if at in chosen or (stub.writer, stub.counter) in stubs:
                    break  # that one is followed to its signature by itself
                stubs[stub.writer, stub.counter] = self._log.leaf(at)
        return stubs


def _name(listed: Listed, fact: str) -> str:
    return str(listed.facts.get(fact, ""))


def _kept(cache: OrderedDict[Any, _T], key: Any, make: Callable[[], _T], most: int = MAX_CACHED) -> _T:
    if key not in cache:
        cache[key] = make()
        if len(cache) > most:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
