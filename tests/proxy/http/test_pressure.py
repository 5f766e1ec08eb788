"""Slow peers and large bodies: bounded memory, and nobody waits for ever."""

import asyncio

import pytest

from proxy.barrier import HOLD_BYTES
from proxy.http import server
from proxy.http.relay import Relay
from tests.proxy.http.conftest import World, eventually
from tests.proxy.http.origin import OriginConnection

TOTAL = 32 * 1024 * 1024


def relays(world: World) -> list[Relay]:
    return [c._exchange for c in world.http.connections if c._exchange is not None]


async def test_a_slow_reader_makes_the_store_wait(world: World) -> None:
    sent = 0

    async def handler(connection: OriginConnection) -> None:
        nonlocal sent
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TOTAL)
        for _ in range(TOTAL // 65536):
            await connection.send(b"d" * 65536)
            sent += 65536

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    await client.head()
    before = -1
    while before != sent:  # until it stands still
        before = sent
        await asyncio.sleep(0.05)
    assert sent < TOTAL // 2
    (relay,) = relays(world)
    connection = next(iter(world.http.connections))
    assert relay._held_bytes + connection.unsent() < 2 * HOLD_BYTES + 1024 * 1024
    received = 0
    while received < TOTAL:
        received += len(await client.read(1 << 20))
    assert received == TOTAL
    assert world.gate.recorder.of("access.outcome")[0].facts["bytes_out"] == TOTAL


async def test_a_slow_store_makes_the_client_wait(world: World) -> None:
    read = asyncio.Event()

    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await read.wait()
        body = await connection.read_body()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: %d\r\n\r\n" % len(body))

    await world.start(handler)
    client = await world.client()
    client.send(world.request("/crm/x", "POST", f"Content-Length: {TOTAL}\r\n"))
    upload = asyncio.create_task(_upload(client.writer))
    await world.gate.recorder.wait_for("access.intent")
    (relay,) = relays(world)
    before = -1
    while before != relay._bytes_in:
        before = relay._bytes_in
        await asyncio.sleep(0.05)
    assert relay._bytes_in < TOTAL // 2
    read.set()
    response = await client.response()
    await upload
    assert response.fields["x-got"] == str(TOTAL)


async def _upload(writer: asyncio.StreamWriter) -> None:
    for _ in range(TOTAL // 65536):
        writer.write(b"u" * 65536)
        await writer.drain()


async def test_while_the_record_waits_little_is_held(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TOTAL)
        for _ in range(TOTAL // 65536):
            await connection.send(b"d" * 65536)

    await world.start(handler, overlap_reads=True)
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    (relay,) = relays(world)
    await eventually(lambda: relay._held_bytes > HOLD_BYTES)
    before = -1
    while before != relay._held_bytes:
        before = relay._held_bytes
        await asyncio.sleep(0.02)
    assert relay._held_bytes <= HOLD_BYTES + 256 * 1024  # one read of the transport's
    world.gate.recorder.mode = "durable"
    world.gate.recorder.release()
    response = await client.response()
    assert len(response.body) == TOTAL


async def test_a_head_has_ten_seconds(world: World) -> None:
    await world.start()
    slow, silent = await world.client(), await world.client()
    slow.send(b"GET /crm/x HTTP/1.1\r\nHost: crm")
    await eventually(lambda: len(world.http.connections) == 2 and any(c._buffer for c in world.http.connections))
    world.gate.clock.advance(9.9)
    world.http.tick()
    assert len(world.http.connections) == 2
    world.gate.clock.advance(0.2)
    world.http.tick()
    assert (await slow.response()).status == 408
    assert await silent.closed()


async def test_an_idle_connection_is_closed_in_the_end(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request())
    await client.response()
    world.gate.clock.advance(74)
    world.http.tick()
    assert world.http.connections
    world.gate.clock.advance(2)
    world.http.tick()
    assert await client.closed()


async def test_a_store_that_does_not_answer_has_sixty_seconds(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        world.origin.arrived.set()
        await connection.reader.read()

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    await world.origin.arrived.wait()
    world.gate.clock.advance(59)
    world.http.tick()
    assert world.kinds() == ["access.intent"]
    world.gate.clock.advance(2)
    world.http.tick()
    assert (await client.response()).status == 504
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "store_closed_before_answer"


async def test_a_body_that_stands_still_has_sixty_seconds(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        world.origin.arrived.set()
        await connection.reader.read()

    await world.start(handler)
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 100\r\n") + b"a")
    await world.origin.arrived.wait()
    world.gate.clock.advance(61)
    world.http.tick()
    assert (await client.response()).status == 408
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "client_gone"


async def test_an_answer_that_stands_still_has_sixty_seconds(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await connection.reader.read()

    await world.start(handler)
    client = await world.client()
    client.send(world.request())
    assert await client.head()
    assert await client.read() == b"abc"
    world.gate.clock.advance(61)
    world.gate.contact()
    world.http.tick()
    assert await client.closed()
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "store_broke"


async def test_a_reader_that_stands_still_has_sixty_seconds(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"10000\r\n" + b"d" * 65536 + b"\r\n")

    await world.start(handler)
    client = await world.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(world.request())
    await eventually(lambda: any(c.write_paused for c in world.http.connections), 10)
    world.http.tick()
    world.http.tick()
    world.gate.clock.advance(61)
    world.http.tick()
    await eventually(lambda: not world.http.connections)
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "client_gone"


async def test_pipelined_bytes_wait_unread(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    client.send(b"x" * TOTAL)
    (connection,) = world.http.connections
    before = -1
    while before != len(connection._buffer):
        before = len(connection._buffer)
        await asyncio.sleep(0.05)
    assert len(connection._buffer) <= 512 * 1024


async def test_a_body_waits_while_its_intent_is_not_durable(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request("/crm/x", "POST", f"Content-Length: {TOTAL}\r\n") + b"x" * TOTAL)
    await world.gate.recorder.wait_for("access.intent")
    (relay,) = relays(world)
    before = -1
    while before != relay._pending_bytes:
        before = relay._pending_bytes
        await asyncio.sleep(0.05)
    assert 0 < relay._pending_bytes <= HOLD_BYTES + 512 * 1024
    world.gate.recorder.mode = "durable"
    world.gate.recorder.release()
    assert (await client.response()).status == 200
    assert len(world.origin.bodies[0]) == TOTAL


async def test_strangers_cannot_take_every_descriptor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    await world.start()
    kept = [await world.client(), await world.client()]
    await eventually(lambda: len(world.http.connections) == 2)
    assert await (await world.client()).closed()
    assert len(world.http.connections) == 2
    await kept[0].close()
    await eventually(lambda: len(world.http.connections) == 1)
    await world.client()
    await eventually(lambda: len(world.http.connections) == 2)
