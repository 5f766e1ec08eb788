"""What the store still owes: a queue of expected replies, and what each message of the store's means; pure.

The queue says whose bytes are whose. After an error in the extended protocol the store discards everything up
to the next Sync, and so does the queue: what was discarded is reported as skipped, never as run. During COPY
FROM the store swallows Syncs too; how many cannot be seen from here when the copy fails, so those Syncs are
optional: they are answered, or passed over by the next answer that is not theirs.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from proxy.postgres.access import Access
from proxy.postgres.errors import ProtocolError
from proxy.postgres.messages import command_rows, read_error, read_oids
from proxy.postgres.statements import Prepared

__all__ = ["Ended", "Expect", "Replies", "Reply"]

Kind = Literal["parse", "bind", "describe", "close", "execute", "sync", "query"]

_ANSWERED_BY: Final = {ord("1"): "parse", ord("2"): "bind", ord("3"): "close"}
_ASYNCHRONOUS: Final = frozenset(b"NSA")
_FATAL: Final = ("FATAL", "PANIC")
CANCELED: Final = "57014"


@dataclass(slots=True, eq=False)
class Expect:
    """One message that was sent and will be answered, in order."""

    kind: Kind
    access: Access | None = None  # whose bytes the answer is; for a query the statement that is being answered
    further: deque[Access] = field(default_factory=deque)  # query: the statements after it
    closes: bool = False  # the access is over with this answer (it is not an execution)
    error: bytes = b""  # a substitute for something refused: what to say instead of the store's error
    prepared: Prepared | None = None  # describe of a statement: where its parameter types go
    succeeded: Callable[[], None] | None = None
    failed: Callable[[], None] | None = None
    optional: bool = False  # a Sync that the store may have swallowed
    segment: int = -1  # sync and query: the stretch between two of them that it ends


@dataclass(frozen=True, slots=True)
class Ended:
    access: Access
    result: Literal["complete", "error", "skipped", "cancelled"]
    sqlstate: str = ""


@dataclass(slots=True, eq=False)
class Reply:
    """What one message of the store's means. `idle`: it belongs to no access. `ready`: "I", "T" or "E"."""

    access: Access | None
    ended: list[Ended] = field(default_factory=list)
    replace: bytes = b""
    idle: bool = False
    ready: str = ""
    segment: int = -1  # which stretch it is ready behind
    suspended: Access | None = None
    fatal: bool = False


