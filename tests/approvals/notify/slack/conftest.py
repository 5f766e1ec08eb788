"""A whole gate's Slack: the real service on a real database, the outbox, bolt, and the emulated Slack outside."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.notify.slack.app import Slack, build_slack
from approvals.outbox import Outbox
from approvals.policy import Enrolled, Organisation, Policy, ReasonCode, Requesters, Rule, Slot
from approvals.requests import RequestInput
from approvals.service import Approvals
from approvals.store_definition import StoreDefinition
from approvals.views import RequestView
from ledger.batch import Writer
from tests.slack_world.driver import Person
from tests.slack_world.server import SlackWorld
from tests.slack_world.trial import TRIAL, build
from tests.slack_world.world import Message
from tests.support.clock import MovedClock
from tests.support.postgres import Database

LOG = "test.glassgate.example/log/acme"
CHANNEL = "access-requests"

POLICY = Policy(
    version=1,
    member="acme",
    trial=True,
    organisations={
        "acme": Organisation(kind="member", name="Acme AG"),
        "zurich": Organisation(kind="overseer", name="Zurich Data Oversight"),
    },
    people={
        "ada": Enrolled(name="Ada Example", organisation="acme", roles=("engineer",), slack="T0ACME:U0ADA"),
        "sten": Enrolled(name="Sten Example", organisation="acme", roles=("steward",), slack="T0ACME:U0STEN"),
        "olga": Enrolled(name="Olga Example", organisation="zurich", roles=("overseer",), slack="T0ZURICH:U0OLGA"),
        "otto": Enrolled(name="Otto Example", organisation="zurich", roles=("overseer",), slack="T0ZURICH:U0OTTO"),
    },
    reasons={"incident": ReasonCode(text="Incident", ticket="INC-[0-9]+")},
    stores={
        "customers-db": StoreDefinition(
            name="customers-db", protocol="postgres", upstream="127.0.0.1:5433/customers", actions=("read", "write")
        ),
        "crm-api": StoreDefinition(name="crm-api", protocol="http", upstream="https://127.0.0.1:8443"),
    },
    rules=(
        Rule(
            name="customer data for incidents",
            stores=("customers-db", "crm-api"),
            requesters=Requesters(organisation="acme", roles=("engineer",)),
            actions=("read", "write"),
            reasons=("incident",),
            max_duration_s=4 * 3600,
            approvals=(Slot(source="overseer:zurich", count=1),),
            assurance="click",
        ),
    ),
)


@dataclass
class Gate:
    """`transport` is how Slack reaches it. `settle` delivers what the outbox holds; nothing is told without it."""

    transport: Literal["http", "socket"]
    service: Approvals
    outbox: Outbox
    slack: Slack
    outside: SlackWorld
    clock: MovedClock
    pool: Any

    def person(self, name: str) -> Person:
        return self.outside.user(name)

    async def settle(self) -> None:
        await self.outbox.deliver_due()

    def advance(self, seconds: float) -> None:
        """Time passes for everybody: Slack signs with the same clock that the gate checks with."""
        self.clock.advance(seconds)
        self.outside.world.clock.advance(seconds)

    async def ask(self, **changes: Any) -> RequestView:
        """Ada's request, made at the command line, delivered to Slack."""
        asked = {
            "store": "customers-db",
            "actions": ("read", "write"),
            "reason": "incident",
            "purpose": "order 1881 missing",
            "ticket": "INC-42",
            "duration_s": 3600,
        }
        view = await self.service.create_request("ada", RequestInput(**(asked | changes)), via="cli")
        await self.settle()
        return view

    async def shown(self, containing: str = "") -> Message:
        """The newest message in the overseers' channel."""
        return await self.person("olga").message(CHANNEL, containing)

    async def kinds(self) -> list[str]:
        """What has been recorded, in order, as the entries name it."""
        from ledger.batch import unpack

        rows = await self.pool.fetch("SELECT bytes FROM ledger.entry_batch ORDER BY id")
        return [entry.stub.kind for row in rows for entry in unpack(row["bytes"])]


async def make_gate(database: Database, transport: Literal["http", "socket"]) -> AsyncIterator[Gate]:
    clock = MovedClock(datetime.fromtimestamp(time.time(), UTC))
    pool = await database.pool("approvals", max_size=8)
    owner = await database.pool("owner")
    writer = Writer(LOG, "acme", Ed25519PrivateKey.generate(), trial=True)
    service = Approvals(
        pool,
        writer,
        clock,
        issuer="https://gate.test.glassgate.example",
        issuer_key=Ed25519PrivateKey.generate(),
        issuer_kid="k1",
    )
    await service.adopt_policy(POLICY, "sten")
    async with SlackWorld(build(TRIAL)) as outside:
        app = outside.world.apps[0]
        slack = build_slack(
            service,
            service.queries,
            pool,
            clock,
            mode=transport,
            channel="C0ACCESS",
            bot_token=app.bot_token,
            app_token=app.app_token,
            signing_secret=app.signing_secret,
            api_url=outside.url,
        )
        runner = web.AppRunner(web.Application(), shutdown_timeout=0.5)
        runner.app.add_routes(slack.http_routes())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        if transport == "http":
            app.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        outbox = Outbox(pool, [slack.channel], clock)
        await outbox.register()
        await slack.start()
        if transport == "socket":
            await outside.world.until(lambda: len(outside.hub.connections) == 2)
        yield Gate(transport, service, outbox, slack, outside, clock, owner)
        await slack.stop()
        await runner.cleanup()
    assert outside.world.failures == [], "the product did something that the emulator does not serve"


@pytest.fixture(params=["http", "socket"])
async def gate(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    """Every story in both transports."""
    async for made in make_gate(database, request.param):
        yield made


@pytest.fixture
async def http_gate(database: Database) -> AsyncIterator[Gate]:
    async for made in make_gate(database, "http"):
        yield made


@pytest.fixture
async def socket_gate(database: Database) -> AsyncIterator[Gate]:
    async for made in make_gate(database, "socket"):
        yield made
