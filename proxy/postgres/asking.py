"""The client's half of a session: each message judged, recorded and queued, or substituted; pure.

Parse, Bind and Describe make the store answer too, so they are covered by an intent: that of the execution they
lead to, if it follows before the next Sync or Flush, else one of their own. What is refused is replaced by a
message that the store itself must refuse, so that pipelines and transactions stay in step; its error is
rewritten on the way back.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from approvals.kinds import SqlContent
from approvals.reasons import Reason
from proxy.barrier import HOLD_BYTES, Barrier
from proxy.classify.sql import Classified, Statement, classify
from proxy.enforce import Deny, Wait
from proxy.postgres.access import Access, Identity, Named, SessionTotals, content_of
from proxy.postgres.commands import Command, Record
from proxy.postgres.framing import Frame
from proxy.postgres.judging import Decide, Judge, Judged
from proxy.postgres.messages import (
    Bind,
    error_response,
    parse_message,
    query_message,
    read_bind,
    read_execute,
    read_parse,
    read_query,
    read_target,
)
from proxy.postgres.outbound import Item, Outbound
from proxy.postgres.release import IdleGate
from proxy.postgres.replies import Expect
from proxy.postgres.statements import Names, Portal, Prepared
from proxy.postgres.wording import FINAL, refused

__all__ = ["Asking", "Late", "Over"]

# What no PostgreSQL understands; under a name of its own, so that the client's unnamed statement survives.
REFUSED_TEXT: Final = b"refused by glassgate"
REFUSED_NAME: Final = b"glassgate_refused"


class Late(Exception):
    """No verdict yet: the view of grants is late. The same message is to be brought again."""


class Over(Exception):
    """A verdict that ends the session."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class Asking:
    def __init__(
        self, who: Identity, decide: Decide, new_id: Callable[[], str], text_cap: int, commands: list[Command]
    ) -> None:
        self.outbound = Outbound()
        self.statements: Names[Prepared] = Names()
        self.portals: Names[Portal] = Names()
        self.totals = SessionTotals()
        self.copies: deque[Access] = deque()  # accesses that may take CopyData
        self.last_chance = False  # a late view is a stale one now
        self.dropping = False  # the store discards what comes before the next Sync: nothing is sent there
        self._who = who
        self._new_id = new_id
        self._cap = text_cap
        self._commands = commands
        self._judge = Judge(who.grant.scope, decide, self.statements, self.portals)
        self._segment = 0
        self._sequence = 0
        self._uncovered: list[Item] = []
        self._uncovered_bytes = 0

    @property
    def queued_bytes(self) -> int:
        return self.outbound.bytes + self._uncovered_bytes

    def take(self, frame: Frame, now: float) -> None:
        """One message but CopyData. Raises ProtocolError, Unsettled, Late or Over; then nothing has changed."""
        if frame.type == ord("S"):
            self._sync(frame, now)
        elif not self.dropping:
            _TAKERS[frame.type](self, frame, now)

    def transaction_over(self, segment: int) -> None:
        """No transaction is open behind that stretch: the store has closed every portal that no cursor holds."""
        self.portals.forget(segment, lambda portal: not portal.holdable)

    def copy_end(self, frame: Frame) -> None:
        self.outbound.put(Item(frame.raw))

    def skipped(self) -> list[Access]:
        """The store discards until Sync: take out what has not been sent; returns the accesses that never run."""
        dropped, sync = self.outbound.drop_until_sync()
        if not sync:
            dropped += self._uncovered
            self._uncovered, self._uncovered_bytes = [], 0
            self.dropping = True
        accesses: list[Access] = []
        for item in dropped:
            if item.expect is not None and item.expect.failed is not None:
                item.expect.failed()
            further = item.expect.further if item.expect is not None else ()
            accesses += [a for a in (item.access, *further) if a is not None and a not in accesses]
        return accesses

    # -- simple query

    def _query(self, frame: Frame, now: float) -> None:
        data = read_query(frame.body)
        text = _text(data)
        classified = classify(text) if text is not None else _not_utf8(len(data))
        verdict = self._judged(classified, text)
        content = None if text is None or len(data) > self._cap else text
        if isinstance(verdict, list) and content is None:
            verdict = Deny(Reason.RECORD_TOO_LARGE)
        done, undone = self._forget_unnamed()
        if isinstance(verdict, Deny) or content is None:
            assert isinstance(verdict, Deny)
            error, gate = self._refuse(verdict, classified, content)
            expect = Expect("query", error=error, succeeded=done, failed=undone, segment=self._segment)
            self._cover(None, None, now)
            self.outbound.put(Item(query_message(REFUSED_TEXT), None, expect, gate=gate))
        else:
            self._cover(None, None, now)
            accesses = [self._begin_part(each, data, now) for each in verdict]
            expect = Expect("query", accesses[0], succeeded=done, failed=undone, segment=self._segment)
            expect.further.extend(accesses[1:])
            self.outbound.put(Item(frame.raw, accesses[0], expect))
        self._segment += 1

    def _begin_part(self, judged: Judged, data: bytes, now: float) -> Access:
        """One statement of a query, with the part of the text that is its own."""
        start = judged.statement.start
        end = judged.statement.end or len(data)
        part = data[start:end].decode("utf-8", "replace")
        return self._begin(judged, part, None, (), now)

    def _forget_unnamed(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """A simple query destroys the unnamed statement and portal, unless it is discarded itself."""
        statement = self.statements.define(b"", None, self._segment)
        portal = self.portals.define(b"", None, self._segment)

        def done() -> None:
            self.statements.confirm(statement)
            self.portals.confirm(portal)

        def undone() -> None:
            self.statements.fail(statement)
            self.portals.fail(portal)

        return done, undone

    def _function_call(self, frame: Frame, now: float) -> None:
        """A function by its number: no text that could be judged. Answered like a query that fails."""
        classified = Classified((Statement("FUNCTION CALL", ("unparsed",), anything=True),))
        error, gate = self._refuse(Deny(Reason.UNSUPPORTED, "FunctionCall is not let through"), classified, None)
        self._cover(None, None, now)
        expect = Expect("query", error=error, segment=self._segment)
        self.outbound.put(Item(query_message(REFUSED_TEXT), None, expect, gate=gate))
        self._segment += 1

    # -- extended query

    def _parse(self, frame: Frame, now: float) -> None:
        parse = read_parse(frame.body)
        text = _text(parse.text)
        classified = classify(text) if text is not None else _not_utf8(len(parse.text))
        verdict = self._judged(classified, text)
        if isinstance(verdict, list) and len(parse.text) > self._cap:
            verdict = Deny(Reason.RECORD_TOO_LARGE)
        elif isinstance(verdict, list) and self.statements.full:
            verdict = Deny(Reason.OVERLOADED, "too many prepared statements")
        if isinstance(verdict, Deny) or text is None:
            assert isinstance(verdict, Deny)
            content = text if len(parse.text) <= self._cap else None
            self._substitute(*self._refuse(verdict, classified, content), now)
            return
        prepared = Prepared(text, classified, parse.oids)
        version = self.statements.define(parse.name, prepared, self._segment)
        expect = Expect(
            "parse",
            succeeded=lambda: self.statements.confirm(version),
            failed=lambda: self.statements.fail(version),
        )
        self._later(Item(frame.raw, None, expect, prepared), now)

    def _bind(self, frame: Frame, now: float) -> None:
        bind = read_bind(frame.body)
        prepared = self.statements.get(bind.statement, self._segment)
        if prepared is None:
            self._unknown("26000", "prepared statement", bind.statement, now)
            return
        if self.portals.full:
            self._substitute(refused(Deny(Reason.OVERLOADED, "too many portals")), None, now)
            return
        version = self.portals.define(bind.portal, Portal(prepared, bind), self._segment)
        expect = Expect(
            "bind",
            succeeded=lambda: self.portals.confirm(version),
            failed=lambda: self.portals.fail(version),
        )
        self._later(Item(frame.raw, None, expect, prepared, bind), now)

    def _describe(self, frame: Frame, now: float) -> None:
        target = read_target(frame.body)
        if target.kind == "S":
            prepared = self.statements.get(target.name, self._segment)
            expect = Expect("describe", prepared=prepared)
        else:
            portal = self.portals.get(target.name, self._segment)
            prepared = portal.prepared if portal is not None else None
            expect = Expect("describe")
        if prepared is None:
            what = ("26000", "prepared statement") if target.kind == "S" else ("34000", "portal")
            self._unknown(*what, target.name, now)
            return
        self._later(Item(frame.raw, None, expect, prepared), now)

    def _close(self, frame: Frame, now: float) -> None:
        target = read_target(frame.body)
        if target.kind == "S":
            version = self.statements.define(target.name, None, self._segment)
            confirm, fail = (lambda: self.statements.confirm(version)), (lambda: self.statements.fail(version))
        else:
            gone = self.portals.define(target.name, None, self._segment)
            confirm, fail = (lambda: self.portals.confirm(gone)), (lambda: self.portals.fail(gone))
        # Closing what does not exist is no error, and the answer tells nothing: no access covers it.
        self._later(Item(frame.raw, None, Expect("close", succeeded=confirm, failed=fail)), now)

    def _execute(self, frame: Frame, now: float) -> None:
        execute = read_execute(frame.body)
        portal = self.portals.get(execute.portal, self._segment)
        if portal is None:
            self._unknown("34000", "portal", execute.portal, now)
            return
        prepared, bind = portal.prepared, portal.bind
        verdict = self._judged(prepared.classified, prepared.text, bind)
        if isinstance(verdict, Deny):
            told = self._refuse(verdict, prepared.classified, prepared.text, bind, prepared.oids)
            self._substitute(*told, now)
            return
        access = portal.access
        if access is None or access.finished:
            access = self._begin(verdict[0], prepared.text, bind, prepared.oids, now)
            prepared.entry = prepared.entry or access.id
            portal.access = access
        self._cover(prepared, access, now)
        self.outbound.put(Item(frame.raw, access, Expect("execute", access)))

    def _flush(self, frame: Frame, now: float) -> None:
        self._cover(None, None, now)
        self.outbound.put(Item(frame.raw))

    def _sync(self, frame: Frame, now: float) -> None:
        self._cover(None, None, now)
        self.dropping = False
        self.outbound.put(Item(frame.raw, None, Expect("sync", segment=self._segment)))
        self._segment += 1

    # -- what they share

    def _judged(self, classified: Classified, text: str | None, bind: Bind | None = None) -> list[Judged] | Deny:
        verdict = self._judge.judge(classified, self._segment, len(bind.values) if bind is not None else 0)
        if isinstance(verdict, Wait):
            if not self.last_chance:
                raise Late
            verdict = Deny(Reason.VIEW_STALE)
        if isinstance(verdict, Deny):
            if verdict.reason in FINAL:
                raise Over(verdict.reason)
            if text is None:
                return Deny(Reason.STATEMENT_UNPARSED, "the text is not UTF-8")
        elif text is None:
            return Deny(Reason.STATEMENT_UNPARSED, "the text is not UTF-8")
        elif (self.statements.full or self.portals.full) and any(_keeps(each.statement) for each in verdict):
            return Deny(Reason.OVERLOADED, "too many prepared statements or cursors")
        return verdict

    def _begin(self, judged: Judged, text: str, bind: Bind | None, oids: tuple[int, ...], now: float) -> Access:
        """Open an access and have its intent recorded."""
        access = Access(self._new_id(), judged.named, Barrier(now=now), now)
        effect = judged.statement.effect
        # A text that was not understood may hold a COPY FROM too.
        access.copy_in = "unparsed" in judged.named.actions or (effect is not None and effect.kind == "copy_in")
        if access.copy_in:
            self.copies.append(access)
        self._effects(judged.statement, text, access)
        content = content_of(text, bind, oids, self._cap, judged.continues)
        assert content is not None, "the text's length was checked when it came"
        self._record(access, content)
        self.totals.statements += 1
        return access

    def _record(self, access: Access, content: SqlContent) -> None:
        self._sequence += 1
        self._commands.append(Record(access.intent(self._who, self._sequence, content), access))

    def _effects(self, statement: Statement, text: str, access: Access) -> None:
        """Names that SQL itself makes and removes, in force once the statement has succeeded."""
        effect = statement.effect
        if effect is None:
            return
        if effect.kind == "prepare":
            inner = Prepared(text, Classified((statement,)), entry=access.id)
            access.effects.append((self.statements, self.statements.define(_name(effect), inner, self._segment)))
        elif effect.kind == "declare":
            inner = Prepared(text, Classified((statement,)), entry=access.id)
            cursor = Portal(inner, holdable="hold" in effect.names[1:])
            access.effects.append((self.portals, self.portals.define(_name(effect), cursor, self._segment)))
        elif effect.kind == "deallocate":
            access.effects.append((self.statements, self.statements.define(_name(effect), None, self._segment)))
        elif effect.kind in ("deallocate_all", "discard"):
            access.effects += [(self.statements, v) for v in self.statements.close_all(self._segment)]
            if effect.kind == "discard":
                access.effects += [(self.portals, v) for v in self.portals.close_all(self._segment)]

    def _later(self, item: Item, now: float) -> None:
        """Parse, Bind, Describe and Close wait to see whether an Execute follows."""
        self._uncovered.append(item)
        self._uncovered_bytes += len(item.data)
        if self._uncovered_bytes > HOLD_BYTES:
            self._cover(None, None, now)

    def _cover(self, executed: Prepared | None, access: Access | None, now: float) -> None:
        """Queue what waits: under `access` what leads to it, the rest each statement under an access of its own."""
        covers: dict[int, Access] = {}
        last: dict[int, Expect] = {}
        for item in self._uncovered:
            expect = item.expect
            if item.prepared is not None and expect is not None:
                if item.prepared is executed:
                    item.access = access
                else:
                    key = id(item.prepared)
                    if key not in covers:
                        covers[key] = self._begin_cover(item.prepared, now)
                    item.access = covers[key]
                    last[key] = expect
                expect.access = item.access
        for expect in last.values():
            expect.closes = True
        for item in self._uncovered:
            self.outbound.put(item)
        self._uncovered, self._uncovered_bytes = [], 0

    def _begin_cover(self, prepared: Prepared, now: float) -> Access:
        """An access for messages about a statement that is not executed with them."""
        group = [item for item in self._uncovered if item.prepared is prepared and item.expect is not None]
        kinds = {item.expect.kind for item in group if item.expect is not None}
        operation = next(word for word in ("parse", "bind", "describe") if word in kinds).upper()
        bind = next((item.bind for item in reversed(group) if item.bind is not None), None)
        inner = self._judge.named(prepared.classified, len(bind.values) if bind is not None else 0)
        named = Named(operation, inner.actions, inner.resources, inner.fingerprint, inner.parameters)
        access = Access(self._new_id(), named, Barrier(now=now), now)
        content = content_of(prepared.text, bind, prepared.oids, self._cap, prepared.entry)
        assert content is not None, "the text's length was checked when it came"
        prepared.entry = prepared.entry or access.id
        self._record(access, content)
        return access

    def _refuse(
        self,
        deny: Deny,
        classified: Classified,
        text: str | None,
        bind: Bind | None = None,
        oids: tuple[int, ...] = (),
    ) -> tuple[bytes, IdleGate]:
        """Record a refusal; returns what the client is told, and what opens once that may be said."""
        self._sequence += 1
        named = self._judge.named(classified, len(bind.values) if bind is not None else 0)
        content = content_of(text, bind, oids, self._cap) if text is not None else None
        draft = self._who.refused(deny.reason, deny.detail, named, content, self._sequence)
        gate = IdleGate(weight=len(text) if text is not None else 0)
        self._commands.append(Record(draft, gate))
        if classified.fault == "syntax" and deny.reason is Reason.STATEMENT_UNPARSED:
            # A typing mistake is told as the store would tell it.
            return error_response("ERROR", "42601", classified.message, hint=f"glassgate: {deny.reason}"), gate
        return refused(deny), gate

    def _unknown(self, sqlstate: str, what: str, name: bytes, now: float) -> None:
        """What nobody here prepared may still exist at the store, and would run unread."""
        shown = name.decode("utf-8", "replace")
        text = f'{what} "{shown}" does not exist' if shown else f"unnamed {what} does not exist"
        self._substitute(error_response("ERROR", sqlstate, text), None, now)

    def _substitute(self, error: bytes, gate: IdleGate | None, now: float) -> None:
        self._cover(None, None, now)
        expect = Expect("parse", error=error)
        self.outbound.put(Item(parse_message(REFUSED_NAME, REFUSED_TEXT), None, expect, gate=gate))
        self.dropping = True  # the store will discard until Sync, so nothing more is sent before it


_TAKERS: Final[dict[int, Callable[[Asking, Frame, float], None]]] = {
    ord("Q"): Asking._query,
    ord("F"): Asking._function_call,
    ord("P"): Asking._parse,
    ord("B"): Asking._bind,
    ord("D"): Asking._describe,
    ord("C"): Asking._close,
    ord("E"): Asking._execute,
    ord("H"): Asking._flush,
}


def _name(effect: object) -> bytes:
    names: tuple[str, ...] = getattr(effect, "names", ())
    return names[0].encode()


def _keeps(statement: Statement) -> bool:
    return statement.effect is not None and statement.effect.kind in ("prepare", "declare")


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _not_utf8(size: int) -> Classified:
    return Classified((Statement("UNPARSED", ("unparsed",), anything=True, end=size),), "", "unknown", "not UTF-8")
