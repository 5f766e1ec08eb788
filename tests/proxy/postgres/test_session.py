"""The session machine by itself: whole, byte by byte, garbage; and the two rules that nothing may break."""

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.kinds import validate
from approvals.reasons import Reason
from approvals.scope import Action, Operation, Scope
from approvals.store_definition import StoreDefinition, definition_digest
from ledger.encoding import encode
from proxy.enforce import Allow, Deny, Freshness, LiveGrant, Wait, enforce
from proxy.postgres.access import Identity
from proxy.postgres.commands import AwaitFresh, CancelStore, Close, Command, FinishSoon, Record, ToClient, ToStore
from proxy.postgres.session import Session
from tests.proxy.postgres.wire import FLUSH, SYNC, bind, describe, execute, fields, framed, parse, query

DEFINITION = StoreDefinition(name="db", protocol="postgres", upstream="h:1/d", actions=("read", "write"))
READY = framed(b"Z", b"I")
SELECTED = framed(b"T", b"\0\0") + framed(b"D", b"\0\0") + framed(b"C", b"SELECT 1\0") + READY


class Machine:
    """A session whose commands are carried out by the test. `durable` None: nothing is answered by itself."""

    def __init__(self, *actions: Action, durable: bool | None = True, freshness: Freshness = "fresh") -> None:
        self.grant = LiveGrant(
            grant="gr_1",
            request="req_1",
            subject="ada",
            store="db",
            scope=Scope("db", actions or ("read",)),
            state="active",
            starts_at=0.0,
            ends_at=100.0,
            store_def=definition_digest(DEFINITION),
            decision="d" * 64,
        )
        self.durable = durable
        self.freshness: Freshness = freshness
        self.to_store, self.to_client = b"", b""
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.waiting: list[object] = []
        self.commands: list[Command] = []
        numbers = itertools.count()
        who = Identity("ses_1", self.grant, self.grant.store_def, "k7f3", "192.0.2.1")
        self.session = Session(
            who, self.decide, lambda: f"id-{next(numbers)}", {"is_superuser": "off"}, 1024 * 1024, 0.0
        )

    def decide(self, operation: Operation) -> Allow | Deny | Wait:
        return enforce("ada", DEFINITION, self.grant.store_def, operation, self.grant, self.freshness, 1.0)

    def client(self, *data: bytes) -> None:
        for each in data:
            self.run(self.session.from_client(each, 1.0))

    def store(self, *data: bytes) -> None:
        for each in data:
            self.run(self.session.from_store(each, 1.0))

    def settle(self, durable: bool = True) -> None:
        while self.waiting:
            self.run(self.session.recorded(self.waiting.pop(0), durable, 1.0))

    def run(self, commands: list[Command]) -> None:
        for command in commands:
            self.commands.append(command)
            if isinstance(command, ToStore):
                self.to_store += command.data
            elif isinstance(command, ToClient):
                self.to_client += command.data
            elif isinstance(command, Record):
                facts = encode(command.draft.facts)
                content = command.draft.content
                validate(command.draft.kind, 1, facts, None if content is None else encode(content))
                self.records.append((command.draft.kind, __import__("json").loads(facts)))
                if command.waiter is not None:
                    self.waiting.append(command.waiter)
        if self.durable is not None:
            self.settle(self.durable)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.records]

    def outcomes(self) -> list[str]:
        return [facts["result"] for kind, facts in self.records if kind == "access.outcome"]


CONVERSATION = [
    ("client", query("select 1")),
    ("store", SELECTED),
    ("client", parse("select $1", "s") + describe("S", "s") + FLUSH),
    ("store", framed(b"1") + framed(b"t", b"\0\1\0\0\0\x17") + framed(b"T", b"\0\0")),
    ("client", bind("", "s", b"7") + execute() + SYNC),
    ("store", framed(b"2") + framed(b"D", b"\0\0") * 3 + framed(b"C", b"SELECT 3\0") + READY),
    ("client", query("select broken") + query("select 2")),
    ("store", framed(b"E", b"SERROR\0C42703\0Mno\0\0") + READY + SELECTED),
]


def play(pieces: int) -> Machine:
    """The conversation, each part cut into pieces of that size (0: whole)."""
    machine = Machine()
    for side, data in CONVERSATION:
        parts = [data[i : i + pieces] for i in range(0, len(data), pieces)] if pieces else [data]
        getattr(machine, side)(*parts)
    return machine


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 64])
def test_a_conversation_does_not_depend_on_how_it_is_cut(pieces: int) -> None:
    whole, cut = play(0), play(pieces)
    assert cut.to_store == whole.to_store
    assert cut.to_client == whole.to_client
    assert cut.records == whole.records


