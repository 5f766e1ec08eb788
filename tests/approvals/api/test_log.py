"""Reading the log through the API: who may, what comes, and that it is recorded, once per look."""

from typing import Any

from tests.approvals.api.world import World
from tests.support.postgres import Database


async def entries(world: World, who: str, query: str = "") -> Any:
    answer = await world.call(who, "GET", f"/log/entries{query}")
    assert answer.status == 200, answer.body
    return answer.json["entries"]


async def reads(world: World) -> list[Any]:
    """The log.read entries so far, by a look that is not counted."""
    found = await world.call("sam", "GET", "/log/entries?kind=log.read&limit=200")
    return list(found.json["entries"])


async def test_entries_tell_the_story(world: World) -> None:
    made = await world.asked()
    await world.reviewed("olga", made, "approve")
    found = await entries(world, "olga", f"?request={made['id']}")
    assert [one["kind"] for one in found][:3] == ["request.created", "review.recorded", "grant.issued"]
    assert found[0]["content"] == {"purpose": "order 1881 missing", "ticket": "INC-42"}
    assert found[0]["content_form"] == "clear"
    assert found[2]["content"] is None
    assert found[2]["content_form"] == "none"
    one = await world.call("olga", "GET", f"/log/entries/{found[0]['idx']}")
    assert one.json == found[0]


async def test_paging_and_the_newest(world: World) -> None:
    await world.asked()
    first = (await world.call("sam", "GET", "/log/entries?limit=2")).json
    assert ([one["idx"] for one in first["entries"]], first["next"]) == ([0, 1], 1)
    second = (await world.call("sam", "GET", "/log/entries?limit=1&after=1")).json
    assert second["entries"][0]["idx"] == 2
    newest = (await world.call("sam", "GET", "/log/entries?last=1")).json
    assert newest["entries"][0]["kind"] == "log.read"
    nothing = (await world.call("sam", "GET", "/log/entries?after=5000")).json
    assert nothing == {"entries": [], "next": 5000}


async def test_reading_is_recorded_before_it_is_answered(world: World) -> None:
    await entries(world, "olga", "?kind=policy.changed")
    found = await reads(world)
    assert [one["facts"] for one in found] == [
        {"person": "olga", "organisation": "zurich", "what": "entries kind=policy.changed", "entries": 1}
    ]
    await world.call("olga", "GET", "/log/entries/0")
    assert (await reads(world))[-1]["facts"]["what"] == "entry 0"


async def test_what_cannot_be_recorded_is_not_shown(world: World, monkeypatch: Any) -> None:
    from approvals.errors import Refusal
    from approvals.reasons import Reason

    async def fails(*_: object) -> None:
        raise Refusal(Reason.UNAVAILABLE)

    await world.session("olga")
    monkeypatch.setattr(type(world.service), "record", fails)
    for path in ("/log/entries", "/log/entries/0", "/log/entries?watch=true"):
        answer = await world.call("olga", "GET", path)
        assert (answer.status, answer.code) == (503, "unavailable")


async def test_watching_is_recorded_once_a_minute(world: World) -> None:
    after = -1
    for _ in range(5):
        found = (await world.call("olga", "GET", f"/log/entries?watch=true&after={after}")).json
        after = found["next"]
    assert len(await reads(world)) == 1, "a watcher must not be fed by its own record"
    world.clock.advance(61)
    await world.asked()
    await world.call("olga", "GET", f"/log/entries?watch=true&after={after}")
    watched = [one["facts"] for one in await reads(world) if one["facts"]["what"] == "watching entries"]
    assert len(watched) == 2
    assert watched[1]["entries"] > 1, "what was given since the last record counts"


