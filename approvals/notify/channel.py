"""What the outbox hands to a channel, and how a channel says that it could not."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Channel", "Event", "Undeliverable", "Unreachable"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened and is committed. A channel loads what it shows itself: by the time it is delivered,
    more may have happened, and a message tells what is, not what was."""

    id: int
    topic: str  # "request.created", "grant.revoked", …
    request: str
    grant: str  # "" where there is none
    subject: str = ""  # the person it happened to or by, where the payload names one


class Unreachable(Exception):
    """The other side cannot be reached or asks to wait: the whole channel pauses, nothing is lost or counted.

    `retry_after_s` is the other side's own wish; None = the outbox's backoff.
    """

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Undeliverable(Exception):
    """The other side answered and refused this one event. After some tries it is parked, for people to see."""


class Channel(Protocol):
    """One way to tell people. Delivered events may come again after a crash: delivering twice must be harmless."""

    @property
    def name(self) -> str:
        """Stable: the outbox remembers by it what this channel has been told."""

    async def deliver(self, event: Event) -> None:
        """Tell it. Raises Unreachable or Undeliverable; any other error counts as Undeliverable."""
