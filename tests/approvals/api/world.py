"""The real service on a real database behind the real API, on a port of its own; and the people who use it."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.api.app import make_app
from approvals.api.backend import Backend
from approvals.api.log_reading import LogReading
from approvals.api.routes import PREFIX
from approvals.api.schema import ConnectionInfo, LogInfo
from approvals.kinds import validate
from approvals.policy import Enrolled, Organisation, Policy, ReasonCode, Requesters, Rule, Slot
from approvals.service import Approvals
from approvals.store_definition import StoreDefinition
from glassgate.wiring.body_readers import BodyReaders
from glassgate.wiring.log_source import DatabaseLog
from ledger.batch import Writer
from ledger.genesis import bootstrap, started
from ledger.intake import Rules
from ledger.lookup import index_step
from ledger.note import Signer
from ledger.postgres import connect
from ledger.reader import LogReader
from ledger.sequencer import Sequencer
from ledger.server import log_routes
from tests.support.clock import MovedClock
from tests.support.postgres import Database

LOG = "test.glassgate.example/log/acme"
ENGINEER = Requesters(organisation="acme", roles=("engineer",))

POLICY = Policy(
    version=1,
    member="acme",
    trial=True,
    organisations={
        "acme": Organisation(kind="member", name="Acme AG"),
        "zurich": Organisation(kind="overseer", name="Zurich Data Oversight"),
        "geneva": Organisation(kind="overseer", name="Geneva Data Oversight"),
    },
    people={
        "ada": Enrolled(name="Ada Example", organisation="acme", roles=("engineer",)),
        "ben": Enrolled(name="Ben Example", organisation="acme", roles=("engineer",)),
        "sam": Enrolled(name="Sam Steward", organisation="acme", roles=("steward",)),
        "olga": Enrolled(name="Olga Overseer", organisation="zurich", roles=("overseer",)),
        "otto": Enrolled(name="Otto Overseer", organisation="zurich", roles=("overseer",)),
        "gina": Enrolled(name="Gina Overseer", organisation="geneva", roles=("overseer",)),
    },
    reasons={
        "incident": ReasonCode(text="Incident", ticket="^INC-[0-9]+$"),
        "support": ReasonCode(text="Support"),
    },
    stores={
        "customers-db": StoreDefinition(
            name="customers-db", protocol="postgres", upstream="127.0.0.1:5433/customers", actions=("read", "write")
        ),
        "crm-api": StoreDefinition(
            name="crm-api", protocol="http", upstream="http://127.0.0.1:8001", tls="off", hosts=("crm-api.localhost",)
        ),
    },
    rules=(
        Rule(
            name="customer data",
            stores=("customers-db", "crm-api"),
            requesters=ENGINEER,
            actions=("read", "write"),
            reasons=None,
            max_duration_s=3600,
            approvals=(Slot(source="overseer:zurich", count=1),),
            assurance="click",
        ),
    ),
)


class Numbered:
    """The log of this world: a real sequencer that works when it is told to, and the search table behind it."""

    def __init__(self, database: Database, clock: MovedClock) -> None:
        self.database = database
        self.host_key = Ed25519PrivateKey.generate()
        self.signer = Signer(LOG, Ed25519PrivateKey.generate())
        host_public = self.host_key.public_key().public_bytes_raw()
        rules = Rules(LOG, "acme", (host_public,), validate)
        self.sequencer = Sequencer(lambda: connect(database.dsn("sequencer")), self.signer, rules, clock)
        self._lock = asyncio.Lock()
        self._search: Any = None

    async def begin(self, service: Approvals, writer: Writer, now: datetime) -> None:
        """The log's first entry, and the writer's."""
        self._search = await self.database.connect("sequencer")
        await bootstrap(self._search, self.signer.verifier, "acme", self.host_key, now, trial=True)
        await service.record([started(writer, self.host_key, role="approvals", host="h1", version="0")])
        assert await self.sequencer.lead()

    async def number(self) -> None:
        """Number and index everything that is committed."""
        async with self._lock:
            while await self.sequencer.step():
                pass
            while await index_step(self._search):
                pass


@dataclass
class Doors:
    found: dict[str, ConnectionInfo] = field(default_factory=dict)
    url: str = ""
    key: str = ""

    def connections(self) -> Mapping[str, ConnectionInfo]:
        return self.found

    def log(self) -> LogInfo:
        return LogInfo(origin=LOG, verifier_key=self.key, url=self.url)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; fails unless this is a problem document."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        return str(self.json["code"])


@dataclass
class World:
    """`call` speaks to the API as somebody; `url` is where it is."""

    service: Approvals
    clock: MovedClock
    url: str
    doors: Doors
    http: aiohttp.ClientSession
    log: LogReading
    _sessions: dict[str, str] = field(default_factory=dict)

    async def session(self, person: str) -> str:
        """A session token of that person, made by logging in through the API."""
        if person not in self._sessions:
            code = await self.service.login_code(person)
            answer = await self.call("", "POST", "/login", {"code": code})
            assert answer.status == 200, answer.body
            self._sessions[person] = answer.json["session"]
        return self._sessions[person]

    async def call(
        self,
        who: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **raw: Any,
    ) -> Answer:
        """One request as `who` ("" = without a session). `data` and other raw arguments go to aiohttp as they are."""
        sent = dict(headers or {})
        if who:
            sent.setdefault("Authorization", f"Bearer {await self.session(who)}")
        if body is not None:
            raw["json"] = body
        async with self.http.request(method, self.url + PREFIX + path, headers=sent, **raw) as response:
            return Answer(response.status, response.headers, await response.read())

    async def asked(self, who: str = "ada", **changed: Any) -> dict[str, Any]:
        """A pending request."""
        answer = await self.call(who, "POST", "/requests", ASK | changed)
        assert answer.status == 201, answer.body
        return dict(answer.json)

    async def granted(self, who: str = "ada", **changed: Any) -> dict[str, Any]:
        """A grant issued and not yet active."""
        made = await self.asked(who, **changed)
        answer = await self.reviewed("olga", made, "approve")
        assert answer.status == 201, answer.body
        return dict(answer.json["grant"])

    async def reviewed(self, who: str, made: Mapping[str, Any], verdict: str, **more: Any) -> Answer:
        body = {"verdict": verdict, "shown_digest": made["digest"], "comment": "as discussed", **more}
        return await self.call(who, "POST", f"/requests/{made['id']}/reviews", body)


ASK: dict[str, Any] = {
    "store": "customers-db",
    "actions": ["read"],
    "reason": "incident",
    "ticket": "INC-42",
    "purpose": "order 1881 missing",
    "duration_s": 3600,
}


@asynccontextmanager
async def a_world(database: Database, policy: Policy = POLICY) -> Any:
    """Everything up, the policy adopted; down again at the end."""
    clock = MovedClock(datetime.now(UTC).replace(microsecond=0))
    writer = Writer(LOG, "acme", Ed25519PrivateKey.generate(), trial=True)
    service = Approvals(
        await database.pool("approvals"),
        writer,
        clock,
        issuer="https://gate.test",
        issuer_key=Ed25519PrivateKey.generate(),
        issuer_kid="k1",
    )
    numbered = Numbered(database, clock)
    await numbered.begin(service, writer, clock.now())
    await service.adopt_policy(policy, "sam")
    doors = Doors(key=numbered.signer.verifier.vkey)
    reader = await database.pool("reader")
    log = LogReading(DatabaseLog(reader), service, clock)

    @web.middleware
    async def number_first(request: web.Request, handler: Any) -> web.StreamResponse:
        if "/log/" in request.path:
            await numbered.number()
        return await handler(request)

    root = web.Application(middlewares=[number_first])
    root.add_subapp(PREFIX, make_app(Backend(service, service.queries, log, doors)))
    root.add_routes(log_routes(LogReader(reader), "/log", BodyReaders(service, log).may_read))
    runner = web.AppRunner(root)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    doors.url = f"http://{host}:{port}/log"
    async with aiohttp.ClientSession() as http:
        try:
            yield World(service, clock, f"http://{host}:{port}", doors, http, log)
        finally:
            await runner.cleanup()
            numbered.sequencer.leave()


def connection_to(store: str, protocol: Any, port: int, **changed: Any) -> ConnectionInfo:
    """A door for one store, for the tests that need one."""
    made = ConnectionInfo(
        store=store,
        protocol=protocol,
        host="127.0.0.1",
        port=port,
        ca="",
        base_url=f"http://127.0.0.1:{port}" if protocol == "http" else "",
        database=store if protocol == "postgres" else "",
        placement="L0",
    )
    return msgspec.structs.replace(made, **changed)
