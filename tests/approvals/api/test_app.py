"""What holds at every address: one credential, bounded bodies, JSON only, no details, nothing cached."""

import asyncio
import json
import logging
from urllib.parse import quote

import pytest

from approvals.api.app import HEADERS
from approvals.api.decoding import MAX_BODY_BYTES
from approvals.api.routes import PREFIX, ROUTES
from approvals.errors import Refusal
from approvals.reasons import Reason
from tests.approvals.api.world import ASK, Answer, World, connection_to


def with_ids(path: str) -> str:
    return path.replace("{id}", "req_0123456789abcdefghjkmnpqrs").replace("{idx}", "0").replace("{store}", "crm-api")


NO_SESSION: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer ggs_" + "0" * 40},
    {"Authorization": "bearer ggs_" + "0" * 40},
    {"Authorization": "Bearer ggs_"},
    {"Authorization": "Bearer " + "x" * 4000},
    {"Authorization": "Basic YWRhOmFkYQ=="},
    {"Cookie": "session=ggs_" + "0" * 40},
]


async def test_no_session_no_answer(world: World) -> None:
    """Whatever is sent, strangers get the same answer, and before their body is looked at."""
    for route in ROUTES:
        if route.permission == "public":
            continue
        for headers in NO_SESSION:
            answer = await world.call("", route.method, with_ids(route.path), headers=headers, data=b"\xff not json")
            assert (answer.status, answer.code) == (401, "session_unknown"), (route.path, headers)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_two_credentials_are_none(world: World) -> None:
    token = await world.session("ada")
    answer = await raw(world, f"GET {PREFIX}/whoami HTTP/1.1\r\nHost: x\r\n" + f"Authorization: Bearer {token}\r\n" * 2)
    assert b"401" in answer.splitlines()[0]
    assert b"several_credentials" in answer


