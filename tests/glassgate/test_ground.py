"""What every role stands on: a pool whose commits are durable whatever the server's default says."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from glassgate.wiring.ground import Ground
from tests.support.postgres import Database


@pytest.mark.parametrize(
    ("default", "used"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_a_server_that_promises_too_little_is_overruled(database: Database, default: str, used: str) -> None:
    superuser = await database.connect("superuser")
    await superuser.execute(
        f'ALTER ROLE glassgate_approvals IN DATABASE "{database.name}" SET synchronous_commit = {default}'
    )
    ground = cast(Any, Ground.__new__(Ground))
    ground.dsns = SimpleNamespace(get=database.dsn)
    pool = await ground.pool("approvals", size=1, name="test")
    try:
        for _ in range(2):  # a connection that comes back is reset: to what the pool asked for, not to the default
            async with pool.acquire() as connection:
                assert await connection.fetchval("SHOW synchronous_commit") == used
    finally:
        pool.terminate()
