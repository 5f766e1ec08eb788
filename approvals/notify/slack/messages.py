"""Which Slack message shows which request: one statement a function."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Posted", "find", "remember"]


@dataclass(frozen=True, slots=True)
class Posted:
    channel: str
    ts: str


async def find(pool: Any, request: str, role: str) -> Posted | None:
    """The message of that request in that role ("overseers", "told:request.approved")."""
    row = await pool.fetchrow(
        "SELECT channel, ts FROM approvals.slack_message WHERE request = $1 AND role = $2", request, role
    )
    return Posted(row["channel"], row["ts"]) if row else None


async def remember(pool: Any, request: str, role: str, posted: Posted) -> None:
    """At once after posting and by itself: every moment before it is one in which a crash posts twice."""
    await pool.execute(
        "INSERT INTO approvals.slack_message (request, role, channel, ts) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (request, role) DO UPDATE SET channel = excluded.channel, ts = excluded.ts, posted_at = now()",
        request,
        role,
        posted.channel,
        posted.ts,
    )
