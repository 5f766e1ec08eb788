"""Background tasks: one that ends stops the process, one that fails now and then does not."""

import asyncio

import pytest

from glassgate.supervise import Supervisor


async def test_a_task_that_ends_is_a_failure():
    supervisor = Supervisor()

    async def ends() -> None:
        pass

    supervisor.run("short", ends())
    assert await supervisor.failed() == "the task short ended by itself"
    await supervisor.close()


async def test_a_task_that_raises_is_named_with_its_reason():
    supervisor = Supervisor()

    async def breaks() -> None:
        raise ValueError("no such thing")

    supervisor.run("broken", breaks())
    assert await supervisor.failed() == "the task broken ended: ValueError: no such thing"
    await supervisor.close()


async def test_the_first_reason_stands():
    supervisor = Supervisor()
    supervisor.fail("first")
    supervisor.fail("second")
    assert await supervisor.failed() == "first"


async def test_what_is_repeated_may_fail_and_goes_on():
    supervisor = Supervisor()
    calls = 0
    third = asyncio.Event()

    async def flaky() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            third.set()
        if calls < 3:
            raise OSError("away")

    supervisor.every("flaky", 0.001, flaky)
    await asyncio.wait_for(third.wait(), 5)
    assert supervisor.reason == ""
    await supervisor.close()


async def test_closing_cancels_in_reverse_order_and_is_no_failure():
    supervisor = Supervisor()
    ended = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    for name in ("first", "second"):
        supervisor.run(name, waits(name))
    await asyncio.sleep(0)
    await supervisor.close()
    assert ended == ["second", "first"]
    assert supervisor.reason == ""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(supervisor.failed(), 0.01)
