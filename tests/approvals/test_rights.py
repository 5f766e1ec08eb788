"""What each database role can, and above all cannot do in the schema `approvals`."""

import asyncpg
import pytest

from tests.approvals.world import World

HISTORY = ("transition", "policy_version", "request_change", "review", "grant_change")
TABLES = (
    *HISTORY,
    *("request", "idempotency", "access_grant", "access_key", "login_code", "login_failure", "session", "outbox"),
    *("sync_version", "proxy_worker"),
)


@pytest.mark.parametrize("role", ["proxy", "reader", "sequencer"])
async def test_other_roles_read_and_write_no_table(world: World, role: str) -> None:
    await world.active()
    connection = await world.database.connect(role)
    for table in TABLES:
        for statement in (
            f"SELECT FROM approvals.{table}",
            f"DELETE FROM approvals.{table}",
            f"INSERT INTO approvals.{table} DEFAULT VALUES",
            f"TRUNCATE approvals.{table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


@pytest.mark.parametrize("role", ["reader", "sequencer"])
async def test_only_proxies_and_nobody_else_call_proxy_sync(world: World, role: str) -> None:
    connection = await world.database.connect(role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("SELECT approvals.proxy_sync('wk', 0)")


async def test_a_proxy_cannot_write_grant_state_or_its_own_acknowledgement(world: World) -> None:
    grant = await world.granted()
    connection = await world.database.connect("proxy")
    for statement in (
        f"UPDATE approvals.access_grant SET state = 'active' WHERE id = '{grant.id}'",
        "UPDATE approvals.sync_version SET version = 0",
        "UPDATE approvals.proxy_worker SET applied_version = 9",
        "SELECT approvals.outbox_fan_out()",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            await connection.execute(statement)


async def test_a_proxy_cannot_bend_the_function_through_its_search_path(world: World) -> None:
    """SECURITY DEFINER with a fixed search path: objects of the caller's own are never found first."""
    connection = await world.database.connect("proxy")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TEMP TABLE sync_version (version bigint)")
    await world.owner.execute(f"GRANT TEMPORARY ON DATABASE {world.database.name} TO glassgate_proxy")
    await connection.execute("CREATE TEMP TABLE sync_version (version bigint)")
    await connection.execute("CREATE TEMP TABLE proxy_worker (worker text)")
    await connection.execute("SET search_path = pg_temp, approvals, public")
    assert await connection.fetchval("SELECT (approvals.proxy_sync('wk', 0) ->> 'version')::bigint") > 0


async def test_approvals_cannot_change_or_remove_history(world: World) -> None:
    await world.active()
    connection = await world.database.connect("approvals")
    for table in HISTORY:
        columns = await world.owner.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND attgenerated = '' "
            "AND attidentity = ''",
            f"approvals.{table}",
        )
        for (column,) in columns:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"UPDATE approvals.{table} SET {column} = {column}")
    for table in (*HISTORY, "request", "access_grant", "access_key", "sync_version", "proxy_worker"):
        for statement in (f"DELETE FROM approvals.{table}", f"TRUNCATE approvals.{table} CASCADE"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals.request SET duration_s = 86400",
        "UPDATE approvals.request SET requester = 'ben'",
        "UPDATE approvals.access_grant SET actions = '{read,write}'",
        "UPDATE approvals.access_grant SET subject = 'ben'",
        "UPDATE approvals.access_grant SET decision = ''",
        "UPDATE approvals.access_key SET sha256 = repeat('0', 64)",
        "INSERT INTO approvals.transition VALUES ('grant', 'revoked', 'revive', 'active')",
        "INSERT INTO approvals.proxy_worker VALUES ('wk', 9, 9, now())",
    ],
)
async def test_approvals_cannot_rewrite_what_was_decided(world: World, statement: str) -> None:
    await world.active()
    connection = await world.database.connect("approvals")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals.access_grant SET version = version + 1, ends_at = ends_at + interval '1 second', "
        "starts_at = starts_at + interval '1 second'",
        "UPDATE approvals.access_grant SET version = version + 1, ends_at = ends_at - interval '1 second'",
        "UPDATE approvals.access_grant SET version = version + 1, starts_at = NULL, ends_at = NULL",
        "UPDATE approvals.access_grant SET version = version + 1, over_since = NULL",
        "UPDATE approvals.access_grant SET version = version + 1, over_since = over_since - interval '1 day'",
        "UPDATE approvals.access_key SET live = true",
    ],
)
async def test_approvals_cannot_bring_back_what_is_over(world: World, statement: str) -> None:
    grant = await world.active()
    await world.key_for(grant)
    await world.service.revoke("olga", grant.id, "", "cli")
    connection = await world.database.connect("approvals")
    with pytest.raises(asyncpg.CheckViolationError, match="settled once and for good"):
        await connection.execute(statement)


@pytest.mark.parametrize("role", ["proxy", "sequencer", "reader"])
async def test_no_other_role_can_hold_a_revocation_up(world: World, role: str) -> None:
    """Advisory locks are anybody's, and so are weak locks of whatever may be read: neither may stop a step."""
    grant = await world.active()
    connection = await world.database.connect(role)
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_lock(hashtextextended('glassgate.approvals.policy', 0)), "
            "pg_advisory_lock(hashtextextended('glassgate.approvals.person.olga', 0))"
        )
        if role == "proxy":
            await connection.fetchval("SELECT approvals.proxy_sync('wk', 0)")
        assert (await world.service.revoke("olga", grant.id, "", "cli")).state == "revoked"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with connection.transaction():
            await connection.execute("LOCK TABLE approvals.policy_turn IN ACCESS SHARE MODE")


async def test_everything_is_commented_and_nothing_is_public(world: World) -> None:
    bare = await world.owner.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'approvals' AND c.relkind = 'r' AND obj_description(c.oid) IS NULL"
    )
    assert bare == []
    public = await world.owner.fetch(
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'approvals' AND has_function_privilege('public', p.oid, 'EXECUTE')"
    )
    assert public == []
