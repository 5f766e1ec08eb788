"""Time as the gate needs it, brought by the wiring so that tests can move it."""

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Wall time as a datetime (UTC) and as Unix seconds, and a monotonic time for ages and deadlines."""

    def now(self) -> datetime: ...
    def unix(self) -> float: ...
    def monotonic(self) -> float: ...
