"""What people do in Slack, from the first command to the end of the grant, in both transports."""

import asyncio

from tests.approvals.notify.slack.conftest import CHANNEL, Gate
from tests.slack_world.render import buttons, message_text, view_text


async def approve(gate: Gate, who: str = "olga", **values: object) -> None:
    """Click Approve on the newest message, fill the modal, send it off."""
    person = gate.person(who)
    await person.click(await gate.shown(), "Approve")
    done = await person.submit(await person.modal(), values)
    assert done.accepted
    assert done.view is None, "the modal closes: it happened"
    await gate.settle()


async def test_from_command_to_command(gate: Gate) -> None:
    ada, olga = gate.person("ada"), gate.person("olga")
    answer = await ada.slash("/access", "customers-db 1h INC-42 order missing")
    assert (answer.status, answer.body) == (200, {})
    form = await ada.modal()
    assert "Store: <customers-db>" in view_text(form)
    assert "How long: <1 h>" in view_text(form)
    assert "Ticket (optional): <INC-42>" in view_text(form)
    sent = await ada.submit(form)
    assert sent.accepted
    assert sent.view is not None
    assert "Zurich Data Oversight will be asked." in view_text(sent.view)

    await gate.settle()
    message = await gate.shown()
    for wanted in (
        "Who: Ada Example (Acme AG)",
        "Store: customers-db (PostgreSQL, personal data)",
        "May: read · everything in it",
        "How long: 1 h",
        "Reason: Incident",
        "Ticket (not verified): INC-42",
        "Purpose\norder missing",
        "Zurich Data Oversight 0 of 1",
        "[Approve] [Deny]",
    ):
        assert wanted in message_text(message)
    assert ada.direct() == [], "nothing to tell yet"

    await olga.click(message, "Approve")
    modal = await olga.modal()
    assert "order missing" in view_text(modal)
    done = await olga.submit(modal, {"How long": "30 min", "Comment": "Only that order."})
    assert done.accepted
    assert done.view is None
    await gate.settle()
    text = message_text(await gate.shown())
    assert "Approved by Olga Example (Zurich Data Oversight) for 30 min, asked 1 h." in text
    assert "Olga Example (Zurich Data Oversight) approved, for 30 min: “Only that order.”" in text
    assert len(olga.messages(CHANNEL)) == 1, "one message a request, kept true"
    told = message_text(await ada.direct_message())
    assert "```glassgate connect customers-db```" in told
    assert "Only that order." in told
    assert await gate.kinds() == ["policy.changed", "request.created", "review.recorded", "grant.issued"]


async def test_the_form_without_prefill_and_its_faults(gate: Gate) -> None:
    ada = gate.person("ada")
    await ada.slash("/access")
    form = await ada.modal()
    faulty = {"Store": "crm-api", "May": ["write"], "Purpose": "why", "Ticket": "FOO-1"}
    sent = await ada.submit(form, faulty)
    assert set(sent.errors) == {"May", "Ticket"}, "every fault at once, beside its field"
    assert "crm-api does not offer write" in sent.errors["May"]
    assert "INC-[0-9]+" in sent.errors["Ticket"]
    assert form.open, "what was typed is still there"
    assert (await ada.submit(form, {**faulty, "May": ["read"], "Ticket": "INC-7"})).accepted
    await gate.settle()
    assert "Store: crm-api (HTTP, personal data)" in message_text(await gate.shown())
    assert (await gate.kinds()).count("request.created") == 1


async def test_denied_with_a_reason(gate: Gate) -> None:
    await gate.ask()
    olga, ada = gate.person("olga"), gate.person("ada")
    await olga.click(await gate.shown(), "Deny")
    assert (await olga.submit(await olga.modal(), {"Comment": "No such order."})).accepted
    await gate.settle()
    message = await gate.shown("Denied by Olga Example (Zurich Data Oversight).")
    assert buttons(message.blocks) == []
    told = message_text(await ada.direct_message("Denied"))
    assert "No such order." in told
    assert "/access customers-db" in told
    assert "glassgate connect" not in told


async def test_the_message_shows_what_was_decided_elsewhere(gate: Gate) -> None:
    view = await gate.ask()
    await gate.service.review("otto", view.id, "approve", "by terminal", None, view.digest, via="cli")
    await gate.settle()
    text = message_text(await gate.shown())
    assert "Approved by Otto Example (Zurich Data Oversight) for 1 h." in text
    await gate.person("ada").direct_message("glassgate connect customers-db")


