"""The single hand that numbers: committed batches -> entries -> tiles -> signed checkpoint, one transaction a round.

A leader holds a session's advisory lock, and moves the head row by compare-and-swap on its size and epoch: a
leader that lost its connection lost the lock without being told, but its epoch is over. Nothing is remembered
past a doubt: any failure, a lost answer to COMMIT above all, ends the term, and the next one starts from what
the database holds. A checkpoint's signature leaves the process with the transaction that stores it, never before.
"""

import asyncio
import hashlib
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg
import structlog

from ledger.batch import Writer
from ledger.boot import BootRefused, load_edge
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.entry import Draft, Entry
from ledger.intake import Accepted, Earlier, Early, Rejected, Rules, Verdict, WriterState, examination
from ledger.note import Signer
from ledger.postgres import append_in
from ledger.round import Round, commit_round
from ledger.storage import Batch
from ledger.tiles import Edge

__all__ = ["BootRefused", "Clock", "Deposed", "Sequencer", "Tally"]

MAX_ENTRIES: Final = 2048  # per round: bounds how long the head row is held; fewer would not pay for its round trips
WORTH_OVERLAPPING: Final = 128
YIELD_EVERY: Final = 64
MAX_BYTES: Final = 32 * 1024 * 1024
BUSY_S: Final = 0.005
IDLE_S: Final = 0.05
STANDBY_S: Final = 1.0
IDLE_AFTER: Final = 100  # empty rounds
GAP_S: Final = 10.0
HEARTBEAT_S: Final = 25.0
MAX_WAITING: Final = 1000
REJECTIONS_A_MINUTE: Final = 20

_LOCK: Final = int.from_bytes(hashlib.sha256(b"glassgate sequencer").digest()[:8], "big", signed=True)

# The running sum keeps one round's bytes bounded without reading what is left for the next.
_FETCH: Final = """
SELECT b.id, b.log, b.writer, b.first_counter, b.n, b.bytes
FROM (SELECT id, sum(octet_length(bytes)) OVER w AS bytes_so_far, sum(n) OVER w AS entries_so_far, row_number() OVER w
      FROM (SELECT id, bytes, n FROM ledger.entry_batch WHERE id <> ALL($1::bigint[]) ORDER BY id LIMIT 512) AS oldest
      WINDOW w AS (ORDER BY id)) AS due
JOIN ledger.entry_batch AS b USING (id)
WHERE row_number = 1 OR (bytes_so_far <= $2 AND entries_so_far <= $3)
ORDER BY b.id
"""
_AGAIN: Final = "SELECT * FROM ledger.entry_batch WHERE id = ANY($1::bigint[]) ORDER BY id"
_WRITERS: Final = "SELECT * FROM ledger.writer WHERE writer = ANY($1::text[])"
_LEAVES: Final = """
SELECT b.first_counter + i AS counter, e.leaf
FROM ledger.numbered_batch AS b, generate_series(0, b.n - 1) AS i, ledger.entry AS e
WHERE b.writer = $1 AND b.first_counter < $3 AND b.first_counter + b.n > $2 AND e.idx = b.first_idx + i
"""
_log = structlog.get_logger(__name__)

Connection = Any  # asyncpg.Connection, which has no types of its own


class Clock(Protocol):
    """Wall and monotonic time, brought by the wiring so that tests can move them."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...


class Deposed(Exception):
    """This term is over: somebody else leads, or the database's answer is in doubt. Start a new term from its rows."""


@dataclass(slots=True)
class Tally:
    """What a sequencer has done since it was made; for metrics."""

    numbered: int = 0
    batches: int = 0
    duplicates: int = 0
    quarantined: int = 0
    rounds: int = 0
    terms: int = 0
    waiting: int = 0
    size: int = 0
    leading: bool = False


@dataclass(frozen=True, slots=True)
class _Early:
    """A batch seen before its time."""

    since: float
    writer: str
    first_counter: int


@dataclass(slots=True)
class _Term:
    """What a leader knows; thrown away with its connections. The first one holds the lock and writes."""

    connection: Connection
    reader: Connection
    edge: Edge
    epoch: int
    signed_at: float
    writers: dict[str, WriterState] = field(default_factory=dict)
    waiting: dict[int, _Early] = field(default_factory=dict)  # by batch id
    prepared: Round | None = None


