"""The auditor of one pack: its bytes and the auditor's own keys in, a verdict out. No server, no clock.

    1 the file is a pack in its one spelling, and every file is the one that the manifest has the digest of
    2 the checkpoint is signed by a log that the anchors trust, and cosigned by the quorum they ask for
    3 every entry is a canonical stub of the pack's member, and its proof leads to that checkpoint
    4 facts and contents open the commitments in their stubs; what is not here is named
    5 every writer is certified by a host of the anchors, and every entry chains to a stub that its writer signed
    6 kinds and their facts are known
    7 the story holds together: who asked, who decided, what was granted, what was done under it
    8 the page is the one that this data makes
    9 nothing is missing that the log itself counted

A pack can be true and incomplete: the first eight steps give faults, the ninth says what is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.batch import MAX_ENTRIES
from ledger.certificate import CREATED, STARTED, NotCertified, introduced_key
from ledger.checkpoint import Checkpoint, CheckpointRefused, parse_checkpoint
from ledger.entry import Entry, Part, Stub, commit, stub_digest
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.note import NoteRefused, parse_note
from ledger.pack.anchors import Anchors
from ledger.pack.archive import PackRefused
from ledger.pack.complete import Completeness, completeness
from ledger.pack.contents import Held, Pack, Scope, read_pack
from ledger.pack.page import page, releases
from ledger.proof import ProofRefused, parse_proof
from ledger.stub import StubRefused, parse_stub, stub_signed_by
from ledger.trust import TrustRefused

__all__ = ["NOT_ANCHORED", "PackFault", "PackVerdict", "Story", "verify_pack"]

MAX_FAULTS: Final = 100
NOT_ANCHORED: Final = "keys not anchored"

Validate = Callable[[str, int, bytes, bytes | None], None]
Story = Callable[[Sequence[tuple[int, Entry]]], list[tuple[int, str]]]
"""Entries by index in, what does not fit together out: (index, text)."""


@dataclass(frozen=True, slots=True)
class PackFault:
    """What is wrong, and in which file of the pack ("pack": the archive itself; "anchors": the auditor's own file)."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


@dataclass(slots=True)
class PackVerdict:
    """`ok`: nothing in the pack is wrong. `complete`: and nothing that the log counted is missing."""

    origin: str = ""
    member: str = ""
    scope: Scope | None = None
    size: int = 0
    root: bytes = b""
    cosigned: dict[str, int] = field(default_factory=dict)  # witness -> POSIX seconds
    entries: int = 0
    writers: int = 0
    releases: Mapping[str, str] = field(default_factory=dict)  # digest -> versions
    unreadable: dict[int, str] = field(default_factory=dict)  # entries whose content is sealed, erased or withheld
    faults: list[PackFault] = field(default_factory=list)
    completeness: Completeness | None = None  # None: not looked at, as something is wrong

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def complete(self) -> bool:
        return self.ok and self.completeness is not None and self.completeness.shown


def verify_pack(
    data: bytes, anchors: Anchors | None, validate: Validate | None = None, story: Story | None = None
) -> PackVerdict:
    """The verdict on a pack. Without `anchors` it is that the keys are not anchored, whatever the pack says.

    `validate` and `story` know kinds and what they mean (approvals.kinds, approvals.evidence); without them steps 6
    and 7 are left out.
    """
    try:
        pack = read_pack(data)  # 1
    except PackRefused as cause:
        return PackVerdict(faults=[PackFault(cause.file, cause.text)])
    return _Audit(pack, validate, story).run(anchors)


class _Audit:
    def __init__(self, pack: Pack, validate: Validate | None, story: Story | None) -> None:
        self._pack = pack
        self._validate = validate
        self._story = story
        self._verdict = PackVerdict(pack.origin, pack.member, pack.scope, entries=len(pack.entries))
        self._entries: list[tuple[int, Entry]] = []
        self._chain: dict[tuple[str, int], tuple[bytes, Stub, str]] = {}  # leaf, stub and file by writer and counter

    def run(self, anchors: Anchors | None) -> PackVerdict:
        verdict = self._verdict
        checkpoint = self._checkpoint(anchors)  # 2
        if checkpoint is None or anchors is None:
            return verdict
        verdict.size, verdict.root = checkpoint.size, checkpoint.root
        for held in self._pack.entries:
            self._entry(held, checkpoint)  # 3, 4, 6
        self._writers(anchors)  # 5
        verdict.releases = releases(self._pack.entries)
        if self._story is not None and verdict.ok:
            for index, text in self._story(self._entries):  # 7
                self._fault(f"entries/{index}.facts", text)
        self._page()  # 8
        if verdict.ok:
            verdict.completeness = completeness(self._pack.scope, self._entries, checkpoint.size)  # 9
        return verdict

    def _fault(self, file: str, text: str) -> None:
        if len(self._verdict.faults) < MAX_FAULTS:
            self._verdict.faults.append(PackFault(file, text))

    # 2 ------------------------------------------------------------------------------------------------------------

    def _checkpoint(self, anchors: Anchors | None) -> Checkpoint | None:
        if anchors is None:
            self._fault("anchors", f"{NOT_ANCHORED}: whom to trust cannot be taken from a pack")
            return None
        try:
            note = parse_note(self._pack.checkpoint)
            checkpoint = parse_checkpoint(note.text)
        except (NoteRefused, CheckpointRefused) as cause:
            self._fault("checkpoint", str(cause))
            return None
        if all(log.name != checkpoint.origin for log in anchors.trust.logs):
            self._fault("checkpoint", f"{NOT_ANCHORED}: the log {checkpoint.origin!r} is not in the anchors")
            return None
        if checkpoint.origin != self._pack.origin:
            self._fault("manifest.json", f"says the log is {self._pack.origin!r}; the checkpoint is of another")
        try:
            self._verdict.cosigned = anchors.trust.check(note, checkpoint.origin)
        except TrustRefused as cause:
            self._fault("checkpoint", str(cause))
            return None
        scope = self._pack.scope
        if scope.kind in ("grant", "request") and (scope.first, scope.end) != (0, checkpoint.size):
            self._fault("manifest.json", f"a pack about a {scope.kind} looks at the whole log, 0 to {checkpoint.size}")
        elif scope.end > checkpoint.size:
            self._fault("manifest.json", f"its scope reaches beyond the {checkpoint.size} entries of the checkpoint")
        return checkpoint

    # 3, 4, 6 ------------------------------------------------------------------------------------------------------

    def _entry(self, held: Held, checkpoint: Checkpoint) -> None:
        stem = f"entries/{held.index}"
        self._proof(held, checkpoint)
        stub = self._stub(f"{stem}.leaf", held.leaf)
        if stub is None:
            return
        if (stub.writer, stub.counter) in self._chain:
            self._fault(f"{stem}.leaf", "has the writer and counter of another entry of this pack")
            return
        self._chain[stub.writer, stub.counter] = held.leaf, stub, f"{stem}.leaf"
        readable = self._opens(f"{stem}.facts", stub.facts, held.facts)
        readable = self._content(held, stub) and readable
        self._entries.append((held.index, Entry(held.leaf, stub, held.facts, held.content)))
        if readable and self._validate is not None:
            content = held.content.data if held.content is not None and held.content_form == "clear" else None
            try:
                self._validate(stub.kind, stub.kv, held.facts.data, content)
            except ValueError as cause:
                self._fault(f"{stem}.facts", f"as {stub.kind}: {cause}")

    def _proof(self, held: Held, checkpoint: Checkpoint) -> None:
        name = f"proofs/{held.index}.tlog-proof"
        try:
            proof = parse_proof(held.proof)
        except ProofRefused as cause:
            self._fault(name, str(cause))
            return
        if proof.checkpoint != self._pack.checkpoint:
            self._fault(name, "ends in another checkpoint than that of the pack")
        elif proof.index != held.index or proof.extra is not None or bytes(proof) != held.proof:
            self._fault(name, f"is not the proof of entry {held.index} in its one spelling")
        elif not verify_inclusion(proof.index, checkpoint.size, leaf_hash(held.leaf), proof.hashes, checkpoint.root):
            self._fault(name, f"does not lead from entries/{held.index}.leaf to the checkpoint's root")

    def _stub(self, file: str, leaf: bytes) -> Stub | None:
        try:
            stub = parse_stub(leaf)
        except StubRefused as cause:
            self._fault(file, str(cause))
            return None
        if stub.member != self._pack.member:
            self._fault(file, f"is of the member {stub.member!r}; manifest.json says {self._pack.member!r}")
        return stub

    def _content(self, held: Held, stub: Stub) -> bool:
        name = f"entries/{held.index}.content"
        if (held.content_form == "none") != (stub.content == ""):
            self._fault("manifest.json", f"says the content of entry {held.index} is {held.content_form}; the leaf not")
            return False
        if held.content_form not in ("none", "clear"):
            self._verdict.unreadable[held.index] = held.content_form
        return held.content is None or self._opens(name, stub.content, held.content)

    def _opens(self, file: str, commitment: str, part: Part) -> bool:
        if commit(part.data, part.blind) == commitment:
            return True
        self._fault(file, "with its blind, is not what the leaf commits to")
        return False

    # 5 ------------------------------------------------------------------------------------------------------------

    def _writers(self, anchors: Anchors) -> None:
        by_entries = set(self._chain)
        for (writer, counter), leaf in self._pack.stubs.items():
            file = f"stubs/{writer}-{counter}.leaf"
            stub = self._stub(file, leaf)
            if stub is None:
                continue
            if (stub.writer, stub.counter) != (writer, counter):
                self._fault(file, "is another writer's stub, or another of its stubs, than its name says")
            elif (writer, counter) in self._chain:
                self._fault(file, "is an entry of this pack already")
            else:
                self._chain[writer, counter] = leaf, stub, file
        keys = self._introduced(anchors)
        counters: dict[str, list[int]] = {}
        for writer, counter in self._chain:
            counters.setdefault(writer, []).append(counter)
        self._verdict.writers = len(counters)
        for writer, numbers in counters.items():
            if writer not in keys:
                _, _, file = self._chain[writer, min(numbers)]
                self._fault(file, f"its writer {writer} is introduced by no entry of this pack that a host certifies")
                continue
            self._signed(writer, sorted(numbers, reverse=True), keys[writer], by_entries)

    def _introduced(self, anchors: Anchors) -> dict[str, Ed25519PublicKey]:
        keys = {}
        for index, entry in self._entries:
            if entry.stub.kind not in (STARTED, CREATED):
                continue
            try:
                raw = introduced_key(entry, anchors.hosts)
                keys[entry.stub.writer] = Ed25519PublicKey.from_public_bytes(raw)
            except (NotCertified, ValueError) as cause:
                self._fault(f"entries/{index}.facts", f"{NOT_ANCHORED}: {cause}")
        return keys

    def _signed(self, writer: str, numbers: list[int], key: Ed25519PublicKey, by_entries: set[tuple[str, int]]) -> None:
        """From each writer's last stub to its first: each is signed, or is the one before one that is."""
        distance = MAX_ENTRIES + 1  # stubs from the present one to the signature above it; above MAX_ENTRIES: none
        above: tuple[int, Stub] | None = None
        for counter in numbers:
            leaf, stub, file = self._chain[writer, counter]
            follows = above is not None and above[0] == counter + 1
            if follows and above is not None and above[1].prev != stub_digest(leaf):
                self._fault(file, "is not the stub that its writer's next one names")
                follows = False
            if stub.sig:
                distance = 1 if stub_signed_by(leaf, stub, key) else MAX_ENTRIES + 1
                if distance > MAX_ENTRIES:
                    self._fault(file, "its signature is not its writer's")
            else:
                distance = distance + 1 if follows else MAX_ENTRIES + 1
                if distance > MAX_ENTRIES:
                    self._fault(file, "no signed stub of its writer follows it without a gap")
            if (writer, counter) not in by_entries and (writer, counter - 1) not in self._chain:
                self._fault(file, "is not needed by any entry of this pack")
            above = counter, stub

    # 8 ------------------------------------------------------------------------------------------------------------

    def _page(self) -> None:
        pack = self._pack
        if pack.page != page(pack.origin, pack.member, pack.scope, pack.checkpoint, pack.entries):
            self._fault("index.html", "is not the page that this pack's data makes")
