"""A small world for the tests of approvals: a policy, a clock to move, the service on a real database."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.access_key import key_id, make, scram_verifier, sha256
from approvals.kinds import validate
from approvals.policy import Policy
from approvals.policy_file import parse
from approvals.requests import RequestInput
from approvals.service import Approvals
from approvals.views import GrantView, KeyView, RequestView
from ledger.batch import Writer, unpack
from ledger.entry import Entry
from ledger.postgres import append_in
from tests.support.postgres import Database

ISSUER = "https://gate.demo.glassgate.example"
LOG = "demo.glassgate.example/log/acme"
START = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)

POLICY = """
version = 1
member = "acme"
trial = true

[organisations.acme]
kind = "member"
name = "Acme AG"
[organisations.zurich]
kind = "overseer"
name = "Zurich Data Oversight"
[organisations.bern]
kind = "overseer"
name = "Bern Data Oversight"

[people.ada]
name = "Ada Example"
organisation = "acme"
roles = ["engineer"]
email = "ada@acme.example"
country = "CH"
slack = "T0ACME:U0ADA"
[people.ben]
name = "Ben Example"
organisation = "acme"
roles = ["engineer", "steward"]
[people.sam]
name = "Sam Example"
organisation = "acme"
roles = ["steward"]
[people.old]
name = "Old Example"
organisation = "acme"
roles = ["engineer", "steward"]
active = false
[people.olga]
name = "Olga Example"
organisation = "zurich"
roles = ["overseer"]
slack = "T0ZH:U0OLGA"
[people.otto]
name = "Otto Example"
organisation = "zurich"
roles = ["overseer"]
[people.zoe]
name = "Zoe Example"
organisation = "zurich"
roles = ["overseer"]
[people.bea]
name = "Bea Example"
organisation = "bern"
roles = ["overseer"]
[people.gone]
name = "Gone Example"
organisation = "zurich"
roles = ["overseer"]
active = false

[reasons.incident]
text = "Incident"
ticket = "INC-[0-9]+"
[reasons.other]
text = "Something else"

[stores.customers-db]
protocol = "postgres"
upstream = "127.0.0.1:5433/customers"
actions = ["read", "write"]
[stores.crm-api]
protocol = "http"
upstream = "http://127.0.0.1:8001"
tls = "off"
hosts = ["crm-api.localhost"]
[stores.vault]
protocol = "postgres"
upstream = "127.0.0.1:5434/vault"
[stores.ledgers]
protocol = "postgres"
upstream = "127.0.0.1:5435/ledgers"
[stores.lonely]
protocol = "postgres"
upstream = "127.0.0.1:5436/lonely"

[[rules]]
name = "customer data for incidents"
stores = ["customers-db", "crm-api"]
requesters = { organisation = "acme", roles = ["engineer"] }
actions = ["read", "write"]
reasons = ["incident"]
max_duration = "2h"
approvals = [{ from = "overseer:zurich", count = 1 }]
assurance = "click"

[[rules]]
name = "vault needs many"
stores = ["vault"]
requesters = { organisation = "acme", roles = ["engineer"] }
actions = ["read"]
max_duration = "1h"
approvals = [{ from = "overseer:zurich", count = 2 }, { from = "member" }]
assurance = "click"

[[rules]]
name = "ledgers by signature"
stores = ["ledgers"]
requesters = { organisation = "acme", roles = ["engineer"] }
actions = ["read"]
approvals = [{ from = "overseer:bern", count = 1 }]
"""


class MovingClock:
    """Time that stands until it is moved."""

    def __init__(self, time: datetime = START) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


def policy(*changes: tuple[str, str]) -> Policy:
    """The policy above, with texts replaced."""
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


def asked(**changes: Any) -> RequestInput:
    """An ask that every check passes."""
    fields: dict[str, Any] = {
        "store": "customers-db",
        "actions": ("read",),
        "reason": "incident",
        "purpose": "order 1881 is missing",
        "ticket": "INC-42",
        "duration_s": 3600,
    }
    return RequestInput(**(fields | changes))


class Recording:
    """append_in, and then: `fail` is raised; the step that finds `held` set stops there, before its commit."""

    def __init__(self, append: Any) -> None:
        self._append = append
        self.fail: Exception | None = None
        self.held: Held | None = None

    async def __call__(self, connection: Any, drafts: Sequence[Any], **options: Any) -> list[str]:
        ids: list[str] = await self._append(connection, drafts, **options)
        if self.fail is not None:
            raise self.fail
        held, self.held = self.held, None
        if held is not None:
            held.reached.set()
            await held.go.wait()
        return ids


class Held:
    """A step on the brink of its commit: everything written, every lock held."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()


