"""The emulator refuses what Slack refuses, and is loud about what it does not serve."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.slack_world import limits
from tests.slack_world.faults import ApiFault
from tests.slack_world.server import SlackWorld
from tests.slack_world.trial import TRIAL, build

Json = dict[str, Any]
BOT = "xoxb-emulated-bot"


def text(value: str, kind: str = "plain_text") -> Json:
    return {"type": kind, "text": value}


def modal(**changes: Any) -> Json:
    return {"type": "modal", "title": text("Title"), "blocks": [{"type": "divider"}]} | changes


@pytest.fixture
async def slack() -> AsyncIterator[SlackWorld]:
    async with SlackWorld(build(TRIAL)) as made:
        yield made


async def call(slack: SlackWorld, method: str, token: str = BOT, **arguments: Any) -> Json:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = slack.url + method
    async with aiohttp.ClientSession() as session, session.post(url, json=arguments, headers=headers) as response:
        return {"status": response.status, **(await response.json())}


async def error(slack: SlackWorld, method: str, token: str = BOT, **arguments: Any) -> str:
    answer = await call(slack, method, token, **arguments)
    assert answer["status"] == 200, "every refusal but a rate limit is HTTP 200"
    assert not answer["ok"]
    return str(answer["error"])


def test_the_numbers_are_those_of_slackblocks() -> None:
    from slackblocks import _limits

    from tests.slack_world import table

    ours = {name: value for name, value in vars(table).items() if name.isupper()}
    assert len(ours) > 20
    assert ours == {name: getattr(_limits, name) for name in ours}


async def test_tokens_and_scopes(slack: SlackWorld) -> None:
    assert await error(slack, "auth.test", "") == "not_authed"
    assert await error(slack, "auth.test", "xoxb-other") == "invalid_auth"
    assert await error(slack, "auth.test", "xapp-emulated-app") == "not_allowed_token_type"
    assert await error(slack, "apps.connections.open") == "not_allowed_token_type"
    assert await error(slack, "users.info", user="U0ADA") == "missing_scope"
    assert (await call(slack, "auth.test"))["team_id"] == "T0ACME"


async def test_unknown_and_unserved(slack: SlackWorld) -> None:
    assert await error(slack, "chat.nonsense") == "unknown_method"
    assert slack.world.failures == []
    assert (await call(slack, "chat.delete", channel="C0ACCESS", ts="1"))["status"] == 501
    assert (await call(slack, "chat.postMessage", channel="C0ACCESS", text="x", icon_emoji=":x:"))["status"] == 501
    context = {"type": "context_actions", "elements": []}
    assert (await call(slack, "chat.postMessage", channel="C0ACCESS", blocks=[context]))["status"] == 501
    assert len(slack.world.failures) == 3


async def test_channels_and_messages(slack: SlackWorld) -> None:
    assert await error(slack, "chat.postMessage", channel="C0NONE", text="x") == "channel_not_found"
    assert await error(slack, "chat.postMessage", channel="C0ACCESS") == "no_text"
    slack.world.channels["C0GENERAL"].members.discard("U0GATE")
    assert await error(slack, "chat.postMessage", channel="C0GENERAL", text="x") == "not_in_channel"
    assert await error(slack, "chat.update", channel="C0ACCESS", ts="1.1", text="x") == "message_not_found"
    whisper = await call(slack, "chat.postEphemeral", channel="C0ACCESS", user="U0OLGA", text="x")
    refused = await error(slack, "chat.update", channel="C0ACCESS", ts=whisper["message_ts"], text="y")
    assert refused == "cant_update_message"
    assert await error(slack, "conversations.open", users="U0NOBODY") == "user_not_found"


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "divider"}] * 51,
        [{"type": "section", "text": text("x" * 3001)}],
        [{"type": "section", "text": text("")}],
        [{"type": "section"}],
        [{"type": "section", "fields": [text("x")] * 11}],
        [{"type": "section", "fields": [text("x" * 2001)]}],
        [{"type": "header", "text": text("x" * 151)}],
        [{"type": "header", "text": text("x", "mrkdwn")}],
        [{"type": "context", "elements": [text("x")] * 11}],
        [{"type": "actions", "elements": []}],
        [{"type": "actions", "elements": [{"type": "button", "text": text("x" * 76), "action_id": "a"}]}],
        [
            {
                "type": "actions",
                "elements": [{"type": "button", "text": text("x"), "action_id": "a", "value": "v" * 2001}],
            }
        ],
        [{"type": "actions", "elements": [{"type": "button", "text": text("x"), "action_id": "a"}] * 2}],
        [{"type": "divider", "text": text("x")}],
        [{"type": "divider", "block_id": "same"}] * 2,
    ],
)
def test_block_limits(blocks: list[Json]) -> None:
    assert limits.check_message(blocks)[0] == "invalid_blocks"


def test_the_total_that_nobody_documents() -> None:
    blocks = [{"type": "section", "text": text("x" * 2900)}] * 5
    assert limits.check_message(blocks)[0] == "msg_blocks_too_long"


@pytest.mark.parametrize(
    "view",
    [
        modal(title=text("x" * 25)),
        modal(private_metadata="x" * 3001),
        modal(blocks=[{"type": "divider"}] * 101),
        modal(
            blocks=[{"type": "input", "label": text("L"), "element": {"type": "plain_text_input", "action_id": "v"}}]
        ),
        modal(external="x"),
        {"type": "modal", "blocks": []},
    ],
)
def test_view_limits(view: Json) -> None:
    assert limits.check_view(view)[0] == "invalid_arguments"


async def test_a_trigger_is_good_once_and_for_three_seconds(slack: SlackWorld) -> None:
    world = slack.world
    trigger = world.new_trigger("U0ADA")
    assert (await call(slack, "views.open", trigger_id=trigger, view=modal()))["ok"]
    assert await error(slack, "views.open", trigger_id=trigger, view=modal()) == "exchanged_trigger_id"
    late = world.new_trigger("U0ADA")
    world.clock.advance(3.5)
    assert await error(slack, "views.open", trigger_id=late, view=modal()) == "expired_trigger_id"
    assert await error(slack, "views.open", trigger_id="made.up", view=modal()) == "invalid_trigger_id"


async def test_modals_stack_three_high_and_update_by_hash(slack: SlackWorld) -> None:
    world = slack.world
    first = await call(slack, "views.open", trigger_id=world.new_trigger("U0ADA"), view=modal())
    for _ in range(2):
        assert (await call(slack, "views.push", trigger_id=world.new_trigger("U0ADA"), view=modal()))["ok"]
    trigger = world.new_trigger("U0ADA")
    assert await error(slack, "views.push", trigger_id=trigger, view=modal()) == "push_limit_reached"
    at = first["view"]
    assert await error(slack, "views.update", view_id=at["id"], hash="old", view=modal()) == "hash_conflict"
    assert (await call(slack, "views.update", view_id=at["id"], hash=at["hash"], view=modal()))["ok"]


async def test_scripted_faults_happen_once(slack: SlackWorld) -> None:
    slack.faults.api("auth.test", ApiFault("rate_limited", retry_after_s=9))
    async with aiohttp.ClientSession() as session, session.post(slack.url + "auth.test") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "9")
    assert (await call(slack, "auth.test"))["ok"]


async def test_a_person_can_do_only_what_the_client_offers(slack: SlackWorld) -> None:
    olga = slack.user("olga")
    with pytest.raises(LookupError, match="another organisation"):
        await olga.slash("/access", channel="access-requests")
    with pytest.raises(LookupError, match="sees no channel"):
        olga.messages("general")
    await call(slack, "chat.postMessage", channel="C0ACCESS", text="x")
    with pytest.raises(LookupError, match="no button"):
        await olga.click(olga.messages("access-requests")[0], "Approve")
