"""The emulator as a process of its own, driven over its admin address as the trial's tour does."""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import pytest


async def test_starts_serves_and_ends_with_its_parent() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.slack_world",
        "--parent-pipe",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    admin = ready["admin_url"]
    button = {"type": "button", "text": {"type": "plain_text", "text": "Approve"}, "action_id": "a"}
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, Any]:
            async with session.get(admin + path) as response:
                return response.status, await response.json()

        waiting = asyncio.create_task(get("channels/access-requests?as=olga&containing=Approve&wait=10"))
        async with session.post(
            ready["api_url"] + "chat.postMessage",
            json={"channel": ready["channel"], "text": "hello", "blocks": [{"type": "actions", "elements": [button]}]},
            headers={"Authorization": f"Bearer {ready['bot_token']}"},
        ) as response:
            assert (await response.json())["ok"]
        status, answer = await waiting
        assert status == 200
        assert [(m["text"], m["buttons"]) for m in answer["messages"]] == [("[Approve]", ["Approve"])]
        assert (await get("users/ada/direct"))[1] == {"messages": []}
        assert (await get("users/ada/modal"))[1] == {"view": None}
        assert (await get("health"))[1]["ok"]
        assert (await get("failures"))[1] == {"failures": []}
        assert (await get("users/nobody/direct"))[0] == 409
        async with session.get(admin + "health", headers={"Origin": "https://evil.example"}) as response:
            assert response.status == 403, "a page in a browser cannot drive it"
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("module", ["world", "methods", "limits", "payloads", "delivery", "driver", "server", "admin"])
def test_it_knows_nothing_of_the_product(module: str) -> None:
    import ast
    from pathlib import Path

    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
    imported = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    imported |= {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported.isdisjoint({"approvals", "ledger", "proxy", "overseer", "glassgate", "slack_sdk", "slack_bolt"})
