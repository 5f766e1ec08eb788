"""The auditor: a whole log from its bytes, a verdict out.

    1 the checkpoint is signed by the log's key, and its origin is that key's name
    2 every entry hashes to the leaf that the tiles have, and tiles and entries add up to the checkpoint's root
    3 every stub is canonical, and of the log's own member
    4 every writer is introduced by a certificate of a trusted host; its counters have no gap, each stub names the
      one before it, and each flush is signed
    5 facts and content open their commitments, and what cannot be opened is named
    6 kinds and their facts are known
    7 no writer had written more than the log holds, as far as the process after it knew

What is wrong is named by the first entry that it shows at. A verdict covers what the checkpoint covers: entries that
were withheld before it, or a log that is shown differently to somebody else, need a witness to be seen.
What is not wrong but leaves a question open, as a writer that never closed, is a remark.
"""

import base64
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.batch import MAX_ENTRIES
from ledger.certificate import CREATED, STARTED, NotCertified, introduced_key
from ledger.checkpoint import Checkpoint, CheckpointRefused, open_checkpoint
from ledger.entry import Entry, Part, Stub, commit, stub_digest
from ledger.framing import FramingRefused, read_bodies, read_bundle
from ledger.merkle import HASH_BYTES, leaf_hash
from ledger.note import Verifier, parse_vkey
from ledger.stub import StubRefused, parse_stub, stub_signed_by
from ledger.tiles import WIDTH, Edge, FullTile, Resource, tiles_of
from ledger.writers import MAX_REMARKS, Missing, Remark, WriterEnds

__all__ = ["Fault", "Source", "Unavailable", "Verdict", "verify_log"]

MAX_FAULTS: Final = 100

Validate = Callable[[str, int, bytes, bytes | None], None]


class Unavailable(Exception):
    """A source has not what was asked for. `index` names the first entry that is missing, where that is known."""

    def __init__(self, text: str, index: int | None = None) -> None:
        super().__init__(text)
        self.index = index


class Source(Protocol):
    """Where a log's bytes come from: a server, a database, a folder (ledger/sources.py)."""

    def fetch(self, path: str) -> bytes:
        """The resource at `path` below the log's prefix, e.g. "checkpoint", "tile/0/000.p/7"; raises Unavailable."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong: the entry's index (or the log's size, for what is wrong with the whole), which part, and how."""

    index: int
    part: str
    text: str

    def __str__(self) -> str:
        return f"{self.part}: {self.text}"


@dataclass(slots=True)
class Verdict:
    """`ok` if nothing is wrong. `anchored`: the hosts' keys came from the caller, not from the log itself.

    `remarks` has the first MAX_REMARKS of `remarked`; none are made of a log that could not be read whole.
    """

    origin: str
    size: int = 0
    root: bytes = b""
    entries: int = 0  # read and checked
    writers: int = 0
    anchored: bool = False
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    remarked: int = 0

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def first(self) -> Fault | None:
        """The fault at the lowest index."""
        return min(self.faults, default=None)


class _Created(msgspec.Struct, frozen=True):
    origin: str
    log_key: str
    member: str


@dataclass(slots=True)
class _Group:
    """The stubs of a writer since its last signature."""

    first: int
    count: int = 0
    broken: tuple[int, int] | None = None  # the last two entries that do not chain


@dataclass(slots=True)
class _Writer:
    key: Ed25519PublicKey | None
    next_counter: int = 0
    prev: str = ""
    prev_index: int = -1
    group: _Group | None = None


def verify_log(
    source: Source, vkey: str, host_keys: Collection[bytes] = (), validate: Validate | None = None
) -> Verdict:
    """The verdict on a whole log.

    `vkey` is the log's verifier key, `host_keys` the raw Ed25519 keys of trusted hosts; both must come from somewhere
    else than the log. Without host keys the one named in entry 0 is taken, and the verdict says `anchored=False`.
    `validate` checks kinds; without it step 6 is left out. Raises NoteRefused if `vkey` is none.
    """
    return _Audit(source, parse_vkey(vkey), host_keys, validate).run()


