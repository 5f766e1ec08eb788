"""Views of a page: a fixed number of statements, whatever the page holds."""

from typing import Any

from approvals.assembly import assemble_requests
from approvals.store import REQUEST_COLUMNS
from tests.approvals.world import World, policy


class Counting:
    """A connection that counts."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        self.statements += 1
        return getattr(self._connection, name)


async def test_a_page_of_many_costs_what_a_page_of_one_does(world: World) -> None:
    for _ in range(4):
        grant = await world.active()
        await world.service.revoke("olga", grant.id, "", "cli")
        await world.request()
    rows = await world.owner.fetch(f"SELECT {REQUEST_COLUMNS} FROM approvals.request r ORDER BY state, id")
    one, many = Counting(world.owner), Counting(world.owner)
    first = await assemble_requests(one, policy(), rows[:1])
    views = await assemble_requests(many, policy(), rows)
    assert [view.id for view in views] == [row["id"] for row in rows]
    assert views[0] == first[0]
    assert one.statements == many.statements
    assert await assemble_requests(many, policy(), []) == []
    assert one.statements == many.statements
