"""Seeded orders of extended and simple messages, through the gate and directly: the answers must be equal.

odyssey#564, #459, multigres#1274: replies out of step in orders that no driver of theirs happened to send.
"""

import random
import ssl

from tests.proxy.postgres.conftest import Running
from tests.proxy.postgres.wire import FLUSH, SYNC, Wire, bind, close, describe, execute, fields, parse, query
from tests.support.postgres import in_thread

ALPHABET = [
    parse("select 1"),
    parse("select n from generate_series(1, 5) n", "s"),
    parse("select 1/0", "z"),
    parse("select * from nowhere", "bad"),
    bind(),
    bind("", "s"),
    bind("p", "s"),
    bind("", "z"),
    bind("q", "ghost"),
    describe("S"),
    describe("S", "s"),
    describe("P"),
    describe("P", "p"),
    execute(),
    execute("p", 2),
    execute("p"),
    execute("ghost"),
    close("S", "s"),
    close("S"),
    close("P", "p"),
    FLUSH,
    SYNC,
    SYNC,
    query("select 7"),
    query("select 1; select 1/0; select 2"),
    query("deallocate all"),
    query("begin"),
    query("commit"),
]
END = query("select 'the end'")
ORDERS = 1000


async def answers(wire: Wire, script: list[bytes]) -> list[tuple[str, object]]:
    """Everything up to the marker's answer; errors by their code, since substituted ones have other positions."""
    wire.send(*script, SYNC, query("rollback"), END)
    seen: list[tuple[str, object]] = []
    while not (seen and seen[-1][0] == "Z" and ("D", b"\0\1\0\0\0\7the end") in seen):
        kind, body = await wire.message()
        seen.append((kind, fields(body)["C"] if kind in "EN" else body))
    return seen


async def test_seeded_orders_are_answered_as_directly(running: Running) -> None:
    running.grant("read", "write", "ddl")
    in_thread(lambda: running.cluster.execute("create role direct login password 'direct'"))
    direct = running._kept(await Wire.plain(running.cluster.port))
    await direct.encrypt(ssl.create_default_context(cafile=str(running.cluster.ca_file)))
    await direct.log_in("direct", user="direct", database=running.database)
    through = await running.logged_in()
    chosen = random.Random(20260301)
    for number in range(ORDERS):
        script = chosen.choices(ALPHABET, k=chosen.randint(2, 12))
        expected = await answers(direct, script)
        assert await answers(through, script) == expected, (number, script)
    open_intents = len(running.of("access.intent"))
    finished = {entry.facts["access"] for entry in running.of("access.outcome")}
    assert len(finished) >= open_intents - 1  # the marker's own outcome may still be on its way