class Sequencer:
    """Numbers one log. `run` takes terms until cancelled; `lead` and `step` are its parts, for tests.

    `connect` opens a connection of its own per term. `writer` (already introduced by `process.started`) lets the
    sequencer record what it rejected; without it the quarantine table alone shows it. `floor` is the newest
    checkpoint that an outsider cosigned: a database behind it is a restored backup and is not continued.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        signer: Signer,
        rules: Rules,
        clock: Clock,
        *,
        writer: Writer | None = None,
        floor: Checkpoint | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_numbered: Callable[[int], None] | None = None,
    ) -> None:
        if signer.verifier.name != rules.log:
            raise ValueError("the log key's name is the log's origin")
        self.tally = Tally()
        self._connect = connect
        self._signer = signer
        self._rules = rules
        self._clock = clock
        self._writer = writer
        self._floor = floor
        self._pause = pause
        self._on_numbered = on_numbered
        self._term: _Term | None = None
        self._rejections: list[float] = []
        self._unreported = 0

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled. Raises BootRefused: a damaged log is not continued."""
        while True:
            try:
                if not await self.lead():
                    await self._pause(STANDBY_S)
                    continue
                await self._serve()
            except Deposed as cause:
                _log.warning("sequencer.deposed", cause=str(cause))
                await self._pause(STANDBY_S)
            finally:
                self.leave()

    async def _serve(self) -> None:
        empty = 0
        while True:
            numbered = await self.step()
            if self._term is not None and self._term.prepared is not None:
                continue
            empty = 0 if numbered else empty + 1
            await self._pause(BUSY_S if empty < IDLE_AFTER else IDLE_S)

    def leave(self) -> None:
        """Give up the term, and with the connection the lock."""
        term, self._term = self._term, None
        self.tally.leading = False
        if term is not None:
            term.connection.terminate()
            term.reader.terminate()

    async def lead(self) -> bool:
        """Try to begin a term: take the lock, end everybody else's epoch, check what is there. False: somebody leads.

        Raises Deposed where the database cannot be reached, BootRefused where what it holds does not fit together.
        """
        self.leave()
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
            raise Deposed(f"no connection ({type(cause).__name__})") from cause
        try:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                connection.terminate()
                return False
            edge, epoch = await load_edge(connection, self._signer, self._clock.now(), self._floor)
            reader = await self._connect()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
            connection.terminate()
            raise Deposed(f"no term ({type(cause).__name__})") from cause
        except BaseException:
            connection.terminate()
            raise
        self._term = _Term(connection, reader, edge, epoch, self._clock.monotonic())
        self.tally.terms += 1
        self.tally.size = edge.size
        self.tally.leading = True
        return True

    async def step(self) -> int:
        """One round: number what is due. Returns how many entries were numbered. Raises Deposed."""
        term = self._term
        if term is None:
            raise Deposed("no term")
        try:
            return await self._step(term)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
            self.leave()
            raise Deposed(f"the round failed ({type(cause).__name__}: {cause})") from cause
        except BaseException:
            self.leave()
            raise

    async def _step(self, term: _Term) -> int:
        work, term.prepared = term.prepared, None
        if work is None:
            work = await self._collect(term, None)
        heartbeat = self._clock.monotonic() - term.signed_at >= HEARTBEAT_S
        if not work.done and not heartbeat:
            return 0
        if len(work.entries) < WORTH_OVERLAPPING:
            await self._commit(term, work)
        else:
            # Under load the next round is checked while the database writes this one.
            committing = asyncio.ensure_future(self._commit(term, work))
            try:
                following = await self._collect(term, work)
            except BaseException:
                committing.cancel()
                await asyncio.wait([committing])
                raise
            await committing
            if following.done:
                term.prepared = following
        # Only now, with the answer to COMMIT in hand, does the term know it.
        term.edge = work.edge
        term.writers.update(work.writers)
        term.signed_at = self._clock.monotonic()
        for batch_id in work.done:
            term.waiting.pop(batch_id, None)
        self._count(term, work)
        return len(work.entries)

    async def _collect(self, term: _Term, before: Round | None) -> Round:
        """What is due, examined; on top of `before`, a round whose commit is still under way."""
        known = ChainMap(before.writers, term.writers) if before else ChainMap(term.writers)
        edge = before.edge if before else term.edge
        work = Round(self._clock.now(), edge.copy(), {})
        taken = [*term.waiting, *(before.done if before else ())]
        rows = await term.reader.fetch(_FETCH, taken, MAX_BYTES, MAX_ENTRIES)
        if before is None:
            rows += await self._due_again(term)
        if not rows:
            return work
        await self._know(term, {row["writer"] for row in rows})
        unyielded = 0
        for row in sorted(rows, key=lambda row: int(row["id"])):
            await self._take(term, work, row, known, before)
            unyielded += row["n"]
            if unyielded >= YIELD_EVERY:
                unyielded = 0
                await asyncio.sleep(0)  # the commit under way, and others on this loop, go on
        return work

    async def _commit(self, term: _Term, work: Round) -> None:
        checkpoint = Checkpoint(self._rules.log, work.edge.size, work.edge.root())
        note = sign_checkpoint(checkpoint, self._signer)
        async with term.connection.transaction():
            if not await commit_round(term.connection, work, checkpoint, note, term.epoch, term.edge.size):
                raise Deposed("the head row has moved under another epoch")
            await self._report(term, work)

    async def _due_again(self, term: _Term) -> list[Any]:
        """Batches that came too early, looked at again now that others may have been numbered before them."""
        now = self._clock.monotonic()
        due = []
        for batch_id, early in term.waiting.items():
            state = term.writers.get(early.writer)
            its_turn = early.first_counter == 0 if state is None else state.next_counter >= early.first_counter
            if term.edge.size and (its_turn or now - early.since >= GAP_S):
                due.append(batch_id)
        if not due:
            return []
        rows: list[Any] = await term.reader.fetch(_AGAIN, sorted(due)[:64])
        return rows

    async def _know(self, term: _Term, writers: set[str]) -> None:
        unknown = [writer for writer in writers if writer not in term.writers]
        if unknown:
            for row in await term.reader.fetch(_WRITERS, unknown):
                term.writers[row["writer"]] = WriterState(
                    row["public_key"], row["next_counter"], row["prev"], row["last_idx"], row["stopped"]
                )

    async def _take(
        self, term: _Term, work: Round, row: Any, known: Mapping[str, WriterState], before: Round | None
    ) -> None:
        batch = Batch(row["log"], row["writer"], row["first_counter"], row["n"], row["bytes"])
        state = work.writers.get(batch.writer) or known.get(batch.writer)
        match await self._examined(batch, state, work.edge.size):
            case Accepted() as verdict:
                work.accept(row["id"], batch, verdict)
            case Early() as verdict:
                now = self._clock.monotonic()
                early = term.waiting.setdefault(row["id"], _Early(now, batch.writer, batch.first_counter))
                if (work.edge.size and now - early.since >= GAP_S) or len(term.waiting) > MAX_WAITING:
                    work.reject(row["id"], batch, Rejected("gap", verdict.why), state)
            case Earlier() as verdict:
                if await self._is_numbered(term, [*(before.entries if before else ()), *work.entries], batch, verdict):
                    work.drop(row["id"])
                else:
                    fault = Rejected("conflict", "other entries are numbered under these counters", stops=True)
                    work.reject(row["id"], batch, fault, state)
            case Rejected() as verdict:
                work.reject(row["id"], batch, verdict, state)

    async def _examined(self, batch: Batch, state: WriterState | None, size: int) -> Verdict:
        """The verdict; the commit under way, and others on this loop, go on meanwhile."""
        steps = examination(batch, state, size, self._rules)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                verdict: Verdict = end.value
                return verdict
            await asyncio.sleep(0)

    async def _is_numbered(self, term: _Term, uncommitted: list[Entry], batch: Batch, verdict: Earlier) -> bool:
        """Whether exactly these leaves are numbered already, in the database or in a round that is on its way there."""
        first = batch.first_counter
        numbered = {
            row["counter"]: row["leaf"]
            for row in await term.reader.fetch(_LEAVES, batch.writer, first, first + batch.n)
        }
        for entry in uncommitted:
            if entry.stub.writer == batch.writer:
                numbered[entry.stub.counter] = entry.leaf
        return all(numbered.get(entry.stub.counter) == entry.leaf for entry in verdict.entries)

    async def _report(self, term: _Term, work: Round) -> None:
        """Record rejections in the log itself; a flood of them is counted, not amplified."""
        now = self._clock.monotonic()
        self._rejections = [at for at in self._rejections if now - at < 60.0]
        drafts: list[Draft] = []
        for rejection in work.rejections:
            if self._writer is None or rejection.batch.writer == self._writer.writer_id:
                continue
            if len(self._rejections) >= REJECTIONS_A_MINUTE:
                self._unreported += 1
                continue
            self._rejections.append(now)
            drafts.append(Draft("entry.rejected", rejection.facts(self._unreported)))
            self._unreported = 0
        if drafts and self._writer is not None:
            await append_in(term.connection, drafts, writer=self._writer, now=work.now)

    def _count(self, term: _Term, work: Round) -> None:
        tally = self.tally
        tally.rounds += 1
        tally.numbered += len(work.entries)
        tally.batches += len(work.batches)
        tally.duplicates += len(work.done) - len(work.batches) - len(work.rejections)
        tally.quarantined += len(work.rejections)
        tally.waiting = len(term.waiting)
        tally.size = term.edge.size
        for rejection in work.rejections:
            _log.error(
                "sequencer.quarantined",
                writer=rejection.batch.writer,
                first_counter=rejection.batch.first_counter,
                entries=rejection.batch.n,
                fault=rejection.verdict.fault,
                detail=rejection.verdict.detail,
            )
        if work.entries and self._on_numbered is not None:
            self._on_numbered(term.edge.size)
