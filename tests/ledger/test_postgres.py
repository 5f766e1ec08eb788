"""What the database promises: roles, definite and ambiguous failures, finding entries again."""

import asyncio
from typing import Any

import asyncpg
import pytest

from ledger.lookup import Indexer, Search, entry_by_id, entry_by_index, index_step, search, tail
from ledger.postgres import DatabaseSink, connect
from ledger.storage import AppendRefused, AppendUnknown, Batch
from tests.ledger.world import LogWorld, drain, read_draft, request_draft


@pytest.fixture
def world(database: Any) -> LogWorld:
    return LogWorld(database)


async def _count(world: LogWorld) -> int:
    owner = await world.database.connect("owner")
    return int(await owner.fetchval("SELECT count(*) FROM ledger.entry_batch"))


def _batch(world: LogWorld) -> Batch:
    writer = world.writer()
    return world.pack(writer, [world.started(writer)])


async def test_the_sink_appends_reconnects_and_stays_closed(world: LogWorld) -> None:
    sink = DatabaseSink.to(world.database.dsn("proxy"))
    await sink.ready()
    await sink.append(_batch(world))
    assert sink._connection is not None
    sink._connection.terminate()
    await sink.append(_batch(world))
    await sink.close()
    with pytest.raises(AppendRefused, match="closed"):
        await sink.append(_batch(world))
    assert await _count(world) == 2


async def test_no_connection_is_a_definite_refusal(world: LogWorld) -> None:
    sink = DatabaseSink.to("postgresql://nobody:x@/none?host=/nonexistent")
    with pytest.raises(AppendRefused, match="no connection"):
        await sink.append(_batch(world))


async def test_what_postgresql_refuses_is_definite(world: LogWorld) -> None:
    sink = DatabaseSink.to(world.database.dsn("proxy"))
    batch = _batch(world)
    with pytest.raises(AppendRefused, match="23514"):
        await sink.append(Batch(batch.log, batch.writer, batch.first_counter, 0, batch.data))
    await sink.append(batch)
    await sink.close()
    assert await _count(world) == 1


