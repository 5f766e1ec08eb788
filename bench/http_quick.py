"""CPU per request of the HTTP gate's process: is the shape of the code right?

    python -m bench.http_quick                32 and 256 keep-alive connections, 4 s each, three recorders
    QUICK=1 python -m bench.http_quick        the same, 1.5 s each
    PROFILE=out.prof python -m bench.http_quick   profiles the gate's process as well (figures are then worthless)

Everything on: token from the cache, grant, classifier, scope, intent before and outcome after, barrier, both parsers,
both sides on loopback without TLS, answers of 1 KiB. The gate, the store and the load are a process each; the figure is
the gate's own CPU time (user + system) over the requests answered. Recorders:

    encode     entries are encoded and answered in the next turn of the loop: the relay and its decisions alone
    memory     the real recorder and writer (commitments, chain, signature per flush), nothing stored
    database   the same into PostgreSQL, which shares the cores; no sequencer runs

The last line is one JSON object; `cpu_us_per_request` is the database's at 256 connections.
"""

import asyncio
import cProfile
import gc
import json
import multiprocessing
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals import tokens
from approvals.ids import Prefix, new_id
from approvals.scope import Scope
from approvals.store_definition import StoreDefinition, definition_digest
from glassgate.clock import SystemClock
from glassgate.embedded_postgres import EmbeddedPostgres
from glassgate.migrate import ROLES, migrate, read_migrations
from ledger.batch import Writer
from ledger.encoding import encode
from ledger.entry import Draft
from ledger.postgres import DatabaseSink
from ledger.storage import Batch
from proxy.credentials import Credentials
from proxy.gate import Gate
from proxy.http.server import HttpGate
from proxy.live_grants import GrantRow, LiveGrants, Sync
from proxy.recorder import Recorder
from proxy.refusals import Refusals
from proxy.stores import Stores
from proxy.token_cache import TokenVerifier

ORIGIN = "bench.example/log/acme"
BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: 1024\r\n\r\n" + BODY
CLOCK = SystemClock()
RECORDERS = ("encode", "memory", "database")