async def test_ended_by_an_overseer(gate: Gate) -> None:
    view = await gate.ask()
    await approve(gate, May=["read"])
    request = await gate.service.queries.request(view.id)
    assert request.grant is not None
    await gate.service.activate("ada", request.grant.id, via="cli")
    await gate.settle()
    message = await gate.shown("In use until")
    olga = gate.person("olga")
    await olga.click(message, "End now")
    assert (await olga.submit(await olga.modal(), {"Comment": "Reads too much."})).accepted
    await gate.settle()
    text = message_text(await gate.shown())
    assert "Revoked by Olga Example (Zurich Data Oversight)" in text
    assert "“Reads too much.”" in text
    assert "[End now]" not in text
    assert "Revoked by Olga" in message_text(await gate.person("ada").direct_message("Revoked"))
    assert "grant.revoked" in await gate.kinds()


async def test_what_only_time_decides(gate: Gate) -> None:
    await gate.ask()
    gate.advance(13 * 3600)
    await gate.service.expire_due()
    await gate.settle()
    assert "Expired: nobody answered in time" in message_text(await gate.shown()).replace("*", "")
    await gate.person("ada").direct_message("nobody answered in time")
    await gate.ask()
    await approve(gate)
    gate.advance(2 * 3600)
    await gate.service.expire_due()
    await gate.settle()
    await gate.shown("Expired unused")


async def test_cancelled_by_the_requester(gate: Gate) -> None:
    view = await gate.ask()
    await gate.service.cancel("ada", view.id, "found it", via="cli")
    await gate.settle()
    text = message_text(await gate.shown())
    assert "Cancelled by Ada Example (Acme AG)." in text
    assert "“found it”" in text
    assert gate.person("ada").direct() == [], "nobody is told of their own act"


async def test_a_long_purpose_is_behind_show_all_and_whole_where_it_is_approved(gate: Gate) -> None:
    await gate.ask(purpose="x" * 1900 + " THE END")
    olga = gate.person("olga")
    message = await gate.shown()
    assert "THE END" not in message_text(message)
    await olga.click(message, "Show all")
    assert "THE END" in view_text(await olga.modal())
    olga.close_modals()
    await olga.click(message, "Approve")
    assert "THE END" in view_text(await olga.modal())


# --- who may not ------------------------------------------------------------------------------------------------


async def test_a_stranger_gets_a_plain_refusal(gate: Gate) -> None:
    mallory = gate.person("mallory")
    await mallory.slash("/access", "customers-db")
    assert mallory.top_view() is None
    assert "No such person is enrolled here." in mallory.sees("general")
    assert "No such person" not in gate.person("ada").sees("general"), "only they see it"
    await gate.ask()
    await mallory.click(await gate.shown(), "Approve")
    await mallory.message(CHANNEL, "No such person is enrolled here.")
    assert mallory.top_view() is None


async def test_somebody_who_may_ask_for_nothing(gate: Gate) -> None:
    await gate.person("sten").slash("/access")
    assert "No rule of the policy lets you ask for this." in gate.person("sten").sees("general")


async def test_nobody_approves_their_own(gate: Gate) -> None:
    await gate.ask()
    ada = gate.person("ada")
    await ada.click(await gate.shown(), "Approve")
    await ada.message(CHANNEL, "Nobody reviews their own request.")
    assert "review.recorded" not in await gate.kinds()


async def test_somebody_whom_the_policy_does_not_ask(gate: Gate) -> None:
    """The steward sees the request; the modal opens, the service refuses, nothing is recorded."""
    await gate.ask()
    sten = gate.person("sten")
    await sten.click(await gate.shown(), "Approve")
    done = await sten.submit(await sten.modal())
    assert done.view is not None
    assert "The policy does not ask you" in view_text(done.view)
    assert "review.recorded" not in await gate.kinds()


async def test_the_same_user_id_in_another_workspace_is_somebody_else(gate: Gate) -> None:
    await gate.ask()
    world = gate.outside.world
    world.users["U0OLGA"].team = "T0ACME"
    await gate.person("olga").click(await gate.shown(), "Approve")
    await gate.person("olga").message(CHANNEL, "No such person is enrolled here.")


# --- twice, late, at once ----------------------------------------------------------------------------------------


async def test_a_double_click_decides_once(gate: Gate) -> None:
    await gate.ask()
    olga = gate.person("olga")
    message = await gate.shown()
    await olga.click(message, "Approve")
    first = await olga.modal()
    await olga.submit(first, {"Comment": "yes"})
    again = await olga.submit(first, {"Comment": "yes"})
    assert again.view is not None
    assert "You have reviewed this request already." in view_text(again.view)
    olga.close_modals()
    await olga.click(message, "Approve")
    await olga.message(CHANNEL, "Approved by Olga Example")
    assert olga.top_view() is None
    assert (await gate.kinds()).count("review.recorded") == 1


