"""One flush as bytes: drafts in, signed and chained entries out; and back, strictly.

    "glassgate-batch/v1\\n" ‖ u16be length ‖ log ‖ writer (16 bytes) ‖ u64be first counter ‖ u32be n
    ‖ n × (leaf ‖ body)                                               (framing.py)

The bytes stand alone: a journal file is these bytes with a checksum, and shipping it is inserting them.
"""

import re
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import encoding
from ledger.entry import BLIND_BYTES, Draft, Entry, Part, Stub, commit, stub_digest
from ledger.framing import MAX_PART_BYTES, FramingRefused, read_body, read_leaf
from ledger.storage import Batch
from ledger.stub import (
    Spelling,
    StubRefused,
    decode_alike,
    is_entry_id,
    parse_stub,
    sign_stub,
    spell_alike,
    spelling_of,
    writer_id,
)
from ledger.uuid7 import uuid7_text

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_ENTRIES",
    "BatchRefused",
    "Header",
    "Packed",
    "Steps",
    "Writer",
    "finished",
    "read_header",
    "unpack",
    "unpacking",
]

MAX_ENTRIES: Final = 1024
STEP: Final = 32  # entries: a fraction of a millisecond
MAX_BATCH_BYTES: Final = 24 * 1024 * 1024  # one largest part, its neighbours up to a flush's own cut of 4 MiB, and air

_ENTROPY_BYTES: Final = 10 + 2 * BLIND_BYTES  # an entry's id, the blind of its facts, the blind of its content

_MAX_CHECKED: Final = 4096
_MAX_SPELLINGS: Final = 16  # a batch with more of them is read in full

_MAGIC: Final = b"glassgate-batch/v1\n"
_HEAD: Final = struct.Struct(">16sQI")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_BODY: Final = struct.Struct(">BI")
_FACTS_ALONE: Final = 0x10  # forms of a body (framing.py): in clear
_FACTS_AND_CONTENT: Final = 0x11
_LOG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}")

Entropy = Callable[[int], bytes]
"""So many unpredictable bytes, as os.urandom gives."""

Validate = Callable[[str, int, bytes, bytes | None], None]
"""(kind, version, facts, content or None): raises ValueError for what may not be recorded."""


_Chosen = tuple[str, int, str, str, str]  # kind, version, grant, store_def, policy


Result = TypeVar("Result")
Steps = Generator[None, None, Result]


