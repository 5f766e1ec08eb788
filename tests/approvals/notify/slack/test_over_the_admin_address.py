"""The trial's way through Slack: gate here, Slack in a process of its own, people driven over its admin address."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.notify.slack.app import build_slack
from approvals.outbox import Outbox
from approvals.service import Approvals
from ledger.batch import Writer
from tests.approvals.notify.slack.conftest import LOG, POLICY
from tests.support.clock import MovedClock
from tests.support.postgres import Database


async def test_ask_and_approve_over_the_admin_address(database: Database) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.slack_world", "--parent-pipe"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    world = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    pool = await database.pool("approvals")
    clock = MovedClock(datetime.fromtimestamp(time.time(), UTC))
    key = Ed25519PrivateKey.generate()
    service = Approvals(
        pool,
        Writer(LOG, "acme", key, trial=True),
        clock,
        issuer="https://gate.example",
        issuer_key=key,
        issuer_kid="k1",
    )
    await service.adopt_policy(POLICY, "sten")
    slack = build_slack(
        *(service, service.queries, pool, clock),
        mode="socket",
        channel=world["channel"],
        bot_token=world["bot_token"],
        app_token=world["app_token"],
        api_url=world["api_url"],
        nudge=lambda: outbox.nudge(),
    )
    outbox = Outbox(pool, [slack.channel], clock, poll_s=30)
    await outbox.register()
    running = asyncio.create_task(outbox.run())
    await slack.start()

    async with aiohttp.ClientSession() as session:

        async def say(path: str, **body: Any) -> Any:
            async with session.post(world["admin_url"] + path, json=body) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        async def see(path: str) -> Any:
            async with session.get(world["admin_url"] + path) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        asked = await say("users/ada/slash", command="/access", text="customers-db 1h INC-42 order missing")
        assert asked == {"error": "", "text": ""}
        form = (await see("users/ada/modal?wait=10"))["view"]
        sent = await say("users/ada/submit", view=form["id"], values={})
        assert "Zurich Data Oversight will be asked." in sent["view"]["text"]
        shown = (await see("channels/access-requests?as=olga&containing=Approve&wait=10"))["messages"][-1]
        assert shown["buttons"] == ["Approve", "Deny"]
        await say("users/olga/click", channel=shown["channel"], ts=shown["ts"], button="Approve")
        modal = (await see("users/olga/modal?wait=10"))["view"]
        assert modal["inputs"] == ["May", "How long", "Comment"]
        done = await say("users/olga/submit", view=modal["id"], values={"How long": "30 min", "Comment": "One order."})
        assert done == {"error": "", "errors": {}, "view": None}
        await see("channels/access-requests?as=olga&containing=Approved by Olga Example&wait=10")
        told = (await see("users/ada/direct?containing=glassgate connect&wait=10"))["messages"]
        assert "glassgate connect customers-db" in told[-1]["text"]
        assert (await see("failures")) == {"failures": []}

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await slack.stop()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
