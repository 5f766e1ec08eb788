"""No record, no byte; no grant, no byte: against a real store, with the recorder and the grants in our hands."""

import asyncio

from approvals.reasons import Reason
from tests.proxy.postgres.conftest import Running
from tests.proxy.postgres.wire import SYNC, bind, execute, fields, parse, query


async def silence(coroutine_reader: asyncio.StreamReader) -> bool:
    """Whether nothing arrives for a moment."""
    try:
        await asyncio.wait_for(coroutine_reader.readexactly(1), 0.1)
    except TimeoutError:
        return True
    return False


async def backends(running: Running, like: str) -> int:
    """How many of the store's backends run a text like that."""
    import asyncpg

    connection = await asyncpg.connect(running.cluster.superuser_dsn())
    try:
        return int(
            await connection.fetchval(
                "select count(*) from pg_stat_activity where state = 'active' and query like $1 "
                "and pid <> pg_backend_pid()",
                like,
            )
        )
    finally:
        await connection.close()


async def until_backends(running: Running, like: str, count: int) -> None:
    async with asyncio.timeout(5):
        while await backends(running, like) != count:
            await asyncio.sleep(0.02)


async def test_a_statement_is_not_forwarded_before_its_intent_is_durable(running: Running) -> None:
    running.grant("read", "write")
    wire = await running.logged_in()
    running.gate.recorder.mode = "held"
    wire.send(query("insert into orders values (7000, 'x', 1)"))
    await running.gate.recorder.wait_for("access.intent")
    assert await silence(wire.reader)
    count = "select count(*) from orders where id = 7000"
    import asyncpg

    store = await asyncpg.connect(running.cluster.superuser_dsn(running.database))
    assert await store.fetchval(count) == 0
    running.gate.recorder.release()
    assert await wire.types_until_ready() == "CZ"
    assert await store.fetchval(count) == 1
    await store.close()


async def test_nothing_is_disclosed_when_the_intent_cannot_be_written(running: Running) -> None:
    running.grant("read", "write")
    wire = await running.logged_in()
    running.gate.recorder.mode = "held"
    wire.send(query("insert into orders values (7001, 'x', 1)"))
    await running.gate.recorder.wait_for("access.intent")
    running.gate.recorder.refuse()
    ((kind, body),) = await wire.until_closed()
    assert (kind, fields(body)["C"]) == ("E", "58000")
    assert "could not be recorded" in fields(body)["M"]
    assert running.of("session.ended")[0].facts["how"] == "record_failed"
    import asyncpg

    store = await asyncpg.connect(running.cluster.superuser_dsn(running.database))
    assert await store.fetchval("select count(*) from orders where id = 7001") == 0
    await store.close()


async def test_a_parse_error_waits_for_a_record_too(running: Running) -> None:
    """Errors of Parse tell what tables exist; so does a Describe."""
    running.grant("read")
    wire = await running.logged_in()
    running.gate.recorder.mode = "held"
    wire.send(parse("select * from there_is_no_such_table"), SYNC)
    intent = await running.gate.recorder.wait_for("access.intent")
    assert intent.facts["operation"] == "PARSE"
    assert await silence(wire.reader)
    running.gate.recorder.release()
    assert await wire.types_until_ready() == "EZ"
    assert running.outcome(intent)["sqlstate"] == "42P01"