@dataclass
class World:
    """The service and what stands around it."""

    database: Database
    pool: Any
    clock: MovingClock
    writer: Writer
    key: Ed25519PrivateKey
    append: Recording
    service: Approvals
    owner: Any

    def second(self, clock: MovingClock | None = None) -> Approvals:
        """Another process: the same database, its own writer, perhaps a clock that differs."""
        return _service(self.pool, make_writer(), clock or self.clock, self.key, self.append)

    async def interleave(self, first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run `first` to the brink of its commit, then `second` until it waits for the database, then let both go.
        Returns what each gave or raised."""
        held = self.append.held = Held()
        ahead = asyncio.ensure_future(first)
        await asyncio.wait_for(held.reached.wait(), 10)
        behind = asyncio.ensure_future(second)
        async with asyncio.timeout(10):
            while not await self.owner.fetchval(_WAITING):
                assert not behind.done(), "the second step was to wait for the first"
                await asyncio.sleep(0.005)
        held.go.set()
        return await asyncio.gather(ahead, behind, return_exceptions=True)

    async def entries(self) -> list[Entry]:
        """Everything recorded, in the order of the batches, each checked against the closed list of kinds."""
        rows = await self.owner.fetch("SELECT bytes FROM ledger.entry_batch ORDER BY id")
        found = [entry for row in rows for entry in unpack(row["bytes"])]
        for entry in found:
            content = entry.content.data if entry.content is not None else None
            validate(entry.stub.kind, entry.stub.kv, entry.facts.data, content)
        return found

    async def kinds(self) -> list[str]:
        return [entry.stub.kind for entry in await self.entries()]

    async def facts(self, kind: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(e.facts.data) for e in await self.entries() if e.stub.kind == kind]

    async def topics(self) -> list[str]:
        rows = await self.owner.fetch("SELECT topic FROM approvals.outbox ORDER BY id")
        return [row["topic"] for row in rows]

    async def version(self) -> int:
        return int(await self.owner.fetchval("SELECT version FROM approvals.sync_version"))

    async def counts(self) -> tuple[int, ...]:
        """Rows of everything a step may write: equal before and after a step that was rolled back."""
        tables = "request", "request_change", "review", "access_grant", "grant_change", "access_key", "outbox"
        rows = [await self.owner.fetchval(f"SELECT count(*) FROM approvals.{table}") for table in tables]
        entries = await self.owner.fetchval("SELECT count(*) FROM ledger.entry_batch")
        return (*rows, entries, await self.version())

    async def request(self, person: str = "ada", **changes: Any) -> RequestView:
        return await self.service.create_request(person, asked(**changes), "cli")

    async def approve(self, request: RequestView, person: str = "olga", **options: Any) -> RequestView:
        return await self.service.review(
            person, request.id, "approve", "fine", options.get("narrow"), request.digest, "slack"
        )

    async def granted(self, person: str = "ada", **changes: Any) -> GrantView:
        view = await self.approve(await self.request(person, **changes))
        assert view.grant is not None
        return view.grant

    async def active(self, person: str = "ada", **changes: Any) -> GrantView:
        return await self.service.activate(person, (await self.granted(person, **changes)).id, "cli")

    async def key_for(self, grant: GrantView, seed: int = 1, name: str = "") -> KeyView:
        access_key = make(bytes([seed]) * 20)
        return await self.service.register_key(
            grant.subject,
            grant.id,
            name or key_id(bytes([seed]) * 5),
            sha256(access_key),
            scram_verifier(access_key, bytes([seed]) * 16),
        )


_WAITING = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'glassgate_approvals' AND wait_event_type = 'Lock'
"""


def make_writer() -> Writer:
    return Writer(LOG, "acme", Ed25519PrivateKey.generate(), release="0" * 64, trial=True)


def _service(pool: Any, writer: Writer, clock: MovingClock, key: Ed25519PrivateKey, append: Recording) -> Approvals:
    return Approvals(pool, writer, clock, issuer=ISSUER, issuer_key=key, issuer_kid="k1", append=append)


async def make_world(database: Database) -> World:
    clock, writer, key = MovingClock(), make_writer(), Ed25519PrivateKey.generate()
    pool = await database.pool("approvals", min_size=2, max_size=10)
    append = Recording(append_in)
    service = _service(pool, writer, clock, key, append)
    world = World(database, pool, clock, writer, key, append, service, await database.connect("superuser"))
    await service.adopt_policy(policy(), "init")
    return world
