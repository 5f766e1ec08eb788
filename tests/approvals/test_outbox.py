"""The outbox against a real database: at least once, in order per request, and nothing stops anything else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals.notify.channel import Event, Undeliverable, Unreachable
from approvals.outbox import ATTEMPTS, Outbox
from tests.support.postgres import Database


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


class Recording:
    """A channel that remembers what it was told, and fails as its script says."""

    def __init__(self, name: str = "slack") -> None:
        self.name = name
        self.told: list[Event] = []
        self.tried: list[int] = []
        self.script: dict[int, list[Exception]] = {}
        self.always: Exception | None = None

    async def deliver(self, event: Event) -> None:
        self.tried.append(event.id)
        if self.always is not None:
            raise self.always
        if self.script.get(event.id):
            raise self.script[event.id].pop(0)
        self.told.append(event)

    @property
    def topics(self) -> list[tuple[str, str]]:
        return [(event.request, event.topic) for event in self.told]


async def write(pool: Any, clock: Clock, request: str, topic: str, **more: str) -> int:
    """As the service does it: one row, in the service's role."""
    number: int = await pool.fetchval(
        "INSERT INTO approvals.outbox (topic, payload, created_at) "
        "VALUES ($1, jsonb_build_object('request', $2::text, 'grant', $3::text), $4) RETURNING id",
        topic,
        request,
        more.get("grant"),
        clock.now(),
    )
    return number


@pytest.fixture
async def pool(database: Database) -> Any:
    return await database.pool("approvals")