class BatchRefused(ValueError):
    """The bytes are not a batch, or what is in it does not belong together."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a batch says of itself; `start` is where its entries begin."""

    log: str
    writer: str
    first_counter: int
    n: int
    start: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch, the ids of its entries, and where the writer stands once it is durable."""

    batch: Batch
    ids: list[str]
    next_counter: int
    prev: str


class Writer:
    """One key's hand in one log: gives counters, chains and signs.

    At most one pack is outstanding. It ends with `accepted` (durable) or `refused` (definitely not stored: the
    counters come back). While the answer is unknown only the same bytes may be sent again.
    `policy` is the digest of the policy in force, put into every stub.
    """

    def __init__(
        self,
        log: str,
        member: str,
        key: Ed25519PrivateKey,
        release: str = "",
        trial: bool = False,
        next_counter: int = 0,
        prev: str = "",
        validate: Validate | None = None,
    ) -> None:
        if not _LOG.fullmatch(log):
            raise ValueError(f"a log is named by its origin, not {log!r}")
        self.log = log
        self.member = member
        self.release = release
        self.trial = trial
        self.policy = ""
        self.public_key = key.public_key().public_bytes_raw()
        self.writer_id = writer_id(self.public_key)
        self.next_counter = next_counter
        self.prev = prev
        self._key = key
        self._validate = validate
        self._outstanding: Packed | None = None
        self._checked: set[_Chosen] = set()

    def pack(self, drafts: Sequence[Draft], now: datetime, entropy: Entropy) -> Batch:
        """One flush. Raises ValueError for a draft that can have no stub; nothing is outstanding then."""
        if self._outstanding is not None:
            raise RuntimeError("one pack is outstanding already")
        packed = self.pack_at(drafts, now, entropy, self.next_counter, self.prev)
        self._outstanding = packed
        return packed.batch

    def accepted(self) -> None:
        """The outstanding pack is durable."""
        packed = self._settle()
        self.next_counter, self.prev = packed.next_counter, packed.prev

    def refused(self) -> None:
        """The outstanding pack is definitely not stored; its counters will be given again."""
        self._settle()

    def _settle(self) -> Packed:
        packed, self._outstanding = self._outstanding, None
        if packed is None:
            raise RuntimeError("no pack is outstanding")
        return packed

    def pack_at(self, drafts: Sequence[Draft], now: datetime, entropy: Entropy, counter: int, prev: str) -> Packed:
        """As `pack`, from a position that the caller keeps (a locked row, say); this writer's own is not touched."""
        if not 1 <= len(drafts) <= MAX_ENTRIES:
            raise ValueError(f"a batch has 1 to {MAX_ENTRIES} entries, not {len(drafts)}")
        first, last = counter, counter + len(drafts) - 1
        time = now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        unix_ms = int(now.timestamp() * 1000)
        log = self.log.encode()
        out = [_MAGIC, _U16.pack(len(log)), log, _HEAD.pack(bytes.fromhex(self.writer_id), first, len(drafts))]
        ids: list[str] = []
        random = entropy(_ENTROPY_BYTES * len(drafts))
        spelled: dict[_Chosen, Spelling] = {}
        for counter, draft in enumerate(drafts, first):
            own = random[(counter - first) * _ENTROPY_BYTES :][:_ENTROPY_BYTES]
            entry_id = draft.entry_id or uuid7_text(unix_ms, own)
            leaf = self._append(out, draft, entry_id, time, counter, prev, spelled, own[10:], counter == last)
            prev = stub_digest(leaf)
            ids.append(entry_id)
        data = b"".join(out)
        if len(data) > MAX_BATCH_BYTES:
            raise ValueError(f"a batch has at most {MAX_BATCH_BYTES} bytes, not {len(data)}")
        return Packed(Batch(self.log, self.writer_id, first, len(drafts), data), ids, last + 1, prev)

    def _append(
        self,
        out: list[bytes],
        draft: Draft,
        entry_id: str,
        time: str,
        counter: int,
        prev: str,
        spelled: dict[_Chosen, Spelling],
        blinds: bytes,
        last: bool,
    ) -> bytes:
        facts = _part(draft.facts)
        content = None if draft.content is None else _part(draft.content)
        if self._validate is not None:
            self._validate(draft.kind, draft.version, facts, content)
        facts_blind, content_blind = blinds[:BLIND_BYTES], blinds[BLIND_BYTES:]
        of_facts = commit(facts, facts_blind)
        of_content = "" if content is None else commit(content, content_blind)
        chosen = draft.kind, draft.version, draft.grant, draft.store_def, self.policy
        spelling = None if last or (draft.entry_id and not is_entry_id(draft.entry_id)) else spelled.get(chosen)
        if spelling is None:
            leaf = self._spell(draft, entry_id, time, counter, prev, of_facts, of_content, last)
            if not last:
                spelled[chosen] = spelling_of(leaf)
        else:
            leaf = spell_alike(spelling, of_content, counter, of_facts, entry_id, prev)
        out += (_U16.pack(len(leaf)), leaf)
        if content is None:
            out += (_BODY.pack(_FACTS_ALONE, len(facts)), facts, facts_blind)
        else:
            out += (_BODY.pack(_FACTS_AND_CONTENT, len(facts)), facts, facts_blind)
            out += (_U32.pack(len(content)), content, content_blind)
        return leaf

    def _spell(
        self, draft: Draft, entry_id: str, time: str, counter: int, prev: str, facts: str, content: str, sign: bool
    ) -> bytes:
        """The leaf, from nothing but its fields; `facts` and `content` are commitments."""
        stub = Stub(
            v=1,
            kind=draft.kind,
            kv=draft.version,
            id=entry_id,
            time=time,
            member=self.member,
            writer=self.writer_id,
            counter=counter,
            prev=prev,
            policy=self.policy,
            store_def=draft.store_def,
            release=self.release,
            grant=draft.grant,
            facts=facts,
            content=content,
            trial=self.trial,
        )
        leaf = sign_stub(stub, self._key) if sign else encoding.encode(stub)
        # What the sequencer would put into quarantine must not cost this writer a counter. Times and counters are
        # our own; what callers choose repeats, and is checked once.
        chosen = draft.kind, draft.version, draft.grant, draft.store_def, self.policy
        if chosen not in self._checked or (draft.entry_id and not is_entry_id(draft.entry_id)):
            try:
                parse_stub(leaf)
            except StubRefused as cause:
                raise ValueError(f"{draft.kind!r} has no stub: {stub}") from cause
            if len(self._checked) >= _MAX_CHECKED:
                self._checked.clear()
            self._checked.add(chosen)
        return leaf


def _part(value: Mapping[str, Any] | msgspec.Struct | bytes) -> bytes:
    data = value if isinstance(value, bytes) else encoding.encode(value)
    if len(data) > MAX_PART_BYTES:
        raise ValueError(f"a part has at most {MAX_PART_BYTES} bytes, not {len(data)}")
    return data