def test_what_passes_is_passed_unchanged() -> None:
    machine = play(0)
    assert machine.to_store == b"".join(data for side, data in CONVERSATION if side == "client")
    assert machine.to_client == b"".join(data for side, data in CONVERSATION if side == "store")
    assert machine.outcomes() == ["complete", "complete", "complete", "error", "complete"]


def test_a_chunk_that_may_leave_whole_leaves_as_it_came() -> None:
    machine = Machine()
    machine.client(query("select 1"))
    chunk = framed(b"D", b"x" * 50) * 100
    machine.store(framed(b"T", b"\0\0"), chunk)
    assert any(isinstance(c, ToClient) and c.data is chunk for c in machine.commands)


messages = st.lists(
    st.sampled_from(
        [
            query("select 1"),
            query("select 1; delete from t"),
            query("copy t from stdin"),
            query(""),
            parse("select 1"),
            parse("delete from t", "d"),
            parse("select 1", "s"),
            parse("copy t from stdin"),
            bind(),
            bind("p", "s"),
            bind("", "d"),
            execute(),
            execute("p", 1),
            describe("S", "s"),
            describe("P", ""),
            framed(b"d", b"1\n"),
            framed(b"c"),
            framed(b"f", b"x\0"),
            framed(b"C", b"Ss\0"),
            framed(b"F", b"\0\0\0\1\0\0\0\0\0\0"),
            FLUSH,
            SYNC,
        ]
    ),
    max_size=12,
)


@given(messages)
def test_nothing_that_runs_reaches_the_store_before_its_record(sent: list[bytes]) -> None:
    machine = Machine("read", "write", durable=None)
    machine.client(*sent)
    passed = machine.to_store
    while passed:
        (length,) = struct.unpack_from(">I", passed, 1)
        kind, body = passed[:1], passed[5 : 1 + length]
        harmless = kind in b"SHC" or b"refused by glassgate" in body
        assert harmless, (sent, kind)
        passed = passed[1 + length :]


@given(messages)
def test_a_reader_never_gets_a_write_through(sent: list[bytes]) -> None:
    machine = Machine("read")
    machine.client(*sent)
    assert b"delete from t" not in machine.to_store
    assert b"copy t from stdin" not in machine.to_store


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
@settings(max_examples=300)
def test_any_bytes_of_a_client_end_in_order(chunks: list[bytes]) -> None:
    machine = Machine()
    machine.client(*chunks)
    machine.run(machine.session.client_gone(1.0))
    assert machine.kinds().count("session.ended") == 1


@given(messages, st.lists(st.binary(min_size=1, max_size=40), max_size=6))
@settings(max_examples=300)
def test_any_bytes_of_a_store_end_in_order(sent: list[bytes], chunks: list[bytes]) -> None:
    machine = Machine("read", "write")
    machine.client(*sent)
    machine.store(*chunks)
    machine.run(machine.session.store_gone(1.0))
    machine.settle()
    assert machine.kinds().count("session.ended") == 1
    intents = sum(kind == "access.intent" for kind in machine.kinds())
    finished = {facts["access"] for kind, facts in machine.records if kind == "access.outcome"}
    assert len(finished) == intents


@given(messages, st.lists(st.sampled_from([SELECTED, READY, framed(b"1"), framed(b"2"), framed(b"A", b"x" * 8)])))
def test_nothing_reaches_the_client_without_a_record(sent: list[bytes], answers: list[bytes]) -> None:
    machine = Machine("read", "write", durable=None)
    machine.client(*sent)
    machine.store(*answers)
    for kind in (b"D", b"T", b"A"):
        assert framed(kind, b"\0\0") not in machine.to_client


def test_idle_notifications_wait_for_an_entry_of_their_own() -> None:
    machine = Machine(durable=None)
    note = framed(b"A", b"\0\0\0\1news\0secret\0")
    machine.store(note)
    assert machine.to_client == b""
    assert machine.records[0] == ("access.progress", {"access": "ses_1", "bytes_out": len(note), "rows": 0})
    machine.settle()
    assert machine.to_client == note


def test_a_record_that_fails_ends_the_session_and_discloses_nothing() -> None:
    machine = Machine(durable=None)
    machine.client(query("select 1"))
    machine.settle(durable=False)
    assert machine.to_store == b""
    assert fields(machine.to_client[5:])["C"] == "58000"
    assert isinstance(machine.commands[-1], Close)
    assert machine.outcomes() == ["skipped"]


