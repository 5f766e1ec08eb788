"""curl, as engineers use it."""

import asyncio
import json

import pytest

from tests.proxy.http.conftest import World

pytestmark = pytest.mark.needs("curl")


async def curl(world: World, *arguments: str, target: str = "/crm/x", stdin: bytes = b"") -> bytes:
    _, port = world.http.address
    process = await asyncio.create_subprocess_exec(
        "curl",
        *("-sS", "--max-time", "10", "--noproxy", "*", "--resolve", f"crm-api.localhost:{port}:127.0.0.1"),
        *arguments,
        f"http://crm-api.localhost:{port}{target}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err
    return out


async def test_a_token(world: World) -> None:
    await world.start()
    assert await curl(world, "-H", f"Authorization: Bearer {world.token}") == b"/crm/x"


async def test_an_access_key(world: World) -> None:
    await world.start()
    world.gate.key(world.grant)
    assert await curl(world, "-u", "ada:ggk_secret", target="/crm/x?a=b") == b"/crm/x?a=b"


async def test_an_access_key_that_curl_sends_only_when_asked(world: World) -> None:
    await world.start()
    world.gate.key(world.grant)
    assert await curl(world, "--anyauth", "-u", "ada:ggk_secret") == b"/crm/x"


async def test_no_credential(world: World) -> None:
    await world.start()
    assert json.loads(await curl(world))["code"] == "no_credential"


@pytest.mark.parametrize("extra", [[], ["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"]])
async def test_an_upload(world: World, extra: list[str]) -> None:
    await world.start()
    body = b"0123456789abcdef" * 200_000
    arguments = ["-H", f"Authorization: Bearer {world.token}", "--data-binary", "@-", *extra]
    assert await curl(world, *arguments, stdin=body) == b"/crm/x"
    assert world.origin.bodies == [body]


async def test_a_refused_upload_still_gets_its_answer(world: World) -> None:
    await world.start()
    body = b"x" * 3_000_000
    arguments = ["-H", f"Authorization: Bearer {world.token}", "-H", "Expect:", "-X", "PUT", "--data-binary", "@-"]
    assert json.loads(await curl(world, *arguments, stdin=body))["code"] == "action_not_granted"
    assert world.origin.connections == 0


async def test_dots_are_not_resolved_for_anybody(world: World) -> None:
    await world.start()
    answer = await curl(world, "-H", f"Authorization: Bearer {world.token}", "--path-as-is", target="/crm/../admin")
    assert "dot_segment" in json.loads(answer)["detail"]


async def test_two_on_one_connection(world: World) -> None:
    await world.start()
    _, port = world.http.address
    second = f"http://crm-api.localhost:{port}/crm/y"
    assert await curl(world, "-H", f"Authorization: Bearer {world.token}", second) == b"/crm/y/crm/x"
    assert world.origin.connections == 1
