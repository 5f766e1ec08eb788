"""Time that stands still until it is moved."""

from datetime import UTC, datetime, timedelta

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class MovedClock:
    """Satisfies every package's own idea of a clock; `advance` moves wall and monotonic time together."""

    def __init__(self, start: datetime = T0) -> None:
        self._start = start
        self._passed = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def unix(self) -> float:
        return self._start.timestamp() + self._passed

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds
