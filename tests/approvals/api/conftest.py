"""The `world` of the API's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.approvals.api.world import World, a_world
from tests.support.postgres import Database


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with a_world(database) as made:
        yield made
