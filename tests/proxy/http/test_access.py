"""Requests that are allowed: what the store gets, what the client gets, what the record says."""

import asyncio
import base64
import hashlib
import socket

import pytest

from tests.proxy.http.conftest import World, answering, eventually
from tests.proxy.http.origin import OriginConnection, fields_of


async def test_one_read_is_one_intent_one_request_one_outcome(world: World) -> None:
    await world.start()
    response = await world.get("/crm/people.json?id=7")
    assert (response.status, response.body) == (200, b"/crm/people.json?id=7")
    assert world.kinds() == ["access.intent", "access.outcome"]
    intent, outcome = world.gate.recorder.entries
    assert intent.facts["actions"] == ["read"]
    assert intent.facts["operation"] == "GET"
    assert intent.facts["resources"] == ["/crm/*"]
    assert intent.facts["subject"] == "ada"
    assert intent.facts["client_address"] == "127.0.0.1"
    assert intent.content is not None
    assert intent.content["target"] == "/crm/people.json?id=7"
    assert outcome.facts["access"] == intent.id == response.fields["glassgate-access"]
    assert outcome.facts["result"] == "complete"
    assert outcome.facts["status"] == 200
    assert outcome.facts["bytes_out"] == len(response.body)
    assert len(world.origin.heads) == 1


async def test_the_store_sees_its_own_credential_and_nothing_of_ours(world: World) -> None:
    await world.start()
    extra = (
        "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-user: root\r\nRemote-User: root\r\nVia: 1.0 evil\r\n"
        "Connection: authorization, x-hop\r\nX-Hop: 1\r\nX-Keep: yes\r\nTE: trailers\r\n"
    )
    await world.get(extra=extra)
    fields = fields_of(world.origin.heads[0])
    assert fields == {
        "host": world.gate.stores.by_name("crm-api")[0].upstream.removeprefix("http://"),  # type: ignore[index]
        "authorization": "Bearer store-canary",
        "via": "1.1 glassgate",
        "x-forwarded-host": "crm-api.localhost",
        "x-forwarded-proto": "http",
        "x-keep": "yes",
    }
    assert world.token.encode() not in world.origin.heads[0]
    assert b"\r\nauthorization" not in world.origin.heads[0].replace(b"\r\nAuthorization", b"")


async def test_no_secret_is_in_any_entry(world: World) -> None:
    await world.start()
    world.gate.key(world.grant, secret="ggk_canary")
    pair = base64.b64encode(b"ada:ggk_canary").decode()
    client = await world.client()
    client.send(world.request("/crm/x?api_key=canary2&a=1", extra="X-Api-Key: canary3\r\n"))
    await client.response()
    client.send(world.request(auth=False, extra=f"Authorization: Basic {pair}\r\nCookie: canary4\r\n"))
    assert (await client.response()).status == 200
    client.send(
        world.request(auth=False, extra="Authorization: Basic " + base64.b64encode(b"canary5:x").decode() + "\r\n")
    )
    assert (await client.response()).status == 401
    text = repr([(entry.facts, entry.content) for entry in world.gate.recorder.entries])
    assert "canary" not in text
    assert world.token not in text
    assert world.gate.recorder.entries[0].content["redacted"] == ["query parameter api_key"]  # type: ignore[index]


@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("login", ["ada", "ada+k7f3"])
async def test_an_access_key_opens_as_basic(world: World, field: str, login: str) -> None:
    await world.start()
    world.gate.key(world.grant)
    pair = base64.b64encode(f"{login}:ggk_secret".encode()).decode()
    client = await world.client()
    client.send(world.request(auth=False, extra=f"{field}: Basic {pair}\r\n"))
    assert (await client.response()).status == 200
    assert world.gate.recorder.entries[0].facts["credential"] == "k7f3"
    assert b"Proxy-Auth" not in world.origin.heads[0]


async def test_keep_alive_reuses_both_connections(world: World) -> None:
    await world.start()
    client = await world.client()
    for number in range(5):
        client.send(world.request(f"/crm/{number}"))
        assert (await client.response()).body == f"/crm/{number}".encode()
    assert world.origin.connections == 1
    assert [entry.facts["sequence"] for entry in world.gate.recorder.of("access.intent")] == [0, 1, 2, 3, 4]


