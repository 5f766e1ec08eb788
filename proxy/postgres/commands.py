"""What the session machine asks its shell to do."""

from dataclasses import dataclass
from typing import Literal

from ledger.entry import Draft

__all__ = ["AwaitFresh", "CancelStore", "Close", "Command", "FinishSoon", "Record", "ToClient", "ToStore"]


@dataclass(frozen=True, slots=True)
class ToClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class ToStore:
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Make `draft` durable. With `waiter`, `Session.recorded(waiter, durable, now)` must be called once it is."""

    draft: Draft
    waiter: object | None = None


@dataclass(frozen=True, slots=True)
class AwaitFresh:
    """Call `Session.fresh(now)` when the view of grants is fresh, or after the time a decision may wait."""


@dataclass(frozen=True, slots=True)
class CancelStore:
    """Cancel what the store is running. With `wait`, call `Session.cancelled(now)` once that has had its effect."""

    wait: bool = False


@dataclass(frozen=True, slots=True)
class FinishSoon:
    """The end waits for the rest of a message that has begun to leave: call `Session.give_up(now)` shortly."""


@dataclass(frozen=True, slots=True)
class Close:
    """Both connections are over. What was written to the client before may still be flushed."""

    how: Literal["client", "gate", "store"]


Command = ToClient | ToStore | Record | AwaitFresh | CancelStore | FinishSoon | Close
