"""The policy in force, read from the database and kept parsed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.policy import Policy, from_document

__all__ = ["InForce", "Policies"]


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy in force and how it came to be. `number` counts adoptions."""

    number: int
    digest: str
    policy: Policy
    adopted_at: datetime
    adopted_by: str


class Policies:
    """Reads which policy is in force every time, and the document itself only when that has changed."""

    def __init__(self) -> None:
        self._latest: InForce | None = None

    async def in_force(self, connection: Any) -> InForce | None:
        """The latest adopted policy; None before the first. Raises PolicyUnreadable for a document that was altered."""
        known = self._latest
        row = await connection.fetchrow(_NEWER, known.number if known is not None else 0)
        if row is None:
            return known
        policy = from_document(row["document"].encode(), row["digest"])
        latest = InForce(row["number"], row["digest"], policy, row["adopted_at"], row["adopted_by"])
        if self._latest is None or self._latest.number < latest.number:
            self._latest = latest
        return latest


_NEWER = """
SELECT number, digest, document, adopted_at, adopted_by FROM approvals.policy_version
WHERE number > $1 ORDER BY number DESC LIMIT 1
"""
