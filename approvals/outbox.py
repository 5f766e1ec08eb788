"""Delivers what is committed in `approvals.outbox` to the channels: at least once, in order per request.

The service writes outbox rows in its own transaction, and a trigger adds one delivery per active channel there.
Here each channel takes its due deliveries one by one under FOR UPDATE SKIP LOCKED, so that several processes
share the work; the row stays locked while the channel is being told, and a process that dies there gives it
back. Two kinds of failure are kept apart: a channel that cannot be reached pauses as a whole (the pause is in
the database: it survives restarts and holds for all replicas), while an event that the other side refuses is
tried a few times and then parked, visibly, so that the next one can pass. No channel waits for another, and
nobody who decides waits for any.

This notifies; it is no alarm. Whoever runs the database can delete a row or rename a channel, so what must reach an
overseer in any case has to come from the overseer's own copy of the log.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from approvals.notify.channel import Channel, Event, Unreachable

__all__ = ["ATTEMPTS", "Outbox", "Parked"]

_log = logging.getLogger(__name__)

ATTEMPTS: Final = 6
"""Refusals of one event until it is parked."""
CHANNEL_BACKOFF_S: Final = 60.0
EVENT_BACKOFF_S: Final = 300.0
GIVE_UP_AFTER: Final = timedelta(days=3)
"""An event that no attempt could deliver for so long is parked: queues are bounded."""
KEEP: Final = timedelta(days=7)
DELIVER_WITHIN_S: Final = 30.0
NOTED_WITHIN_S: Final = 10.0
"""What came of a delivery is written down within that: a process that hangs gives the event back."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that a channel has given up, for a person to look at."""

    channel: str
    event: Event
    attempts: int
    last_error: str


class Outbox:
    """`pool` connects as glassgate_approvals. `run` until cancelled, or `deliver_due` once."""

    def __init__(self, pool: Any, channels: Sequence[Channel], clock: Clock, *, poll_s: float = 0.25) -> None:
        self._pool = pool
        self._channels = tuple(channels)
        self._clock = clock
        self._poll_s = poll_s
        self._nudged = {channel.name: asyncio.Event() for channel in self._channels}

    async def register(self) -> None:
        """Make exactly these channels the active ones; call before the first request is served."""
        names = [channel.name for channel in self._channels]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_REGISTER, names)
            await connection.execute(_RETIRE, names)

    def nudge(self) -> None:
        """Something was committed in this process: look now instead of at the next poll."""
        for nudged in self._nudged.values():
            nudged.set()

    async def run(self) -> None:
        """Deliver for ever. A database that is away is waited for."""
        await self._patiently(self.register)
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(self._serve(channel))
            group.create_task(self._prune_hourly())

    async def deliver_due(self) -> int:
        """Deliver until no channel has anything due; returns how many deliveries were tried."""
        tried = 0
        for channel in self._channels:
            while await self._deliver_one(channel):
                tried += 1
        return tried

    async def parked(self) -> list[Parked]:
        """What was given up, oldest first, at most 100."""
        rows = await self._pool.fetch(_PARKED)
        return [Parked(row["channel"], _event(row), row["attempts"], row["last_error"]) for row in rows]

    async def release(self, channel: str, event_id: int) -> bool:
        """Try a parked event again; False when there is no such one."""
        return bool(await self._pool.fetchval(_RELEASE, channel, event_id))

    async def prune(self) -> int:
        """Delete what has been delivered everywhere and is older than a week; parked rows stay."""
        return int(await self._pool.fetchval(_PRUNE, self._clock.now() - KEEP))

    # --- one channel ------------------------------------------------------------------------------------------

    async def _serve(self, channel: Channel) -> None:
        nudged = self._nudged[channel.name]
        while True:
            nudged.clear()  # before looking: a nudge that comes while we look makes us look again
            if not await self._patiently(lambda: self._deliver_one(channel)):
                with suppress(TimeoutError):
                    await asyncio.wait_for(nudged.wait(), self._poll_s)

    async def _deliver_one(self, channel: Channel) -> bool:
        """Take the oldest due delivery and tell the channel; False when nothing is due."""
        async with self._pool.acquire() as connection, connection.transaction():
            # Idle while the channel is told: the session's own bound would end us first, and nothing would be noted.
            await connection.execute(_BOUND, f"{DELIVER_WITHIN_S + NOTED_WITHIN_S:.0f}s")
            row = await connection.fetchrow(_CLAIM, channel.name, self._clock.now())
            if row is None:
                return False
            try:
                async with asyncio.timeout(DELIVER_WITHIN_S):
                    await channel.deliver(_event(row))
            except (Unreachable, TimeoutError) as cause:
                wish = cause.retry_after_s if isinstance(cause, Unreachable) else None
                await self._pause(connection, channel.name, row, wish, cause)
            except Exception as cause:  # a channel's own bug must park one event, not stop all of them
                await self._refused(connection, channel.name, row, cause)
            else:
                await connection.execute(_DELIVERED, channel.name, row["id"], self._clock.now())
                if row["failures"]:
                    await connection.execute(_RECOVERED, channel.name)
            return True

    async def _pause(self, connection: Any, name: str, row: Any, wish_s: float | None, cause: Exception) -> None:
        """The whole channel waits. Events with fewer attempts go first then, so that one which takes its channel down
        each time starves nobody; once it is days old it is parked."""
        now = self._clock.now()
        pause_s = wish_s if wish_s is not None else _backoff(row["failures"] + 1, CHANNEL_BACKOFF_S)
        _log.warning("channel %s cannot be reached, waiting %.0f s: %s", name, pause_s, _text(cause))
        await connection.execute(_PAUSED, name, now + timedelta(seconds=pause_s))
        if now - row["created_at"] > GIVE_UP_AFTER:
            await self._park(connection, name, row, cause)
        else:
            await connection.execute(_UNREACHED, name, row["id"], _text(cause))

    async def _refused(self, connection: Any, name: str, row: Any, cause: Exception) -> None:
        refusals = row["refusals"] + 1
        if refusals >= ATTEMPTS:
            await self._park(connection, name, row, cause)
            return
        again = self._clock.now() + timedelta(seconds=_backoff(refusals, EVENT_BACKOFF_S))
        _log.warning("channel %s refused event %d (%s): %s", name, row["id"], row["topic"], _text(cause))
        await connection.execute(_AGAIN, name, row["id"], again, _text(cause))

    async def _park(self, connection: Any, name: str, row: Any, cause: Exception) -> None:
        _log.error("channel %s gave up event %d (%s): %s", name, row["id"], row["topic"], _text(cause))
        await connection.execute(_PARK, name, row["id"], self._clock.now(), _text(cause))

    async def _prune_hourly(self) -> None:
        while True:
            await self._patiently(self.prune)
            await asyncio.sleep(3600)

    async def _patiently(self, act: Any) -> Any:
        """The act's answer, after as many tries as the database needs to come back."""
        while True:
            try:
                return await act()
            except Exception as cause:  # whatever the driver raises, the loop must be there when it is back
                _log.warning("the outbox cannot use the database: %s", _text(cause))
                await asyncio.sleep(1.0)


