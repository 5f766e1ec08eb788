"""The client's messages on their way to the store: each waits for the intent of the access it belongs to; pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.postgres.access import Access
from proxy.postgres.messages import Bind
from proxy.postgres.release import IdleGate
from proxy.postgres.replies import Expect
from proxy.postgres.statements import Prepared

__all__ = ["Item", "Outbound"]


@dataclass(slots=True, eq=False)
class Item:
    """One message. `prepared` and `bind` say which statement it is about, while no access covers it yet."""

    data: bytes
    access: Access | None = None
    expect: Expect | None = None
    prepared: Prepared | None = None
    bind: Bind | None = None
    gate: IdleGate | None = None  # of a refusal: a client is not told faster than it can be recorded

    @property
    def weight(self) -> int:
        return len(self.data) + (self.gate.weight if self.gate is not None else 0)


class Outbound:
    """A queue that is sent from the front, as far as the barriers of the accesses allow."""

    def __init__(self) -> None:
        self._queue: deque[Item] = deque()
        self.bytes = 0

    def put(self, item: Item) -> None:
        self._queue.append(item)
        self.bytes += item.weight

    def ready(self) -> Iterator[Item]:
        """What may go now, in order; taken off the queue."""
        while self._queue:
            item = self._queue[0]
            accesses = _accesses(item)
            if item.gate is not None and not item.gate.open:
                return
            if not all(access.barrier.may_forward for access in accesses):
                return
            self._queue.popleft()
            self.bytes -= item.weight
            yield item

    def drop_until_sync(self) -> tuple[list[Item], bool]:
        """Take out what the store would discard anyway, and say whether a Sync stands behind it."""
        dropped: list[Item] = []
        while self._queue:
            expect = self._queue[0].expect
            if expect is not None and expect.kind == "sync":
                return dropped, True
            item = self._queue.popleft()
            self.bytes -= item.weight
            dropped.append(item)
        return dropped, False

    def abandon(self) -> list[Access]:
        accesses = [access for item in self._queue for access in _accesses(item)]
        self._queue.clear()
        self.bytes = 0
        return accesses

    def __bool__(self) -> bool:
        return bool(self._queue)


def _accesses(item: Item) -> list[Access]:
    accesses = [item.access] if item.access is not None else []
    if item.expect is not None:
        accesses += item.expect.further
    return accesses
