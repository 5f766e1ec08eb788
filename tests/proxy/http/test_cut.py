"""Grants that end, stores that break and clients that go, at every point of an access."""

import asyncio
import json

import pytest

from approvals.reasons import Reason
from tests.proxy.http.conftest import World, eventually
from tests.proxy.http.origin import OriginConnection

ENDINGS = [
    ("revoked", "grant_revoked", "revoked"),
    ("expired", "grant_expired", "expired"),
    ("ended", "grant_ended", "cancelled"),
]


async def endless(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await connection.send(b"4\r\ntick\r\n")
        await asyncio.sleep(0.005)


async def mute(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.reader.read()


@pytest.mark.parametrize(("state", "code", "result"), ENDINGS)
async def test_a_stream_is_cut_without_its_final_chunk(world: World, state: str, code: str, result: str) -> None:
    await world.start(endless)
    client = await world.client()
    client.send(world.request())
    assert await client.head()
    await client.read(10)
    world.gate.end(world.grant, state)
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == result
    rest = b""
    try:
        while data := await client.read():
            rest += data
    except ConnectionError:
        pass
    assert b"0\r\n\r\n" not in rest
    await eventually(lambda: world.origin.open == 0)


@pytest.mark.parametrize(("state", "code", "result"), ENDINGS)
async def test_before_the_first_byte_it_is_said_in_words(world: World, state: str, code: str, result: str) -> None:
    await world.start(mute)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.end(world.grant, state)
    response = await client.response()
    assert response.status == 403
    assert json.loads(response.body)["code"] == code
    outcome = world.gate.recorder.of("access.outcome")[0].facts
    assert (outcome["result"], outcome["status"], outcome["bytes_out"]) == (result, 403, 0)
    await eventually(lambda: world.origin.open == 0)


async def test_before_the_record_is_durable_too(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.end(world.grant)
    assert (await client.response()).status == 403
    world.gate.recorder.release()
    assert world.origin.heads == []
    assert world.kinds() == ["access.intent", "access.outcome"]


async def test_idle_connections_of_the_grant_are_closed_on_both_sides(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request())
    await client.response()
    assert world.origin.open == 1
    world.gate.end(world.grant)
    assert await client.closed()
    await eventually(lambda: world.origin.open == 0)


async def test_another_grants_stream_goes_on(world: World) -> None:
    await world.start(endless)
    other = world.gate.token(world.gate.grant("grace", actions=("read",), number=2))
    client = await world.client()
    client.send(world.request().replace(world.token.encode(), other.encode()))
    await client.head()
    world.gate.end(world.grant)
    assert await client.read(9) and await client.read(9)


async def test_expiry_is_found_without_a_report(world: World) -> None:
    await world.start(endless)
    client = await world.client()
    client.send(world.request())
    await client.head()
    world.gate.clock.advance(3601)
    world.gate.live.expire(world.gate.clock.unix())
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "expired"


async def test_contact_lost_cuts_what_runs(world: World) -> None:
    await world.start(mute)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    world.gate.live.cut_all(Reason.VIEW_STALE)
    assert (await client.response()).status == 503
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "view_stale"


async def test_a_client_that_goes_stops_the_store(world: World) -> None:
    await world.start(mute)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    await eventually(lambda: world.origin.open == 1)
    await client.close()
    outcome = await world.gate.recorder.wait_for("access.outcome")
    assert outcome.facts["result"] == "client_gone"
    await eventually(lambda: world.origin.open == 0)


async def test_a_client_that_goes_mid_upload(world: World) -> None:
    await world.start(mute)
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 1000\r\n") + b"a" * 10)
    await world.gate.recorder.wait_for("access.intent")
    await client.close()
    outcome = await world.gate.recorder.wait_for("access.outcome")
    assert outcome.facts["result"] == "client_gone"
    assert outcome.facts["bytes_in"] == 10


@pytest.mark.parametrize(
    ("part", "result", "status"),
    [
        (b"", "store_closed_before_answer", 502),
        (b"HTTP/1.1 200 O", "store_closed_before_answer", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "store_broke", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "store_broke", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "store_broke", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "store_broke", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "store_broke", 502),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "store_broke", 502),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "store_broke", 502),
        (b"garbage garbage garbage\r\n\r\n", "store_broke", 502),
    ],
)
async def test_a_store_that_breaks(world: World, part: bytes, result: str, status: int) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        world.origin.heads.append(connection.head)
        await connection.send(part)

    await world.start(handler)
    response = await world.get()
    outcome = await world.gate.recorder.wait_for("access.outcome")
    assert outcome.facts["result"] == result
    if status:
        assert response.status == status
        assert b"garbage" not in response.body
    else:
        assert response.status == 200
        assert not response.whole
    # Never a second request for one record.
    assert len(world.origin.heads) == 1
    assert world.kinds() == ["access.intent", "access.outcome"]


async def test_bad_chunks_from_the_store_cut_the_client(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.02)
        await connection.send(b"zz\r\n")
        await connection.reader.read()

    await world.start(handler)
    response = await world.get()
    assert (response.body, response.whole) == (b"abc", False)
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "store_broke"


async def test_a_reused_connection_that_dies_is_not_asked_again(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        world.origin.heads.append(connection.head)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        world.origin.heads.append(await connection.read_head())

    await world.start(handler)
    client = await world.client()
    client.send(world.request("/crm/1"))
    assert (await client.response()).status == 200
    client.send(world.request("/crm/2", "POST"))
    assert (await client.response()).status == 502
    assert len(world.origin.heads) == 2
    assert world.gate.recorder.of("access.outcome")[1].facts["result"] == "store_closed_before_answer"


async def test_no_store_there(world: World) -> None:
    await world.serve("http://127.0.0.1:1")
    response = await world.get()
    assert response.status == 502
    assert json.loads(response.body)["code"] == "store_unreachable"
    assert world.kinds() == ["access.intent", "access.outcome"]
    assert world.gate.recorder.entries[1].facts["result"] == "store_unreachable"


async def test_no_credential_for_the_store(world: World) -> None:
    await world.start(credential="missing")
    assert (await world.get()).status == 502
    assert world.gate.recorder.entries[1].facts["result"] == "store_unreachable"
    assert world.origin.connections == 0


@pytest.mark.parametrize(
    "upstream", ["http://192.0.2.1:80", "https://127.0.0.1:1", "ftp://127.0.0.1", "http://127.0.0.1:1/x"]
)
async def test_a_definition_that_would_send_in_clear_or_cannot_be_followed(world: World, upstream: str) -> None:
    await world.serve(upstream)
    assert (await world.get()).status == 502
    assert world.kinds() == ["access.refused"]


async def test_stopping_ends_everything_with_an_outcome(world: World) -> None:
    await world.start(mute)
    client = await world.client()
    client.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    await world.http.stop()
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "cancelled"