def _backoff(failures: int, cap_s: float) -> float:
    """1, 2, 4, … seconds up to the cap."""
    return min(2.0 ** min(failures - 1, 16), cap_s)


def _text(cause: Exception) -> str:
    return f"{type(cause).__name__}: {cause}"[:500]


def _event(row: Any) -> Event:
    payload = row["payload"]
    fields = msgspec.json.decode(payload) if isinstance(payload, str | bytes) else payload
    return Event(
        id=row["id"],
        topic=row["topic"],
        request=fields.get("request") or "",
        grant=fields.get("grant") or "",
        subject=fields.get("subject") or "",
    )


_REGISTER: Final = """
INSERT INTO approvals.outbox_channel (name) SELECT unnest($1::text[])
ON CONFLICT (name) DO UPDATE SET active = true WHERE NOT approvals.outbox_channel.active
"""
_RETIRE: Final = "UPDATE approvals.outbox_channel SET active = false WHERE active AND name <> ALL ($1::text[])"

_BOUND: Final = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)"

# An earlier delivery of the same subject that is still due blocks this one, also while another process holds it:
# its row is still 'due' until that process commits.
_CLAIM: Final = """
SELECT o.id, o.topic, o.payload, o.created_at, d.refusals, c.failures
FROM approvals.outbox_delivery d
JOIN approvals.outbox o ON o.id = d.outbox
JOIN approvals.outbox_channel c ON c.name = d.channel
WHERE d.channel = $1 AND d.state = 'due' AND d.not_before <= $2 AND c.not_before <= $2 AND c.active
  AND NOT EXISTS (
    SELECT 1 FROM approvals.outbox_delivery e
    WHERE e.channel = d.channel AND e.subject = d.subject AND e.state = 'due' AND e.outbox < d.outbox)
ORDER BY d.attempts, d.outbox LIMIT 1
FOR UPDATE OF d SKIP LOCKED
"""
_DELIVERED: Final = """
UPDATE approvals.outbox_delivery SET state = 'delivered', attempts = attempts + 1, last_error = '', done_at = $3
WHERE channel = $1 AND outbox = $2
"""
_UNREACHED: Final = """
UPDATE approvals.outbox_delivery SET attempts = attempts + 1, last_error = $3 WHERE channel = $1 AND outbox = $2
"""
_AGAIN: Final = """
UPDATE approvals.outbox_delivery
SET attempts = attempts + 1, refusals = refusals + 1, not_before = $3, last_error = $4
WHERE channel = $1 AND outbox = $2
"""
_PARK: Final = """
UPDATE approvals.outbox_delivery SET state = 'parked', attempts = attempts + 1, done_at = $3, last_error = $4
WHERE channel = $1 AND outbox = $2
"""
_PAUSED: Final = "UPDATE approvals.outbox_channel SET failures = failures + 1, not_before = $2 WHERE name = $1"
_RECOVERED: Final = "UPDATE approvals.outbox_channel SET failures = 0 WHERE name = $1"
_PARKED: Final = """
SELECT d.channel, o.id, o.topic, o.payload, d.attempts, d.last_error
FROM approvals.outbox_delivery d JOIN approvals.outbox o ON o.id = d.outbox
WHERE d.state = 'parked' ORDER BY d.outbox LIMIT 100
"""
_RELEASE: Final = """
UPDATE approvals.outbox_delivery SET state = 'due', attempts = 0, refusals = 0, not_before = '-infinity', done_at = NULL
WHERE channel = $1 AND outbox = $2 AND state = 'parked' RETURNING true
"""
_PRUNE: Final = """
WITH gone AS (
    DELETE FROM approvals.outbox o WHERE o.created_at < $1
      AND NOT EXISTS (SELECT 1 FROM approvals.outbox_delivery d WHERE d.outbox = o.id AND d.state <> 'delivered')
    RETURNING 1)
SELECT count(*) FROM gone
"""
