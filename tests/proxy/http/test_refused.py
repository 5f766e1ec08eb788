"""Requests that are refused: the answer, the entry with its reason, and nothing at the store."""

import asyncio
import base64
import json

import pytest

from approvals.reasons import Reason
from tests.proxy.http.conftest import World, eventually
from tests.proxy.http.test_head import BAD, HOSTS, LINES
from tests.proxy.http.test_target import REFUSED


async def refused(world: World, reason: Reason, status: int, **request: str) -> dict[str, object]:
    """Make a request that must be refused so; the entry's facts."""
    response = await world.get(**request)
    assert response.status == status
    assert response.fields["content-type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["code"] == reason.value
    assert problem["status"] == status
    entry = world.gate.recorder.entries[-1]
    assert entry.kind == "access.refused"
    assert entry.facts["reason"] == reason.value
    assert entry.facts["status"] == status
    assert world.origin.connections == 0
    return entry.facts


def basic(pair: str) -> str:
    return f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


@pytest.mark.parametrize(
    ("extra", "reason", "status"),
    [
        ("", Reason.NO_CREDENTIAL, 401),
        ("Authorization: Bearer forged\r\n", Reason.TOKEN_FORGED, 401),
        ("Authorization: Bearer\r\n", Reason.CREDENTIAL_MALFORMED, 401),
        ("Authorization: Bearer a b\r\n", Reason.CREDENTIAL_MALFORMED, 401),
        ("Authorization: Digest a\r\n", Reason.CREDENTIAL_MALFORMED, 401),
        ("Authorization: Basic !!\r\n", Reason.CREDENTIAL_MALFORMED, 401),
        ("Authorization: Basic " + base64.b64encode(b"no-colon").decode() + "\r\n", Reason.CREDENTIAL_MALFORMED, 401),
        (basic("ada:wrong"), Reason.CREDENTIAL_UNKNOWN, 401),
        (basic("ada+zzzz:ggk_secret"), Reason.CREDENTIAL_UNKNOWN, 401),
        (basic("nobody:ggk_secret"), Reason.CREDENTIAL_UNKNOWN, 401),
        ("Authorization: Bearer a\r\nAuthorization: Bearer a\r\n", Reason.SEVERAL_CREDENTIALS, 400),
        ("Authorization: Bearer a\r\nProxy-Authorization: Basic b\r\n", Reason.SEVERAL_CREDENTIALS, 400),
    ],
)
async def test_without_a_valid_credential(world: World, extra: str, reason: Reason, status: int) -> None:
    await world.start()
    world.gate.key(world.grant)
    world.token = ""
    client = await world.client()
    client.send(world.request(auth=False, extra=extra))
    response = await client.response()
    assert response.status == status
    assert json.loads(response.body)["code"] == reason.value
    assert world.gate.recorder.entries[-1].facts["reason"] == reason.value
    assert world.origin.connections == 0
    if status == 401:
        assert b'WWW-Authenticate: Bearer realm="crm-api"' in response.head
    # The connection is fine; only the credential was not.
    world.token = world.gate.token(world.grant)
    client.send(world.request())
    assert (await client.response()).status == 200


async def test_a_token_for_another_store(world: World) -> None:
    await world.start()
    world.token = world.gate.tokens.issue("ada", world.grant, "other-store")
    await refused(world, Reason.TOKEN_FOREIGN, 401)


async def test_an_expired_token(world: World) -> None:
    await world.start()
    world.gate.clock.advance(901)
    world.gate.contact()
    await refused(world, Reason.TOKEN_EXPIRED, 401)


async def test_a_token_bound_to_a_key_is_worth_nothing_alone(world: World) -> None:
    from tests.proxy.fakes import FakeClaims

    await world.start()
    claims = FakeClaims("ada", world.grant, "jti_9", "crm-api", world.gate.clock.unix() + 60, cnf="thumb")
    world.gate.tokens._claims[b"bound"] = claims
    world.token = "bound"
    await refused(world, Reason.NOT_KEY_HOLDER, 401)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("revoked", Reason.GRANT_REVOKED), ("ended", Reason.GRANT_ENDED), ("expired", Reason.GRANT_EXPIRED)],
)
async def test_after_the_grant(world: World, state: str, reason: Reason) -> None:
    await world.start()
    world.gate.end(world.grant, state)
    facts = await refused(world, reason, 403)
    assert facts["grant"] == world.grant
    assert facts["subject"] == "ada"
    assert facts["credential"] == "jti_0"


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("/elsewhere", "GET"),
        ("/crm/x", "DELETE"),
        ("/crm/x", "OPTIONS"),
        ("/elsewhere?/crm/x", "GET"),
        ("/CRM/x", "GET"),
    ],
)
async def test_what_no_pattern_names_is_no_read(world: World, target: str, method: str) -> None:
    await world.start()
    facts = await refused(world, Reason.ACTION_NOT_GRANTED, 403, target=target, method=method)
    assert facts["actions"] == ["unparsed"]
    assert facts["detail"] == "no pattern of this store names this method and path"


