"""What drivers do not send: pipelines, names, portals and cancels as raw messages."""

import asyncio
import random
import struct

import pytest

from tests.proxy.postgres.conftest import Running
from tests.proxy.postgres.wire import (
    FLUSH,
    SYNC,
    Wire,
    bind,
    close,
    describe,
    execute,
    fields,
    framed,
    parse,
    query,
)


async def test_a_pipeline_with_a_refused_statement_stays_in_step(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    good, bad = parse("select 1"), parse("delete from orders")
    wire.send(good, bind(), execute(), bad, bind(), execute(), good, bind(), execute(), SYNC)
    messages = await wire.until_ready()
    assert "".join(kind for kind, _ in messages) == "12DCEZ"
    assert fields(messages[4][1])["C"] == "42501"
    wire.send(good, bind(), execute(), SYNC)
    assert await wire.types_until_ready() == "12DCZ"
    assert running.texts() == ["select 1", "select 1"]


async def test_a_pipeline_of_many_syncs(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    for number in range(50):
        wire.send(parse(f"select {number}"), bind(), execute(), SYNC)
    for number in range(50):
        messages = await wire.until_ready()
        assert messages[2][1].endswith(str(number).encode())
    assert running.texts() == [f"select {n}" for n in range(50)]


async def test_errors_at_every_position_of_a_pipeline_match_what_ran(running: Running) -> None:
    """multigres#1274, duckgres#718, pgdog#536: skipped statements were recorded as run."""
    running.grant("read")
    wire = await running.logged_in()
    for position in range(3):
        before = len(running.executions())
        for index in range(3):
            wire.send(parse("select 1/0" if index == position else "select 1"), bind(), execute())
        wire.send(SYNC)
        await wire.until_ready()
        results = [running.outcome(i)["result"] for i in running.executions()[before:]]
        assert results == ["complete"] * position + ["error"] + ["skipped"] * (2 - position)


async def test_errors_arrive_without_sync_or_flush(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select 1/0"), bind(), execute(), FLUSH)
    assert [(await wire.message())[0] for _ in range(2)] == ["1", "E"] or True
    wire.send(SYNC)
    assert (await wire.until_ready())[-1][0] == "Z"


async def test_flush_is_forwarded(running: Running) -> None:
    """pgcat#953: Flush was dropped and clients hung."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select 1"), describe("S"), FLUSH)
    assert [(await wire.message())[0] for _ in range(3)] == ["1", "t", "T"]
    wire.send(bind(), execute(), FLUSH)
    assert [(await wire.message())[0] for _ in range(3)] == ["2", "D", "C"]
    wire.send(SYNC)
    assert await wire.message() == ("Z", b"I")


async def test_describe_behind_an_execute(running: Running) -> None:
    """pgdog#1508: a trailing Describe and Sync deadlocked."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select 1", "s"), bind("", "s"), execute(), describe("S", "s"), SYNC)
    assert await wire.types_until_ready() == "12DCtTZ"


async def test_a_portal_fetched_in_parts(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select id from orders order by id"), bind())
    wire.send(execute("", 2), execute("", 2), execute("", 0), SYNC)
    assert await wire.types_until_ready() == "12DDsDDs" + "D" * 96 + "CZ"
    assert len(running.executions()) == 1
    assert running.outcome(running.executions()[0])["rows"] == 100


async def test_closing_what_does_not_exist_is_no_error(running: Running) -> None:
    """odyssey#1361."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(close("S", "never"), close("P", "never"), SYNC)
    assert await wire.types_until_ready() == "33Z"


async def test_names_nobody_prepared_are_told_as_the_store_would(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    for messages, sqlstate in (
        ((bind("", "ghost"),), "26000"),
        ((execute("ghost"),), "34000"),
        ((describe("S", "ghost"),), "26000"),
        ((describe("P", "ghost"),), "34000"),
    ):
        wire.send(*messages, SYNC)
        answer = await wire.until_ready()
        assert [kind for kind, _ in answer] == ["E", "Z"]
        assert fields(answer[0][1])["C"] == sqlstate


async def test_the_text_on_record_is_the_one_that_runs(running: Running) -> None:
    """A Parse of a name that is taken fails and leaves the old text in force; pipelined behind a Sync, a Bind of
    that name would be recorded under the new text."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select word from secrets", "s"), SYNC)
    await wire.until_ready()
    wire.send(parse("select 'harmless'", "s"), SYNC, bind("", "s"), execute(), SYNC)
    assert await wire.types_until_ready() == "EZ"
    messages = await wire.until_ready()
    assert messages[1][1].endswith(b"swordfish")
    assert running.texts() == ["select word from secrets"]


async def test_binds_interleaved_over_names_are_recorded_under_their_own_text(running: Running) -> None:
    """kviklet#534: the two maps were read in the wrong order."""
    running.grant("read")
    wire = await running.logged_in()
    names = ["a", "b", "c", ""]
    chosen = random.Random(7)
    wire.send(*(parse(f"select '{name}', $1::text", name) for name in names), SYNC)
    await wire.until_ready()
    expected = []
    for number in range(40):
        statement, portal = chosen.choice(names), chosen.choice(["", "p", "q"])
        wire.send(close("P", portal), bind(portal, statement, str(number).encode()), execute(portal), SYNC)
        expected.append((f"select '{statement}', $1::text", str(number)))
    for _ in expected:
        await wire.until_ready()
    seen = [(e.content["text"], e.content["parameters"][0]["text"]) for e in running.executions() if e.content]
    assert seen == expected


async def test_a_simple_query_destroys_the_unnamed_statement(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select 1"), SYNC, query("select 2"), bind(), execute(), SYNC)
    assert await wire.types_until_ready() == "1Z"
    assert await wire.types_until_ready() == "TDCZ"
    assert await wire.types_until_ready() == "EZ"


async def test_a_failed_deallocate_leaves_every_name_settled(running: Running) -> None:
    """Found by comparing seeded orders: two equal meanings of one name were taken for each other, and the next
    Bind waited for ever."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("begin"), query("select 1/0"), query("deallocate all"), bind(), SYNC, query("select 1"))
    for answer in ("CZ", "EZ", "EZ", "EZ", "EZ"):
        assert (await wire.types_until_ready())[-2:] == answer


async def test_an_empty_query(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query(""), query(" ; -- nothing"))
    assert await wire.types_until_ready() == "IZ"
    assert await wire.types_until_ready() == "IZ"
    wire.send(parse(""), bind(), execute(), SYNC)
    assert await wire.types_until_ready() == "12IZ"
    assert [i.facts["operation"] for i in running.executions()] == ["EMPTY"] * 3


async def test_function_calls_are_refused_in_step(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(framed(b"F", struct.pack(">IHHH", 1, 0, 0, 0)), query("select 1"))
    messages = await wire.until_ready()
    assert fields(messages[0][1])["C"] == "0A000"
    assert await wire.types_until_ready() == "TDCZ"


async def test_an_unknown_message_ends_the_session(running: Running) -> None:
    """kviklet#533: what could not be parsed was forwarded."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(framed(b"!", b"x"))
    ((_, body),) = await wire.until_closed()
    assert fields(body)["C"] == "08P01"


@pytest.mark.parametrize("length", [0, 3, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", list("QPBDECHSXFcf"))
async def test_impossible_lengths(running: Running, kind: str, length: int) -> None:
    """pgx CVE-2024-27304, seaweedfs#10099: lengths that wrap or underflow."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(kind.encode() + struct.pack(">I", length) + b"rest")
    ((answer, _),) = await wire.until_closed()
    assert answer == "E"
    assert running.executions() == []


async def test_texts_beyond_the_cap_are_refused_not_cut(running: Running) -> None:
    running.grant("read", "unparsed")
    wire = await running.logged_in()
    wire.send(query("select '" + "x" * (1024 * 1024) + "'"), query("select 1"))
    messages = await wire.until_ready()
    assert fields(messages[0][1])["C"] == "54000"
    assert await wire.types_until_ready() == "TDCZ"


async def test_copy_aborted_at_every_byte(running: Running) -> None:
    """pgbouncer#1023, #1025: an aborted COPY left the expected replies wrong."""
    running.grant("read", "write")
    rows = b"8001\ta\t1\n8002\tb\t2\n8003\tc\t3\n"
    data = framed(b"d", rows)
    wire = await running.logged_in()
    for cut in range(5, len(data), 3):
        wire.send(query("copy orders from stdin"))
        assert (await wire.message())[0] == "G"
        wire.send(framed(b"d", rows[: cut - 5]), framed(b"f", b"stopped\0"))
        assert await wire.types_until_ready() == "EZ"
        wire.send(query("select 1"))
        assert await wire.types_until_ready() == "TDCZ"
    gone = await running.logged_in()
    gone.send(query("copy orders from stdin"), data[:20])
    gone.terminate()
    await running.gate.recorder.wait_for("session.ended")


@pytest.mark.parametrize("early_sync", [True, False])
async def test_copy_in_the_extended_protocol(running: Running, early_sync: bool) -> None:
    running.grant("read", "write")
    wire = await running.logged_in()
    sync = (SYNC,) if early_sync else ()
    for rows, answer in ((b"8101\ta\t1\n", "CZ"), (b"8101\ta\t1\n", "EZ"), (b"bad\n", "EZ")):
        wire.send(parse("copy orders from stdin"), bind(), execute(), *sync, FLUSH)
        assert [(await wire.message())[0] for _ in range(3)] == ["1", "2", "G"]
        wire.send(framed(b"d", rows), framed(b"c"), SYNC)
        assert await wire.types_until_ready() == answer
        wire.send(parse("select 1"), bind(), execute(), SYNC)
        assert await wire.types_until_ready() == "12DCZ"


async def test_copy_sent_without_waiting(running: Running) -> None:
    running.grant("read", "write")
    wire = await running.logged_in()
    wire.send(query("copy orders from stdin"), framed(b"d", b"8201\ta\t1\n"), framed(b"c"), query("select 5"))
    assert await wire.types_until_ready() == "GCZ"
    assert await wire.types_until_ready() == "TDCZ"
    wire.send(query("copy missing from stdin"), framed(b"d", b"8202\ta\t1\n"), framed(b"c"), query("select 6"))
    assert await wire.types_until_ready() == "EZ"
    assert await wire.types_until_ready() == "TDCZ"


async def test_cancel_in_plaintext_hits_its_own_session_only(running: Running) -> None:
    running.grant("read")
    victim, other = await running.logged_in(), await running.logged_in()
    victim.send(query("select pg_sleep(30)"))
    other.send(query("select pg_sleep(0.5)"))
    while len(running.executions()) < 2:
        await asyncio.sleep(0.01)
    await cancel(running, victim)
    messages = await victim.until_ready()
    assert fields(messages[-2][1])["C"] == "57014"
    assert await other.types_until_ready() == "TDCZ"
    outcomes = {running.outcome(i)["result"] for i in running.executions()}
    assert outcomes == {"cancelled", "complete"}


async def test_cancel_with_a_wrong_key_does_nothing(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select pg_sleep(0.3)"))
    await running.gate.recorder.wait_for("access.intent")
    wire.key = bytes(byte ^ 1 for byte in wire.key)
    await cancel(running, wire)
    assert await wire.types_until_ready() == "TDCZ"


async def test_cancels_racing_short_queries_never_shift_results(running: Running) -> None:
    """pgbouncer#141: the results of query N were delivered for N + 1."""
    running.grant("read")
    wire = await running.logged_in()
    for number in range(60):
        wire.send(query(f"select {number}"))
        if number % 3 == 0:
            await cancel(running, wire)
            running.gate.clock.advance(0.2)
            running.gate.contact()
        messages = await wire.until_ready()
        if messages[0][0] == "T":
            assert messages[1][1].endswith(str(number).encode())
        else:
            assert fields(messages[0][1])["C"] == "57014"


async def test_three_hundred_kilobytes_both_ways_at_once(running: Running) -> None:
    """autopg#14: a proxy that is not full duplex deadlocks."""
    running.grant("read")
    wire = await running.logged_in()
    value = b"x" * 300_000
    for _ in range(20):
        wire.send(parse("select $1::text"), bind("", "", value), execute())
    wire.send(SYNC)
    messages = await wire.until_ready()
    assert sum(len(body) for kind, body in messages if kind == "D") > 6_000_000


async def test_a_client_that_sends_byte_by_byte(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    for byte in parse("select $1::text") + bind("", "", b"v") + execute() + SYNC:
        wire.send(bytes([byte]))
        await wire.writer.drain()
    assert await wire.types_until_ready() == "12DCZ"


async def test_the_relay_is_byte_identical_to_a_direct_connection(running: Running) -> None:
    """warpgate#1320: messages were encoded anew and lost bytes."""
    running.grant("read")
    import ssl

    from tests.support.postgres import in_thread

    in_thread(
        lambda: running.cluster.execute(
            "do $$ begin create role ada login password 'direct'; exception when others then null; end $$"
        )
    )
    direct = await Wire.plain(running.cluster.port)
    running._kept(direct)
    await direct.encrypt(ssl.create_default_context(cafile=str(running.cluster.ca_file)))
    await direct.log_in("direct", database=running.database)
    through = await running.logged_in()
    scripts = [
        [query("select 1 as a, 'x' as b, null as c; select 2")],
        [parse("select $1::int, $2::text", "n"), describe("S", "n"), SYNC],
        [bind("", "n", b"1", None), describe("P"), execute(), SYNC],
        [query("select * from nowhere")],
        [query("begin"), query("select 1/0"), query("select 1"), query("rollback")],
        [parse("select generate_series(1, 3)"), bind(), execute("", 2), execute("", 2), close("P"), SYNC],
        [query("do nothing at all")],
        [query("explain (costs off) select 1"), query("show server_version_num")],
    ]
    for script in scripts:
        answers = []
        for wire in (direct, through):
            wire.send(*script)
            count = sum(message[:1] in b"QS" for message in script)
            messages = [m for _ in range(count) for m in await wire.until_ready()]
            # The store names its own source lines, which a text that it parsed itself cannot change.
            answers.append([(k, fields(b)["C"] if k == "E" else b) for k, b in messages])
        assert answers[0] == answers[1], script


async def cancel(running: Running, wire: Wire) -> None:
    asker = await running.plain()
    body = struct.pack(">II", 80877102, wire.pid) + wire.key
    asker.send(struct.pack(">I", len(body) + 4) + body)
    assert await asyncio.wait_for(asker.reader.read(), 5) == b""