class _Cut:
    """A connection whose insert is carried out, and whose answer never comes."""

    def __init__(self, connection: Any, error: Exception, carried_out: bool) -> None:
        self._connection = connection
        self._error = error
        self._carried_out = carried_out

    def is_closed(self) -> bool:
        return bool(self._connection.is_closed())

    def terminate(self) -> None:
        self._connection.terminate()

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        if self._carried_out:
            await self._connection.execute(*arguments, **options)
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("gone"),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("gone"),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.CrashShutdownError("crash"),
        asyncpg.CannotConnectNowError("starting"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_lost_answer_is_unknown_until_the_same_bytes_are_stored(
    world: LogWorld, error: Exception, carried_out: bool
) -> None:
    answers = ["cut", "no connection", "refused", "whole"]

    async def open_connection() -> Any:
        answer = answers.pop(0)
        if answer == "no connection":
            raise ConnectionRefusedError
        connection = await connect(world.database.dsn("proxy"))
        if answer == "cut":
            return _Cut(connection, error, carried_out)
        if answer == "refused":
            return _Cut(connection, asyncpg.CheckViolationError("no"), False)
        return connection

    sink = DatabaseSink(open_connection)
    batch = _batch(world)
    with pytest.raises(AppendUnknown):
        await sink.append(batch)
    # These attempts surely stored nothing. The first one may have: still unknown.
    with pytest.raises(AppendUnknown, match="in doubt"):
        await sink.append(batch)
    with pytest.raises(AppendUnknown, match="in doubt"):
        await sink.append(batch)
    sink._drop()
    await sink.append(batch)
    await sink.close()
    assert await _count(world) == 1 + carried_out


async def test_a_killed_session_is_unknown(world: LogWorld) -> None:
    sink = DatabaseSink.to(world.database.dsn("proxy"))
    await sink.ready()
    pid = await sink._connection.fetchval("SELECT pg_backend_pid()")  # type: ignore[union-attr]
    superuser = await asyncpg.connect(world.database.dsn("superuser"))
    batch = _batch(world)
    async with superuser.transaction():
        await superuser.execute("LOCK ledger.entry_batch")
        appending = asyncio.create_task(sink.append(batch))
        async with asyncio.timeout(5):
            waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
            while not await superuser.fetchval(waits, pid):
                await asyncio.sleep(0.01)
        await superuser.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(AppendUnknown):
            await appending
    await superuser.close()
    await sink.append(batch)
    await sink.close()
    assert await _count(world) == 1


async def test_a_cancelled_append_leaves_no_half_used_connection(world: LogWorld) -> None:
    sink = DatabaseSink.to(world.database.dsn("proxy"))
    await sink.ready()
    task = asyncio.create_task(sink.append(_batch(world)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sink.append(_batch(world))
    await sink.close()


async def test_commits_wait_for_the_disk_whatever_the_default_says(world: LogWorld) -> None:
    owner = await world.database.connect("owner")
    await owner.execute(f"ALTER DATABASE {world.database.name} SET synchronous_commit = off")
    connection = await connect(world.database.dsn("proxy"))
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()


FORBIDDEN = {
    "proxy": [
        "SELECT * FROM ledger.entry_batch",
        "SELECT * FROM ledger.entry",
        "SELECT * FROM ledger.head",
        "DELETE FROM ledger.entry_batch",
        "UPDATE ledger.entry_batch SET n = 1",
        "TRUNCATE ledger.entry_batch",
        "INSERT INTO ledger.entry VALUES (0, 'x', sha256('x'))",
        "INSERT INTO ledger.writer_head VALUES ('x', 'x', 0, '')",
        "CREATE TABLE ledger.mine ()",
    ],
    "approvals": [
        "SELECT * FROM ledger.entry_batch",
        "DELETE FROM ledger.entry_batch",
        "UPDATE ledger.entry SET leaf = 'x'",
        "DELETE FROM ledger.writer_head",
        "SELECT * FROM ledger.body",
    ],
    "sequencer": [
        "UPDATE ledger.entry SET leaf = 'x'",
        "DELETE FROM ledger.entry",
        "TRUNCATE ledger.entry",
        "UPDATE ledger.body SET facts = 'x'",
        "DELETE FROM ledger.body",
        "UPDATE ledger.tile SET root = sha256('x')",
        "DELETE FROM ledger.tile",
        "DELETE FROM ledger.head",
        "DELETE FROM ledger.writer",
        "DELETE FROM ledger.quarantine",
        "UPDATE ledger.entry_batch SET n = 1",
        "DROP TABLE ledger.entry",
        "ALTER TABLE ledger.entry DISABLE TRIGGER ALL",
    ],
    "reader": [
        "UPDATE ledger.entry SET leaf = 'x'",
        "DELETE FROM ledger.body",
        "INSERT INTO ledger.entry VALUES (0, 'x', sha256('x'))",
        "SELECT * FROM ledger.entry_batch",
        "SELECT * FROM ledger.writer_head",
    ],
}


@pytest.mark.parametrize(("role", "sql"), [(role, sql) for role, sqls in FORBIDDEN.items() for sql in sqls])
async def test_roles_may_not(world: LogWorld, role: str, sql: str) -> None:
    connection = await world.database.connect(role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(sql)


async def test_entries_are_found_again(world: LogWorld) -> None:
    await world.begin()
    writer = world.writer()
    known = "0195b7a0-0000-7000-8000-000000000001"
    drafts = [
        world.started(writer),
        request_draft("req_1"),
        request_draft("req_2", purpose="nul \0 inside"),
        read_draft("bob\0by", entry_id=known),
    ]
    await world.insert(world.pack(writer, drafts))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    sequencer.leave()
    reader = await world.database.connect("reader")
    newest = await tail(reader, limit=2)
    assert [entry.index for entry in newest] == [3, 4]
    assert [entry.index for entry in await tail(reader, after=2)] == [3, 4]
    assert await entry_by_id(reader, known) is None  # not indexed yet
    connection = await world.database.connect("sequencer")
    assert [await index_step(connection, limit=3) for _ in range(3)] == [3, 2, 0]
    found = await entry_by_id(reader, known)
    assert found is not None and found.index == 4 and b"bob" in found.facts and found.content is None

    async def indexes(what: Search, **options: Any) -> list[int]:
        return [entry.index for entry in await search(reader, what, **options)]

    assert await indexes(Search()) == [0, 1, 2, 3, 4]
    assert await indexes(Search(), after=1, limit=2) == [2, 3]
    assert await indexes(Search(kind="request.created")) == [2, 3]
    assert await indexes(Search(kind="request.")) == [2, 3]
    assert await indexes(Search(kind="req")) == []
    assert await indexes(Search(request="req_2")) == [3]
    assert await indexes(Search(store="customers-db", person="ada")) == [2, 3]
    assert await indexes(Search(person="bobby")) == [4]
    assert await indexes(Search(person="'; DROP TABLE ledger.lookup; --")) == []
    [entry] = await search(reader, Search(request="req_1"))
    assert entry.content_form == "clear" and entry.content is not None and b"1881" in entry.content
    assert (await entry_by_index(reader, 0)).leaf  # type: ignore[union-attr]
    assert await entry_by_index(reader, 99) is None
    with pytest.raises(ValueError, match="badly formed"):
        await entry_by_id(reader, "x")


async def test_the_indexer_keeps_up_and_survives_a_lost_connection(world: LogWorld) -> None:
    await world.begin()
    sequencer = world.sequencer()
    assert await sequencer.lead()
    await drain(sequencer)
    sequencer.leave()
    opened: list[Any] = []

    async def open_connection() -> Any:
        opened.append(await connect(world.database.dsn("sequencer")))
        return opened[-1]

    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    task = asyncio.create_task(Indexer(open_connection, pause).run())
    owner = await world.database.connect("owner")
    async with asyncio.timeout(5):
        while not await owner.fetchval("SELECT count(*) FROM ledger.lookup"):
            await asyncio.sleep(0.001)
        opened[0].terminate()
        while len(opened) < 2:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
