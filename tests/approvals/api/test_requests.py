"""Asking, deciding, holding and ending through the API: the whole way, and every wrong turn by its name."""

import asyncio

import pytest

from approvals import access_key
from tests.approvals.api.world import ASK, World


async def test_the_whole_way(world: World) -> None:
    made = await world.asked()
    assert made["state"] == "pending"
    assert made["quorum"] == [
        {"source": "overseer:zurich", "label": "Zurich Data Oversight", "needed": 1, "approved_by": []}
    ]
    decided = (await world.reviewed("olga", made, "approve", duration_s=1800)).json
    assert decided["state"] == "approved"
    grant = decided["grant"]["id"]
    assert decided["grant"]["duration_s"] == 1800

    active = await world.call("ada", "POST", f"/grants/{grant}/activate", {})
    assert (active.status, active.json["state"]) == (200, "active")
    again = await world.call("ada", "POST", f"/grants/{grant}/activate", {})
    assert again.json["ends_at"] == active.json["ends_at"], "done twice, the first stands"

    token = await world.call("ada", "POST", f"/grants/{grant}/tokens", {})
    assert token.status == 201
    assert token.json["token"].count(".") == 2

    secret = access_key.make(bytes(20))
    body = {
        "key": "k7f3",
        "sha256": access_key.sha256(secret),
        "scram": access_key.scram_verifier(secret, bytes(16)),
    }
    key = await world.call("ada", "POST", f"/grants/{grant}/keys", body)
    assert (key.status, key.json["login"]) == (201, "ada+k7f3")

    revoked = await world.call("olga", "POST", f"/grants/{grant}/revoke", {"comment": "enough"})
    assert (revoked.json["state"], revoked.json["closed_by"], revoked.json["comment"]) == ("revoked", "olga", "enough")
    refused = await world.call("ada", "POST", f"/grants/{grant}/tokens", {})
    assert (refused.status, refused.code) == (409, "grant_revoked")

    story = (await world.call("ada", "GET", f"/requests/{made['id']}")).json
    assert story["request"]["reviews"][0]["reviewer"] == "olga"
    assert len(story["events"]) >= 4


async def test_every_fault_at_once(world: World) -> None:
    wrong = {
        "store": "no-such-store",
        "actions": [],
        "reason": "boredom",
        "ticket": "42",
        "purpose": " ",
        "duration_s": 0,
        "resources": [],
    }
    answer = await world.call("ada", "POST", "/requests", wrong)
    assert (answer.status, answer.code) == (422, "request_invalid")
    assert {"store", "actions", "reason", "purpose"} <= {fault["field"] for fault in answer.json["faults"]}


async def test_over_the_cap_says_the_cap(world: World) -> None:
    answer = await world.call("ada", "POST", "/requests", ASK | {"duration_s": 9 * 3600})
    assert answer.status in (403, 422)
    assert "1h" in answer.body.decode() or "3600" in answer.body.decode()


async def test_the_same_key_gives_the_same_request(world: World) -> None:
    await world.session("ada")
    key = {"Idempotency-Key": "run-1"}
    first, second = await asyncio.gather(
        world.call("ada", "POST", "/requests", ASK, headers=key),
        world.call("ada", "POST", "/requests", ASK, headers=key),
    )
    assert first.json["id"] == second.json["id"]
    other = await world.call("ada", "POST", "/requests", ASK | {"purpose": "another"}, headers=key)
    assert (other.status, other.code) == (409, "conflict")


async def test_an_idempotency_key_is_bounded(world: World) -> None:
    for key in ("a b", "é", "x" * 129):
        answer = await world.call("ada", "POST", "/requests", ASK, headers={"Idempotency-Key": key})
        assert (answer.status, answer.code) == (422, "request_invalid"), key


async def test_nobody_reviews_their_own(world: World) -> None:
    answer = await world.reviewed("ada", await world.asked(), "approve")
    assert (answer.status, answer.code) == (403, "self_review")


async def test_nobody_reviews_twice_or_late(world: World) -> None:
    made = await world.asked()
    assert (await world.reviewed("olga", made, "approve")).status == 201
    assert (await world.reviewed("olga", made, "approve")).code in ("request_not_pending", "already_reviewed")
    assert (await world.reviewed("otto", made, "deny")).code == "request_not_pending"


async def test_one_of_two_who_decide_at_once_wins(world: World) -> None:
    made = await world.asked()
    await world.session("olga")
    await world.session("otto")
    answers = await asyncio.gather(world.reviewed("olga", made, "approve"), world.reviewed("otto", made, "deny"))
    assert sorted(answer.status for answer in answers) == [201, 409]


async def test_wider_than_asked_is_refused(world: World) -> None:
    made = await world.asked()
    answer = await world.reviewed("olga", made, "approve", actions=["read", "write"])
    assert (answer.status, answer.code) == (422, "wider_than_asked")
    answer = await world.reviewed("olga", made, "approve", duration_s=7200)
    assert answer.code == "wider_than_asked"


