"""The migrations runner on real databases."""

import asyncio
import base64
import hashlib
import hmac

import asyncpg
import pytest

from glassgate.migrate import (
    LOCK_KEY,
    Migration,
    MigrationRefused,
    check_schema,
    check_server,
    ensure_roles,
    migrate,
    read_migrations,
    scram_verifier,
)

ONE = Migration(1, "one", "CREATE TABLE public.one (n int)")
TWO = Migration(2, "two", "ALTER TABLE public.one ADD m int; INSERT INTO public.one VALUES (1, 2)")


async def test_applies_what_is_missing_and_says_so(empty_database):
    owner = await empty_database.connect()
    assert "applied 0001_one.sql" in await migrate(owner, [ONE], {})
    assert await migrate(owner, [ONE, TWO], {}) == ["applied 0002_two.sql"]
    assert await migrate(owner, [ONE, TWO], {}) == ["the schema is up to date"]
    assert [tuple(r) for r in await owner.fetch("SELECT number, name FROM glassgate_migration ORDER BY 1")] == [
        (1, "one"),
        (2, "two"),
    ]


async def test_an_edited_file_is_refused(empty_database):
    owner = await empty_database.connect()
    await migrate(owner, [ONE], {})
    edited = Migration(1, "one", ONE.sql + " ")
    with pytest.raises(MigrationRefused, match=r"0001_one\.sql was edited after it had been applied"):
        await migrate(owner, [edited, TWO], {})
    with pytest.raises(MigrationRefused, match="was edited"):
        await check_schema(owner, [edited])
    assert await owner.fetchval("SELECT count(*) FROM glassgate_migration") == 1


async def test_a_renamed_file_is_refused(empty_database):
    owner = await empty_database.connect()
    await migrate(owner, [ONE], {})
    with pytest.raises(MigrationRefused, match=r"had been applied as 0001_one\.sql"):
        await migrate(owner, [Migration(1, "uno", ONE.sql)], {})


async def test_a_newer_database_is_refused_by_migrate_and_accepted_by_serve(empty_database):
    owner = await empty_database.connect()
    await migrate(owner, [ONE, TWO], {})
    with pytest.raises(MigrationRefused, match="at 0002, newer than this program"):
        await migrate(owner, [ONE], {})
    await check_schema(owner, [ONE])


async def test_serve_is_told_to_migrate_first(empty_database):
    owner = await empty_database.connect()
    with pytest.raises(MigrationRefused, match="no glassgate schema yet: run `glassgate migrate`"):
        await check_schema(owner, [ONE])
    await migrate(owner, [ONE], {})
    with pytest.raises(MigrationRefused, match=r"lacks 0002_two\.sql: run"):
        await check_schema(owner, [ONE, TWO])


async def test_a_file_that_fails_leaves_nothing(empty_database):
    owner = await empty_database.connect()
    broken = Migration(2, "broken", "CREATE TABLE public.half (); SELECT no_such_thing()")
    with pytest.raises(MigrationRefused, match=r"0002_broken\.sql: function no_such_thing\(\) does not exist"):
        await migrate(owner, [ONE, broken], {})
    assert await owner.fetchval("SELECT to_regclass('public.half')") is None
    assert await owner.fetchval("SELECT max(number) FROM glassgate_migration") == 1
    assert await owner.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY), "the lock was kept"


async def test_four_runners_at_once_apply_each_file_once(empty_database):
    owners = [await empty_database.connect() for _ in range(4)]
    done = await asyncio.gather(*(migrate(owner, [ONE, TWO], {}) for owner in owners))
    assert sum(line.startswith("applied") for lines in done for line in lines) == 2


async def test_roles_get_their_passwords_as_verifiers(empty_database, postgres_cluster):
    owner = await empty_database.connect()
    password = postgres_cluster.passwords["reader"]
    assert await ensure_roles(owner, {"reader": password}) == ["set the passwords of glassgate_reader"]
    reader = await empty_database.connect("reader")
    assert await reader.fetchval("SELECT current_user") == "glassgate_reader"
    superuser = await empty_database.connect("superuser")
    stored = await superuser.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'glassgate_reader'")
    assert stored.startswith("SCRAM-SHA-256$4096:")


async def test_a_superuser_in_a_roles_place_is_refused(empty_database):
    superuser = await empty_database.connect("superuser")
    await superuser.execute("ALTER ROLE glassgate_reader SUPERUSER")
    try:
        with pytest.raises(MigrationRefused, match="glassgate_reader is a superuser"):
            await ensure_roles(superuser, {})
    finally:
        await superuser.execute("ALTER ROLE glassgate_reader NOSUPERUSER")


