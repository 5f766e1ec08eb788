"""Which database this installation uses, and each role's own way into it."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from glassgate.embedded_postgres import EmbeddedPostgres, PostgresFailed, PostgresInUse, default_directory
from glassgate.keys import read_password
from glassgate.migrate import ROLES, migrate, read_migrations, scram_verifier
from glassgate.settings import Config
from glassgate.values import Secret

__all__ = ["DatabaseMissing", "Dsns", "configured", "embedded", "migrate_database", "open_database"]

OWNER: Final = "glassgate_owner"
DATABASE: Final = "glassgate"


class DatabaseMissing(PostgresFailed):
    """A role has no way into a database; the text names the setting that would give it one."""


@dataclass(frozen=True, slots=True)
class Dsns:
    """By role: owner, approvals, proxy, sequencer, reader. `get` raises DatabaseMissing for one that was not given.

    `runs` says whether the server is there as far as that can be known without asking it: an embedded one is a
    child of this process, and nobody would start it again.
    """

    by_role: dict[str, Secret]
    runs: Callable[[], bool] = lambda: True

    def get(self, role: str) -> str:
        found = self.by_role.get(role)
        if not found:
            raise DatabaseMissing(f"database.dsn_{role} is not set, and neither is database.dsn_owner")
        return found.reveal()


def embedded(config: Config) -> EmbeddedPostgres | None:
    """The embedded PostgreSQL of this installation, not started; None where any DSN is configured."""
    database = config.database
    if any((database.dsn_owner, *(getattr(database, f"dsn_{role}") for role in ROLES))):
        return None
    return EmbeddedPostgres(database.embedded_dir or default_directory(config.directory))


def configured(config: Config) -> Dsns:
    """The DSNs of the configuration; a role without one of its own gets the owner's address with its own name and
    the password in keys.dir."""
    found = {"owner": config.database.dsn_owner}
    for role, name in ROLES.items():
        own: Secret = getattr(config.database, f"dsn_{role}")
        password = read_password(config.keys.dir, role)
        if own:
            found[role] = own
        elif config.database.dsn_owner and password:
            found[role] = Secret(_with_login(config.database.dsn_owner.reveal(), name, password))
    return Dsns(found)


@contextmanager
def open_database(config: Config, *, join: bool = False) -> Iterator[Dsns]:
    """The DSNs to use, with the embedded PostgreSQL running around them where there is no other. Main thread only,
    outside any event loop. `join`: one that another process of ours runs will do. Raises PostgresFailed,
    KeyRefused, DatabaseMissing."""
    server = embedded(config)
    if server is None:
        yield configured(config)
        return
    passwords = {role: read_password(config.keys.dir, role) for role in ("owner", *ROLES)}
    missing = [role for role, password in passwords.items() if not password]
    if missing:
        raise DatabaseMissing(f"{config.keys.dir / f'db-{missing[0]}.password'} is missing: `glassgate init` makes it")
    names = {"owner": OWNER} | ROLES
    dsns = Dsns({role: Secret(server.dsn(name, passwords[role], DATABASE)) for role, name in names.items()})
    try:
        server.start()
    except PostgresInUse:
        if not join:
            raise
        yield dsns
        return
    try:
        asyncio.run(_prepare(server, passwords["owner"]))
        yield replace(dsns, runs=lambda: server.running)
    finally:
        server.stop()


async def _prepare(server: EmbeddedPostgres, password: str) -> None:
    """The owner and its database. The owner is no superuser: what migrations may do here they may do anywhere."""
    superuser = await asyncpg.connect(server.superuser_dsn())
    try:
        if not await superuser.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", OWNER):
            await superuser.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
        verifier = scram_verifier(password, os.urandom(16))
        await superuser.execute(f"ALTER ROLE {OWNER} PASSWORD '{verifier}'")
        if not await superuser.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await superuser.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await superuser.close()


async def migrate_database(dsns: Dsns, keys: Path) -> list[str]:
    """`glassgate migrate`: make the roles and apply what is missing; the lines say what was done."""
    owner = await asyncpg.connect(dsns.get("owner"), server_settings={"application_name": "glassgate migrate"})
    try:
        return await migrate(owner, read_migrations(), {role: read_password(keys, role) for role in ROLES})
    finally:
        await owner.close()


def _with_login(dsn: str, user: str, password: str) -> str:
    """The same server and database under another login."""
    parts = urlsplit(dsn)
    _, at, host = parts.netloc.rpartition("@")
    place = host if at else parts.netloc
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"))
