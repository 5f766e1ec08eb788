"""asyncpg through the gate: the extended protocol, pipelines of messages, COPY, cursors, notifications."""

import asyncio
import io
from decimal import Decimal

import asyncpg
import pytest

from tests.proxy.postgres.conftest import Running


async def test_parameters_are_on_record_with_their_types(running: Running) -> None:
    """teleport#6051, hoop#649: the extended protocol was not audited."""
    running.grant("read")
    connection = await running.connect()
    row = await connection.fetchrow("select $1::int4 + 1 as a, $2::text as b, $3::text as c", 41, "zwölf", None)
    assert dict(row) == {"a": 42, "b": "zwölf", "c": None}
    intent = running.executions()[-1]
    assert intent.facts["parameters"] == 3
    assert intent.content is not None
    assert intent.content["text"] == "select $1::int4 + 1 as a, $2::text as b, $3::text as c"
    number, text, null = intent.content["parameters"]
    assert number == {"oid": 23, "base64": "AAAAKQ=="}
    assert text["oid"] == 25
    assert null == {"oid": 25, "text": None}


async def test_each_execution_of_a_prepared_statement_has_exactly_one_record(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    statement = await connection.prepare("select customer from orders where id = $1")
    for number in (1, 2, 3):
        assert await statement.fetchval(number) == f"customer {number}"
    runs = [e for e in running.executions() if e.facts["parameters"] == 1]
    assert len(runs) == 3
    assert [e.content["parameters"][0]["base64"] for e in runs if e.content] == ["AAAAAQ==", "AAAAAg==", "AAAAAw=="]
    parses = [e for e in running.of("access.intent") if e.facts["operation"] == "PARSE"]
    assert len(parses) == 1
    assert running.outcome(parses[0])["result"] == "complete"


async def test_executemany(running: Running) -> None:
    running.grant("read", "write")
    connection = await running.connect()
    rows = [(n, f"bulk {n}", n) for n in range(1000, 1500)]
    await connection.executemany("insert into orders values ($1, $2, $3)", rows)
    assert await connection.fetchval("select count(*) from orders where id >= 1000") == 500
    inserts = [e for e in running.executions() if e.facts["operation"] == "INSERT"]
    assert len(inserts) == 500
    assert {running.outcome(e)["command"] for e in inserts} == {"INSERT 0 1"}


async def test_executemany_failure_in_the_midst_marks_the_rest_skipped(running: Running) -> None:
    running.grant("read", "write")
    connection = await running.connect()
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.executemany("insert into orders values ($1, 'x', 1)", [(5000,), (1,), (5001,), (5002,)])
    assert await connection.fetchval("select 7") == 7
    await asyncio.sleep(0)
    results = [running.outcome(e)["result"] for e in running.executions() if e.facts["operation"] == "INSERT"]
    assert results[:2] == ["complete", "error"]
    assert set(results[2:]) <= {"skipped"}


async def test_cursors_fetch_in_parts_under_one_record(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    async with connection.transaction():
        seen = [record["id"] async for record in connection.cursor("select id from orders order by id", prefetch=10)]
    assert seen == list(range(1, 101))
    selects = [e for e in running.executions() if e.facts["operation"] == "SELECT"]
    assert len(selects) == 1
    outcome = running.outcome(selects[0])
    assert (outcome["result"], outcome["rows"]) == ("complete", 100)


async def test_a_cursor_left_half_read_gets_its_outcome_when_the_transaction_ends(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    async with connection.transaction():
        cursor = await connection.cursor("select id from orders order by id")
        assert len(await cursor.fetch(30)) == 30
    select = next(e for e in running.executions() if e.facts["operation"] == "SELECT")
    assert running.outcome(select)["rows"] == 30


async def test_copy_from_query_and_to_table(running: Running) -> None:
    running.grant("read", "write")
    connection = await running.connect()
    out = io.BytesIO()
    assert await connection.copy_from_query("select id, customer from orders where id < $1", 3, output=out) == "COPY 2"
    assert out.getvalue() == b"1\tcustomer 1\n2\tcustomer 2\n"
    records = [(n, "copied", 1) for n in range(3000, 3100)]
    assert await connection.copy_records_to_table("orders", records=records) == "COPY 100"
    copy = running.executions()[-1]
    assert copy.facts["operation"] == "COPY"
    assert running.outcome(copy)["rows"] == 100


async def test_copy_with_a_bad_row_leaves_the_session_usable(running: Running) -> None:
    """pgbouncer#1025: COPY FROM STDIN left the tracking of replies wrong."""
    running.grant("read", "write")
    connection = await running.connect()
    for _ in range(3):
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.copy_records_to_table("orders", records=[(9000, "a", 1), (1, "b", 2)])
        assert await connection.fetchval("select 8") == 8


async def test_an_error_in_the_extended_protocol_keeps_both_sides_in_step(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetchval("select 1 / $1::int", 0)
    assert await connection.fetchval("select 3") == 3


async def test_a_refused_statement_raises_insufficient_privilege(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="does not cover this kind of operation"):
        await connection.execute("insert into orders values ($1, 'x', 1)", 1)
    assert await connection.fetchval("select 3") == 3
    assert running.of("access.refused")[0].facts["actions"] == ["write"]


async def test_transactions_and_savepoints(running: Running) -> None:
    running.grant("read", "write")
    connection = await running.connect()
    async with connection.transaction():
        await connection.execute("delete from orders where id = 1")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("insert into orders values (2, 'x', 1)")
    assert await connection.fetchval("select count(*) from orders") == 99


async def test_a_failed_commit_is_on_record(running: Running) -> None:
    running.grant("read", "write")
    connection = await running.connect()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute("insert into children values ($1, 404)", 1)
    insert = next(e for e in running.executions() if e.facts["operation"] == "INSERT")
    outcomes = [e.facts for e in running.of("access.outcome") if e.facts["access"] == insert.id]
    assert outcomes[-1]["result"] == "error"
    assert outcomes[-1]["sqlstate"] == "23503"
    assert await connection.fetchval("select 1") == 1


async def test_notifications_while_idle_are_accounted_for(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener("news", lambda *args: heard.put_nowait(args[-1]))
    session = running.of("session.started")[0].facts["session"]
    await running.cluster.execute("select pg_notify('news', 'fresh')", database=running.database)
    assert await asyncio.wait_for(heard.get(), 5) == "fresh"
    idle = [e for e in running.of("access.progress") if e.facts["access"] == session]
    assert [e.facts["bytes_out"] for e in idle] == [len("news") + len("fresh") + 2 + 4 + 5]


async def test_search_path_outside_a_narrow_scope_is_refused(running: Running) -> None:
    running.grant("read", resources=("public.*",))
    connection = await running.connect()
    await connection.execute("set search_path = public")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="this part of the store"):
        await connection.execute("set search_path = hidden")


async def test_settings_that_change_how_a_text_is_read_are_pinned(running: Running) -> None:
    """With standard_conforming_strings off the judge sees one statement and the store runs two."""
    running.grant("read", "write", "ddl", "admin")
    connection = await running.connect()
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="never let through"):
        await connection.execute("set standard_conforming_strings = off")


async def test_what_slips_past_the_judge_ends_the_session(running: Running) -> None:
    running.grant("read", "admin")
    connection = await running.connect()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("select set_config('standard_' || 'conforming_strings', 'off', false)")
    ended = await running.gate.recorder.wait_for("session.ended")
    assert ended.facts["how"] == "guard"


async def test_sql_level_prepare_and_execute_are_judged_by_what_they_run(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("prepare gone as delete from orders")
    await connection.execute("prepare mine as select customer from orders where id = 5")
    await connection.execute("execute mine")
    execute = running.executions()[-1]
    prepare = running.executions()[-2]
    assert execute.facts["resources"] == ["public.orders"]
    assert execute.content is not None and execute.content["continues"] == prepare.id
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="could not be understood"):
        await connection.execute("execute somebody_elses")


async def test_large_parameters_stand_in_the_record_by_digest(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    assert await connection.fetchval("select length($1::text)", "x" * 5000) == 5000
    content = running.executions()[-1].content
    assert content is not None
    parameter = content["parameters"][0]
    assert parameter["bytes"] == 5000
    assert len(parameter["sha256"]) == 64


async def test_numbers_and_dates_of_every_format_pass_unchanged(running: Running) -> None:
    running.grant("read")
    connection = await running.connect()
    row = await connection.fetchrow("select 1.5::numeric a, '2026-03-01'::date b, array[1,2] c, '{\"k\":1}'::jsonb d")
    assert row["a"] == Decimal("1.5")
    assert row["c"] == [1, 2]


async def test_many_sessions_at_once(running: Running) -> None:
    running.grant("read")
    connections = await asyncio.gather(*(running.connect() for _ in range(20)))
    values = await asyncio.gather(*(c.fetchval("select $1::int", n) for n, c in enumerate(connections)))
    assert values == list(range(20))
    assert len({e.facts["session"] for e in running.of("session.started")}) == 20


async def test_a_value_of_many_megabytes_passes_both_ways(running: Running) -> None:
    """autopg#14: above 300 KB a proxy with one buffer deadlocked."""
    running.grant("read")
    connection = await running.connect()
    value = "x" * (16 * 1024 * 1024)
    assert await connection.fetchval("select $1::text", value, timeout=30) == value
    outcome = running.outcome(running.executions()[-1])
    assert outcome["bytes_out"] > len(value)
