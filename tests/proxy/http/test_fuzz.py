"""Broken requests and answers by the hundred: nothing crashes, and nothing reaches the store unrecorded."""

import asyncio
import random

import pytest

from proxy.http.cross_check import check_request
from proxy.http.head import parse_request
from tests.proxy.http.conftest import World, eventually
from tests.proxy.http.origin import OriginConnection

PIECES = [
    *(b"GET ", b"POST ", b"HEAD ", b"/crm/x", b"/crm/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n", b"\r"),
    *(b"Host: crm-api.localhost\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Connection: close\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Authorization: Bearer x\r\n", b"3\r\nabc\r\n"),
    *(b"0\r\n\r\n", b"abc", b"Upgrade: h2c\r\n", b"\x00", b"\xff", b" ", b":", b"%2e", b"\t"),
]
GOOD = [
    b"GET /crm/x HTTP/1.1\r\nHost: crm-api.localhost\r\nAuthorization: Bearer %%\r\n\r\n",
    b"POST /crm/x HTTP/1.1\r\nHost: crm-api.localhost\r\nAuthorization: Bearer %%\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /crm/x HTTP/1.1\r\nHost: crm-api.localhost\r\nAuthorization: Bearer %%\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
]


def mutated(rng: random.Random) -> bytes:
    wire = b"".join(rng.choice(GOOD) for _ in range(rng.randint(1, 3)))
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(wire))
        kind = rng.random()
        if kind < 0.5:
            wire = wire[:at] + rng.choice(PIECES) + wire[at:]
        elif kind < 0.8:
            wire = wire[:at] + wire[at + rng.randint(1, 6) :]
        else:
            wire = wire[:at] + bytes([rng.randrange(256)]) + wire[at + 1 :]
    return wire


@pytest.mark.parametrize("seed", range(8))
async def test_broken_requests(world: World, seed: int) -> None:
    await world.start()
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    trouble: list[object] = []
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    for _ in range(60):
        client = await world.client()
        wire = mutated(rng).replace(b"%%", world.token.encode())
        step = rng.choice((1, 7, 50, 10_000))
        for at in range(0, len(wire), step):
            client.send(wire[at : at + step])
            if step < 10_000:
                await asyncio.sleep(0)
        client.writer.write_eof()
        try:
            async with asyncio.timeout(5):
                while await client.read():
                    pass
        except ConnectionError:
            pass
        await client.close()
    await eventually(lambda: not world.http.connections)
    assert trouble == []
    recorder = world.gate.recorder
    intents = recorder.of("access.intent")
    assert len(world.origin.heads) <= len(intents)
    assert {e.facts["access"] for e in recorder.of("access.outcome")} == {e.id for e in intents}
    for head in world.origin.heads:
        check_request(head, parse_request(head))
        assert head.count(b"Bearer store-canary") == 1
        assert world.token.encode() not in head


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nabc",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
]


@pytest.mark.parametrize("seed", range(8))
async def test_broken_answers(world: World, seed: int) -> None:
    rng = random.Random(seed)

    async def handler(connection: OriginConnection) -> None:
        while await connection.read_head():
            wire = rng.choice(ANSWERS)
            for _ in range(rng.randint(0, 3)):
                at = rng.randrange(len(wire))
                wire = (
                    wire[:at]
                    + rng.choice((b"", b"\r\n", b"\n", b"\x00", b" ", b"5", b":", wire))
                    + wire[at + rng.randint(0, 3) :]
                )
            step = rng.choice((1, 5, 10_000))
            for at in range(0, len(wire), step):
                await connection.send(wire[at : at + step])
            if rng.random() < 0.7:
                return

    await world.start(handler)
    loop = asyncio.get_running_loop()
    trouble: list[object] = []
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    for _ in range(60):
        client = await world.client()
        client.send(world.request(extra="Connection: close\r\n"))
        try:
            async with asyncio.timeout(0.1):
                await client.response()
        except (TimeoutError, ValueError, IndexError):
            pass
        await client.close()
    await eventually(lambda: not world.http.connections)
    assert trouble == []
    recorder = world.gate.recorder
    assert {e.facts["access"] for e in recorder.of("access.outcome")} == {e.id for e in recorder.of("access.intent")}
