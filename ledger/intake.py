"""What the sequencer makes of one committed batch: a pure step, so that every verdict can be tested alone.

    1 the bytes are a batch, and the row's columns say what the bytes say
    2 it is for this log, and its entries name this member
    3 its writer is known, or introduced by its first entry under a trusted host key
    4 the last stub is signed by that writer         -- from here on a fault is the writer's own
    5 its counter is the writer's next, and it chains to the writer's previous stub
    6 kinds and their facts are known

A fault before step 4 says nothing about the writer: anybody who may insert rows can claim to be anybody.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.batch import STEP, BatchRefused, Steps, finished, read_header, unpacking
from ledger.certificate import CREATED, STARTED, NotCertified, introduced_key
from ledger.entry import Entry, stub_digest
from ledger.storage import Batch
from ledger.stub import stub_signed_by

__all__ = ["Accepted", "Earlier", "Early", "Rejected", "Rules", "WriterState", "examination", "examine"]

Validate = Callable[[str, int, bytes, bytes | None], None]


@dataclass(frozen=True, slots=True)
class WriterState:
    """What a certified writer's next entry must be. `stopped` names the fault after which nothing of it is numbered."""

    public_key: bytes
    next_counter: int
    prev: str
    last_idx: int
    stopped: str = ""
    key: Ed25519PublicKey = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", Ed25519PublicKey.from_public_bytes(self.public_key))


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose log this is, who may certify writers, and which entries make sense."""

    log: str
    member: str
    host_keys: Collection[bytes]
    validate: Validate


@dataclass(frozen=True, slots=True)
class Accepted:
    """Number these now. `public_key` is the writer's, known or just introduced."""

    entries: list[Entry]
    public_key: bytes
    prev: str


@dataclass(frozen=True, slots=True)
class Early:
    """Something must come first: the writer's earlier entries, or the log's own first one."""

    why: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """Signed by the writer, and its counters are all taken: a batch sent twice, or another one under its numbers."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Rejected:
    """For quarantine. `stops`: the writer itself signed this, so nothing more of it can be numbered."""

    fault: str
    detail: str
    stops: bool = False


Verdict = Accepted | Early | Earlier | Rejected

_INTRODUCTIONS: Final = (STARTED, CREATED)


def examine(batch: Batch, state: WriterState | None, size: int, rules: Rules) -> Verdict:
    """The verdict on `batch`, given its writer's state (None: never seen) and the tree's size."""
    return finished(examination(batch, state, size, rules))


def examination(batch: Batch, state: WriterState | None, size: int, rules: Rules) -> Steps[Verdict]:
    """`examine` in steps of a few entries: a large batch must not keep a loop from its other work."""
    # 1
    try:
        header = read_header(batch.data)
        if (header.log, header.writer, header.first_counter, header.n) != (
            batch.log,
            batch.writer,
            batch.first_counter,
            batch.n,
        ):
            return Rejected("malformed", "the row's columns are not those of its bytes")
        # 2
        if batch.log != rules.log:
            return Rejected("foreign", "a batch for another log")
        entries = yield from unpacking(batch.data)
    except BatchRefused as cause:
        return Rejected("malformed", str(cause))
    if any(entry.stub.member != rules.member for entry in entries):
        return Rejected("foreign", "an entry of another member")
    if size == 0 and entries[0].stub.kind != CREATED:
        return Early(f"a log begins with {CREATED}")
    # 3
    if state is None:
        if header.first_counter > 0:
            # No waiting: a writer's batches are committed in their order, and no key is known to check this one by.
            return Rejected("gap", "nothing is numbered of this writer")
        try:
            public_key = introduced_key(entries[0], rules.host_keys)
        except NotCertified as cause:
            return Rejected("not_certified", str(cause))
        key = Ed25519PublicKey.from_public_bytes(public_key)
    else:
        public_key, key = state.public_key, state.key
    # 4
    last = entries[-1]
    if not stub_signed_by(last.leaf, last.stub, key):
        return Rejected("not_signed", "the last stub's signature is not this writer's")
    # 5
    if state is not None:
        if header.first_counter + header.n <= state.next_counter:
            return Earlier(entries)
        if state.stopped:
            return Rejected("writer_stopped", state.stopped)
        if header.first_counter > state.next_counter:
            return Early(f"counter {state.next_counter} is missing")
        if header.first_counter < state.next_counter:
            return Rejected("conflict", f"counters from {header.first_counter} are taken in part", stops=True)
        if entries[0].stub.prev != state.prev:
            return Rejected("conflict", "does not chain to the writer's numbered entries", stops=True)
    # 6
    fault = yield from _check_kinds(entries, size, rules)
    return fault or Accepted(entries, public_key, stub_digest(last.leaf))


def _check_kinds(entries: list[Entry], size: int, rules: Rules) -> Steps[Rejected | None]:
    validate = rules.validate
    if size and entries[0].stub.kind == CREATED:
        return Rejected("schema", f"only a log's first entry is {CREATED}", stops=True)
    for place, entry in enumerate(entries, 1):
        stub, content = entry.stub, entry.content
        if place % STEP == 0:
            yield
        if stub.counter and stub.kind in _INTRODUCTIONS:
            return Rejected("schema", f"{stub.kind} is a writer's first entry or none", stops=True)
        if entry.facts.form != "clear" or (content is not None and content.form != "clear"):
            return Rejected("schema", f"entry {stub.counter}: facts and content are kept in clear", stops=True)
        try:
            validate(stub.kind, stub.kv, entry.facts.data, content.data if content else None)
        except ValueError as cause:
            return Rejected("schema", f"entry {stub.counter}: {cause}"[:500], stops=True)
    return None
