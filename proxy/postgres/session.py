"""One PostgreSQL session after its login: events in, commands out; pure.

Every method takes the monotonic time and returns commands for the shell to carry out in order. Nothing here
does IO, and nothing leaves before the record allows it: towards the store a message waits for the intent of its
access (asking.py, outbound.py), towards the client every byte waits behind that access's barrier (release.py).
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from approvals.reasons import TEXT, Reason
from proxy.barrier import HOLD_BYTES
from proxy.postgres.access import Access, Identity
from proxy.postgres.asking import Asking, Late, Over
from proxy.postgres.commands import AwaitFresh, CancelStore, Close, Command, FinishSoon, Record, ToClient, ToStore
from proxy.postgres.errors import ProtocolError
from proxy.postgres.framing import HEADER_BYTES, ROWS, Backend, CopyPiece, Frame, Frontend, Tile
from proxy.postgres.guards import alarming
from proxy.postgres.judging import Decide
from proxy.postgres.messages import error_response, read_parameter_status
from proxy.postgres.outbound import Item
from proxy.postgres.release import IdleGate, Release, Stretch
from proxy.postgres.replies import Ended, Replies, Reply
from proxy.postgres.statements import Unsettled
from proxy.postgres.wording import ended

__all__ = ["Session"]

_RESULT: Final = {
    Reason.GRANT_REVOKED: "revoked",
    Reason.BLOCKED: "revoked",
    Reason.GRANT_EXPIRED: "expired",
    Reason.GRANT_ENDED: "expired",
    Reason.RECORD_FAILED: "record_failed",
}
_COPY_END: Final = frozenset(b"cf")
_DURING_COPY: Final = frozenset(b"cfHSX")


@dataclass(frozen=True, slots=True)
class _Progress:
    access: Access


class Session:
    def __init__(
        self,
        who: Identity,
        decide: Decide,
        new_id: Callable[[], str],
        greeting: Mapping[str, str],
        text_cap: int,
        now: float,
    ) -> None:
        """`decide` is enforcement at this moment; `greeting` the settings that the store reported at login."""
        self._commands: list[Command] = []
        self._who = who
        self._asking = Asking(who, decide, new_id, text_cap, self._commands)
        self._replies = Replies()
        self._release = Release()
        self._frontend, self._backend = Frontend(), Backend()
        self._greeting = dict(greeting)
        self._inbox: deque[Frame | CopyPiece] = deque()
        self._inbox_bytes = 0
        self._suspended: list[Access] = []
        self._started = now
        self._awaiting_fresh = self._cancelling = False
        self._store_gone = self._store_said_why = False
        self._last_words: bytes | None = None  # to be said once the message that is leaving is whole
        self.how = ""  # why it ended; "" while it lives

    # -- events

    def from_client(self, data: bytes, now: float) -> list[Command]:
        if not self.how:
            try:
                frames = self._frontend.receive(data)
            except ProtocolError as cause:
                self._violated(cause, now)
            else:
                self._inbox.extend(frames)
                self._inbox_bytes += sum(len(frame.raw) for frame in frames)
                self._work(now)
        return self._taken()

    def from_store(self, data: bytes, now: float) -> list[Command]:
        if self._last_words is not None:
            self._finish_message(data)
        elif not self.how:
            try:
                buffer, tiles = self._backend.receive(data)
                self._read(buffer, tiles, now)
            except ProtocolError as cause:
                self._end("store_broke", error_response("FATAL", "08006", cause.text), "store_broke", now)
            self._let_go(now)
            self._work(now)
        return self._taken()

    def recorded(self, waiter: object, durable: bool, now: float) -> list[Command]:
        """The commit that `waiter` stands for has been answered."""
        if isinstance(waiter, Access):
            waiter.barrier.intent(durable)
        elif isinstance(waiter, _Progress):
            waiter.access.barrier.progress(durable)
        elif isinstance(waiter, IdleGate):
            waiter.open = durable
        if not self.how:
            if not durable:
                self._refused_for_good(Reason.RECORD_FAILED, now)
            else:
                self._send()
                self._let_go(now)
        return self._taken()

    def fresh(self, now: float) -> list[Command]:
        """The view of grants is fresh, or a decision has waited as long as it may."""
        if self._awaiting_fresh and not self.how:
            self._awaiting_fresh = False
            self._asking.last_chance = True
            self._work(now)
            self._asking.last_chance = False
        return self._taken()

    def cancel(self, now: float) -> list[Command]:
        """Somebody with this session's key asks to cancel. Nothing is sent until that has had its effect, so that
        it cannot hit the statement behind it."""
        if not self.how and self._replies.queue and not self._cancelling:
            self._cancelling = True
            self._commands.append(CancelStore(wait=True))
        return self._taken()

    def cancelled(self, now: float) -> list[Command]:
        self._cancelling = False
        if not self.how:
            self._send()
        return self._taken()

    def over(self, reason: Reason, now: float, text: str = "") -> list[Command]:
        """The grant is over, the gate shuts down, a record failed: end the session in the protocol's words."""
        if not self.how:
            self._refused_for_good(reason, now, text)
        return self._taken()

    def client_gone(self, now: float) -> list[Command]:
        if not self.how:
            self._end("client_gone", b"", "client_gone", now)
        return self._taken()

    def store_gone(self, now: float) -> list[Command]:
        if not self.how:
            self._store_gone = True
            self._let_go(now)
        return self._taken()

    def tick(self, now: float) -> list[Command]:
        """Called about once a second: an answer that trickles is accounted for by time."""
        if not self.how:
            for access in self._open():
                self._account(access, now)
        return self._taken()

    def give_up(self, now: float) -> list[Command]:
        """The rest of the message did not come: close without last words."""
        if self._last_words is not None:
            self._last_words = None
            self._commands.append(Close("gate"))
        return self._taken()

    @property
    def idle(self) -> bool:
        """Nothing runs, and no transaction is open."""
        return not (self._replies.queue or self._asking.outbound or self._inbox) and self._replies.status == "I"

    @property
    def held_bytes(self) -> int:
        """Of the store's, held for the record."""
        return self._release.held_bytes

    @property
    def queued_bytes(self) -> int:
        """Of the client's, held for the record or for an answer."""
        return self._asking.queued_bytes + self._inbox_bytes

    # -- the client's messages

    def _work(self, now: float) -> None:
        while self._inbox and not self.how and not self._awaiting_fresh:
            frame = self._inbox[0]
            try:
                if not self._take(frame, now):
                    break
            except Unsettled:
                break  # the store's next answers settle it
            except Late:
                self._awaiting_fresh = True
                self._commands.append(AwaitFresh())
                break
            except Over as verdict:
                self._refused_for_good(verdict.reason, now)
                return
            except ProtocolError as cause:
                self._violated(cause, now)
                return
            self._asking.last_chance = False
            if self._inbox:
                self._inbox.popleft()
                self._inbox_bytes -= len(frame.raw)
        if not self.how:
            self._send()

    def _take(self, frame: Frame | CopyPiece, now: float) -> bool:
        """Handle one message; False if it has to wait for the store."""
        if isinstance(frame, CopyPiece):
            self._copy(frame)
        elif frame.type == ord("X"):
            self._end("client_closed", b"", "client_gone", now)
        elif frame.type == ord("p"):
            raise ProtocolError("a password after the login")
        elif frame.type in _COPY_END:
            if self._copying() is not None:
                self._asking.copy_end(frame)
        elif frame.type not in _DURING_COPY and self._copying() is not None:
            # Until COPY FROM has been answered it is not known whether the store reads this as a message.
            return False
        else:
            self._asking.take(frame, now)
        return True

    def _copy(self, piece: CopyPiece) -> None:
        access = self._copying()
        if access is not None:  # otherwise the store would ignore it
            access.took(memoryview(piece.raw)[len(piece.raw) - max(piece.payload, 0) :])
            self._asking.outbound.put(Item(piece.raw))

    def _copying(self) -> Access | None:
        """The COPY FROM that has not been answered yet."""
        copies = self._asking.copies
        while copies and (copies[0].finished or copies[0].tags):
            copies.popleft()
        return copies[0] if copies else None

    def _send(self) -> None:
        if self._cancelling:
            return
        data = []
        for item in self._asking.outbound.ready():
            data.append(item.data)
            if item.expect is not None:
                self._replies.sent(item.expect)
        if data:
            self._commands.append(ToStore(data[0] if len(data) == 1 else b"".join(data)))

    # -- the store's messages

    def _read(self, buffer: bytes, tiles: list[Tile], now: float) -> None:
        view = memoryview(buffer)
        start: int | None = None
        owner: Access | None = None
        for tile in tiles:
            if tile.type == ROWS:
                access = self._replies.rows()
                access.rows += tile.rows
                access.bytes_out += tile.end - tile.start
                reply = None
            else:
                reply = self._replies.answer(tile.type, view[tile.start + HEADER_BYTES : tile.end])
                access = reply.access  # type: ignore[assignment]
                self._note(tile, reply, view, now)
                if self.how:
                    return
            if start is not None and access is not owner:
                self._release.hold(Stretch(view[start : tile.start], owner))
                start = None
            if start is None:
                start, owner = tile.start, access
            special = reply is not None and (reply.ended or reply.replace or reply.idle)
            if special or tile.left:
                self._hold_special(view, start, tile, reply, owner, now)
                start = None
        if start is not None:
            self._release.hold(Stretch(view[start : tiles[-1].end], owner))

    def _hold_special(
        self, view: memoryview, start: int, tile: Tile, reply: Reply | None, owner: Access | None, now: float
    ) -> None:
        """A stretch that ends with an outcome, is replaced, belongs to nobody, or is cut by the chunk's end."""
        if reply is None:
            self._release.hold(Stretch(view[start : tile.end], owner, left=tile.left))
            return
        outcomes = tuple(draft for each in reply.ended for draft in self._outcome(each, now))
        if reply.replace or reply.idle:
            if tile.start > start:
                self._release.hold(Stretch(view[start : tile.start], owner))
            start = tile.start
        gate = None
        if reply.idle:
            gate = IdleGate()
            self._commands.append(Record(self._who.idle_progress(tile.end - tile.start), gate))
        data = memoryview(reply.replace) if reply.replace else view[start : tile.end]
        self._release.hold(Stretch(data, owner, gate, outcomes))

    def _note(self, tile: Tile, reply: Reply, view: memoryview, now: float) -> None:
        if reply.access is not None:
            reply.access.bytes_out += tile.end - tile.start
        if tile.type == ord("S"):
            name, value = read_parameter_status(view[tile.start + HEADER_BYTES : tile.end])
            alarm = alarming(name, value, self._greeting)
            if alarm:
                self._end(
                    "guard", error_response("FATAL", "57P01", f"This session was ended: {alarm}."), "cancelled", now
                )
        self._store_said_why |= reply.fatal
        if reply.suspended is not None and reply.suspended not in self._suspended:
            self._suspended.append(reply.suspended)
        if tile.type == ord("E") and self._replies.skipping:
            reply.ended += [Ended(access, "skipped") for access in self._asking.skipped()]
        if reply.ready == "I":
            # Portals end with their transaction.
            self._asking.transaction_over(reply.segment)
            reply.ended += [Ended(access, "complete") for access in self._suspended if not access.finished]
            self._suspended.clear()

    def _outcome(self, over: Ended, now: float) -> list:  # type: ignore[type-arg]
        access = over.access
        if access.finished and over.result in ("complete", "skipped"):
            return []
        for names, version in access.effects:
            (names.confirm if over.result == "complete" else names.fail)(version)
        access.effects.clear()
        if not access.finished:
            self._asking.totals.rows += access.rows
            self._asking.totals.bytes_out += access.bytes_out
        access.finished = True
        return [access.outcome(self._who, over.result, over.sqlstate, now)]

    def _let_go(self, now: float) -> None:
        """Release what the barriers allow, and have accounted for what has left."""
        if self.how:
            return
        pieces, outcomes, accesses = self._release.allowed()
        self._commands += [Record(draft) for draft in outcomes]
        if pieces:
            self._commands.append(ToClient(_joined(pieces)))
        for access in accesses:
            self._account(access, now)
        if self._store_gone and not self._release.waiting:
            silent = self._replies.queue and not self._store_said_why  # two errors for one failure confuse libpq
            message = error_response("FATAL", "08006", TEXT[Reason.STORE_UNREACHABLE]) if silent else b""
            self._end("store_broke", message, "store_broke", now)

    def _account(self, access: Access, now: float) -> None:
        due = access.barrier.progress_due(now)
        if due is not None:
            self._commands.append(Record(access.progress(self._who, due), _Progress(access)))

    def _open(self) -> list[Access]:
        accesses = [expect.access for expect in self._replies.queue if expect.access is not None]
        return list({id(access): access for access in accesses}.values())

    # -- the end

    def _refused_for_good(self, reason: Reason, now: float, text: str = "") -> None:
        self._end(reason.value, ended(reason, text), _RESULT.get(reason, "cancelled"), now)

    def _violated(self, cause: ProtocolError, now: float) -> None:
        message = error_response("FATAL", cause.sqlstate, f"protocol violation: {cause.text}")
        self._end("protocol_violation", message, "cancelled", now)

    def _end(self, how: str, last_words: bytes, result: str, now: float) -> None:
        """Everything stops: what is held is dropped, what runs is cancelled, what is open gets its outcome."""
        self.how = how
        running = bool(self._replies.queue)
        held = self._release.held_bytes
        self._release.drop()
        unsent = self._asking.outbound.abandon()
        for access in (*self._replies.abandon(), *self._suspended):
            self._close_access(access, result, now)
        for access in unsent:
            self._close_access(access, "skipped", now)
        duration = max(0, round((now - self._started) * 1_000_000))
        self._commands.append(Record(self._who.ended(how, self._asking.totals, duration)))
        if running and not self._store_gone:
            self._commands.append(CancelStore())
        if not last_words or self._store_gone or self._release.left == 0:
            if last_words:
                self._commands.append(ToClient(last_words))
            self._commands.append(Close("gate"))
        elif self._release.left <= HOLD_BYTES and not held:
            self._last_words = last_words
            self._commands.append(FinishSoon())
        else:
            self._commands.append(Close("gate"))  # in the midst of a message: words would be read as its data

    def _close_access(self, access: Access, result: str, now: float) -> None:
        if not access.finished:
            access.finished = True
            self._asking.totals.rows += access.rows
            self._asking.totals.bytes_out += access.bytes_out
            self._commands.append(Record(access.outcome(self._who, result, "", now)))

    def _finish_message(self, data: bytes) -> None:
        """The rest of the message that had begun to leave, then the last words."""
        assert self._last_words is not None
        rest = data[: self._release.left]
        self._release.left -= len(rest)
        if self._release.left == 0:
            self._commands += [ToClient(rest + self._last_words), Close("gate")]
            self._last_words = None
        else:
            self._commands.append(ToClient(rest))

    def _taken(self) -> list[Command]:
        commands = self._commands[:]
        self._commands.clear()
        return commands


def _joined(pieces: list[memoryview]) -> bytes:
    """One write; without a copy where the pieces are one chunk from end to end, as received."""
    whole = pieces[0].obj
    if isinstance(whole, bytes) and all(p.obj is whole for p in pieces) and sum(map(len, pieces)) == len(whole):
        return whole
    return b"".join(pieces)
