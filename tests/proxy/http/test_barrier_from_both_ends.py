"""No record, no byte: seen from the client, from the store and from the entries."""

import asyncio
import json

import pytest

from proxy.barrier import ALLOWANCE_BYTES
from tests.proxy.http.conftest import Client, World, answering, eventually
from tests.proxy.http.origin import OriginConnection


async def silent(client: Client, turns: int = 50) -> bool:
    """Whether the client has received nothing while the loop turned."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return not client.reader._buffer  # type: ignore[attr-defined]


async def test_nothing_is_forwarded_before_the_intent_is_durable(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 3\r\n") + b"abc")
    await world.gate.recorder.wait_for("access.intent")
    await eventually(lambda: world.origin.connections == 1)
    assert await silent(client)
    assert world.origin.heads == []
    world.gate.recorder.mode = "durable"
    world.gate.recorder.release()
    assert (await client.response()).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_a_read_overlaps_and_its_answer_waits(world: World, method: str) -> None:
    await world.start(overlap_reads=True)
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request(method=method))
    await world.gate.recorder.wait_for("access.intent")
    if method == "GET":
        async with asyncio.timeout(5):
            await world.origin.arrived.wait()
    else:
        await eventually(lambda: world.origin.connections == 1)
    assert await silent(client)
    assert len(world.origin.heads) == (1 if method == "GET" else 0)
    world.gate.recorder.mode = "durable"
    world.gate.recorder.release()
    assert (await client.response()).body == b"/crm/x"


@pytest.mark.parametrize("overlap", [False, True])
async def test_a_record_that_fails_discloses_nothing(world: World, overlap: bool) -> None:
    await world.start(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-C: canary\r\n\r\ncanary"), overlap_reads=overlap
    )
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    await eventually(lambda: world.origin.connections == 1)
    assert await silent(client)
    world.gate.recorder.refuse()
    response = await client.response()
    assert response.status == 503
    assert json.loads(response.body)["code"] == "record_failed"
    assert b"canary" not in response.head + response.body
    assert world.kinds() == ["access.intent"]
    await eventually(lambda: world.origin.open == 0)
    # The gate itself is well: the next access goes through as soon as records do.
    world.gate.recorder.mode = "durable"
    client.send(world.request())
    assert (await client.response()).body == b"canary"


async def test_an_answer_beyond_the_allowance_waits_for_its_progress_entry(world: World) -> None:
    total = 4 * ALLOWANCE_BYTES

    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            await connection.send(b"d" * 65536)
        await connection.reader.read()

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.recorder.mode = "held"
    await client.head()
    received = 0
    await world.gate.recorder.wait_for("access.progress")
    while received < ALLOWANCE_BYTES:
        received += len(await client.read())
    # Exactly what is not accounted for may leave, and not a byte more.
    assert received == ALLOWANCE_BYTES
    assert await silent(client)
    count = 1
    while received < total:
        entry = await world.gate.recorder.wait_for("access.progress", count)
        accounted = entry.facts["bytes_out"]
        assert received <= accounted + ALLOWANCE_BYTES
        world.gate.recorder.release()
        count += 1
        target = min(total, accounted + ALLOWANCE_BYTES)
        while received < target:
            received += len(await client.read())
        assert received == target
    world.gate.recorder.release()
    outcome = await world.gate.recorder.wait_for("access.outcome")
    assert outcome.facts["bytes_out"] == total


async def test_a_failing_progress_entry_cuts_the_answer(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"10000\r\n" + b"d" * 65536 + b"\r\n")

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.recorder.mode = "failing"
    response = await client.response()
    assert response.status == 200
    assert not response.whole
    assert len(response.body) <= ALLOWANCE_BYTES
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "record_failed"
    await eventually(lambda: world.origin.open == 0)


async def test_the_outcome_is_queued_before_the_last_byte_leaves(world: World) -> None:
    await world.start()
    client = await world.client()
    world.gate.recorder.mode = "held"
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.recorder.release()
    assert (await client.response()).whole
    assert world.kinds() == ["access.intent", "access.outcome"]
    assert world.gate.recorder.waiting == 1  # nobody waited for it


async def test_a_held_outcome_holds_the_last_bytes(world: World) -> None:
    await world.start(outcome="held")
    client = await world.client()
    world.gate.recorder.mode = "held"
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.recorder.release()
    await world.gate.recorder.wait_for("access.outcome")
    assert await silent(client)
    world.gate.recorder.release()
    assert (await client.response()).whole


async def test_a_held_outcome_that_fails_discloses_nothing(world: World) -> None:
    await world.start(outcome="held")
    client = await world.client()
    world.gate.recorder.mode = "held"
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.recorder.release()
    await world.gate.recorder.wait_for("access.outcome")
    world.gate.recorder.refuse()
    assert (await client.response()).status == 503


async def test_beyond_64_outcomes_not_yet_durable_the_gate_holds(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    for number in range(64):
        client.send(world.request())
        await world.gate.recorder.wait_for("access.intent", number + 1)
        world.gate.recorder.release_last()
        assert (await client.response()).whole
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent", 65)
    world.gate.recorder.release_last()
    await world.gate.recorder.wait_for("access.outcome", 65)
    assert await silent(client)
    world.gate.recorder.release()
    assert (await client.response()).whole


async def test_a_trickle_is_accounted_for_after_five_seconds(world: World) -> None:
    more = asyncio.Event()

    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await more.wait()
        await connection.send(b"0\r\n\r\n")

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    assert await client.head()
    assert await client.read() == b"3\r\nabc\r\n"  # at once, not when the body is whole
    world.gate.clock.advance(5.1)
    world.gate.contact()
    world.http.tick()
    entry = await world.gate.recorder.wait_for("access.progress")
    assert entry.facts["bytes_out"] == 3
    more.set()
    assert await client.read() == b"0\r\n\r\n"