async def test_delivers_in_order_with_what_the_row_says(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    await write(pool, clock, "req_a", "request.created")
    await write(pool, clock, "req_b", "request.created")
    await write(pool, clock, "req_a", "request.approved", grant="gr_a")
    assert await outbox.deliver_due() == 3
    assert channel.topics == [
        ("req_a", "request.created"),
        ("req_b", "request.created"),
        ("req_a", "request.approved"),
    ]
    assert [event.grant for event in channel.told] == ["", "", "gr_a"]
    assert await outbox.deliver_due() == 0


async def test_a_rolled_back_step_tells_nobody(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await write(connection, clock, "req_a", "request.created")
        await transaction.rollback()
    assert await outbox.deliver_due() == 0


async def test_a_row_that_commits_late_is_not_missed(pool: Any) -> None:
    """Its id is lower than that of a row delivered before it became visible."""
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    async with pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        late = await write(slow, clock, "req_a", "request.created")
        early = await write(pool, clock, "req_b", "request.created")
        assert await outbox.deliver_due() == 1
        await transaction.commit()
    assert late < early
    assert await outbox.deliver_due() == 1
    assert [event.id for event in channel.told] == [early, late]


async def test_an_unreachable_channel_pauses_and_loses_nothing(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    channel.always = Unreachable("down")
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    for number in range(5):
        await write(pool, clock, f"req_{number}", "request.created")
    assert await outbox.deliver_due() == 1, "one try, then the whole channel waits"
    for _ in range(60):
        clock.advance(minutes=1)
        await outbox.deliver_due()
    assert not channel.told
    assert await outbox.parked() == [], "an hour of outage parks nothing"
    channel.always = None
    clock.advance(minutes=1)
    await outbox.deliver_due()
    assert sorted(event.request for event in channel.told) == [f"req_{number}" for number in range(5)]


async def test_the_pause_survives_a_restart(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    channel.always = Unreachable("rate limited", retry_after_s=30)
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    await write(pool, clock, "req_a", "request.created")
    await outbox.deliver_due()
    channel.always = None
    restarted = Outbox(pool, [channel], clock)
    await restarted.register()
    clock.advance(seconds=29)
    assert await restarted.deliver_due() == 0
    clock.advance(seconds=2)
    assert await restarted.deliver_due() == 1
    assert channel.topics == [("req_a", "request.created")]


async def test_poison_is_parked_visibly_and_lets_the_next_pass(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    poison = await write(pool, clock, "req_a", "request.created")
    await write(pool, clock, "req_a", "request.denied")
    await write(pool, clock, "req_b", "request.created")
    channel.script[poison] = [Undeliverable("invalid_blocks")] * ATTEMPTS
    await outbox.deliver_due()
    assert channel.topics == [("req_b", "request.created")], "another request does not wait for it"
    for _ in range(ATTEMPTS):
        clock.advance(minutes=6)
        await outbox.deliver_due()
    assert channel.tried.count(poison) == ATTEMPTS
    assert channel.topics[1:] == [("req_a", "request.denied")], "its own story goes on without it"
    parked = await outbox.parked()
    assert [(one.channel, one.event.id, one.attempts) for one in parked] == [("slack", poison, ATTEMPTS)]
    assert parked[0].last_error == "Undeliverable: invalid_blocks"
    assert await outbox.release("slack", poison)
    assert not await outbox.release("slack", poison)
    assert await outbox.deliver_due() == 1
    assert await outbox.parked() == []


async def test_an_outage_does_not_count_towards_parking(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    event = await write(pool, clock, "req_a", "request.created")
    channel.script[event] = [*[Unreachable("down")] * 20, Undeliverable("no")]
    for _ in range(21):
        clock.advance(minutes=2)
        await outbox.deliver_due()
    assert await outbox.parked() == []
    clock.advance(minutes=2)
    await outbox.deliver_due()
    assert channel.topics == [("req_a", "request.created")]


async def test_a_bug_in_a_channel_counts_as_a_refusal(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    bad = await write(pool, clock, "req_a", "request.created")
    channel.script[bad] = [KeyError("nothing_secret")]
    await write(pool, clock, "req_b", "request.created")
    await outbox.deliver_due()
    clock.advance(seconds=2)
    await outbox.deliver_due()
    assert [request for request, _ in channel.topics] == ["req_b", "req_a"]


async def test_an_event_that_takes_its_channel_down_each_time_does_not_starve_others(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    bad = await write(pool, clock, "req_bad", "request.created")
    for number in range(3):
        await write(pool, clock, f"req_{number}", "request.created")
    channel.script[bad] = [Unreachable("HTTP 500")] * 10_000
    for _ in range(20):
        clock.advance(seconds=30)
        await outbox.deliver_due()
    assert [request for request, _ in channel.topics] == ["req_0", "req_1", "req_2"]
    clock.advance(days=4)
    await outbox.deliver_due()
    assert [one.event.id for one in await outbox.parked()] == [bad], "bounded by age"


async def test_one_failing_channel_blocks_no_other(pool: Any) -> None:
    clock, broken, well = Clock(), Recording("slack"), Recording("webhook")
    broken.always = Unreachable("down")
    outbox = Outbox(pool, [broken, well], clock)
    await outbox.register()
    await write(pool, clock, "req_a", "request.created")
    await write(pool, clock, "req_a", "request.denied")
    await outbox.deliver_due()
    assert [topic for _, topic in well.topics] == ["request.created", "request.denied"]
    assert broken.told == []


async def test_replicas_share_the_work_and_keep_the_order(pool: Any) -> None:
    """While one process tells of a request, another neither repeats it nor overtakes it, but takes other requests."""
    clock = Clock()
    entered, leave = asyncio.Event(), asyncio.Event()
    told: list[tuple[str, str, str]] = []

    class Slow(Recording):
        def __init__(self, replica: str) -> None:
            super().__init__("slack")
            self.replica = replica

        async def deliver(self, event: Event) -> None:
            if self.replica == "one" and not entered.is_set():
                entered.set()
                await leave.wait()
            told.append((self.replica, event.request, event.topic))

    one, two = Outbox(pool, [Slow("one")], clock), Outbox(pool, [Slow("two")], clock)
    await one.register()
    await write(pool, clock, "req_a", "request.created")
    await write(pool, clock, "req_a", "request.denied")
    await write(pool, clock, "req_b", "request.created")
    holding = asyncio.create_task(one.deliver_due())
    await entered.wait()
    assert await two.deliver_due() == 1
    assert told == [("two", "req_b", "request.created")]
    leave.set()
    await holding
    assert told[1:] == [("one", "req_a", "request.created"), ("one", "req_a", "request.denied")]


async def test_a_process_that_dies_while_telling_gives_the_event_back(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    entered = asyncio.Event()

    class Dying(Recording):
        async def deliver(self, event: Event) -> None:
            entered.set()
            await asyncio.Event().wait()

    dying = Outbox(pool, [Dying()], clock)
    await dying.register()
    await write(pool, clock, "req_a", "request.created")
    task = asyncio.create_task(dying.deliver_due())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await Outbox(pool, [channel], clock).deliver_due() == 1
    assert channel.topics == [("req_a", "request.created")]


async def test_a_channel_that_hangs_is_noted_and_paused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the session's own patience with an idle transaction: else it would be tried again for ever."""
    pool = await database.pool("approvals", server_settings={"idle_in_transaction_session_timeout": "20ms"})
    monkeypatch.setattr("approvals.outbox.DELIVER_WITHIN_S", 0.1)
    clock = Clock()

    class Hanging(Recording):
        async def deliver(self, event: Event) -> None:
            await asyncio.Event().wait()

    outbox = Outbox(pool, [Hanging()], clock)
    await outbox.register()
    await write(pool, clock, "req_a", "request.created")
    assert await outbox.deliver_due() == 1
    row = await pool.fetchrow("SELECT attempts, last_error FROM approvals.outbox_delivery")
    assert (row["attempts"], row["last_error"]) == (1, "TimeoutError: ")
    assert await pool.fetchval("SELECT not_before > $1 FROM approvals.outbox_channel", clock.now())


async def test_a_channel_that_is_no_longer_configured_collects_nothing(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    await Outbox(pool, [channel], clock).register()
    await Outbox(pool, [], clock).register()
    await write(pool, clock, "req_a", "request.created")
    again = Outbox(pool, [channel], clock)
    await again.register()
    await write(pool, clock, "req_b", "request.created")
    await again.deliver_due()
    assert channel.topics == [("req_b", "request.created")]


async def test_running_delivers_what_is_nudged_and_ends_when_cancelled(pool: Any) -> None:
    clock = Clock()
    told = asyncio.Event()

    class Telling(Recording):
        async def deliver(self, event: Event) -> None:
            told.set()

    outbox = Outbox(pool, [Telling()], clock, poll_s=60)
    await outbox.register()
    task = asyncio.create_task(outbox.run())
    await write(pool, clock, "req_a", "request.created")
    outbox.nudge()
    await asyncio.wait_for(told.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_old_rows_are_pruned_unless_they_are_due_or_parked(pool: Any) -> None:
    clock, channel = Clock(), Recording()
    outbox = Outbox(pool, [channel], clock)
    await outbox.register()
    await write(pool, clock, "req_a", "request.created")
    poison = await write(pool, clock, "req_b", "request.created")
    channel.script[poison] = [Undeliverable("no")] * ATTEMPTS
    for _ in range(ATTEMPTS):
        await outbox.deliver_due()
        clock.advance(minutes=6)
    clock.advance(days=8)
    await write(pool, clock, "req_c", "request.created")
    assert await outbox.prune() == 1
    kept = await pool.fetch("SELECT payload ->> 'request' AS request FROM approvals.outbox ORDER BY id")
    assert [row["request"] for row in kept] == ["req_b", "req_c"]


async def test_other_roles_see_nothing_of_it(database: Database) -> None:
    import asyncpg

    for role in ("proxy", "reader"):
        connection = await database.connect(role)
        for table in ("outbox_channel", "outbox_delivery", "slack_message"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM approvals.{table}")
