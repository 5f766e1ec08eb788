"""Brings the database to this program's version: plain SQL files, forward only, each in one transaction.

    migrations/NNNN_name.sql      0001, 0002, ... without gaps; an applied file is never edited

What was applied stands in `public.glassgate_migration` with its SHA-256. The login roles are made first, so
that the files only GRANT. Runners take turns by an advisory lock which they poll: waiting inside
pg_advisory_lock() while the holder builds an index deadlocks.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import asyncpg

__all__ = [
    "ROLES",
    "TABLE",
    "Migration",
    "MigrationRefused",
    "apply",
    "check_schema",
    "check_server",
    "ensure_roles",
    "main",
    "migrate",
    "read_migrations",
    "scram_verifier",
]

ROLES: Final = {
    "approvals": "glassgate_approvals",
    "proxy": "glassgate_proxy",
    "sequencer": "glassgate_sequencer",
    "reader": "glassgate_reader",
}
MIN_SERVER: Final = 15
LOCK_KEY: Final = int.from_bytes(hashlib.sha256(b"glassgate migrate").digest()[:8], "big", signed=True)
LOCK_POLL_S: Final = 0.1
LOCK_WAIT_S: Final = 60.0
_FILE: Final = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_SCRAM_ITERATIONS: Final = 4096

TABLE: Final = """
CREATE TABLE IF NOT EXISTS public.glassgate_migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON public.glassgate_migration FROM PUBLIC;
GRANT SELECT ON public.glassgate_migration TO glassgate_approvals, glassgate_sequencer, glassgate_reader;
COMMENT ON TABLE public.glassgate_migration IS
    'Which migration files were applied, with the digest each had. Not for the proxy, which reads no table.';
"""


class MigrationRefused(Exception):
    """The database or the files are not as they must be; nothing was changed by the step that refused."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def file(self) -> str:
        return f"{self.number:04d}_{self.name}.sql"


def read_migrations(directory: Traversable | None = None) -> tuple[Migration, ...]:
    """The files in order, numbered 1, 2, 3, ...; raises MigrationRefused on a gap or a name of another form."""
    found = []
    for entry in (directory or files("migrations")).iterdir():
        if entry.name.endswith(".sql"):
            name = _FILE.fullmatch(entry.name)
            if name is None:
                raise MigrationRefused(f"migrations/{entry.name}: a name like 0001_what_it_does.sql was expected")
            found.append(Migration(int(name[1]), name[2], entry.read_text()))
    found.sort(key=lambda migration: migration.number)
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationRefused(f"migrations/{migration.file}: number {expected:04d} was expected here")
    return tuple(found)


async def check_server(connection: Any) -> None:
    """Refuse a server that is too old, and any pooler in between.

    LISTEN, advisory locks and one writer per connection need the server itself; behind a pooler in
    transaction mode they fail silently. A pooler answers with a process id of its own making.
    """
    version = connection.get_server_version()
    if version.major < MIN_SERVER:
        raise MigrationRefused(f"PostgreSQL {MIN_SERVER} or newer is needed; this server is {version.major}")
    if await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid():
        raise MigrationRefused("a connection pooler stands in front of this server; name the server itself in the DSN")


async def check_schema(connection: Any, migrations: Sequence[Migration]) -> None:
    """For a process that is about to serve: the database must have this program's files, or later ones.

    Later ones are accepted, because a schema change comes first and the release before it keeps running.
    """
    if await connection.fetchval("SELECT to_regclass('public.glassgate_migration')") is None:
        raise MigrationRefused("this database has no glassgate schema yet: run `glassgate migrate`")
    applied = await _applied(connection)
    _refuse_edited(applied, migrations)
    missing = [migration.file for migration in migrations if migration.number not in applied]
    if missing:
        raise MigrationRefused(f"this database lacks {', '.join(missing)}: run `glassgate migrate`")