async def test_pipelined_requests_are_answered_one_after_the_other(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(b"".join(world.request(f"/crm/{n}") for n in range(20)) + world.request("/nowhere"))
    for number in range(20):
        assert (await client.response()).body == f"/crm/{number}".encode()
    assert (await client.response()).status == 403
    intents = [e.id for e in world.gate.recorder.of("access.intent")]
    kinds = world.kinds()
    # One at a time: no intent before the outcome of the one before.
    assert kinds[:40] == ["access.intent", "access.outcome"] * 20
    assert len(set(intents)) == 20


async def test_byte_by_byte(world: World) -> None:
    await world.start()
    client = await world.client()
    wire = (
        world.request("/crm/x", "POST", "Transfer-Encoding: chunked\r\n")
        + b"3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    )
    for at in range(len(wire)):
        client.send(wire[at : at + 1])
        await asyncio.sleep(0)
    assert (await client.response()).status == 200
    assert world.origin.bodies == [b"abcde"]
    assert b"Transfer-Encoding: chunked" in world.origin.heads[0]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_body_goes_through_whole_and_its_digest_is_recorded(world: World, chunked: bool) -> None:
    await world.start()
    body = bytes(range(256)) * 4000
    client = await world.client()
    if chunked:
        client.send(world.request("/crm/x", "POST", "Transfer-Encoding: chunked\r\n"))
        for at in range(0, len(body), 70_001):
            piece = body[at : at + 70_001]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
    else:
        client.send(world.request("/crm/x", "POST", f"Content-Length: {len(body)}\r\n") + body)
    assert (await client.response()).status == 200
    assert world.origin.bodies == [body]
    intent, outcome = world.gate.recorder.entries
    assert intent.facts["declared_bytes"] == (-1 if chunked else len(body))
    assert outcome.facts["bytes_in"] == len(body)
    assert outcome.facts["body_digest"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("answer", "method", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "GET", 304, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", 200, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 200, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 200, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", 200, b""),
        (b"HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nno", "GET", 404, b"no"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nTrail: er\r\n\r\n",
            "GET",
            200,
            b"abc",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "GET",
            200,
            b"a",
        ),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\na", "GET", 500, b"a"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_answers_of_every_form_and_the_connection_stays_usable(
    world: World, answer: bytes, method: str, status: int, body: bytes
) -> None:
    await world.start(answering(answer))
    client = await world.client()
    for _ in range(3):
        client.send(world.request(method=method))
        response = await client.response(method)
        assert (response.status, response.body, response.whole) == (status, body, True)
        assert "trail" not in response.fields
    assert world.origin.connections == 1
    assert [e.facts["result"] for e in world.gate.recorder.of("access.outcome")] == ["complete"] * 3


async def test_an_answer_that_ends_with_the_connection_is_chunked_for_the_client(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.0 200 OK\r\n\r\nsome")
        await connection.send(b" data")

    await world.start(handler)
    client = await world.client()
    for _ in range(2):
        client.send(world.request())
        response = await client.response()
        assert (response.body, response.whole) == (b"some data", True)
        assert response.fields["transfer-encoding"] == "chunked"
    assert world.origin.connections == 2


async def test_an_http_1_0_client_gets_what_it_can_read(world: World) -> None:
    await world.start(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    client = await world.client()
    client.send(
        f"GET /crm/x HTTP/1.0\r\nHost: crm-api.localhost\r\nAuthorization: Bearer {world.token}\r\n\r\n".encode()
    )
    response = await client.response()
    assert "transfer-encoding" not in response.fields
    assert response.fields["connection"] == "close"
    assert response.body == b"abc"


async def test_an_http_1_0_client_may_keep_its_connection(world: World) -> None:
    await world.start()
    client = await world.client()
    for _ in range(2):
        client.send(
            b"GET /crm/x HTTP/1.0\r\nHost: crm-api.localhost\r\nConnection: keep-alive\r\n"
            b"Authorization: Bearer " + world.token.encode() + b"\r\n\r\n"
        )
        response = await client.response()
        assert response.fields["connection"] == "keep-alive"


async def test_connection_close_is_honoured(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request(extra="Connection: close\r\n"))
    response = await client.response()
    assert response.fields["connection"] == "close"
    assert await client.closed()


async def test_100_continue_comes_from_us_and_only_after_the_record(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
    await world.gate.recorder.wait_for("access.intent")
    assert world.origin.heads == []
    world.gate.recorder.release()
    assert (await client.head()) == b"HTTP/1.1 100 Continue\r\n\r\n"
    world.gate.recorder.mode = "durable"
    client.send(b"hello")
    assert (await client.response()).status == 200
    assert world.origin.bodies == [b"hello"]
    assert b"Expect" not in world.origin.heads[0]


async def test_a_refused_expectation_gets_its_answer_without_100(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request("/nowhere", "POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
    response = await client.response()
    assert response.status == 403
    assert response.fields["connection"] == "close"
    assert await client.closed()


async def test_an_early_answer_ends_both_connections(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
        await connection.reader.read()

    await world.start(handler)
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 500000\r\n") + b"a" * 1000)
    response = await client.response()
    assert (response.status, response.body) == (413, b"no")
    assert response.fields["connection"] == "close"
    client.send(b"a" * 1000)
    assert await client.closed()
    await eventually(lambda: world.origin.open == 0)
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "complete"


async def test_junk_after_an_answer_is_nobodys_answer(world: World) -> None:
    junk = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    await world.start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + junk))
    client = await world.client()
    for _ in range(3):
        client.send(world.request())
        assert (await client.response()).body == b"ok"
    assert world.origin.connections == 3


async def test_junk_after_a_chunked_answer_or_a_head_answer(world: World) -> None:
    junk = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    await world.start(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + junk))
    client = await world.client()
    for method in ("GET", "HEAD", "GET"):
        client.send(world.request(method=method))
        response = await client.response(method)
        assert response.body == (b"ok" if method == "GET" else b"")
    assert world.origin.connections == 3


async def test_a_connection_is_not_shared_between_grants(world: World) -> None:
    await world.start()
    other = world.gate.token(world.gate.grant("grace", actions=("read",), number=2))
    first, second = await world.client(), await world.client()
    for token, client in ((world.token, first), (other, second), (world.token, first), (other, second)):
        world.token = token
        client.send(world.request())
        assert (await client.response()).status == 200
    assert world.origin.connections == 2


async def test_an_idle_connection_is_not_reused_after_four_seconds(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request())
    await client.response()
    world.gate.clock.advance(4.1)
    world.gate.contact()
    client.send(world.request())
    await client.response()
    assert world.origin.connections == 2


async def test_the_stores_own_hint_shortens_it(world: World) -> None:
    await world.start(answering(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=5\r\nContent-Length: 0\r\n\r\n"))
    client = await world.client()
    for seconds in (0.9, 1.1, 0.0):
        client.send(world.request())
        await client.response()
        world.gate.clock.advance(seconds)
        world.gate.contact()
    assert world.origin.connections == 2


async def test_own_urls_of_the_store_lead_to_the_gate(world: World) -> None:
    async def handler(connection: OriginConnection) -> None:
        while await connection.read_head():
            host = fields_of(connection.head)["host"]
            target = connection.head.split(b" ")[1].decode()
            where = {
                "/crm/own": f"http://{host}/crm/2?x",
                "/crm/other": "http://else.example/",
                "/crm/trap": f"http://{host}0/",
            }
            await connection.send(f"HTTP/1.1 302 F\r\nLocation: {where[target]}\r\nContent-Length: 0\r\n\r\n".encode())

    await world.start(handler)
    assert (await world.get("/crm/own")).fields["location"] == "http://crm-api.localhost/crm/2?x"
    assert (await world.get("/crm/other")).fields["location"] == "http://else.example/"
    assert "crm-api" not in (await world.get("/crm/trap")).fields["location"]


async def test_a_body_over_the_stores_cap_is_refused(world: World) -> None:
    await world.start(max_body_bytes=1000)
    assert (await world.get("/crm/x", "POST", body=b"a" * 1001)).status == 413
    assert world.kinds() == ["access.refused"]
    assert world.gate.recorder.entries[0].facts["reason"] == "body_too_large"
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Transfer-Encoding: chunked\r\n") + b"3e9\r\n" + b"a" * 1001 + b"\r\n")
    assert (await client.response()).status == 413
    assert world.gate.recorder.of("access.outcome")[0].facts["result"] == "limit_reached"
    assert world.origin.bodies == []


async def test_a_dedicated_port_leads_to_its_store_whatever_the_host(world: World) -> None:
    await world.start()
    from proxy.http.server import HttpGate

    gate = HttpGate(world.gate, "127.0.0.1:0", dedicated={"127.0.0.1:00": "crm-api"})  # type: ignore[arg-type]
    await gate.start()
    reader, writer = await asyncio.open_connection(*gate.addresses[1])
    writer.write(world.request().replace(b"crm-api.localhost", b"10.0.0.1:99"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await gate.stop()


async def test_sockets_may_be_handed_over(world: World) -> None:
    from proxy.http.server import HttpGate

    await world.start()
    held = socket.create_server(("127.0.0.1", 0))
    gate = HttpGate(world.gate, "127.0.0.1:0", sockets=[held])  # type: ignore[arg-type]
    await gate.start()
    assert gate.address == held.getsockname()
    reader, writer = await asyncio.open_connection(*gate.address)
    writer.write(world.request())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await gate.stop()
