"""`world`: the service on a fresh database, with a policy in force."""

import pytest

from tests.approvals.world import World, make_world
from tests.support.postgres import Database


@pytest.fixture
async def world(database: Database) -> World:
    return await make_world(database)
