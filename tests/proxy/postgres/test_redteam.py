"""Sessions against the grain: names that collide, settings that lie, memory that stays."""

import struct

import pytest

from proxy.postgres import statements
from proxy.postgres.errors import ProtocolError
from proxy.postgres.messages import read_bind, read_execute, read_parse, read_target
from tests.proxy.postgres.conftest import KEY, Running
from tests.proxy.postgres.test_session import Machine
from tests.proxy.postgres.wire import SYNC, bind, close, execute, fields, framed, parse, query

LONG = "n" * 63
READY = framed(b"Z", b"I")


async def test_two_names_that_the_store_takes_for_one_do_not_mix_texts(running: Running) -> None:
    """PostgreSQL compares names by their first 63 bytes: what is recorded must be what ran."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("SELECT count(*) FROM public.orders", LONG + "a"), SYNC)
    wire.send(close("S", LONG + "b"), parse("SELECT word FROM public.secrets", LONG + "b"), SYNC)
    wire.send(bind("", LONG + "a"), execute(), SYNC)
    answers = await wire.until_closed()
    assert not any(b"swordfish" in body for _, body in answers)
    assert fields(answers[-1][1])["C"] == "42622"


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32])
def test_a_name_that_the_store_would_cut_is_refused(name: str) -> None:
    messages = {
        read_parse: (parse("SELECT 1", name),),
        read_bind: (bind(name, ""), bind("", name)),
        read_execute: (execute(name),),
        read_target: (close("S", name),),
    }
    for read, each in messages.items():
        for message in each:
            with pytest.raises(ProtocolError) as refused:
                read(memoryview(message)[5:])  # type: ignore[operator]
            assert refused.value.sqlstate == "42622"


@pytest.mark.parametrize("back", ["RESET standard_conforming_strings", "RESET ALL", "DISCARD ALL"])
async def test_a_store_with_its_own_idea_of_strings_is_read_as_the_gate_reads(running: Running, back: str) -> None:
    await running.cluster.execute("ALTER ROLE gate_writer SET standard_conforming_strings = off")
    try:
        running.grant("read")
        wire = await running.logged_in()
        assert wire.settings["standard_conforming_strings"] == "on"
        wire.send(query(back), query("SHOW standard_conforming_strings"))
        await wire.until_ready()
        assert ("D", b"\0\1\0\0\0\2on") in await wire.until_ready()
    finally:
        await running.cluster.execute("ALTER ROLE gate_writer RESET standard_conforming_strings")


@pytest.mark.parametrize("back", ["SELECT 1", "RESET search_path", "SET search_path TO DEFAULT", "RESET ALL"])
async def test_a_name_without_schema_is_looked_up_where_it_was_judged(running: Running, back: str) -> None:
    """The store's role may have a search path of its own, or a schema of its name, which is searched first."""
    await running.cluster.execute(
        "CREATE SCHEMA gate_writer; CREATE VIEW gate_writer.orders AS SELECT word FROM public.secrets;"
        "GRANT USAGE ON SCHEMA gate_writer TO gate_writer; GRANT SELECT ON gate_writer.orders TO gate_writer",
        database=running.database,
    )
    running.grant("read", resources=("public.orders",))
    wire = await running.logged_in()
    wire.send(query(back))
    await wire.until_ready()
    wire.send(query("SELECT * FROM orders"))
    answers = await wire.until_ready()
    assert not any(b"swordfish" in body for _, body in answers)


def test_portals_are_forgotten_with_their_transaction() -> None:
    """Their parameters may be 64 MiB each, and the store has let go of them."""
    machine = Machine()
    machine.client(parse("SELECT $1", "s"), SYNC)
    machine.store(framed(b"1"), READY)
    for number in range(20):
        machine.client(bind(f"p{number}", "s", b"x" * 1000), SYNC)
        machine.store(framed(b"2"), READY)
    assert not machine.session._asking.portals.values()
    machine.client(query("BEGIN"))
    machine.store(framed(b"C", b"BEGIN\0"), framed(b"Z", b"T"))
    machine.client(bind("kept", "s", b"x"), SYNC)
    machine.store(framed(b"2"), framed(b"Z", b"T"))
    assert len(machine.session._asking.portals.values()) == 1


