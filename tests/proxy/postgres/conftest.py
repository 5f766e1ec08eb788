"""A gate in front of a real PostgreSQL with TLS; the recorder is the test's."""

import asyncio
import base64
import hashlib
import hmac
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import uvloop

from approvals.scope import Action
from approvals.store_definition import StoreDefinition
from glassgate.certificates import issue_server, make_ca
from proxy.postgres.listener import PostgresGate, TlsIdentity
from tests.proxy.fakes import FakeGate, Recorded
from tests.proxy.postgres.wire import Wire
from tests.support.postgres import TlsCluster, in_thread

SCHEMA = Path(__file__).parents[2] / "sql" / "customers.sql"
STORE = "customers-db"
KEY = "ggk_0123456789abcdefghjkmnpqrstvwxyz"


def verifier(password: str, salt: bytes = b"0123456789abcdef", iterations: int = 4096) -> str:
    """As PostgreSQL writes it; made here independently of the code under test."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Certificates:
    ca: Path
    tls: TlsIdentity


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("gate-tls")
    now = datetime.now(UTC)
    ca = make_ca("gate test CA", now)
    pair = issue_server(ca, ["localhost", "127.0.0.1"], now)
    for name, data in {"ca.pem": ca.certificate, "gate.pem": pair.certificate, "gate.key": pair.key}.items():
        (directory / name).write_bytes(data)
    return Certificates(directory / "ca.pem", TlsIdentity.load(directory / "gate.pem", directory / "gate.key"))


@pytest.fixture(scope="session")
def store_password(tls_cluster: TlsCluster) -> str:
    password = secrets.token_urlsafe(12)
    in_thread(lambda: tls_cluster.create_user("gate_writer", password))
    return password


@pytest.fixture(scope="session")
def store_template(tls_cluster: TlsCluster, store_password: str) -> str:
    async def prepare() -> None:
        await tls_cluster.execute("CREATE DATABASE customers_template")
        await tls_cluster.execute(SCHEMA.read_text(), database="customers_template")

    in_thread(prepare)
    return "customers_template"


@pytest.fixture
def store_database(tls_cluster: TlsCluster, store_template: str) -> Iterator[str]:
    name = f"c_{secrets.token_hex(4)}"
    in_thread(lambda: tls_cluster.execute(f"CREATE DATABASE {name} TEMPLATE {store_template}"))
    yield name
    in_thread(lambda: tls_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)"))


@dataclass
class Running:
    """The gate of one test and what it stands between."""

    gate: FakeGate
    listener: PostgresGate
    ca: Path
    cluster: TlsCluster
    database: str
    _open: list[Any] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def entries(self) -> list[Recorded]:
        return self.gate.recorder.entries

    def of(self, kind: str) -> list[Recorded]:
        return self.gate.recorder.of(kind)

    def executions(self) -> list[Recorded]:
        """Intents of what ran: not those of a Parse, Bind or Describe by itself."""
        return [e for e in self.of("access.intent") if e.facts["operation"] not in ("PARSE", "BIND", "DESCRIBE")]

    def texts(self) -> list[str]:
        return [e.content["text"] for e in self.executions() if e.content is not None]

    def outcome(self, intent: Recorded) -> dict[str, Any]:
        found = [e.facts for e in self.of("access.outcome") if e.facts["access"] == intent.id]
        assert len(found) == 1, found
        return found[0]

    def grant(self, *actions: Action, resources: tuple[str, ...] = ("*",), **options: Any) -> str:
        """A live grant for ada with an access key."""
        grant = self.gate.grant(store=STORE, actions=actions or ("read",), resources=resources, **options)
        self.gate.key(grant, secret=KEY, scram=verifier(KEY))
        return grant

    def tls_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    async def connect(self, **options: Any) -> Any:
        """An asyncpg connection through the gate, closed when the test ends."""
        settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "ada",
            "password": KEY,
            "database": STORE,
            "ssl": self.tls_context(),
            "timeout": 10,
        }
        connection = await asyncpg.connect(**(settings | options))
        self._open.append(connection)
        return connection

    async def plain(self) -> Wire:
        """A raw connection without TLS."""
        return self._kept(await Wire.plain(self.port))

    async def tls(self) -> Wire:
        """A raw connection with TLS, before the startup packet."""
        return self._kept(await Wire.tls(self.port, self.tls_context()))

    async def logged_in(self, **more: Any) -> Wire:
        wire = await self.tls()
        assert (await wire.log_in(KEY, **more))[-1] == ("Z", b"I")
        return wire

    def _kept(self, wire: Wire) -> Wire:
        self._open.append(wire)
        return wire

    async def psql(self, *arguments: str, stdin: str = "", program: str = "", dsn: str = "") -> tuple[int, str, str]:
        """Run psql through the gate: (exit code, stdout, stderr)."""
        words = dsn or f"host=localhost port={self.port} user=ada dbname={STORE}"
        process = await asyncio.create_subprocess_exec(
            program or str(self.cluster.psql),
            f"{words} sslmode=verify-full sslrootcert={self.ca}",
            "-X",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PGPASSWORD": KEY, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def close(self) -> None:
        for connection in self._open:
            connection.terminate()
        await self.listener.stop()
        await asyncio.sleep(0)  # transports are closed one turn after they are aborted


@pytest.fixture
async def running(
    tls_cluster: TlsCluster, store_database: str, store_password: str, certificates: Certificates
) -> AsyncIterator[Running]:
    definition = StoreDefinition(
        name=STORE,
        protocol="postgres",
        upstream=f"{tls_cluster.host}:{tls_cluster.port}/{store_database}",
        credential="customers",
        actions=("read", "write", "ddl"),
    )
    gate = FakeGate(
        definition,
        credentials={
            "customers": {
                "user": "gate_writer",
                "password": store_password,
                "upstream_ca_file": str(tls_cluster.ca_file),
            }
        },
    )
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listener = PostgresGate(gate, certificates.tls, [listening])  # type: ignore[arg-type]
    await listener.start()
    made = Running(gate, listener, certificates.ca, tls_cluster, store_database)
    yield made
    await made.close()
    listening.close()
