"""The fixtures themselves."""

import asyncpg
import pytest


async def test_database_of_ones_own(database):
    owner = await database.connect("owner")
    assert await owner.fetchval("SELECT current_user") == "glassgate_owner"
    for role in ("approvals", "proxy", "sequencer", "reader"):
        connection = await database.connect(role)
        assert await connection.fetchval("SELECT current_user") == f"glassgate_{role}"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.mine ()")


async def test_empty_database(empty_database):
    owner = await empty_database.connect()
    assert await owner.fetchval("SELECT to_regclass('public.glassgate_migration')") is None


async def test_customers_cluster_speaks_tls_and_passwords_only(tls_cluster):
    await tls_cluster.create_user("app", "s3cret")
    connection = await asyncpg.connect(tls_cluster.dsn("app", "s3cret"))
    assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(tls_cluster.dsn("app", "wrong"))
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(host="127.0.0.1", port=tls_cluster.port, user="app", password="s3cret", ssl=False)