def test_a_portal_of_the_next_transaction_is_not_forgotten_with_this_one() -> None:
    machine = Machine()
    machine.client(parse("SELECT $1", "s"), SYNC)
    machine.store(framed(b"1"), READY)
    machine.client(bind("first", "s", b"x"), SYNC, bind("second", "s", b"y"))
    machine.store(framed(b"2"), READY)
    machine.client(execute("second"), SYNC)
    assert machine.to_store.endswith(execute("second") + SYNC)


def test_what_names_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MAX_HELD_BYTES", 10_000)
    machine = Machine()
    machine.client(parse("SELECT $1", "s"), query("BEGIN"))
    machine.store(framed(b"1"), framed(b"C", b"BEGIN\0"), framed(b"Z", b"T"))
    for number in range(20):
        machine.client(bind(f"p{number}", "s", b"x" * 1000))
    assert sum(len(p.bind.values[0] or b"") for p in machine.session._asking.portals.values() if p.bind) <= 10_000
    machine.client(SYNC)
    for number in range(20):
        machine.client(parse("SELECT '" + "x" * 1000 + "'", f"s{number}"), SYNC)
    assert sum(len(p.text) for p in machine.session._asking.statements.values()) <= 12_000


def test_names_times_schemas_are_bounded() -> None:
    machine = Machine()
    for number in range(60):
        machine.client(query(f"SET search_path = s{number}"))
        machine.store(framed(b"C", b"SET\0"), READY)
    machine.client(query("SELECT 1 FROM " + ",".join(f"t{n}" for n in range(1500))))
    kind, facts = machine.records[-1]
    assert (kind, facts["reason"]) == ("access.refused", "record_too_large")
    assert len(facts["resources"]) <= 1000


def test_a_large_error_in_small_pieces_costs_its_length() -> None:
    import time

    from proxy.postgres.framing import Backend

    body = b"M" + b"x" * (15 * 1024 * 1024) + b"\0\0"
    message = b"E" + struct.pack(">I", len(body) + 4) + body
    backend = Backend()
    started = time.process_time()
    tiles = []
    for at in range(0, len(message), 16 * 1024):
        tiles += backend.receive(message[at : at + 16 * 1024])[1]
    assert [tile.end for tile in tiles] == [len(message)]
    assert time.process_time() - started < 0.5


async def test_search_path_is_what_the_gate_says(running: Running) -> None:
    running.grant("read")
    wire = await running.tls()
    await wire.log_in(KEY)
    wire.send(query("SHOW search_path"))
    assert ("D", b"\0\1\0\0\0\6public") in await wire.until_ready()


async def test_a_pipelined_text_is_read_by_the_store_as_it_was_judged(running: Running) -> None:
    running.grant("read", "write")
    wire = await running.logged_in()
    wire.send(
        query("UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'"),
        query(r"SELECT 'a\', '; CREATE TABLE public.door (id int); --'"),
        query("SELECT 1"),
    )
    answers = [await wire.until_ready() for _ in range(3)]
    assert fields(answers[0][0][1])["H"] == "glassgate: statement_forbidden"
    other = await running.logged_in()
    other.send(query("SELECT count(*) FROM pg_class WHERE relname = 'door'"))
    assert ("D", b"\0\1\0\0\0\0010") in await other.until_ready()


def test_refusals_come_no_faster_than_they_can_be_recorded() -> None:
    """Else one engineer's rejected texts fill the record's queue, and everybody's access fails closed."""
    machine = Machine(durable=None)
    text = "DELETE FROM t WHERE a = '" + "x" * 15_000 + "'"
    for _ in range(8):
        machine.client(query(text))
    assert machine.kinds() == ["access.refused"] * 8
    assert machine.to_store == b""
    assert machine.session.queued_bytes > 8 * 15_000  # the relay reads nothing further of this client
    machine.settle()
    assert machine.session.queued_bytes == 0
    assert machine.to_store.count(b"refused by glassgate") == 8


def test_a_refusal_that_cannot_be_recorded_ends_the_session() -> None:
    machine = Machine(durable=None)
    machine.client(query("DELETE FROM t"))
    machine.settle(durable=False)
    assert machine.session.how == "record_failed"
    assert machine.to_store == b""
