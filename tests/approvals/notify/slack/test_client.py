"""What Slack and the network can answer, and what the client makes of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from approvals.notify.channel import Undeliverable, Unreachable
from approvals.notify.slack.blocks import Message
from approvals.notify.slack.client import MessageGone, SlackClient
from tests.approvals.notify.slack.conftest import make_gate
from tests.slack_world.faults import ApiFault
from tests.slack_world.server import SlackWorld
from tests.slack_world.trial import TRIAL, build
from tests.support.postgres import Database

HELLO = Message("hello", [])


@pytest.fixture
async def slack() -> AsyncIterator[SlackWorld]:
    async with SlackWorld(build(TRIAL)) as made:
        yield made


@pytest.fixture
async def client(slack: SlackWorld) -> AsyncIterator[SlackClient]:
    made = SlackClient("xoxb-emulated-bot", slack.url, timeout_s=0.3)
    yield made
    await made.close()


async def test_posting_and_updating(client: SlackClient, slack: SlackWorld) -> None:
    channel, ts = await client.post("C0ACCESS", HELLO)
    await client.update(channel, ts, Message("changed", []))
    assert slack.user("olga").sees("access-requests") == "changed (edited)"
    await client.whisper(channel, "U0OLGA", "psst")
    assert (await client.direct("U0ADA")).startswith("D0")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (ApiFault("rate_limited", retry_after_s=17), 17.0),
        (ApiFault("rate_limited", retry_after_s=99_999), 3600.0),
        (ApiFault("server_error"), None),
        (ApiFault("timeout"), None),
        (ApiFault("lost_answer"), None),
        (ApiFault("error", word="internal_error"), None),
        (ApiFault("error", word="token_revoked"), None),
        (ApiFault("error", word="not_in_channel"), None),
    ],
)
async def test_what_is_waited_for(
    client: SlackClient, slack: SlackWorld, fault: ApiFault, expected: float | None
) -> None:
    slack.faults.api("chat.postMessage", fault)
    with pytest.raises(Unreachable) as refused:
        await client.post("C0ACCESS", HELLO)
    assert refused.value.retry_after_s == expected
    assert "xoxb" not in str(refused.value)


async def test_what_is_refused(client: SlackClient, slack: SlackWorld) -> None:
    with pytest.raises(Undeliverable, match="invalid_blocks must be more than 0 characters"):
        await client.post("C0ACCESS", Message("x", [{"type": "header", "text": {"type": "plain_text", "text": ""}}]))
    with pytest.raises(MessageGone):
        await client.update("C0ACCESS", "1.000001", HELLO)


async def test_nobody_there() -> None:
    client = SlackClient("xoxb-emulated-bot", "http://127.0.0.1:9/api/", timeout_s=0.3)
    with pytest.raises(Unreachable):
        await client.post("C0ACCESS", HELLO)
    await client.close()


async def test_a_short_rate_limit_in_front_of_a_person_is_waited_out(
    client: SlackClient, slack: SlackWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def quickly(seconds: float, *rest: Any) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", quickly)
    slack.faults.api("views.open", ApiFault("rate_limited", retry_after_s=1))
    view = {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": [{"type": "divider"}]}
    await client.open_view(slack.world.new_trigger("U0ADA"), view)
    assert slack.user("ada").top_view() is not None
    assert any(seconds >= 1 for seconds in slept)


@pytest.mark.parametrize("transport", ["http", "socket"])
async def test_the_environment_decides_nothing(
    database: Database, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, no token, no OAuth client from the environment: where we talk to, and as whom, is configuration."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-of-somebody-else")
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "of-somebody-else")
    monkeypatch.setenv("SLACK_CLIENT_ID", "1.1")
    monkeypatch.setenv("SLACK_CLIENT_SECRET", "x")
    async for gate in make_gate(database, transport):
        await gate.ask()
        await gate.person("olga").click(await gate.shown(), "Approve")
        assert (await gate.person("olga").submit(await gate.person("olga").modal())).accepted
