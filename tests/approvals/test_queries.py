"""Who sees what, a page at a time."""

import pytest

from approvals.reasons import Reason
from tests.approvals.test_service import refused
from tests.approvals.world import World, policy


@pytest.fixture
async def crowded(world: World) -> World:
    """ada: two asks at customers-db (one granted), one at the vault; ben: one at crm-api."""
    await world.active("ada")
    world.clock.move(seconds=1)
    await world.request("ada", store="vault")
    world.clock.move(seconds=1)
    await world.request("ada")
    world.clock.move(seconds=1)
    await world.request("ben", store="crm-api")
    return world


@pytest.mark.parametrize(
    ("viewer", "requests", "grants"),
    [
        (None, ["ben", "ada", "ada", "ada"], 1),
        ("sam", ["ben", "ada", "ada", "ada"], 1),
        ("olga", ["ben", "ada", "ada", "ada"], 1),
        ("ada", ["ada", "ada", "ada"], 1),
        ("bea", [], 0),
    ],
)
async def test_who_sees_what(crowded: World, viewer: str | None, requests: list[str], grants: int) -> None:
    queries = crowded.service.queries
    page = await queries.requests(viewer)
    assert [view.requester for view in page.items] == requests
    assert page.after == ""
    assert len((await queries.grants(viewer)).items) == grants
    everything = await queries.requests()
    for view in everything.items:
        if view in page.items:
            assert await queries.request(view.id, viewer) == view
            assert (await queries.request_story(view.id, viewer)).request == view
        else:
            await refused(Reason.REQUEST_UNKNOWN, queries.request(view.id, viewer))
            await refused(Reason.REQUEST_UNKNOWN, queries.request_story(view.id, viewer))
    for grant in (await queries.grants()).items:
        if not grants:
            await refused(Reason.GRANT_UNKNOWN, queries.grant(grant.id, viewer))


async def test_an_overseer_sees_the_stores_they_oversee(crowded: World) -> None:
    two_sides = policy(
        ('stores = ["customers-db", "crm-api"]', 'stores = ["customers-db"]'),
        ('stores = ["ledgers"]', 'stores = ["ledgers", "crm-api"]'),
    )
    await crowded.service.adopt_policy(two_sides, "sam")
    queries = crowded.service.queries
    assert {view.store for view in (await queries.requests("olga")).items} == {"customers-db", "vault"}
    assert {view.store for view in (await queries.requests("bea")).items} == {"crm-api"}


async def test_strangers_see_nothing(crowded: World) -> None:
    for viewer in ("gone", "eve", ""):
        await refused(Reason.PERSON_UNKNOWN, crowded.service.queries.requests(viewer))
        await refused(Reason.PERSON_UNKNOWN, crowded.service.queries.grants(viewer))
        await refused(Reason.PERSON_UNKNOWN, crowded.service.queries.stores(viewer))


async def test_filters(crowded: World) -> None:
    queries = crowded.service.queries
    assert [view.state for view in (await queries.requests("sam", state="approved")).items] == ["approved"]
    assert len((await queries.requests("sam", store="vault")).items) == 1
    assert len((await queries.requests("sam", mine=True)).items) == 0
    assert len((await queries.requests("ada", mine=True, store="customers-db")).items) == 2
    assert len((await queries.grants("ada", state="active", mine=True)).items) == 1
    assert len((await queries.grants("ada", state="revoked")).items) == 0
    assert len((await queries.requests("sam", state="'; DROP TABLE approvals.request; --")).items) == 0


async def test_pages(crowded: World) -> None:
    queries = crowded.service.queries
    everything = (await queries.requests("sam")).items
    assert [view.created_at for view in everything] == sorted((v.created_at for v in everything), reverse=True)
    seen = []
    after = ""
    while True:
        page = await queries.requests("sam", limit=3, after=after)
        seen += page.items
        after = page.after
        if not after:
            break
    assert seen == list(everything)
    assert len((await queries.requests("sam", limit=0)).items) == 1
    assert len((await queries.requests("sam", limit=10**9)).items) == 4


async def test_stores_as_one_person_may_ask_for_them(world: World) -> None:
    stores = {view.name: view for view in await world.service.queries.stores("ada")}
    customers = stores["customers-db"]
    assert (customers.askable, customers.max_duration_s, customers.assurance) == (("read", "write"), 7200, "click")
    assert [(reason.code, reason.ticket) for reason in customers.reasons] == [("incident", "INC-[0-9]+")]
    assert [reason.code for reason in stores["vault"].reasons] == ["incident", "other"]
    assert stores["crm-api"].askable == ("read",)
    assert (stores["lonely"].askable, stores["lonely"].max_duration_s) == ((), 0)
    assert stores["ledgers"].assurance == "signed"
    assert all(view.askable == () for view in await world.service.queries.stores("olga"))


async def test_the_quorum_as_it_counts_today(world: World) -> None:
    request = await world.request(store="vault")
    await world.approve(request, "olga")
    world.clock.move(seconds=1)
    await world.approve(request, "sam")
    view = await world.service.queries.request(request.id)
    assert [(slot.source, slot.label, slot.needed, slot.approved_by) for slot in view.quorum] == [
        ("overseer:zurich", "Zurich Data Oversight", 2, ("olga",)),
        ("member", "Acme AG", 1, ("sam",)),
    ]
    await world.service.adopt_policy(policy(('name = "Olga Example"', 'name = "Olga Example"\nactive = false')), "sam")
    view = await world.service.queries.request(request.id)
    assert [slot.approved_by for slot in view.quorum] == [(), ("sam",)]
    assert [review.reviewer_name for review in view.reviews] == ["Olga Example", "Sam Example"]


async def test_an_old_story_is_readable_when_the_policy_has_forgotten_its_store(world: World) -> None:
    grant = await world.active(store="crm-api")
    gone = policy(
        (
            '[stores.crm-api]\nprotocol = "http"\nupstream = "http://127.0.0.1:8001"\ntls = "off"\n'
            'hosts = ["crm-api.localhost"]\n',
            "",
        ),
        ('stores = ["customers-db", "crm-api"]', 'stores = ["customers-db"]'),
        ('name = "customer data for incidents"', 'name = "renamed"'),
    )
    await world.service.adopt_policy(gone, "sam")
    view = await world.service.queries.request(grant.request)
    assert (view.protocol, view.data_class, view.quorum) == ("", "", ())
    story = await world.service.queries.request_story(grant.request, "ada")
    assert [event.by for event in story.events] == ["ada", "olga", "olga", "ada", "sam"]
