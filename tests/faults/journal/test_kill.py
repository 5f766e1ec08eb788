"""kill -9, many times, at random instants: of a journal on a real disk, shipping to a real database.

Every entry that was acknowledged is in the log, once, with the text it had; nothing is there that was not offered.
"""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from ledger.journal import JournalSink
from ledger.shipment import DatabaseShipment
from ledger.stub import parse_stub
from tests.faults.journal import killed
from tests.ledger.world import LogWorld

LIVES = 40
BOUND_S = 20.0


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes from a parent that has everything imported: some 20 ms each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.journal.killed"])
    return context


class Told:
    """What the killed processes said before they died."""

    def __init__(self) -> None:
        self.journal_id = ""
        self.offered: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        self.ready = 0

    def read(self, text: bytes) -> None:
        for line in text.splitlines(keepends=True):
            assert line.endswith(b"\n"), "a line is written whole or not at all"
            what = json.loads(line)
            assert "failed" not in what, what
            if "journal_id" in what:
                assert self.journal_id in ("", what["journal_id"])
                self.journal_id = what["journal_id"]
                self.ready += 1
            elif "offered" in what:
                self.offered[what["offered"]] = what["last"]
            else:
                self.acknowledged[what["acknowledged"]] = what["last"]


def _one_life(forks: ForkServerContext, told: Told, chance: random.Random, world: LogWorld, place: Path) -> None:
    receive, send = forks.Pipe(duplex=False)
    known = {"journal_id": told.journal_id, "counters": told.acknowledged}
    arguments = (
        *(send, str(place), world.database.dsn("proxy"), world.host_key.private_bytes_raw()),
        *(chance.getrandbits(32), chance.random() < 0.5, known),
    )
    process = forks.Process(target=killed.run, args=arguments)
    process.start()
    send.close()
    said = b""
    if chance.random() < 0.75:
        # Mostly while it writes; else at any instant of its start, replay included.
        said = os.read(receive.fileno(), 65536)
    time.sleep(chance.random() * 0.08)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    while more := os.read(receive.fileno(), 65536):
        said += more
    process.join()
    receive.close()
    told.read(said)


async def test_kill_at_random_instants(database: Any, tmp_path: Path, forks: ForkServerContext) -> None:
    world = LogWorld(database)
    await world.begin()
    place = tmp_path / "journal"
    told, chance = Told(), random.Random(20260301)
    begun = time.monotonic()
    lives = 0
    while lives < LIVES and time.monotonic() - begun < BOUND_S * 0.7:
        await asyncio.to_thread(_one_life, forks, told, chance, world, place)
        lives += 1
    sink = JournalSink(
        place,
        DatabaseShipment.to(database.dsn("proxy")),
        expected=told.acknowledged,
        expected_id=told.journal_id,
        segment_bytes=killed.SEGMENT_BYTES,
    )
    await sink.ready()
    await sink.close()

    owner = await database.connect("owner")
    sequencer = world.sequencer()
    assert await sequencer.lead()
    while await owner.fetchval("SELECT count(*) FROM ledger.entry_batch"):
        await sequencer.step()
    sequencer.leave()
    assert await owner.fetch("SELECT fault, detail FROM ledger.quarantine") == []

    counters: dict[str, list[int]] = {}
    for row in await owner.fetch(
        "SELECT e.leaf, b.facts FROM ledger.entry e JOIN ledger.body b USING (idx) ORDER BY 1"
    ):
        stub = parse_stub(row["leaf"])
        if stub.kind == "log.created":
            continue
        counters.setdefault(stub.writer, []).append(stub.counter)
        if stub.counter:
            assert json.loads(row["facts"])["what"] == f"{stub.writer} {stub.counter}"
    assert set(told.acknowledged) <= set(counters) <= set(told.offered)
    for writer, found in counters.items():
        assert max(Counter(found).values()) == 1
        assert sorted(found) == list(range(len(found)))
        assert told.acknowledged.get(writer, -1) <= max(found) <= told.offered[writer]
    acknowledged = sum(last + 1 for last in told.acknowledged.values())
    assert told.ready >= lives // 4
    assert acknowledged > lives
    assert time.monotonic() - begun < BOUND_S
    print(f"{lives} lives, {told.ready} ready, {acknowledged} entries acknowledged, {sequencer.tally}")