async def test_a_review_names_what_it_has_seen(world: World) -> None:
    made = await world.asked()
    answer = await world.reviewed("olga", made | {"digest": "0" * 64}, "approve")
    assert (answer.status, answer.code) == (409, "shown_other")


async def test_cancel_is_the_requesters(world: World) -> None:
    made = await world.asked()
    path = f"/requests/{made['id']}/cancel"
    assert (await world.call("olga", "POST", path, {})).code == "not_permitted"
    answer = await world.call("ada", "POST", path, {"comment": "found it"})
    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    assert (await world.call("ada", "POST", path, {})).code == "request_not_pending"


async def test_giving_back_early(world: World) -> None:
    grant = await world.granted()
    answer = await world.call("ada", "POST", f"/grants/{grant['id']}/end", {})
    assert (answer.status, answer.json["state"]) == (200, "ended")
    refused = await world.call("ada", "POST", f"/grants/{grant['id']}/activate", {})
    assert (refused.status, refused.code) == (409, "grant_ended")


async def test_a_grant_is_its_holders(world: World) -> None:
    grant = await world.granted()
    for act in ("activate", "tokens", "end"):
        answer = await world.call("olga", "POST", f"/grants/{grant['id']}/{act}", {})
        assert answer.code == "grant_other_person", act


@pytest.mark.parametrize("stranger", ["ben", "gina"])
async def test_to_others_it_does_not_exist(world: World, stranger: str) -> None:
    """A colleague and an overseer whom no rule asks get the answer that an invented id gets, byte for byte."""
    made = await world.asked()
    grant = (await world.reviewed("olga", made, "approve")).json["grant"]["id"]
    nowhere = {"requests": made["id"][:-4] + "0000", "grants": grant[:-4] + "0000"}
    acts = [("GET", "requests", "", None), ("GET", "grants", "", None), ("POST", "requests", "/cancel", {})]
    acts += [("POST", "requests", "/reviews", {"verdict": "deny", "shown_digest": made["digest"]})]
    acts += [("POST", "grants", act, {}) for act in ("/activate", "/tokens", "/revoke", "/end")]
    for method, noun, act, body in acts:
        real = made["id"] if noun == "requests" else grant
        seen = await world.call(stranger, method, f"/{noun}/{real}{act}", body)
        invented = await world.call(stranger, method, f"/{noun}/{nowhere[noun]}{act}", body)
        assert (seen.status, seen.body) == (404, invented.body), (noun, act)
    assert (await world.call(stranger, "GET", "/requests")).json["items"] == []
    assert (await world.call(stranger, "GET", "/grants")).json["items"] == []


async def test_who_sees_which_requests(world: World) -> None:
    made = await world.asked()
    for person, sees in {"ada": True, "olga": True, "otto": True, "sam": True, "ben": False, "gina": False}.items():
        listed = (await world.call(person, "GET", "/requests")).json["items"]
        assert (made["id"] in [one["id"] for one in listed]) == sees, person


async def test_pages(world: World) -> None:
    ids = []
    for _ in range(5):
        world.clock.advance(1)  # ids sort by the millisecond
        ids.append((await world.asked())["id"])
    seen: list[str] = []
    after = ""
    for _ in range(3):
        page = (await world.call("ada", "GET", "/requests", params={"limit": "2", "after": after})).json
        seen += [one["id"] for one in page["items"]]
        after = page["after"]
    assert seen == ids[::-1]
    assert after == ""


async def test_filters(world: World) -> None:
    made = await world.asked()
    await world.asked(store="crm-api")
    await world.reviewed("olga", made, "deny")
    found = (await world.call("olga", "GET", "/requests?state=denied&store=customers-db")).json["items"]
    assert [one["id"] for one in found] == [made["id"]]
    assert (await world.call("olga", "GET", "/requests?mine=true")).json["items"] == []


async def test_a_query_is_read_strictly(world: World) -> None:
    wrong = ["state=open", "limit=0", "limit=201", "limit=x", "mine=perhaps", "stranger=1", "store=a&store=b"]
    for query in wrong:
        answer = await world.call("ada", "GET", f"/requests?{query}")
        assert (answer.status, answer.code) == (422, "request_invalid"), query
        assert answer.json["faults"][0]["field"] == query.partition("=")[0]
    assert (await world.call("ada", "GET", "/requests?after=")).status == 200


async def test_stores_say_what_may_be_asked(world: World) -> None:
    stores = {one["name"]: one for one in (await world.call("ada", "GET", "/stores")).json["stores"]}
    assert stores["customers-db"]["askable"] == ["read", "write"]
    assert stores["customers-db"]["max_duration_s"] == 3600
    stores = {one["name"]: one for one in (await world.call("olga", "GET", "/stores")).json["stores"]}
    assert stores["customers-db"]["askable"] == []