async def test_engineers_read_about_their_own(world: World) -> None:
    made = await world.asked()
    grant = (await world.reviewed("olga", made, "approve")).json["grant"]["id"]
    refused = await world.call("ada", "GET", "/log/entries")
    assert (refused.status, refused.code) == (403, "not_permitted")
    assert (await world.call("ada", "GET", "/log/entries?store=customers-db")).code == "not_permitted"
    own = await entries(world, "ada", f"?request={made['id']}")
    assert {one["facts"]["request"] for one in own} == {made["id"]}
    assert await entries(world, "ada", f"?grant={grant}")
    assert (await world.call("ben", "GET", f"/log/entries?request={made['id']}")).code == "request_unknown"
    assert (await world.call("ben", "GET", f"/log/entries?grant={grant}")).code == "grant_unknown"
    assert (await world.call("ada", "GET", f"/log/entries/{own[0]['idx']}")).status == 200
    for idx in (own[0]["idx"], 0, 99_999, 10**15, 10**30):
        assert (await world.call("ben", "GET", f"/log/entries/{idx}")).code == "entry_unknown"


async def test_one_of_two_filters_being_ones_own_is_not_enough(world: World) -> None:
    mine = await world.asked("ben")
    made = await world.asked()
    grant = (await world.reviewed("olga", made, "approve")).json["grant"]["id"]
    answer = await world.call("ben", "GET", f"/log/entries?request={mine['id']}&grant={grant}")
    assert answer.code == "grant_unknown"


async def test_what_a_watcher_was_given_last_is_recorded_too(world: World) -> None:
    for _ in range(2):
        await world.call("olga", "GET", "/log/entries?watch=true")
    await world.log.settle()
    assert len(await reads(world)) == 1, "not before the minute is over"
    world.clock.advance(60)
    await world.log.settle()
    first, second = [one["facts"] for one in await reads(world) if one["facts"]["what"] == "watching entries"]
    assert second["entries"] == first["entries"] + 1
    await world.log.settle(everything=True)
    assert [one["facts"]["what"] for one in await reads(world)].count("watching entries") == 2


async def test_what_was_read_under_watch_is_not_washed_away(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("approvals.api.log_reading.MAX_WATCHES", 1)
    for query in ("", "", "&kind=policy.changed"):
        await world.call("olga", "GET", f"/log/entries?watch=true{query}")
    watched = [one["facts"] for one in await reads(world) if one["facts"]["what"] == "watching entries"]
    assert len(watched) == 2
    assert watched[1]["entries"] == watched[0]["entries"] + 1


async def test_the_newest_of_some(world: World) -> None:
    for number in range(3):
        await world.asked(ticket=f"INC-{number}")
    found = await entries(world, "sam", "?kind=request.created&last=2")
    assert [one["content"]["ticket"] for one in found] == ["INC-1", "INC-2"]
    assert await entries(world, "sam", "?kind=no.such.kind&last=2") == []
    assert await entries(world, "sam", "?store=customers-db&last=200&kind=request.created") != []


async def test_bodies_are_for_those_who_read_everything(world: World) -> None:
    async def body(who: str) -> int:
        headers = {"Authorization": f"Bearer {await world.session(who)}"} if who else {}
        async with world.http.get(f"{world.url}/log/body/000.p/1", headers=headers) as response:
            return response.status

    await world.call("sam", "GET", "/log/entries?last=1")
    assert [await body(who) for who in ("", "ada", "olga", "sam")] == [403, 403, 200, 200]
    found = [one["facts"] for one in await reads(world)]
    assert [(one["person"], one["what"]) for one in found[1:]] == [
        ("olga", "bodies"),
        ("sam", "bodies"),
    ]


async def test_a_spoiled_entry_is_shown_as_spoiled(world: World, database: Database) -> None:
    await world.call("sam", "GET", "/log/entries?last=1")
    superuser = await database.connect("superuser")
    await superuser.execute("UPDATE ledger.entry SET leaf = 'not a stub' WHERE idx = 1")
    await superuser.execute("UPDATE ledger.body SET facts = 'nor this' WHERE idx = 1")
    found = (await entries(world, "sam", "?limit=2"))[1]
    assert (found["kind"], found["facts"]) == ("unreadable", {"unreadable": "nor this"})