async def migrate(connection: Any, migrations: Sequence[Migration], passwords: Mapping[str, str]) -> list[str]:
    """Make the roles, apply what is missing, return what was done as lines for a person.

    `connection` is the owner's; `passwords` by role name (approvals, proxy, sequencer, reader), each optional.
    """
    await check_server(connection)
    await _lock(connection)
    try:
        done = await ensure_roles(connection, passwords)
        await connection.execute(TABLE)
        applied = await _applied(connection)
        newest = max(applied, default=0)
        if newest > len(migrations):
            raise MigrationRefused(
                f"this database is at {newest:04d}, newer than this program ({len(migrations):04d}); update the program"
            )
        _refuse_edited(applied, migrations)
        for migration in migrations:
            if migration.number not in applied:
                await apply(connection, migration)
                done.append(f"applied {migration.file}")
        if not any(line.startswith("applied") for line in done):
            done.append("the schema is up to date")
        return done
    finally:
        await connection.fetchval("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def apply(connection: Any, migration: Migration) -> None:
    """One file in one transaction, with its row; a failure leaves nothing. Raises MigrationRefused."""
    try:
        async with connection.transaction():
            # A table that somebody holds must fail this migration, not queue every reader behind it.
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO public.glassgate_migration (number, name, sha256) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as cause:
        raise MigrationRefused(f"migrations/{migration.file}: {cause} (SQLSTATE {cause.sqlstate})") from cause


async def ensure_roles(connection: Any, passwords: Mapping[str, str]) -> list[str]:
    """Create the four login roles or set their passwords, and let them, not PUBLIC, connect to this database."""
    done: list[str] = []
    set_for: list[str] = []
    for role, name in ROLES.items():
        password = passwords.get(role)
        row = await connection.fetchrow(_ROLE, name)
        if row is None:
            await connection.execute(f"CREATE ROLE {name} LOGIN NOINHERIT")
            done.append(f"created role {name}")
        elif row["rolsuper"] or row["rolbypassrls"]:
            raise MigrationRefused(f"role {name} is a superuser or bypasses row security; it must be neither")
        elif row["more"]:
            # A role that was here before us. Who may make roles, or become the owner, undoes what the files grant.
            raise MigrationRefused(f"role {name} may {row['more']}; it must not: what it may do, the migrations grant")
        if password:
            # The verifier, never the password: a statement may be logged by the server.
            await connection.execute(f"ALTER ROLE {name} PASSWORD '{scram_verifier(password, os.urandom(16))}'")
            set_for.append(name)
    if set_for:
        done.append(f"set the passwords of {', '.join(set_for)}")
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {', '.join(ROLES.values())}")
    return done


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores for a password (RFC 5803's parts in its own form). Printable ASCII only."""
    if not password or not all(" " <= char <= "~" for char in password):
        raise MigrationRefused("a database role's password must be printable ASCII")  # else SASLprep would matter
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


_ROLE: Final = """
SELECT rolsuper, rolbypassrls, CASE
    WHEN rolcreaterole THEN 'create roles'
    WHEN rolreplication THEN 'replicate'
    WHEN pg_has_role(rolname, current_user, 'MEMBER') THEN 'become ' || quote_ident(current_user)
    ELSE (SELECT 'become ' || quote_ident(other.rolname) FROM pg_roles other
          WHERE other.rolname <> r.rolname AND pg_has_role(r.rolname, other.oid, 'MEMBER')
            AND (other.rolsuper OR other.rolname ~ '^(glassgate_|pg_read_|pg_write_|pg_execute_)') LIMIT 1)
    END AS more
FROM pg_roles r WHERE rolname = $1
"""


async def _lock(connection: Any) -> None:
    for _ in range(int(LOCK_WAIT_S / LOCK_POLL_S)):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            return
        await asyncio.sleep(LOCK_POLL_S)
    raise MigrationRefused(f"another migration has been running for more than {LOCK_WAIT_S:.0f} s")


async def _applied(connection: Any) -> dict[int, tuple[str, str]]:
    rows: Iterable[Any] = await connection.fetch("SELECT number, name, sha256 FROM public.glassgate_migration")
    return {row["number"]: (row["name"], row["sha256"]) for row in rows}


def _refuse_edited(applied: Mapping[int, tuple[str, str]], migrations: Sequence[Migration]) -> None:
    for migration in migrations:
        name, digest = applied.get(migration.number, (migration.name, migration.sha256))
        if (name, digest) != (migration.name, migration.sha256):
            raise MigrationRefused(
                f"migrations/{migration.file} was edited after it had been applied as {migration.number:04d}_{name}.sql"
            )


def main(config_file: Path) -> list[str]:
    """`glassgate migrate`. Raises ConfigFaults, MigrationRefused, PostgresFailed, KeyRefused."""
    from glassgate.config import load
    from glassgate.database import migrate_database, open_database

    config = load(config_file, os.environ)
    with open_database(config, join=True) as dsns:
        return asyncio.run(migrate_database(dsns, config.keys.dir))
