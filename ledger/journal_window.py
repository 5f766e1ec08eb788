"""How much a journal may hold that the database does not: beyond that, appends wait, and then are refused.

What stands only on one disk can vanish with it, so little of it may be there, and not for long.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Verdict", "Window"]

Verdict = Literal["room", "wait", "refuse"]


@dataclass(slots=True)
class Window:
    """Batches in the order in which they were written. `now` is monotonic, in seconds.

    An append waits while the oldest batch is `max_age_s` old or with it there were more than `max_entries` entries or
    `max_bytes` bytes (one alone always has room). It is refused once there has been no room for `patience_s`.
    """

    max_entries: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 2.0
    patience_s: float = 2.0
    entries: int = 0
    size_bytes: int = 0
    _written: deque[tuple[int, int, float]] = field(default_factory=deque)
    _full_since: float | None = None

    def ask(self, entries: int, size_bytes: int, now: float) -> Verdict:
        """Whether so much more may be written now."""
        if self._has_room(entries, size_bytes, now):
            return "room"
        if self._full_since is None:
            self._full_since = now
        return "refuse" if now - self._full_since >= self.patience_s else "wait"

    def written(self, entries: int, size_bytes: int, now: float) -> None:
        """One more batch is durable here, and not yet in the database."""
        self._written.append((entries, size_bytes, now))
        self.entries += entries
        self.size_bytes += size_bytes

    def shipped(self, batches: int, now: float) -> None:
        """The oldest so many batches are in the database."""
        for _ in range(batches):
            entries, size_bytes, _at = self._written.popleft()
            self.entries -= entries
            self.size_bytes -= size_bytes
        # Not merely some progress: behind a database that limps, appends must come to an end too.
        if self._has_room(0, 0, now):
            self._full_since = None

    def _has_room(self, entries: int, size_bytes: int, now: float) -> bool:
        return not self._written or (
            now - self._written[0][2] < self.max_age_s
            and self.entries + entries <= self.max_entries
            and self.size_bytes + size_bytes <= self.max_bytes
        )