async def raw(world: World, head: str, body: bytes = b"") -> bytes:
    """Bytes on a connection of one's own; everything that comes back until the server closes."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_session_ends(world: World) -> None:
    token = await world.session("ada")
    assert (await world.call("ada", "GET", "/whoami")).json["id"] == "ada"
    assert (await world.call("ada", "POST", "/logout", {})).status == 204
    answer = await world.call("", "GET", "/whoami", headers={"Authorization": f"Bearer {token}"})
    assert answer.code == "session_unknown"


async def test_a_session_is_over_after_twelve_hours(world: World) -> None:
    await world.session("ada")
    world.clock.advance(12 * 3600 + 1)
    assert (await world.call("ada", "GET", "/whoami")).code == "session_unknown"


async def test_a_code_works_once(world: World) -> None:
    code = await world.service.login_code("ada")
    first = await world.call("", "POST", "/login", {"code": code})
    assert first.json["person"]["roles"] == ["engineer"]
    second = await world.call("", "POST", "/login", {"code": code})
    assert (second.status, second.code) == (401, "code_unknown")


async def test_guessing_is_slowed_down(world: World) -> None:
    code = await world.service.login_code("ada")
    answers = [await world.call("", "POST", "/login", {"code": f"wrong-{n}"}) for n in range(11)]
    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert answers[-1].code == "too_many_attempts"
    assert answers[-1].headers["Retry-After"] == "60"
    # The right code does not get through either, or a guess that hits would.
    assert (await world.call("", "POST", "/login", {"code": code})).status == 429
    world.clock.advance(61)
    assert (await world.call("", "POST", "/login", {"code": code})).status == 200


async def test_a_large_body_is_refused(world: World) -> None:
    body = json.dumps(ASK | {"purpose": "x" * MAX_BODY_BYTES}).encode()
    kind = {"Content-Type": "application/json"}
    declared = await world.call("ada", "POST", "/requests", headers=kind, data=body)
    assert (declared.status, declared.code) == (413, "body_too_large")

    async def pieces():  # type: ignore[no-untyped-def]
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    undeclared = await world.call("ada", "POST", "/requests", headers=kind, data=pieces())
    assert (undeclared.status, undeclared.code) == (413, "body_too_large")


async def test_the_largest_body_is_read(world: World) -> None:
    body = json.dumps({"purpose": ""}).encode()
    body += b" " * (MAX_BODY_BYTES - len(body))
    answer = await world.call("ada", "POST", "/requests", headers={"Content-Type": "application/json"}, data=body)
    assert answer.code == "request_invalid"


async def test_only_json_is_read(world: World) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        body = json.dumps(ASK).encode()
        answer = await world.call("ada", "POST", "/requests", headers={"Content-Type": kind}, data=body)
        assert (answer.status, answer.code) == (415, "media_type"), kind


GARBAGE = [
    (b"", "expected a JSON object"),
    (b"null", "expected a JSON object"),
    (b"[]", "expected a JSON object"),
    (b'{"store"', "expected a JSON object"),
    (b'{"store": NaN}', "NaN is not JSON"),
    (b'{"store": "a", "store": "b"}', "stands twice"),
    (b'{"a": {"b": 1, "b": 2}}', "stands twice"),
    (b"\xff\xfe", "not UTF-8"),
    (b"[" * 60_000, "nested too deeply"),
    (b'{"stor": "customers-db"}', "no such field"),
    (b'{"store": 5}', "Expected `str`, got `int`"),
    (b'{"duration_s": 1.5}', "Expected `int`"),
    (b'{"duration_s": "60"}', "Expected `int`, got `str`"),
    (b'{"duration_s": true}', "Expected `int`, got `bool`"),
    (b'{"purpose": "a\\u0000b"}', "NUL"),
    (b'{"purpose": "\\ud800"}', "surrogate"),
    (b'{"actions": ["read", "\\u0000"]}', "NUL"),
    (b'{"duration_s": 1' + b"0" * 5000 + b"}", "digits"),
]


async def test_garbage_is_named(world: World) -> None:
    for body, said in GARBAGE:
        answer = await world.call("ada", "POST", "/requests", headers={"Content-Type": "application/json"}, data=body)
        assert (answer.status, answer.code) == (422, "request_invalid"), body[:80]
        assert any(said in fault["text"] for fault in answer.json["faults"]), answer.json


async def test_faults_are_named_together(world: World) -> None:
    body = {"store": 1, "actions": "read", "strange": 1}
    faults = (await world.call("ada", "POST", "/requests", body)).json["faults"]
    assert {fault["field"] for fault in faults} == {
        "store",
        "actions",
        "strange",
        "reason",
        "purpose",
        "duration_s",
    }


async def test_unknown_addresses_and_methods(world: World) -> None:
    assert (await world.call("ada", "GET", "/nothing")).code == "address_unknown"
    assert (await world.call("ada", "GET", "/requests/a/b/c")).code == "address_unknown"
    answer = await world.call("ada", "DELETE", "/requests")
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method_not_allowed", "GET,POST")
    assert (await world.call("", "OPTIONS", "/requests", headers={"Origin": "https://evil.example"})).status == 405


async def test_headers_on_every_answer(world: World) -> None:
    answers = [
        await world.call("ada", "GET", "/whoami"),
        await world.call("", "GET", "/whoami"),
        await world.call("", "GET", "/nothing"),
        await world.call("", "GET", "/openapi.json"),
    ]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert all("Access-Control-Allow-Origin" not in answer.headers for answer in answers)


async def test_an_unexpected_fault_says_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is ggk_0123")

    monkeypatch.setattr(world.service, "queries", None)
    monkeypatch.setattr(type(world.service), "create_request", fails)
    with caplog.at_level(logging.ERROR, "glassgate.api"):
        answer = await world.call("ada", "POST", "/requests", ASK)
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret" not in answer.body
    assert "POST /api/v1/requests failed" in caplog.text


async def test_a_private_cause_stays_private(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: object, **__: object) -> None:
        raise Refusal(Reason.UNAVAILABLE, cause="password authentication failed for 10.1.2.3")

    monkeypatch.setattr(type(world.service), "create_request", refuses)
    answer = await world.call("ada", "POST", "/requests", ASK)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert b"10.1.2.3" not in answer.body


HOSTILE = [
    "'; DROP TABLE approvals.request; --",
    "\x1b[2Jpurpose",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "../../etc/passwd",
    "%s%n{0}${x}",
    "a" * 10_000,
    "💥\ufeff",
    "\r\nSet-Cookie: a=b",
]


@pytest.mark.parametrize("field", ["store", "reason", "ticket", "purpose", "actions", "resources"])
async def test_hostile_text_is_kept_or_refused_never_a_fault_of_ours(world: World, field: str) -> None:
    for text in HOSTILE:
        value = [text] if field in ("actions", "resources") else text
        answer = await world.call("ada", "POST", "/requests", ASK | {field: value})
        assert answer.status in (201, 403, 422), (text, answer.body)
        if answer.status == 201:
            shown = (await world.call("olga", "GET", f"/requests/{answer.json['id']}")).json["request"]
            assert shown[field] in (value, text.strip())


async def test_hostile_ids_are_not_there(world: World) -> None:
    for path in ("/requests/{}", "/grants/{}", "/connection/{}", "/log/entries/{}"):
        for text in (*HOSTILE[:6], "\x00", "é", "req_", "gr_0123456789abcdefghjkmnpqrs"):
            answer = await world.call("sam", "GET", path.format(quote(text, safe="")))
            assert answer.status == 404, (path, text, answer.body)


async def test_hostile_queries_find_nothing(world: World) -> None:
    for noun in ("requests", "grants"):
        for name in ("store", "after"):
            for text in (*HOSTILE[:6], "\x00"):
                answer = await world.call("sam", "GET", f"/{noun}", params={name: text})
                assert answer.status in (200, 422), (noun, name, text, answer.body)
                assert answer.status == 422 or answer.json["items"] == []


async def test_comments_and_reviews_take_hostile_text(world: World) -> None:
    made = await world.asked()
    for text in HOSTILE:
        answer = await world.reviewed("gina", made, "deny", comment=text)
        assert answer.status == 404
        answer = await world.reviewed("ada", made, "deny", comment=text)
        assert answer.status in (403, 422), answer.body


async def test_connection(world: World) -> None:
    world.doors.found["customers-db"] = connection_to("customers-db", "postgres", 5480)
    found = await world.call("ada", "GET", "/connection/customers-db")
    assert (found.json["host"], found.json["port"], found.json["database"]) == ("127.0.0.1", 5480, "customers-db")
    missing = await world.call("ada", "GET", "/connection/elsewhere")
    assert (missing.status, missing.code) == (404, "store_unknown")


async def test_the_database_gone_is_said_and_nothing_is_half_done(world: World, database: object) -> None:
    await world.session("ada")
    pool = world.service.queries._pool
    await pool.close()
    answer: Answer = await world.call("ada", "POST", "/requests", ASK)
    assert (answer.status, answer.code) == (503, "unavailable")