def finished(steps: Steps[Result]) -> Result:
    """What all the steps come to, taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def read_header(data: bytes) -> Header:
    """What the batch says of itself, its entries unread; raises BatchRefused."""
    at = len(_MAGIC)
    if len(data) > MAX_BATCH_BYTES or not data.startswith(_MAGIC) or len(data) < at + 2:
        raise BatchRefused("no batch of version 1")
    end = at + 2 + int(_U16.unpack_from(data, at)[0])
    start = end + _HEAD.size
    if start > len(data):
        raise BatchRefused("ends inside its header")
    try:
        log = data[at + 2 : end].decode("ascii")
    except UnicodeDecodeError as cause:
        raise BatchRefused("the log's name is not ASCII") from cause
    if not _LOG.fullmatch(log):
        raise BatchRefused("the log's name is no origin")
    writer, first_counter, n = _HEAD.unpack_from(data, end)
    if not 1 <= n <= MAX_ENTRIES:
        raise BatchRefused(f"a batch has 1 to {MAX_ENTRIES} entries")
    return Header(log, writer.hex(), first_counter, n, start)


def unpack(data: bytes) -> list[Entry]:
    """The entries of a batch. Raises BatchRefused unless every rule holds that needs no key and no other batch:

    exact framing; every stub canonical, of the header's writer, its counter the next one, its `prev` the digest
    of the one before it; only the last one signed; every part present and matching its commitment.
    """
    return finished(unpacking(data))


def unpacking(data: bytes) -> Steps[list[Entry]]:
    """`unpack` in steps of a few entries, for a loop that has something else to do in between."""
    header = read_header(data)
    entries: list[Entry] = []
    at = header.start
    prev = ""
    known: list[Spelling] = []
    last = header.first_counter + header.n - 1
    for counter in range(header.first_counter, last + 1):
        read = _read_alike(data, at, counter, prev, known) if known and counter != last else None
        if read is None:
            read = _read_entry(data, at, header.writer, counter, prev, counter == last)
            if counter != last and len(known) < _MAX_SPELLINGS:
                known.append(spelling_of(read[0].leaf))
        entry, at = read
        prev = stub_digest(entry.leaf)
        entries.append(entry)
        if len(entries) % STEP == 0:
            yield
    if at != len(data):
        raise BatchRefused("bytes behind the last entry")
    return entries


def _read_entry(data: bytes, at: int, writer: str, counter: int, prev: str, last: bool) -> tuple[Entry, int]:
    """The entry at `at` and the position behind it, every rule looked at; `prev` is empty for a batch's first."""
    try:
        leaf, at = read_leaf(data, at)
        facts, content, at = read_body(data, at)
        stub = parse_stub(leaf)
    except (FramingRefused, StubRefused) as cause:
        raise BatchRefused(f"entry {counter}: {cause}") from cause
    if stub.writer != writer or stub.counter != counter:
        raise BatchRefused(f"entry {counter}: another writer's or another counter")
    if prev and stub.prev != prev:
        raise BatchRefused(f"entry {counter}: does not chain to the one before it")
    if (stub.sig != "") != last:
        raise BatchRefused(f"entry {counter}: the last stub of a batch is signed, and only it")
    if facts is None or not opens(stub.facts, facts):
        raise BatchRefused(f"entry {counter}: the facts are not those that the stub commits to")
    if (content is None) != (stub.content == "") or (content is not None and not opens(stub.content, content)):
        raise BatchRefused(f"entry {counter}: the content is not that which the stub commits to")
    return Entry(leaf, stub, facts, content), at


def _read_alike(data: bytes, at: int, counter: int, prev: str, known: list[Spelling]) -> tuple[Entry, int] | None:
    """As _read_entry, for a stub spelled as one before it in the batch and parts in clear; None: read it in full.

    Most entries of a busy writer come this way, so what the other one does in six calls is done here in two.
    """
    try:
        leaf_end = at + 2 + _U16.unpack_from(data, at)[0]
        forms, length = _BODY.unpack_from(data, leaf_end)
        begin = leaf_end + _BODY.size
        end = begin + length
        facts = Part(data[begin:end], data[end : end + BLIND_BYTES])
        content, digest = None, ""
        longest, behind = length, end + BLIND_BYTES
        if forms == _FACTS_AND_CONTENT:
            begin = behind + _U32.size
            end = begin + int(_U32.unpack_from(data, behind)[0])
            content = Part(data[begin:end], data[end : end + BLIND_BYTES])
            longest, behind = max(longest, end - begin), end + BLIND_BYTES
        elif forms != _FACTS_ALONE:
            return None
        if behind > len(data) or longest > MAX_PART_BYTES:
            return None
    except struct.error:
        return None
    leaf = data[at + 2 : leaf_end]
    if content is not None:
        digest = commit(content.data, content.blind)
    stub = decode_alike(leaf, known, digest, counter, commit(facts.data, facts.blind), prev)
    return None if stub is None else (Entry(leaf, stub, facts, content), behind)


def opens(commitment: str, part: Part) -> bool:
    """Whether `part`, as stored, is what the commitment was made over. An erased part opens nothing."""
    return part.form != "erased" and commit(part.data, part.blind) == commitment
