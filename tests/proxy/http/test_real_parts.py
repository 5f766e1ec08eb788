"""The gate with a real recorder on a real database, and a real store that nobody here wrote."""

import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.kinds import validate
from glassgate.clock import SystemClock
from ledger.batch import Writer, unpack
from ledger.encoding import decode
from ledger.entry import Entry
from ledger.postgres import DatabaseSink
from proxy.recorder import Recorder
from tests.proxy.http.conftest import World, eventually
from tests.proxy.http.test_differential import compare
from tests.support.postgres import Database


async def recording(world: World, database: Database) -> tuple[Recorder, DatabaseSink]:
    """Put a real recorder into the gate."""
    sink = DatabaseSink.to(database.dsn("proxy"))
    recorder = Recorder(
        Writer("t.example/log/acme", "acme", Ed25519PrivateKey.generate()), sink, SystemClock(), lambda: None
    )
    recorder.start()
    world.gate.recorder = recorder  # type: ignore[assignment]
    return recorder, sink


async def entries(database: Database) -> list[Entry]:
    connection = await database.connect("owner")
    rows = await connection.fetch("SELECT bytes FROM ledger.entry_batch ORDER BY id")
    return [entry for row in rows for entry in unpack(row["bytes"])]


async def test_while_the_table_is_locked_nothing_leaves(world: World, database: Database) -> None:
    await world.start(overlap_reads=True)
    recorder, sink = await recording(world, database)
    owner = await database.connect("owner")
    lock = owner.transaction()
    await lock.start()
    await owner.execute("LOCK TABLE ledger.entry_batch IN ACCESS EXCLUSIVE MODE")
    clients = [await world.client() for _ in range(20)]
    for client in clients:
        client.send(world.request())
    await eventually(lambda: len(world.origin.heads) == 20)
    for client in clients:
        assert not client.reader._buffer  # type: ignore[attr-defined]
    await lock.rollback()
    assert [(await client.response()).status for client in clients] == [200] * 20
    await recorder.close()
    await sink.close()
    made = await entries(database)
    assert [entry.stub.counter for entry in made] == list(range(40))
    for entry in made:
        validate(entry.stub.kind, entry.stub.kv, entry.facts.data, entry.content.data if entry.content else None)
    intents = {entry.stub.id for entry in made if entry.stub.kind == "access.intent"}
    outcomes = {decode(entry.facts.data)["access"] for entry in made if entry.stub.kind == "access.outcome"}
    assert len(intents) == 20
    assert outcomes == intents


async def test_a_database_that_refuses_closes_the_gate(world: World, database: Database) -> None:
    await world.start()
    recorder, sink = await recording(world, database)
    owner = await database.connect("owner")
    assert (await world.get()).status == 200
    await owner.execute("REVOKE INSERT ON ledger.entry_batch FROM glassgate_proxy")
    refused = await world.get()
    assert refused.status == 503
    assert b"/crm/x" not in refused.body
    assert len(world.origin.heads) == 1
    await owner.execute("GRANT INSERT ON ledger.entry_batch TO glassgate_proxy")
    assert (await world.get()).status == 200
    await recorder.close()
    await sink.close()


@pytest.fixture
async def datasette(tmp_path: Path) -> AsyncIterator[str]:
    """datasette over a small table, on uvicorn."""
    pytest.importorskip("datasette")
    database = sqlite3.connect(tmp_path / "crm.db")
    database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
    database.executemany("INSERT INTO people (name) VALUES (?)", [(f"Person {n} Müller",) for n in range(5000)])
    database.commit()
    database.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "datasette", "serve", str(tmp_path / "crm.db"), "--port", "0", "--nolock"),
        *("--setting", "max_returned_rows", "10000"),
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while not (found := re.search(rb"http://127\.0\.0\.1:\d+", await process.stderr.readline())):
            pass
    drain = asyncio.create_task(process.stderr.read())
    yield found[0].decode()
    process.terminate()
    await process.wait()
    await drain


async def test_datasette_answers_the_same_through_the_gate(world: World, datasette: str) -> None:
    await world.serve(datasette, reads=("GET /crm*", "GET /-/*"))
    for target in (
        "/crm/people/7.json?_shape=array",
        "/crm/people.csv?_stream=1",
        "/-/static/app.css",
        "/crm.json?sql=select+count(*)+from+people&_shape=array",
        "/crm/missing",
    ):
        status, body, _ = await compare(world, datasette, target)
        assert status in (200, 404)
        assert body
    assert {entry.facts["result"] for entry in world.gate.recorder.of("access.outcome")} == {"complete"}