class Store(asyncio.Protocol):
    """Answers every request at once."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class EncodingRecorder:
    """Encodes, and says yes in the next turn of the loop."""

    able = True

    def __init__(self) -> None:
        self._number = 0

    def record(self, draft: Draft, done: Callable[[bool], None] | None = None) -> str:
        encode(draft.facts)
        if draft.content is not None:
            encode(draft.content)
        self._number += 1
        if done is not None:
            asyncio.get_running_loop().call_soon(done, True)
        return f"00000000-0000-7000-8000-{self._number:012d}"


class NoSink:
    async def append(self, batch: Batch) -> None:
        await asyncio.sleep(0)


def store_process(pipe: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Store, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def recorder_of(kind: str, dsn: str) -> Any:
    if kind == "encode":
        return EncodingRecorder()
    sink = NoSink() if kind == "memory" else DatabaseSink.to(dsn)
    writer = Writer(ORIGIN, "acme", Ed25519PrivateKey.generate())
    recorder = Recorder(writer, sink, CLOCK, lambda: os._exit(1))
    recorder.start()
    return recorder


def view_of_grants(definition: StoreDefinition, grant: str, scope: Scope) -> LiveGrants:
    """One active grant, and contact for the next hour."""
    now = CLOCK.now()
    row = GrantRow(
        grant=grant,
        request=fresh_id("req"),
        subject="ada",
        store=definition.name,
        scope=scope,
        state="active",
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        store_def=definition_digest(definition),
        decision="d" * 64,
        assurance="click",
        cnf="",
    )
    live = LiveGrants()
    live.apply(Sync(version=1, full=True, grants=[row], keys=[]), CLOCK.monotonic() + 3600)
    return live


def fresh_id(prefix: Prefix) -> str:
    return new_id(prefix, int(CLOCK.unix() * 1000), os.urandom(10))


def gate_and_token(kind: str, upstream: str, dsn: str) -> tuple[Gate, str]:
    definition = StoreDefinition(
        name="crm-api",
        protocol="http",
        upstream=upstream,
        tls="off",
        credential="crm",
        hosts=("crm-api.localhost",),
        reads=("GET /crm/*",),
        overlap_reads=os.environ.get("OVERLAP") == "1",
    )
    issuer = tokens.Issuer("https://gate.bench.example", Ed25519PrivateKey.generate(), "k1")
    recorder, grant, scope = recorder_of(kind, dsn), fresh_id("gr"), Scope("crm-api", ("read",), ("/crm/*",))
    gate = Gate(
        stores=Stores((definition,), "00" * 32),
        live=view_of_grants(definition, grant, scope),
        recorder=recorder,
        clock=CLOCK,
        credentials=Credentials({"crm": {"bearer": "store-secret"}}, CLOCK, {}),
        tokens=TokenVerifier({"k1": issuer.key.public_key()}, issuer.name, CLOCK),
        refusals=Refusals(recorder, CLOCK, os.urandom(32)),
        when_fresh=lambda callback, timeout_s=2.0: callback,
        set_policy=lambda digest: None,
    )
    now = CLOCK.now()
    token, _ = tokens.mint(
        issuer,
        subject="ada",
        scope=scope,
        grant=grant,
        decision="d" * 64,
        jti=fresh_id("jti"),
        now=now,
        not_after=now + timedelta(hours=1),
    )
    return gate, token


def gate_process(pipe: Connection, kind: str, upstream: str, dsn: str) -> None:
    """Serves until told to stop; answers every other message with its CPU seconds so far."""

    async def run() -> None:
        gate, token = gate_and_token(kind, upstream, dsn)
        http = HttpGate(gate, "127.0.0.1:0")
        await http.start()
        gc.collect()
        gc.freeze()
        pipe.send((http.address[1], token))
        stop = asyncio.Event()

        def asked() -> None:
            if pipe.recv() == "stop":
                stop.set()
            else:
                pipe.send(time.process_time())

        asyncio.get_running_loop().add_reader(pipe.fileno(), asked)
        await stop.wait()
        await http.stop()

    if os.environ.get("PROFILE"):
        profiler = cProfile.Profile()
        profiler.runcall(uvloop.run, run())
        profiler.dump_stats(f"{os.environ['PROFILE']}.{kind}")
    else:
        uvloop.run(run())


class Load(asyncio.Protocol):
    """One connection: asks again as soon as it has its answer."""

    def __init__(self, request: bytes, latencies: list[float], stop_at: float) -> None:
        self.request = request
        self.latencies = latencies
        self.stop_at = stop_at
        self.received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < len(BODY):
            return
        if not head.startswith(b"HTTP/1.1 200") or len(body) != len(BODY):
            raise RuntimeError(f"not the answer that was asked for: {self.received[:300]!r}")
        self.received = b""
        now = time.perf_counter()
        self.latencies.append(now - self.asked)
        if now < self.stop_at:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(None)


async def load(port: int, token: str, connections: int, seconds: float) -> list[float]:
    request = (
        f"GET /crm/people.json?id=1881 HTTP/1.1\r\nHost: crm-api.localhost:{port}\r\n"
        "User-Agent: bench\r\nAccept: */*\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    stop_at = time.perf_counter() + seconds
    made = [
        await loop.create_connection(lambda: Load(request, latencies, stop_at), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    return sorted(latencies)


def measure(kind: str, upstream: str, dsn: str, seconds: float) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=gate_process, args=(theirs, kind, upstream, dsn))
    process.start()
    result: dict[str, float] = {}
    try:
        port, token = ours.recv()
        uvloop.run(load(port, token, 8, 0.3))  # caches, pools
        for connections in (32, 256):
            ours.send("cpu")
            before = ours.recv()
            begun = time.perf_counter()
            latencies = uvloop.run(load(port, token, connections, seconds))
            took = time.perf_counter() - begun
            ours.send("cpu")
            cpu = (ours.recv() - before) / len(latencies) * 1e6
            rate = len(latencies) / took
            p50, p99 = (latencies[len(latencies) * part // 100] * 1000 for part in (50, 99))
            print(
                f"{kind:9} c{connections:<4} {rate:8,.0f} rps  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {cpu:6.1f} us CPU"
            )
            result[f"{kind}_c{connections}_cpu_us"] = round(cpu, 1)
            result[f"{kind}_c{connections}_rps"] = round(rate)
        ours.send("stop")
        process.join(10)
    finally:
        process.kill()
    return result


async def prepare(server: EmbeddedPostgres, passwords: dict[str, str]) -> None:
    superuser = await asyncpg.connect(server.superuser_dsn())
    await superuser.execute("CREATE DATABASE bench")
    await superuser.close()
    owner = await asyncpg.connect(server.superuser_dsn("bench"))
    await migrate(owner, read_migrations(), passwords)
    await owner.close()


def main() -> None:
    seconds = 1.5 if os.environ.get("QUICK") == "1" else 4.0
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    store = context.Process(target=store_process, args=(theirs,))
    store.start()
    passwords = {role: secrets.token_urlsafe(12) for role in ROLES}
    result: dict[str, Any] = {}
    try:
        upstream = f"http://127.0.0.1:{ours.recv()}"
        with tempfile.TemporaryDirectory(prefix="gg-") as directory:
            Path(directory).chmod(0o711)
            with EmbeddedPostgres(Path(directory) / "pg") as server:
                uvloop.run(prepare(server, passwords))
                dsn = server.dsn(ROLES["proxy"], passwords["proxy"], "bench")
                for kind in RECORDERS:
                    result |= measure(kind, upstream, dsn, seconds)
    finally:
        store.kill()
    result["cpu_us_per_request"] = result["database_c256_cpu_us"]
    print(json.dumps(result | {"python": platform.python_version(), "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