class Replies:
    def __init__(self) -> None:
        self.queue: deque[Expect] = deque()
        self.status = "I"
        self.skipping = False  # the store discards what comes until the next Sync
        self.copying_in = False
        self._last: Access | None = None

    def sent(self, expect: Expect) -> None:
        if expect.kind == "sync":
            if self.copying_in or (self.queue and all(e.optional for e in self.queue)):
                expect.optional = True
            self.skipping = False
        self.queue.append(expect)

    def rows(self) -> Access:
        """Whose rows these are. Raises ProtocolError if nobody asked."""
        expect = self._head()
        if expect is None or expect.access is None or expect.kind not in ("execute", "query"):
            raise ProtocolError("the store sent rows that nobody asked for")
        return expect.access

    def answer(self, kind: int, body: memoryview) -> Reply:
        """Take in one message that is not rows. Raises ProtocolError for what cannot be an answer here."""
        if kind in _ASYNCHRONOUS:
            # In front of a ReadyForQuery the store reports what its last statement changed.
            owner = next((e.access for e in self.queue if e.access is not None), self._last) if self.queue else None
            return Reply(owner, idle=owner is None)
        if kind == ord("E"):
            return self._error(read_error(body))
        if kind == ord("Z"):
            return self._ready(bytes(body))
        expect = self._head()
        if expect is None:
            raise ProtocolError("the store answered what nobody asked")
        if kind in _ANSWERED_BY:
            if expect.kind != _ANSWERED_BY[kind] or expect.error:
                raise ProtocolError("the store's answer is out of order")
            return self._done(expect)
        if expect.kind == "describe":
            return self._described(kind, expect, body)
        if expect.kind not in ("execute", "query"):
            raise ProtocolError("the store's answer is out of order")
        return self._executing(kind, expect, body)

    def abandon(self) -> list[Access]:
        """Every access that is still owed an answer, in order; the queue is empty afterwards."""
        accesses: list[Access] = []
        for expect in self.queue:
            accesses += [a for a in (expect.access, *expect.further) if a is not None]
        self.queue.clear()
        return accesses

    def _head(self) -> Expect | None:
        """The first entry; whatever comes now is no ReadyForQuery, so optional Syncs were swallowed."""
        while self.queue and self.queue[0].optional:
            self.queue.popleft()
        return self.queue[0] if self.queue else None

    def _done(self, expect: Expect) -> Reply:
        self.queue.popleft()
        if expect.succeeded is not None:
            expect.succeeded()
        reply = Reply(expect.access, idle=False)
        if expect.closes and expect.access is not None:
            reply.ended.append(Ended(expect.access, "complete"))
        self._last = expect.access or self._last
        return reply

    def _described(self, kind: int, expect: Expect, body: memoryview) -> Reply:
        if kind == ord("t") and expect.prepared is not None:
            expect.prepared.oids = read_oids(body)
            return Reply(expect.access)
        if kind not in b"Tn":
            raise ProtocolError("the store's answer is out of order")
        return self._done(expect)

    def _executing(self, kind: int, expect: Expect, body: memoryview) -> Reply:
        access = expect.access
        if access is None:
            raise ProtocolError("the store's answer is out of order")
        if kind == ord("C"):
            tag = bytes(body).rstrip(b"\0").decode("utf-8", "replace")
            access.tagged(tag, command_rows(tag))
            self.copying_in = False
            return self._statement_over(expect, access)
        if kind == ord("I"):
            return self._statement_over(expect, access)
        if kind == ord("s") and expect.kind == "execute":
            self.queue.popleft()
            self._last = access
            return Reply(access, suspended=access)
        if kind == ord("G") and access.copy_in:
            self.copying_in = True
            self._make_syncs_optional()
            return Reply(access)
        if kind in b"THc":
            return Reply(access)
        # W (both directions) is replication's; K, R, v, V have no place after the login.
        raise ProtocolError("the store's answer is out of order")

    def _statement_over(self, expect: Expect, access: Access) -> Reply:
        self._last = access
        if expect.kind == "query":
            if not expect.further:
                # What follows the last statement that is known (an unparsed text may hold several) is still its own.
                return Reply(access)
            expect.access = expect.further.popleft()
        else:
            self.queue.popleft()
        return Reply(access, [Ended(access, "complete")])

    def _error(self, fields: dict[str, str]) -> Reply:
        sqlstate = fields.get("C", "")[:5]
        result: Literal["error", "cancelled"] = "cancelled" if sqlstate == CANCELED else "error"
        fatal = fields.get("V", fields.get("S", "")) in _FATAL
        while self.queue and self.queue[0].optional and len(self.queue) > 1:
            self.queue.popleft()
        if not self.queue:
            return Reply(None, idle=True, fatal=fatal)
        expect = self.queue[0]
        if expect.kind == "sync":
            # The implicit commit failed: what had been reported complete was undone.
            ended = [Ended(self._last, result, sqlstate)] if self._last is not None else []
            return Reply(None, ended, idle=True, fatal=fatal)
        reply = Reply(expect.access, fatal=fatal, replace=b"" if fatal else expect.error)
        if expect.access is not None:
            reply.ended.append(Ended(expect.access, result, sqlstate))
        if expect.failed is not None and expect.kind != "query":
            expect.failed()
        reply.ended += [Ended(access, "skipped") for access in expect.further]
        expect.further.clear()
        if expect.kind == "query":
            expect.access = None
            self.copying_in = False
        else:
            self._skip(reply, expect.access)
        return reply

    def _skip(self, reply: Reply, failed: Access | None) -> None:
        """Drop what the store discards: everything before the next Sync."""
        self.queue.popleft()
        if self.copying_in:
            self._make_syncs_optional()
            self.copying_in = False
        seen = {id(failed)}
        while self.queue and self.queue[0].kind != "sync":
            expect = self.queue.popleft()
            if expect.failed is not None:
                expect.failed()
            for access in (expect.access, *expect.further):
                if access is not None and id(access) not in seen:
                    seen.add(id(access))
                    reply.ended.append(Ended(access, "skipped"))
        self.skipping = not self.queue

    def _make_syncs_optional(self) -> None:
        for expect in self.queue:
            if expect.kind == "sync":
                expect.optional = True

    def _ready(self, body: bytes) -> Reply:
        if body not in (b"I", b"T", b"E") or not self.queue or self.queue[0].kind not in ("sync", "query"):
            raise ProtocolError("the store is ready out of turn")
        expect = self.queue.popleft()
        self.status = body.decode()
        reply = Reply(None, ready=self.status, segment=expect.segment)
        if expect.kind == "query":
            if expect.access is not None:
                reply.ended.append(Ended(expect.access, "complete"))
            if expect.succeeded is not None:
                expect.succeeded()
        return reply
