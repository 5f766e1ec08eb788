"""The signed way in, attacked: every refusal is 401, 400 or 413, and bolt sees none of it."""

import json
import urllib.parse
from typing import Any

import aiohttp
import pytest

from approvals.notify.slack.http_door import PATHS
from approvals.notify.slack.signature import MAX_BODY_BYTES
from tests.approvals.notify.slack.conftest import CHANNEL, Gate
from tests.slack_world.payloads import sign

FORM = "application/x-www-form-urlencoded"


def headers(gate: Gate, body: bytes, **changes: str) -> dict[str, str]:
    now = int(gate.clock.unix())
    signature = sign(gate.outside.world.apps[0].signing_secret, now, body)
    made = {"Content-Type": FORM, "X-Slack-Request-Timestamp": str(now), "X-Slack-Signature": signature}
    return made | changes


async def post(gate: Gate, path: str, body: bytes, headers: Any) -> tuple[int, str]:
    url = gate.outside.world.apps[0].request_url + path
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("path", PATHS)
async def test_unsigned_is_401_everywhere(http_gate: Gate, path: str) -> None:
    assert (await post(http_gate, path, b"payload={}", {"Content-Type": FORM}))[0] == 401


async def test_not_slacks_signature(http_gate: Gate) -> None:
    gate, body = http_gate, b"command=%2Faccess&text="
    good = headers(gate, body)
    wrong: list[Any] = [
        good | {"X-Slack-Signature": "v0=" + "0" * 64},
        good | {"X-Slack-Signature": "v0=\u00fc"},
        good | {"X-Slack-Signature": good["X-Slack-Signature"].upper()},
        good | {"X-Slack-Signature": good["X-Slack-Signature"].removeprefix("v0=")},
        good | {"X-Slack-Request-Timestamp": "abc"},
        good | {"X-Slack-Request-Timestamp": str(int(gate.clock.unix()) + 1)},
        [*good.items(), ("X-Slack-Signature", good["X-Slack-Signature"])],
        [*good.items(), ("X-Slack-Request-Timestamp", good["X-Slack-Request-Timestamp"])],
    ]
    for each in wrong:
        assert (await post(gate, "/slack/commands", body, each))[0] == 401, each
    assert (await post(gate, "/slack/commands", body + b"x", good))[0] == 401


async def test_an_old_body_is_not_taken_again(http_gate: Gate) -> None:
    gate = http_gate
    await gate.ask()
    olga = gate.person("olga")
    await olga.click(await gate.shown(), "Approve")
    await olga.submit(await olga.modal())
    url, kept, body = gate.outside.http.sent[-1]
    gate.advance(301)
    assert (await gate.outside.http.post(url, kept, body)).status == 401


async def test_a_fresh_replay_changes_nothing(http_gate: Gate) -> None:
    """Within five minutes the same signed bytes come again: every one of them finds its work done."""
    gate = http_gate
    ada, olga = gate.person("ada"), gate.person("olga")
    await ada.slash("/access", "customers-db 1h INC-42 order missing")
    await ada.submit(await ada.modal())
    await gate.settle()
    await olga.click(await gate.shown(), "Approve")
    await olga.submit(await olga.modal())
    await gate.settle()
    recorded = await gate.kinds()
    for url, kept, body in list(gate.outside.http.sent):
        await gate.outside.http.post(url, kept, body)
    await gate.settle()
    assert await gate.kinds() == recorded
    assert len([m for m in olga.messages(CHANNEL) if not m.ephemeral_for]) == 1
    assert len(ada.direct()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"payload=%FF",
        b"payload=",
        b"payload={",
        b"payload=[]",
        b"payload=null",
        b"payload=7",
        b"payload=%22text%22",
        b"",
        b"payload=" + b"[" * 50_000,
        b"payload={}&payload={}",
        b"a=1&b",
        b"\x00",
    ],
)
@pytest.mark.parametrize("content_type", [FORM, "application/json", "text/plain"])
async def test_signed_nonsense_is_answered_and_does_nothing(http_gate: Gate, body: bytes, content_type: str) -> None:
    sent = headers(http_gate, body) | {"Content-Type": content_type}
    status, text = await post(http_gate, "/slack/interactive", body, sent)
    assert status in (200, 400, 404)
    assert "Traceback" not in text


async def test_a_click_with_a_doctored_value_does_nothing(http_gate: Gate) -> None:
    gate = http_gate
    await gate.ask()
    await gate.person("olga").click(await gate.shown(), "Approve")
    fields = urllib.parse.parse_qs(gate.outside.http.sent[-1][2].decode())
    payload = json.loads(fields["payload"][0])
    calls = len(gate.outside.world.calls)
    for value in ("", "{}", "x" * 5000, '{"request":"req_00000000000000000000000000"}', 7, None, {"request": []}):
        payload["actions"][0]["value"] = value
        body = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
        status, _ = await post(gate, "/slack/interactive", body, headers(gate, body))
        assert status == 200
    whispered = [method for method, _ in gate.outside.world.calls[calls:]]
    assert set(whispered) <= {"chat.postEphemeral"}, "an unknown request is refused to the person's face"
    assert "review.recorded" not in await gate.kinds()


async def test_a_large_body_is_not_read_to_its_end(http_gate: Gate) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    assert (await post(http_gate, "/slack/commands", body, headers(http_gate, body)))[0] == 413


async def test_url_verification_answers_only_what_is_signed(http_gate: Gate) -> None:
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "c0ffee"}).encode()
    signed = headers(http_gate, body) | {"Content-Type": "application/json"}
    status, text = await post(http_gate, "/slack/events", body, signed)
    assert (status, json.loads(text)) == (200, {"challenge": "c0ffee"})
    assert (await post(http_gate, "/slack/events", body, signed | {"X-Slack-Signature": "v0=00"}))[0] == 401


async def test_headers_that_steer_bolt_are_ignored(http_gate: Gate) -> None:
    """bolt can be told by header to run only part of a listener: from outside that must change nothing."""
    gate = http_gate
    ada = gate.person("ada")
    await ada.slash("/access", "customers-db")
    ada.close_modals()
    body = gate.outside.http.sent[-1][2]
    fresh = urllib.parse.parse_qs(body.decode())
    fresh["trigger_id"] = [gate.outside.world.new_trigger("U0ADA")]
    again = urllib.parse.urlencode(fresh, doseq=True).encode()
    steering = {"X-Slack-Bolt-Lazy-Only": "1", "X-Slack-Bolt-Lazy-Function-Name": "listener"}
    status, _ = await post(gate, "/slack/commands", again, headers(gate, again, **steering))
    assert status == 200
    assert ada.top_view() is not None


async def test_socket_mode_opens_no_door(socket_gate: Gate) -> None:
    assert socket_gate.slack.http_routes() == []