@pytest.mark.parametrize(
    ("give", "take", "says"),
    [
        ("ALTER ROLE glassgate_proxy CREATEROLE", "ALTER ROLE glassgate_proxy NOCREATEROLE", "create roles"),
        ("ALTER ROLE glassgate_proxy REPLICATION", "ALTER ROLE glassgate_proxy NOREPLICATION", "replicate"),
        (
            "GRANT glassgate_approvals TO glassgate_proxy",
            "REVOKE glassgate_approvals FROM glassgate_proxy",
            "become glassgate_approvals",
        ),
        (
            "GRANT pg_read_all_data TO glassgate_proxy",
            "REVOKE pg_read_all_data FROM glassgate_proxy",
            "become pg_read_all_data",
        ),
    ],
)
async def test_a_role_that_may_more_than_it_is_granted_is_refused(empty_database, give, take, says):
    superuser = await empty_database.connect("superuser")
    owner = await empty_database.connect()
    await superuser.execute(give)
    try:
        with pytest.raises(MigrationRefused, match=f"glassgate_proxy may {says}"):
            await ensure_roles(owner, {})
    finally:
        await superuser.execute(take)
    await ensure_roles(owner, {})


async def test_strangers_may_not_connect(empty_database):
    superuser = await empty_database.connect("superuser")
    await ensure_roles(superuser, {})
    await superuser.execute("CREATE ROLE stranger LOGIN PASSWORD 'let-me-in'")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            server = empty_database.cluster.server
            await asyncpg.connect(server.dsn("stranger", "let-me-in", empty_database.name))
    finally:
        await superuser.execute("DROP ROLE stranger")


def test_the_verifier_is_what_rfc_5802_computes():
    # The vector of RFC 7677 §3: its server signature follows from the ServerKey that we must arrive at.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = scram_verifier("pencil", salt)
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096)
    server_key = base64.b64decode(verifier.rpartition(":")[2])
    assert server_key == hmac.digest(salted, b"Server Key", "sha256")
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(server_key, message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("password", ["", "pässword", "line\nbreak"])
def test_passwords_that_would_need_saslprep_are_refused(password):
    with pytest.raises(MigrationRefused, match="printable ASCII"):
        scram_verifier(password, bytes(16))


class Pooled:
    """A connection as a pooler hands it out: the process id of the greeting is the pooler's own."""

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def get_server_pid(self):
        return 7


async def test_a_pooler_is_refused(empty_database):
    owner = await empty_database.connect()
    await check_server(owner)
    with pytest.raises(MigrationRefused, match="a connection pooler stands in front"):
        await check_server(Pooled(owner))


async def test_an_old_server_is_refused(empty_database):
    owner = await empty_database.connect()

    class Old(Pooled):
        def get_server_version(self):
            return asyncpg.types.ServerVersion(14, 0, 0, "final", 0)

    with pytest.raises(MigrationRefused, match="PostgreSQL 15 or newer is needed; this server is 14"):
        await check_server(Old(owner))


def test_gaps_and_odd_names_are_refused(tmp_path):
    (tmp_path / "0001_first.sql").write_text("SELECT 1")
    (tmp_path / "0003_third.sql").write_text("SELECT 3")
    with pytest.raises(MigrationRefused, match=r"0003_third\.sql: number 0002 was expected here"):
        read_migrations(tmp_path)
    (tmp_path / "0003_third.sql").rename(tmp_path / "2_second.sql")
    with pytest.raises(MigrationRefused, match=r"2_second\.sql: a name like"):
        read_migrations(tmp_path)


async def test_the_real_files_apply_and_give_strangers_nothing(database):
    owner = await database.connect()
    await check_schema(owner, read_migrations())
    assert await migrate(owner, read_migrations(), {}) == ["the schema is up to date"]
    public = await owner.fetch("""
        SELECT n.nspname || '.' || c.relname AS what, a.privilege_type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
             aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        WHERE n.nspname IN ('ledger', 'approvals', 'public') AND a.grantee = 0
        UNION ALL
        SELECT n.nspname || '.' || p.proname, 'EXECUTE'
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
             aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE n.nspname IN ('ledger', 'approvals') AND a.grantee = 0
    """)
    assert [tuple(row) for row in public] == []


async def test_no_ordinary_role_can_change_or_delete_what_was_recorded(database):
    owner = await database.connect()
    for table in ("ledger.entry", "ledger.body", "ledger.tile"):
        for role in ("approvals", "proxy", "sequencer", "reader"):
            for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
                held = "SELECT has_table_privilege($1, $2, $3)"
                assert not await owner.fetchval(held, f"glassgate_{role}", table, privilege), (table, role, privilege)


async def test_the_proxy_reads_no_table(database):
    owner = await database.connect()
    readable = await owner.fetch("""
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('ledger', 'approvals', 'public') AND c.relkind IN ('r', 'v', 'm', 'p')
          AND has_table_privilege('glassgate_proxy', c.oid, 'SELECT')
    """)
    assert readable == []