async def test_a_write_outside_the_scope(world: World) -> None:
    await world.start()
    world.token = world.gate.token(world.gate.grant(actions=("read",), number=3))
    facts = await refused(world, Reason.ACTION_NOT_GRANTED, 403, method="POST")
    assert facts["actions"] == ["write"]
    assert facts["request"] == "req_3"


async def test_a_resource_outside_the_scope_however_it_is_spelled(world: World) -> None:
    await world.start()
    world.token = world.gate.token(world.gate.grant(actions=("read",), resources=("/crm/open/*",), number=3))
    for target in ("/crm/closed", "/crm/open", "/crm/%6fpen", "/crm/opened/x"):
        await refused(world, Reason.RESOURCE_NOT_GRANTED, 403, target=target)
    assert (await world.get("/crm/%6Fpen/x")).status == 200
    assert world.origin.heads[0].startswith(b"GET /crm/%6Fpen/x HTTP/1.1\r\n")


async def test_an_unknown_host(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request().replace(b"crm-api.localhost", b"other.localhost"))
    response = await client.response()
    assert response.status == 404
    assert json.loads(response.body)["code"] == "store_unknown"
    entry = world.gate.recorder.entries[0]
    assert entry.facts["detail"].startswith("host hash:")
    assert "other.localhost" not in repr((entry.facts, entry.content)) + response.body.decode()


@pytest.mark.parametrize(("target", "fault"), [case for case in REFUSED if b"\x01" not in case[0]][:-1], ids=repr)
async def test_a_refused_target_never_reaches_the_store(world: World, target: bytes, fault: str) -> None:
    await world.start(reads=("GET /*",), hosts=("crm-api.localhost",))
    client = await world.client()
    client.send(world.request().replace(b"/crm/x", target, 1))
    response = await client.response()
    assert response.status in (400, 414)
    assert world.origin.connections == 0
    assert world.kinds() == ["access.refused"]


WIRE = (
    [b"POST /crm/x HTTP/1.1\r\nHost: crm-api.localhost\r\nAuthorization: Bearer %%\r\n" + f + b"\r\n" for f, _ in BAD]
    + [line + b"\r\nHost: crm-api.localhost\r\nAuthorization: Bearer %%\r\n\r\n" for line, _ in LINES]
    + [b"GET /crm/x HTTP/1.1\r\nHost: " + host + b"\r\nAuthorization: Bearer %%\r\n\r\n" for host in HOSTS]
)
SMUGGLED = b"5\r\nabcde\r\n0\r\n\r\nGET /crm/smuggled HTTP/1.1\r\nHost: crm-api.localhost\r\n\r\n"


@pytest.mark.parametrize("wire", WIRE, ids=lambda wire: repr(wire)[:70])
async def test_a_desync_attempt_never_reaches_the_store(world: World, wire: bytes) -> None:
    await world.start()
    client = await world.client()
    client.send(wire.replace(b"%%", world.token.encode()) + SMUGGLED)
    response = await client.response()
    assert response.status in (400, 414, 417, 431, 501, 505)
    assert response.fields["connection"] == "close"
    assert await client.closed()
    assert world.origin.connections == 0
    assert world.kinds() == ["access.refused"]
    assert world.gate.recorder.entries[0].facts["detail"]


@pytest.mark.parametrize(
    "chunks", [b"5\nabcde\n0\n\n", b"5\r\nabcdeX0\r\n\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n", b"zz\r\n"]
)
async def test_a_body_that_breaks_its_framing(world: World, chunks: bytes) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Transfer-Encoding: chunked\r\n") + chunks)
    response = await client.response()
    assert response.status == 400
    assert await client.closed()
    await eventually(lambda: world.kinds() == ["access.intent", "access.outcome"])
    assert world.gate.recorder.entries[1].facts["result"] == "error"
    assert world.origin.bodies == []


async def test_bytes_after_a_chunked_body_are_no_second_request(world: World) -> None:
    await world.start()
    client = await world.client()
    body = b"3\r\nabc\r\n0\r\n\r\n"
    client.send(world.request("/crm/x", "POST", "Transfer-Encoding: chunked\r\n") + body + world.request("/crm/second"))
    response = await client.response()
    assert response.status == 200
    assert response.fields["connection"] == "close"
    assert await client.closed()
    assert world.origin.bodies == [b"abc"]


