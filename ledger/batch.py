"""One flush as bytes: drafts in, signed and chained entries out; and back, strictly.

    "glassgate-batch/v1\\n" ‖ u16be length ‖ log ‖ writer (16 bytes) ‖ u64be first counter ‖ u32be n
    ‖ n × (leaf ‖ body)                                               (framing.py)

The bytes stand alone: a journal file is these bytes with a checksum, and shipping it is inserting them.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import encoding
from ledger.entry import BLIND_BYTES, Draft, Entry, Part, Stub, commit
from ledger.framing import MAX_PART_BYTES, FramingRefused, read_body, read_leaf
from ledger.storage import Batch
from ledger.stub import StubRefused, is_entry_id, parse_stub, sign_stub, writer_id
from ledger.uuid7 import uuid7

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_ENTRIES",
    "BatchRefused",
    "Header",
    "Packed",
    "Writer",
    "read_header",
    "unpack",
]

MAX_ENTRIES: Final = 1024
MAX_BATCH_BYTES: Final = 24 * 1024 * 1024  # one largest part, its neighbours up to a flush's own cut of 4 MiB, and air

_ENTROPY_BYTES: Final = 10 + 2 * BLIND_BYTES  # an entry's id, the blind of its facts, the blind of its content

_MAX_CHECKED: Final = 4096

_MAGIC: Final = b"glassgate-batch/v1\n"
_HEAD: Final = struct.Struct(">16sQI")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_LOG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}")

Entropy = Callable[[int], bytes]
"""So many unpredictable bytes, as os.urandom gives."""

Validate = Callable[[str, int, bytes, bytes | None], None]
"""(kind, version, facts, content or None): raises ValueError for what may not be recorded."""


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
        self._checked: set[tuple[str, int, str, str, str]] = set()

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
        for counter, draft in enumerate(drafts, first):
            random = entropy(_ENTROPY_BYTES)
            entry_id = draft.entry_id or str(uuid7(unix_ms, random))
            leaf = self._append(out, draft, entry_id, time, counter, prev, counter == last, random[-2 * BLIND_BYTES :])
            prev = hashlib.sha256(leaf).hexdigest()
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
        last: bool,
        blinds: bytes,
    ) -> bytes:
        facts = _part(draft.facts)
        content = None if draft.content is None else _part(draft.content)
        if self._validate is not None:
            self._validate(draft.kind, draft.version, facts, content)
        facts_blind, content_blind = blinds[:BLIND_BYTES], blinds[BLIND_BYTES:]
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
            facts=commit(facts, facts_blind),
            content="" if content is None else commit(content, content_blind),
            trial=self.trial,
        )
        leaf = sign_stub(stub, self._key) if last else encoding.encode(stub)
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
        out += (_U16.pack(len(leaf)), leaf)
        if content is None:
            out += (b"\x10", _U32.pack(len(facts)), facts, facts_blind)
        else:
            out += (b"\x11", _U32.pack(len(facts)), facts, facts_blind)
            out += (_U32.pack(len(content)), content, content_blind)
        return leaf


def _part(value: Mapping[str, Any] | msgspec.Struct | bytes) -> bytes:
    data = value if isinstance(value, bytes) else encoding.encode(value)
    if len(data) > MAX_PART_BYTES:
        raise ValueError(f"a part has at most {MAX_PART_BYTES} bytes, not {len(data)}")
    return data


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
    header = read_header(data)
    entries: list[Entry] = []
    at = header.start
    prev = None
    for counter in range(header.first_counter, header.first_counter + header.n):
        try:
            leaf, at = read_leaf(data, at)
            facts, content, at = read_body(data, at)
            stub = parse_stub(leaf)
        except (FramingRefused, StubRefused) as cause:
            raise BatchRefused(f"entry {counter}: {cause}") from cause
        if stub.writer != header.writer or stub.counter != counter:
            raise BatchRefused(f"entry {counter}: another writer's or another counter")
        if prev is not None and stub.prev != prev:
            raise BatchRefused(f"entry {counter}: does not chain to the one before it")
        prev = hashlib.sha256(leaf).hexdigest()
        if (stub.sig != "") != (len(entries) == header.n - 1):
            raise BatchRefused(f"entry {counter}: the last stub of a batch is signed, and only it")
        if facts is None or not opens(stub.facts, facts):
            raise BatchRefused(f"entry {counter}: the facts are not those that the stub commits to")
        if (content is None) != (stub.content == "") or (content is not None and not opens(stub.content, content)):
            raise BatchRefused(f"entry {counter}: the content is not that which the stub commits to")
        entries.append(Entry(leaf, stub, facts, content))
    if at != len(data):
        raise BatchRefused("bytes behind the last entry")
    return entries


def opens(commitment: str, part: Part) -> bool:
    """Whether `part`, as stored, is what the commitment was made over. An erased part opens nothing."""
    return part.form != "erased" and commit(part.data, part.blind) == commitment