class _Audit:
    def __init__(self, source: Source, log: Verifier, host_keys: Collection[bytes], validate: Validate | None) -> None:
        self._source = source
        self._log = log
        self._host_keys = set(host_keys)
        self._validate = validate
        self._verdict = Verdict(log.name, anchored=bool(host_keys))
        self._writers: dict[str, _Writer] = {}
        self._ends = WriterEnds()
        self._member = ""
        self._from_entries = Edge()
        self._from_tiles = Edge()
        self._computed: dict[tuple[int, int], bytes] = {}
        self._unlike: list[tuple[int, str]] = []  # leaves that are not what their tile says

    def run(self) -> Verdict:
        verdict = self._verdict
        try:
            checkpoint = self._checkpoint()  # 1
            if checkpoint is None:
                return verdict
            verdict.size, verdict.root = checkpoint.size, checkpoint.root
            for n in range((checkpoint.size + WIDTH - 1) // WIDTH):
                self._bundle(n, min(WIDTH, checkpoint.size - n * WIDTH))
            self._close_writers()
            self._ask_after_writers()  # 7
            self._tree(checkpoint)  # 2
        except Unavailable as cause:
            at = verdict.entries if cause.index is None else cause.index
            self._fault(at, "source", str(cause))
        verdict.writers = len(self._writers)
        verdict.faults.sort()
        return verdict

    def _fault(self, index: int, part: str, text: str) -> None:
        if len(self._verdict.faults) < MAX_FAULTS:
            self._verdict.faults.append(Fault(index, part, text))

    def _checkpoint(self) -> Checkpoint | None:
        try:
            checkpoint, _ = open_checkpoint(self._source.fetch("checkpoint"), self._log)
        except CheckpointRefused as cause:
            self._fault(0, "checkpoint", str(cause))
            return None
        return checkpoint

    def _bundle(self, n: int, width: int) -> None:
        start = n * WIDTH
        leaves = self._leaves(n, width)
        bodies = self._bodies(n, width)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        self._keep(self._from_entries.append(hashes))
        self._compare_tile(n, width, hashes)
        for i, leaf in enumerate(leaves):
            self._entry(start + i, leaf, *bodies[i])
            self._verdict.entries += 1

    def _leaves(self, n: int, width: int) -> list[bytes]:
        resource = Resource("entries", 0, n, width)
        try:
            return read_bundle(self._source.fetch(resource.path), width)
        except FramingRefused as cause:
            raise Unavailable(f"{resource.path}: {cause}", n * WIDTH) from cause

    def _bodies(self, n: int, width: int) -> list[tuple[Part | None, Part | None]]:
        resource = Resource("body", 0, n, width)
        try:
            return read_bodies(self._source.fetch(resource.path), width)
        except FramingRefused as cause:
            raise Unavailable(f"{resource.path}: {cause}", n * WIDTH) from cause

    # 2 ------------------------------------------------------------------------------------------------------------

    def _keep(self, tiles: list[FullTile]) -> None:
        for tile in tiles:
            if tile.level:
                self._computed[tile.level, tile.n] = tile.hashes

    def _compare_tile(self, n: int, width: int, hashes: list[bytes]) -> None:
        resource = Resource("tile", 0, n, width)
        served = self._source.fetch(resource.path)
        if len(served) != width * HASH_BYTES:
            self._fault(n * WIDTH, resource.path, f"has {len(served)} bytes, not {width * HASH_BYTES}")
            self._from_tiles.append(hashes)
            return
        parts = [served[at : at + HASH_BYTES] for at in range(0, len(served), HASH_BYTES)]
        self._from_tiles.append(parts)
        for i, (own, other) in enumerate(zip(hashes, parts, strict=True)):
            if own != other:
                self._unlike.append((n * WIDTH + i, resource.path))

    def _tree(self, checkpoint: Checkpoint) -> None:
        """Who is right where entries and tiles disagree, and whether anybody is."""
        entries_add_up = self._from_entries.root() == checkpoint.root
        tiles_add_up = self._from_tiles.root() == checkpoint.root
        for index, path in self._unlike[:MAX_FAULTS]:
            if entries_add_up:
                self._fault(index, path, f"the hash of entry {index} is not that of the entry")
            else:
                self._fault(index, "entry", f"entry {index} is not the one that was hashed into the tree")
        if not entries_add_up and not (tiles_add_up and self._unlike):
            self._fault(checkpoint.size, "root", "the entries do not add up to the checkpoint's root")
        for resource in tiles_of(checkpoint.size):
            if resource.level == 0:
                continue
            computed = self._computed.get((resource.level, resource.n)) or self._from_entries.partial(resource.level)
            if self._source.fetch(resource.path) != computed and entries_add_up:
                self._fault(checkpoint.size, resource.path, "is not what the entries below it hash to")

    # 3-7 ----------------------------------------------------------------------------------------------------------

    def _entry(self, index: int, leaf: bytes, facts: Part | None, content: Part | None) -> None:
        # 3
        try:
            stub = parse_stub(leaf)
        except StubRefused as cause:
            self._fault(index, "entry", f"entry {index}: {cause}")
            return
        if index == 0:
            self._begin(stub, facts)
        if stub.member != self._member:
            self._fault(index, "entry", f"entry {index} is of the member {stub.member!r}")
        self._chain(index, leaf, stub, facts)  # 4
        self._ends.entry(index, stub)
        # 5
        readable = self._opens(index, "facts", stub.facts, facts)
        if stub.content or content is not None:
            readable = self._opens(index, "content", stub.content, content) and readable
        if readable and facts is not None and self._certified(stub):
            self._ends.started(index, stub, facts.data)
        # 6
        if readable and self._validate is not None and facts is not None:
            try:
                self._validate(stub.kind, stub.kv, facts.data, content.data if content else None)
            except ValueError as cause:
                self._fault(index, "kind", f"entry {index}: {cause}")

    def _begin(self, stub: Stub, facts: Part | None) -> None:
        """Entry 0 says whose log this is."""
        self._member = stub.member
        try:
            created = msgspec.json.decode(facts.data if facts else b"", type=_Created)
        except (msgspec.DecodeError, UnicodeDecodeError):
            created = _Created("", "", "")
        if stub.kind != CREATED:
            self._fault(0, "entry", f"entry 0 is {stub.kind}, not {CREATED}")
        elif (created.origin, created.log_key, created.member) != (self._log.name, self._log.vkey, stub.member):
            self._fault(0, "facts", "entry 0 begins another log than this key's")

    def _chain(self, index: int, leaf: bytes, stub: Stub, facts: Part | None) -> None:
        writer = self._writers.get(stub.writer)
        if writer is None:
            writer = self._writers[stub.writer] = _Writer(self._introduce(index, leaf, stub, facts))
        elif stub.kind in (CREATED, STARTED):
            self._fault(index, "entry", f"entry {index} introduces a writer that is known")
        group = writer.group
        if group is None:
            group = writer.group = _Group(index)
        group.count += 1
        if stub.counter != writer.next_counter:
            self._fault(
                index, "counter", f"entry {index} has counter {stub.counter} of its writer, not {writer.next_counter}"
            )
        elif stub.prev != writer.prev:
            group.broken = writer.prev_index, index
        writer.next_counter, writer.prev, writer.prev_index = stub.counter + 1, stub_digest(leaf), index
        if stub.sig:
            self._end_group(index, leaf, stub, writer, group)
        elif group.count == MAX_ENTRIES:
            self._fault(group.first, "signature", f"entries from {group.first} on are not signed by their writer")
            writer.group = None

    def _introduce(self, index: int, leaf: bytes, stub: Stub, facts: Part | None) -> Ed25519PublicKey | None:
        entry = Entry(leaf, stub, facts or Part(b"", b"", "erased"))
        if index == 0 and not self._host_keys:
            self._host_keys = _host_key_of(entry)
        try:
            return Ed25519PublicKey.from_public_bytes(introduced_key(entry, self._host_keys))
        except (NotCertified, ValueError) as cause:
            self._fault(index, "writer", f"entry {index}: {cause}")
            return None

    def _end_group(self, index: int, leaf: bytes, stub: Stub, writer: _Writer, group: _Group) -> None:
        writer.group = None
        if writer.key is None:
            return  # named where it was introduced
        if not stub_signed_by(leaf, stub, writer.key):
            at = index if group.broken is None else group.broken[1]
            self._fault(at, "signature", f"entries {group.first} to {index}: the writer's signature does not verify")
        elif group.broken is not None:
            # The later stub is authentic, as the signature covers it: it is the earlier one that was changed.
            earlier, later = group.broken
            self._fault(earlier, "chain", f"entry {earlier} is not the one that entry {later} was written after")

    def _close_writers(self) -> None:
        for writer in self._writers.values():
            if writer.group is not None:
                first = writer.group.first
                self._fault(first, "signature", f"entries from {first} on are not signed by their writer")

    def _certified(self, stub: Stub) -> bool:
        """Whether this is a writer's introduction under a trusted host's certificate."""
        return stub.kind == STARTED and stub.counter == 0 and self._writers[stub.writer].key is not None

    def _ask_after_writers(self) -> None:
        """Once every entry was read. What is missing is wrong with the whole: the entry that tells is as it was."""
        doubts: list[Missing] = []
        for missing in self._ends.missing():
            if missing.certain:
                self._fault(self._verdict.size, "writer", str(missing))
            else:
                doubts.append(missing)
        remarks: list[Remark] = [*doubts, *self._ends.unclosed()]
        self._verdict.remarked = len(remarks)
        self._verdict.remarks = remarks[:MAX_REMARKS]

    def _opens(self, index: int, name: str, commitment: str, part: Part | None) -> bool:
        """Whether a part is there, opens its commitment, and can be read."""
        if part is None or part.form == "erased":
            self._fault(index, name, f"entry {index}: nothing is left of its {name}")
            return False
        if commit(part.data, part.blind) != commitment:
            self._fault(index, name, f"entry {index}: its {name}: not what the leaf commits to")
            return False
        if part.form != "clear":
            # The form stands outside the commitment; this version of the log seals nothing.
            self._fault(index, name, f"entry {index}: its {name}: said to be {part.form}, but parts are kept in clear")
            return False
        return True


class _HostKey(msgspec.Struct, frozen=True):
    host_key: str


def _host_key_of(entry: Entry) -> set[bytes]:
    """The host key that entry 0 names, for a caller who brought none."""
    try:
        return {base64.b64decode(msgspec.json.decode(entry.facts.data, type=_HostKey).host_key, validate=True)}
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return set()