async def test_browsers_get_a_page_that_says_what_to_do(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request(auth=False, extra="Accept: text/html,application/xhtml+xml\r\n"))
    response = await client.response()
    assert response.status == 401
    assert response.fields["content-type"] == "text/html; charset=utf-8"
    assert b"glassgate request create crm-api" in response.body
    assert b"/access crm-api" in response.body
    assert b"Basic" not in response.head
    assert "default-src 'none'" in response.fields["content-security-policy"]


async def test_head_gets_a_refusal_without_a_body(world: World) -> None:
    await world.start()
    client = await world.client()
    client.send(world.request("/nowhere", "HEAD") + world.request("/crm/x"))
    first = await client.response("HEAD")
    assert first.status == 403
    assert (await client.response()).status == 200


async def test_strangers_cannot_fill_the_log(world: World) -> None:
    await world.start()
    client = await world.client()
    for _ in range(30):
        client.send(world.request(auth=False))
        assert (await client.response()).status == 401
    assert len(world.gate.recorder.of("access.refused")) == 20
    world.gate.clock.advance(60)
    world.http.tick()
    counted = world.gate.recorder.of("refusals.counted")[0].facts
    assert (counted["count"], counted["reasons"]) == (10, {"no_credential": 10})


async def test_after_very_many_failures_only_known_tokens_are_looked_at(world: World) -> None:
    await world.start()
    client = await world.client()
    good, world.token = world.token, "forged"
    for _ in range(300):
        client.send(world.request())
        assert (await client.response()).status == 401
    client.send(world.request())
    assert (await client.response()).status == 429
    world.token = good
    client.send(world.request())
    assert (await client.response()).status == 200


async def test_garbage_is_answered_and_closed(world: World) -> None:
    await world.start()
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\n", b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"GET\n"):
        client = await world.client()
        client.send(garbage)
        assert (await client.response()).status == 400
        assert await client.closed()


async def test_a_late_view_waits_for_a_fresh_one(world: World) -> None:
    await world.start()
    world.gate.clock.advance(5)
    client = await world.client()
    client.send(world.request())
    await eventually(lambda: world.gate.waiting == 1)
    assert world.kinds() == []
    world.gate.contact()
    assert (await client.response()).status == 200


async def test_a_view_that_stays_late_is_a_refusal(world: World) -> None:
    await world.start()
    world.gate.clock.advance(5)
    client = await world.client()
    client.send(world.request("/crm/x", "POST", "Content-Length: 3\r\n") + b"abc")
    await eventually(lambda: world.gate.waiting == 1)
    world.gate.give_up_waiting()
    response = await client.response()
    assert response.status == 503
    assert json.loads(response.body)["code"] == "view_stale"
    assert world.gate.recorder.entries[-1].facts["reason"] == "view_stale"
    assert world.origin.connections == 0


async def test_a_client_that_leaves_while_waiting_leaves_nothing_behind(world: World) -> None:
    await world.start()
    world.gate.clock.advance(5)
    client = await world.client()
    client.send(world.request())
    await eventually(lambda: world.gate.waiting == 1)
    await client.close()
    await eventually(lambda: world.gate.waiting == 0)
    assert world.kinds() == []


async def test_a_stale_view_is_refused_at_once(world: World) -> None:
    await world.start()
    world.gate.clock.advance(11)
    await refused(world, Reason.VIEW_STALE, 503)


async def test_a_changed_definition_voids_the_grant(world: World) -> None:
    from approvals.store_definition import StoreDefinition
    from proxy.stores import Stores

    await world.start()
    changed = StoreDefinition(
        name="crm-api",
        protocol="http",
        upstream="http://127.0.0.1:1",
        tls="off",
        hosts=("crm-api.localhost",),
        reads=("GET /*",),
    )
    world.gate.stores = Stores((changed,), "11" * 32)
    await refused(world, Reason.GRANT_POLICY_CHANGED, 403)


async def test_draining_closes_idle_connections_and_finishes_running_ones(world: World) -> None:
    await world.start()
    world.gate.recorder.mode = "held"
    idle, busy = await world.client(), await world.client()
    busy.send(world.request())
    await world.gate.recorder.wait_for("access.intent")
    draining = asyncio.create_task(world.http.drain(5.0))
    assert await idle.closed()
    assert not draining.done()
    world.gate.recorder.mode = "durable"
    world.gate.recorder.release()
    response = await busy.response()
    assert response.status == 200
    assert response.fields["connection"] == "close"
    await draining
