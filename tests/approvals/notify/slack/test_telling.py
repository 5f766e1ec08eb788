"""The outbox's Slack channel when Slack misbehaves: nothing is lost, nobody waits, and the message ends up true."""

import json

import pytest

from approvals.notify.slack.payloads import Carried, carry
from approvals.requests import RequestInput
from tests.approvals.notify.slack.conftest import CHANNEL, Gate
from tests.slack_world.faults import ApiFault
from tests.slack_world.render import message_text


async def test_an_hour_without_slack_and_it_catches_up(http_gate: Gate) -> None:
    gate = http_gate
    gate.outside.faults.down = True
    first = await gate.ask()
    second = await gate.ask(store="crm-api", actions=("read",))
    await gate.service.review("olga", first.id, "approve", "by terminal", None, first.digest, via="cli")
    for _ in range(60):
        gate.advance(60)
        await gate.settle()
    assert gate.outside.world.messages == []
    assert await gate.outbox.parked() == []
    gate.outside.faults.down = False
    gate.advance(60)
    await gate.settle()
    olga = gate.person("olga")
    assert len(olga.messages(CHANNEL)) == 2
    assert "Approved by Olga Example" in message_text(await gate.shown("customers-db"))
    assert f"request `{second.id}`" in olga.sees(CHANNEL)
    assert len(gate.person("ada").direct()) == 1


async def test_a_rate_limit_is_kept_to_and_holds_no_row(http_gate: Gate) -> None:
    gate = http_gate
    gate.outside.faults.api("chat.postMessage", ApiFault("rate_limited", retry_after_s=42))
    await gate.ask()
    gate.advance(41)
    await gate.settle()
    assert gate.outside.world.messages == []
    gate.advance(2)
    await gate.settle()
    assert len(gate.person("olga").messages(CHANNEL)) == 1
    assert [method for method, _ in gate.outside.world.calls].count("chat.postMessage") == 1


async def test_a_message_that_somebody_deleted_is_posted_anew(http_gate: Gate) -> None:
    gate = http_gate
    view = await gate.ask()
    (await gate.shown()).deleted = True
    await gate.service.review("olga", view.id, "deny", "no", None, view.digest, via="cli")
    await gate.settle()
    assert "Denied by Olga Example" in message_text(await gate.shown())
    assert len(gate.person("olga").messages(CHANNEL)) == 1


@pytest.mark.parametrize("word", ["cant_update_message", "edit_window_closed", "message_not_found"])
def test_words_for_a_message_that_is_gone(word: str) -> None:
    from approvals.notify.slack.client import GONE

    assert word in GONE


async def test_a_lost_answer_posts_again_and_the_newest_is_kept_true(http_gate: Gate) -> None:
    """Slack took the message and the answer never came: at least once, and both lead to the same decision."""
    gate = http_gate
    gate.outside.faults.api("chat.postMessage", ApiFault("lost_answer"))
    view = await gate.ask()
    gate.advance(5)
    await gate.settle()
    olga = gate.person("olga")
    older, newer = olga.messages(CHANNEL)
    await olga.click(older, "Approve")
    assert (await olga.submit(await olga.modal())).accepted
    await gate.settle()
    assert "Approved by Olga Example" in message_text(newer)
    await olga.click(older, "Deny")
    await olga.message(CHANNEL, f"{view.store}, Ada Example: Approved by Olga Example")


async def test_the_bot_that_nobody_invited_loses_nothing(http_gate: Gate) -> None:
    gate = http_gate
    members = gate.outside.world.channels["C0ACCESS"].members
    members.discard("U0GATE")
    await gate.ask()
    for _ in range(10):
        gate.advance(301)
        await gate.settle()
    assert await gate.outbox.parked() == []
    members.add("U0GATE")
    gate.advance(301)
    await gate.settle()
    assert len(gate.person("olga").messages(CHANNEL)) == 1


async def test_a_person_who_cannot_be_written_to_holds_nobody_up(http_gate: Gate) -> None:
    gate = http_gate
    gate.outside.world.users["U0ADA"].deleted = True
    view = await gate.ask()
    await gate.service.review("olga", view.id, "approve", "", None, view.digest, via="cli")
    for _ in range(8):
        gate.advance(301)
        await gate.settle()
    assert "Approved by Olga Example" in message_text(await gate.shown())
    parked = await gate.outbox.parked()
    assert [one.event.topic for one in parked] == ["request.approved"]
    assert "user_disabled" in parked[0].last_error
    await gate.ask(store="crm-api", actions=("read",))
    await gate.shown("crm-api")


async def test_requests_do_not_wait_for_slack(http_gate: Gate) -> None:
    """A hanging Slack is met by the outbox alone: asking and deciding touch it nowhere."""
    gate = http_gate
    gate.outside.faults.down = True
    asked = RequestInput("customers-db", ("read",), "incident", "order 1881", "INC-42", 3600)
    view = await gate.service.create_request("ada", asked, via="cli")
    done = await gate.service.review("olga", view.id, "approve", "", None, view.digest, via="cli")
    assert done.state == "approved"
    assert gate.outside.world.calls == []


async def test_no_secret_in_slack(http_gate: Gate) -> None:
    """Everything that was ever sent to Slack, searched for what must not be there."""
    gate = http_gate
    view = await gate.ask()
    done = await gate.service.review("olga", view.id, "approve", "", None, view.digest, via="cli")
    assert done.grant is not None
    await gate.service.activate("ada", done.grant.id, via="cli")
    minted = await gate.service.mint_token("ada", done.grant.id)
    await gate.settle()
    await gate.service.end("ada", done.grant.id, via="cli")
    await gate.settle()
    sent = json.dumps(gate.outside.world.calls)
    for secret in (minted.token, minted.jti, "ggk_", "ggs_", "eyJ", "xoxb-", "xapp-", "emulated-signing-secret"):
        assert secret not in sent


async def test_nothing_unfurls(http_gate: Gate) -> None:
    gate = http_gate
    await gate.ask(purpose="see https://evil.example/log-out-everybody")
    posts = [arguments for method, arguments in gate.outside.world.calls if method == "chat.postMessage"]
    assert [(post["unfurl_links"], post["unfurl_media"]) for post in posts] == [(False, False)]


def test_what_a_button_carries_fits() -> None:
    assert len(carry(Carried("req_" + "0" * 26, "f" * 64, "gr_" + "0" * 26))) < 255
