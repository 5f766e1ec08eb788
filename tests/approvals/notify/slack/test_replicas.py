"""Two processes behind one Slack app, and one that was restarted: nothing about a click is kept in memory."""

from aiohttp import web

from approvals.notify.slack.app import build_slack
from approvals.outbox import Outbox
from tests.approvals.notify.slack.conftest import CHANNEL, Gate
from tests.slack_world.render import message_text


async def test_opened_at_one_submitted_at_the_other_told_by_either(http_gate: Gate) -> None:
    gate = http_gate
    app = gate.outside.world.apps[0]
    other = build_slack(
        gate.service,
        gate.service.queries,
        gate.pool,
        gate.clock,
        mode="http",
        channel="C0ACCESS",
        bot_token=app.bot_token,
        signing_secret=app.signing_secret,
        api_url=gate.outside.url,
    )
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.5)
    runner.app.add_routes(other.http_routes())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    second = Outbox(gate.pool, [other.channel], gate.clock)

    await gate.ask()
    olga = gate.person("olga")
    await olga.click(await gate.shown(), "Approve")
    modal = await olga.modal()
    app.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    assert (await olga.submit(modal)).accepted
    await second.deliver_due()
    assert "Approved by Olga Example" in message_text(await gate.shown())
    await olga.click(await gate.shown(), "End now")
    assert (await olga.submit(await olga.modal(), {"Comment": "done"})).accepted
    await gate.settle()
    assert "Revoked by Olga Example" in message_text(await gate.shown())
    assert len(olga.messages(CHANNEL)) == 1
    await other.stop()
    await runner.cleanup()