async def test_the_second_mebibyte_waits_for_the_progress_entry(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select repeat('x', 8000) from generate_series(1, 1000)"))
    await running.gate.recorder.wait_for("access.intent")
    running.gate.recorder.mode = "held"
    received = 0
    try:
        while True:
            received += len(await asyncio.wait_for(wire.reader.read(65536), 0.5))
    except TimeoutError:
        pass
    assert 512 * 1024 < received <= 1024 * 1024
    running.gate.recorder.mode = "durable"
    running.gate.recorder.release()
    while received < 8_000_000:
        received += len(await asyncio.wait_for(wire.reader.read(65536), 5))


async def test_a_failed_progress_entry_stops_the_stream(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select repeat('x', 8000) from generate_series(1, 1000)"))
    await running.gate.recorder.wait_for("access.intent")
    running.gate.recorder.mode = "failing"
    data = await asyncio.wait_for(wire.reader.read(-1), 5)
    assert len(data) < 1100 * 1024
    assert b"could not be recorded" in data[-400:] or data.endswith(b"x")


async def test_revocation_ends_a_running_statement_at_once(running: Running) -> None:
    grant = running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select pg_sleep(30)"))
    await until_backends(running, "select pg_sleep(30)", 1)
    started = asyncio.get_running_loop().time()
    running.gate.end(grant)
    ((kind, body),) = await wire.until_closed()
    assert asyncio.get_running_loop().time() - started < 1.0
    assert (kind, fields(body)["S"], fields(body)["C"]) == ("E", "FATAL", "57P01")
    assert "revoked" in fields(body)["M"]
    assert running.outcome(running.executions()[0])["result"] == "revoked"
    assert running.of("session.ended")[0].facts["how"] == "grant_revoked"
    await until_backends(running, "select pg_sleep(30)", 0)


async def test_revocation_ends_a_stream_between_two_messages(running: Running) -> None:
    grant = running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select repeat('x', 3000) from generate_series(1, 1000000)"))
    for _ in range(500):
        await wire.message()
    running.gate.end(grant)
    messages = await wire.until_closed()
    assert messages[-1][0] == "E"
    assert fields(messages[-1][1])["C"] == "57P01"
    assert {kind for kind, _ in messages[:-1]} <= {"D"}


async def test_revocation_of_an_idle_session(running: Running) -> None:
    grant = running.grant("read")
    wire = await running.logged_in()
    running.gate.end(grant)
    ((_, body),) = await wire.until_closed()
    assert fields(body)["C"] == "57P01"


async def test_expiry_ends_an_open_session(running: Running) -> None:
    """pgbouncer CVE-2025-2291: VALID UNTIL was only looked at during login."""
    running.grant("read", for_s=60.0)
    wire = await running.logged_in()
    running.gate.clock.advance(61)
    running.gate.contact()
    running.gate.live.expire(running.gate.clock.unix())
    ((_, body),) = await wire.until_closed()
    assert "time is over" in fields(body)["M"]
    assert running.of("session.ended")[0].facts["how"] == "grant_expired"


async def test_expiry_between_two_statements_needs_no_timer(running: Running) -> None:
    running.grant("read", for_s=60.0)
    wire = await running.logged_in()
    running.gate.clock.advance(61)
    running.gate.contact()
    wire.send(query("select 1"))
    ((_, body),) = await wire.until_closed()
    assert fields(body)["C"] == "57P01"
    assert running.executions() == []


async def test_a_lost_contact_ends_sessions(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    running.gate.live.cut_all(Reason.VIEW_STALE)
    ((_, body),) = await wire.until_closed()
    assert "lost contact" in fields(body)["M"]


async def test_a_late_view_makes_a_statement_wait(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    running.gate.clock.advance(3)
    wire.send(query("select 1"))
    assert await silence(wire.reader)
    assert running.executions() == []
    running.gate.contact()
    assert await wire.types_until_ready() == "TDCZ"


async def test_a_changed_store_definition_ends_the_session_at_its_next_statement(running: Running) -> None:
    import msgspec

    from proxy.stores import Stores

    running.grant("read")
    wire = await running.logged_in()
    found = running.gate.stores.by_name("customers-db")
    assert found is not None
    running.gate.stores = Stores((msgspec.structs.replace(found[0], data_class="internal"),), "11" * 32)
    wire.send(query("select 1"))
    ((_, body),) = await wire.until_closed()
    assert "policy or the store's definition changed" in fields(body)["M"]


async def test_a_client_that_vanishes_leaves_no_statement_running(running: Running) -> None:
    """hoop: closing during a running query left the backend."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select pg_sleep(31)"))
    await until_backends(running, "select pg_sleep(31)", 1)
    wire.terminate()
    await until_backends(running, "select pg_sleep(31)", 0)
    ended = await running.gate.recorder.wait_for("session.ended")
    assert ended.facts["how"] == "client_gone"
    assert running.outcome(running.executions()[0])["result"] == "client_gone"
    assert all(c.over for c in running.listener.connections)


async def test_terminate_during_a_statement_cancels_it(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.send(query("select pg_sleep(32)"))
    await until_backends(running, "select pg_sleep(32)", 1)
    wire.send(b"X\0\0\0\4")
    await wire.until_closed()
    await until_backends(running, "select pg_sleep(32)", 0)


async def test_a_backend_that_dies_is_told_once(running: Running) -> None:
    """odyssey#514: two ErrorResponses for one failure."""
    running.grant("read")
    wire = await running.logged_in()
    wire.send(parse("select pg_sleep(33)"), bind(), execute(), parse("select 1"), bind(), execute(), SYNC)
    await until_backends(running, "select pg_sleep(33)", 1)
    await running.cluster.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(33)'"
    )
    messages = await wire.until_closed()
    assert [kind for kind, _ in messages if kind == "E"] == ["E"]
    results = [running.outcome(i)["result"] for i in running.executions()]
    assert results == ["error", "skipped"]


async def test_a_drained_gate_lets_statements_finish(running: Running) -> None:
    running.grant("read")
    busy, idle = await running.logged_in(), await running.logged_in()
    busy.send(query("select pg_sleep(0.3)"))
    await running.gate.recorder.wait_for("access.intent")
    draining = asyncio.ensure_future(running.listener.drain())
    ((_, body),) = await idle.until_closed()
    assert "shutting down" in fields(body)["M"]
    assert await busy.types_until_ready() == "TDCZ"
    await draining


async def test_slow_readers_hold_the_store_back_not_the_gates_memory(running: Running) -> None:
    running.grant("read")
    wire = await running.logged_in()
    wire.reader._limit = 1024  # type: ignore[attr-defined]
    wire.send(query("select repeat('x', 8000) from generate_series(1, 20000)"))
    await running.gate.recorder.wait_for("access.progress")
    await asyncio.sleep(0.1)
    (connection,) = running.listener.connections
    assert connection._relay is not None and connection._relay._store_waits
    assert connection.session is not None and connection.session.held_bytes < 2 * 1024 * 1024