async def test_two_people_at_once_and_one_is_told(gate: Gate) -> None:
    await gate.ask()
    olga, otto = gate.person("olga"), gate.person("otto")
    message = await gate.shown()
    await asyncio.gather(olga.click(message, "Approve"), otto.click(message, "Deny"))
    mine, theirs = await olga.modal(), await otto.modal()
    one, two = await asyncio.gather(olga.submit(mine), otto.submit(theirs, {"Comment": "no"}))
    lost = [done for done in (one, two) if done.view is not None]
    assert len(lost) == 1
    assert lost[0].view is not None
    assert "decided already" in view_text(lost[0].view)
    assert (await gate.kinds()).count("review.recorded") == 1


async def test_duplicate_deliveries_are_harmless(gate: Gate) -> None:
    ada, olga = gate.person("ada"), gate.person("olga")
    await ada.slash("/access", "customers-db 1h INC-42 order missing")
    gate.outside.faults.delivery("duplicate")
    await ada.submit(await ada.modal())
    await gate.settle()
    assert len(olga.messages(CHANNEL)) == 1
    await olga.click(await gate.shown(), "Approve")
    modal = await olga.modal()
    gate.outside.faults.delivery("duplicate")
    await olga.submit(modal)
    await gate.settle()
    assert await gate.kinds() == ["policy.changed", "request.created", "review.recorded", "grant.issued"]
    assert len(olga.messages(CHANNEL)) == 1
    assert len(ada.direct()) == 1


async def test_an_answer_that_got_lost_decided_all_the_same(gate: Gate) -> None:
    await gate.ask()
    olga = gate.person("olga")
    await olga.click(await gate.shown(), "Approve")
    gate.outside.faults.delivery("lose_ack")
    await olga.submit(await olga.modal())
    await gate.settle()
    await gate.shown("Approved by Olga Example")
    assert (await gate.kinds()).count("review.recorded") == 1


async def test_deliveries_out_of_order(gate: Gate) -> None:
    """Deny was sent first and arrives last: the first to arrive decides, the other is refused."""
    await gate.ask()
    olga, otto = gate.person("olga"), gate.person("otto")
    message = await gate.shown()
    await olga.click(message, "Deny")
    await otto.click(message, "Approve")
    deny, approval = await olga.modal(), await otto.modal()
    gate.outside.faults.delivery("hold")
    await olga.submit(deny, {"Comment": "no"})
    assert (await otto.submit(approval)).accepted
    await gate.settle()
    await gate.shown("Approved by Otto Example")
    assert (await gate.kinds()).count("review.recorded") == 1


async def test_a_button_whose_digest_is_of_something_else(gate: Gate) -> None:
    """Forwarded, doctored or stale: told to look again, and nothing opens."""
    await gate.ask()
    message = await gate.shown()
    for block in message.blocks:
        for element in block.get("elements", []):
            if "value" in element:
                element["value"] = element["value"].replace('"digest":"', '"digest":"00')[: -len('00"}')] + '"}'
    olga = gate.person("olga")
    await olga.click(message, "Approve")
    await olga.message(CHANNEL, "Look at it again.")
    assert olga.top_view() is None


async def test_widening_in_a_doctored_modal_is_refused(gate: Gate) -> None:
    await gate.ask(actions=("read",), duration_s=1800)
    olga = gate.person("olga")
    await olga.click(await gate.shown(), "Approve")
    modal = await olga.modal()
    for block in modal.body["blocks"]:
        if block.get("block_id") == "duration":
            block["element"]["options"].append({"text": {"type": "plain_text", "text": "9 h"}, "value": "32400"})
    done = await olga.submit(modal, {"How long": "9 h"})
    assert done.errors == {"Comment": "An approval may narrow what was asked, never widen it."}
    assert "review.recorded" not in await gate.kinds()


async def test_a_database_slower_than_slack_waits_decides_once(gate: Gate) -> None:
    """The person sees that it failed and sends the same modal again; whichever came through, it is one review."""
    await gate.ask()
    olga = gate.person("olga")
    await olga.click(await gate.shown(), "Approve")
    modal = await olga.modal()
    async with gate.pool.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE approvals.review IN ACCESS EXCLUSIVE MODE")
        failed = await olga.submit(modal, {"Comment": "yes"})
        assert not failed.accepted
        await transaction.rollback()
    again = await olga.submit(modal, {"Comment": "yes"})
    assert again.accepted
    await gate.settle()
    await gate.shown("Approved by Olga Example")
    assert (await gate.kinds()).count("review.recorded") == 1
