"""One-time codes and sessions: once, in time, hashed, and slow to guess."""

from datetime import timedelta

import pytest

from approvals.errors import Refusal
from approvals.identity.local import MAX_FAILURES
from approvals.reasons import Reason
from tests.approvals.test_service import refused
from tests.approvals.world import MovingClock, World, policy


async def test_a_code_opens_a_session_once(world: World) -> None:
    code = await world.service.login_code("ada")
    assert len(code.replace("-", "")) == 16
    token = await world.service.login(code, "192.0.2.7")
    person = await world.service.whoami(token)
    assert (person.id, person.organisation_kind) == ("ada", "member")
    await refused(Reason.CODE_UNKNOWN, world.service.login(code, "192.0.2.7"))
    assert (await world.kinds())[1:] == ["person.code_issued", "person.logged_in"]
    assert (await world.facts("person.logged_in"))[0]["client_address"] == "192.0.2.7"
    await world.service.logout(token)
    await world.service.logout(token)
    await refused(Reason.SESSION_UNKNOWN, world.service.whoami(token))


async def test_a_code_is_read_as_people_type_it(world: World) -> None:
    code = await world.service.login_code("ada")
    typed = " " + code.upper().replace("-", " ").replace("0", "O").replace("1", "l") + " "
    assert (await world.service.login(typed, "::1")).startswith("ggs_")


async def test_a_code_lasts_ten_minutes_and_a_session_twelve_hours(world: World) -> None:
    late, in_time = await world.service.login_code("ada"), await world.service.login_code("ben")
    world.clock.move(minutes=10, microseconds=-1)
    token = await world.service.login(in_time, "::1")
    world.clock.move(microseconds=1)
    await refused(Reason.CODE_UNKNOWN, world.service.login(late, "::1"))
    world.clock.move(hours=12, microseconds=-2)
    await world.service.whoami(token)
    world.clock.move(microseconds=1)
    await refused(Reason.SESSION_UNKNOWN, world.service.whoami(token))


async def test_processes_with_clocks_a_little_apart(world: World) -> None:
    behind = world.second(MovingClock(world.clock.time - timedelta(seconds=2)))
    token = await behind.login(await world.service.login_code("ada"), "::1")
    assert (await world.service.whoami(token)).id == "ada"
    token = await world.service.login(await world.service.login_code("ada"), "::1")
    assert (await behind.whoami(token)).id == "ada"
    grant = await world.granted()
    assert (await behind.activate("ada", grant.id, "cli")).starts_at == grant.issued_at


async def test_a_new_code_voids_the_earlier_one(world: World) -> None:
    first = await world.service.login_code("ada")
    other = await world.service.login_code("ben")
    second = await world.service.login_code("ada")
    await refused(Reason.CODE_UNKNOWN, world.service.login(first, "::1"))
    await world.service.login(second, "::1")
    await world.service.login(other, "::1")


async def test_strangers_and_the_switched_off_get_no_code_and_lose_their_session(world: World) -> None:
    await refused(Reason.PERSON_UNKNOWN, world.service.login_code("eve"))
    await refused(Reason.PERSON_UNKNOWN, world.service.login_code("old"))
    token = await world.service.login(await world.service.login_code("ada"), "::1")
    code = await world.service.login_code("ada")
    await world.service.adopt_policy(policy(('name = "Ada Example"', 'name = "Ada Example"\nactive = false')), "sam")
    await refused(Reason.SESSION_UNKNOWN, world.service.whoami(token))
    await refused(Reason.CODE_UNKNOWN, world.service.login(code, "::1"))


async def test_guessing_is_slow_by_source(world: World) -> None:
    code = await world.service.login_code("ada")
    for _ in range(MAX_FAILURES):
        await refused(Reason.CODE_UNKNOWN, world.service.login("0000-0000-0000-0000", "2001:db8::1"))
    # Right or wrong, from any address of the same /64.
    await refused(Reason.TOO_MANY_ATTEMPTS, world.service.login(code, "2001:db8::ffff"))
    await refused(Reason.TOO_MANY_ATTEMPTS, world.service.login("x", "2001:db8::1"))
    world.clock.move(minutes=1)
    await refused(Reason.CODE_UNKNOWN, world.service.login("x", "2001:db8::1"))
    assert await world.owner.fetchval("SELECT count(*) FROM approvals.login_failure") == 1
    await world.service.login(code, "2001:db8::1")


async def test_failures_of_one_source_do_not_lock_another_out(world: World) -> None:
    for _ in range(MAX_FAILURES):
        await refused(Reason.CODE_UNKNOWN, world.service.login("x", "192.0.2.1"))
    await world.service.login(await world.service.login_code("ada"), "192.0.2.2")


@pytest.mark.parametrize("token", ["", "ggs_", "ggs_" + "0" * 40, "ggs_" + "0" * 41, "x" * 10**6, "\ud800", "ggk_x"])
async def test_what_is_no_session(world: World, token: str) -> None:
    await refused(Reason.SESSION_UNKNOWN, world.service.whoami(token))
    await world.service.logout(token)


@pytest.mark.parametrize("code", ["", "\ud800", "-" * 10**6, "%s", "\x00"])
async def test_what_is_no_code(world: World, code: str) -> None:
    await refused(Reason.CODE_UNKNOWN, world.service.login(code, "not an address"))


async def test_only_hashes_are_kept(world: World) -> None:
    code = await world.service.login_code("ada")
    token = await world.service.login(code, "::1")
    kept = ""
    for table in ("login_code", "session", "login_failure", "outbox"):
        kept += str(await world.owner.fetch(f"SELECT t::text FROM approvals.{table} t"))
    kept += str([entry.facts.data for entry in await world.entries()])
    assert token not in kept
    assert token[4:] not in kept
    assert code not in kept
    assert code.replace("-", "") not in kept


async def test_slack_accounts_are_people_by_team_and_user(world: World) -> None:
    assert (await world.service.person_by_slack("T0ACME", "U0ADA")).id == "ada"
    for team, user in (("T0ZH", "U0ADA"), ("T0ACME", "U0OLGA"), ("", "")):
        with pytest.raises(Refusal):
            await world.service.person_by_slack(team, user)