def test_a_late_view_asks_again_and_then_gives_up() -> None:
    machine = Machine(freshness="late")
    machine.client(query("select 1"), query("select 2"))
    assert [c for c in machine.commands if isinstance(c, AwaitFresh)] == [AwaitFresh()]
    assert machine.to_store == b""
    machine.run(machine.session.fresh(1.0))
    assert b"refused by glassgate" in machine.to_store
    refusals = [facts["reason"] for kind, facts in machine.records if kind == "access.refused"]
    assert refusals == ["view_stale"]


def test_the_last_words_wait_for_the_end_of_a_message() -> None:
    machine = Machine()
    machine.client(query("select 1"))
    row = framed(b"D", b"x" * 100)
    machine.store(row[:40])
    machine.run(machine.session.over(Reason.GRANT_REVOKED, 1.0))
    assert any(isinstance(c, FinishSoon) for c in machine.commands)
    assert any(isinstance(c, CancelStore) for c in machine.commands)
    assert machine.to_client == row[:40]
    machine.store(row[40:] + framed(b"D", b"not any more"))
    assert machine.to_client.startswith(row)
    assert fields(machine.to_client[len(row) + 5 :])["C"] == "57P01"
    assert b"not any more" not in machine.to_client
    assert machine.outcomes() == ["revoked"]


def test_a_rest_that_never_comes_is_given_up() -> None:
    machine = Machine()
    machine.client(query("select 1"))
    machine.store(framed(b"D", b"x" * 100)[:40])
    machine.run(machine.session.over(Reason.GRANT_REVOKED, 1.0))
    machine.run(machine.session.give_up(1.0))
    assert isinstance(machine.commands[-1], Close)


def test_after_the_end_nothing_is_done_any_more() -> None:
    machine = Machine()
    machine.run(machine.session.over(Reason.GRANT_EXPIRED, 1.0))
    before = len(machine.commands)
    machine.client(query("select 1"))
    machine.store(SELECTED)
    machine.run(machine.session.over(Reason.GRANT_REVOKED, 1.0))
    machine.run(machine.session.client_gone(1.0))
    assert len(machine.commands) == before


def test_nothing_is_sent_while_a_cancel_is_on_its_way() -> None:
    """pgbouncer#245, #717, #38: a late cancel hit the statement behind the one it was meant for."""
    machine = Machine()
    machine.client(query("select 1"))
    machine.run(machine.session.cancel(1.0))
    assert CancelStore(wait=True) in machine.commands
    machine.client(query("select 2"))
    machine.store(SELECTED)
    assert machine.to_store == query("select 1")
    machine.run(machine.session.cancelled(1.0))
    assert machine.to_store == query("select 1") + query("select 2")


def test_a_cancel_with_nothing_running_is_dropped() -> None:
    machine = Machine()
    machine.run(machine.session.cancel(1.0))
    assert machine.commands == []


@pytest.mark.parametrize(
    "answer",
    [
        framed(b"D", b"\0\0"),  # rows that nobody asked for
        framed(b"C", b"SELECT 1\0"),
        framed(b"K", b"\0" * 8),
        framed(b"R", b"\0\0\0\3"),  # a store that asks for a password in the midst of a session
        framed(b"W", b"\0\0\0"),
        READY,
        framed(b"1"),
        b"!\0\0\0\4",
        b"D\0\0\0\1",
    ],
)
def test_a_store_out_of_turn_ends_the_session_unheard(answer: bytes) -> None:
    machine = Machine()
    machine.store(answer)
    assert answer not in machine.to_client
    assert machine.session.how == "store_broke"


def test_the_guard_speaks_when_the_store_reports_a_setting_that_is_pinned() -> None:
    machine = Machine()
    machine.client(query("select 1"))
    machine.store(framed(b"S", b"standard_conforming_strings\0off\0"))
    assert machine.session.how == "guard"
    assert fields(machine.to_client[5:])["C"] == "57P01"


def test_a_trickle_is_accounted_for_by_time() -> None:
    machine = Machine()
    machine.client(query("select 1"))
    machine.store(framed(b"T", b"\0\0"), framed(b"D", b"\0\0"))
    machine.run(machine.session.tick(3.0))
    assert "access.progress" not in machine.kinds()
    machine.run(machine.session.tick(7.0))
    assert machine.kinds().count("access.progress") == 1
