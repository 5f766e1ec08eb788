"""The store's bytes on their way to the client, held until the record allows them; pure.

A stretch belongs to one access, whose barrier says how much of it may leave, or to nobody (a ReadyForQuery),
or to the session itself (an idle notification), and then waits for an entry of its own. Order is never changed:
what may leave waits behind what may not.

Bytes leave up to the end of a message wherever that is possible, so that a session can be ended with a word at
any time: in the midst of a message the client would read it as data.
"""

from collections import deque
from dataclasses import dataclass

from ledger.entry import Draft
from proxy.barrier import HOLD_BYTES
from proxy.postgres.access import Access
from proxy.postgres.framing import HEADER_BYTES

__all__ = ["IdleGate", "Release", "Stretch"]


@dataclass(slots=True, eq=False)
class IdleGate:
    """Opens once the entry that accounts for an idle message, or for a refusal, is durable. `weight`: roughly the
    bytes that this entry adds to the record's queue."""

    open: bool = False
    weight: int = 0


@dataclass(slots=True, eq=False)
class Stretch:
    """Bytes with one owner. `outcomes` are queued right before its last byte leaves. `left`: how many bytes of
    the message that this stretch ends in are still to come."""

    data: memoryview
    access: Access | None = None
    gate: IdleGate | None = None
    outcomes: tuple[Draft, ...] = ()
    left: int = 0


class Release:
    def __init__(self) -> None:
        self._held: deque[Stretch] = deque()
        self.held_bytes = 0
        self.released_bytes = 0
        self.left = 0  # bytes missing to the end of the message that the client is reading

    def hold(self, stretch: Stretch) -> None:
        self._held.append(stretch)
        self.held_bytes += len(stretch.data)

    @property
    def waiting(self) -> bool:
        return bool(self._held)

    def allowed(self) -> tuple[list[memoryview], list[Draft], list[Access]]:
        """What may leave now: the bytes in order, the outcomes to queue before them, and whose bytes they are."""
        pieces: list[memoryview] = []
        outcomes: list[Draft] = []
        accesses: list[Access] = []
        while self._held:
            stretch = self._held[0]
            if stretch.gate is not None and not stretch.gate.open:
                break
            size = len(stretch.data)
            if stretch.access is not None:
                may = stretch.access.barrier.allowance()
                if may < size + (stretch.left if stretch.left <= HOLD_BYTES else 0):
                    cut, left = _cut(stretch.data, self.left, min(may, size))
                    if cut < size:
                        if cut:
                            self._leave(stretch, cut, pieces, accesses)
                            stretch.data = stretch.data[cut:]
                            self.left = left
                        break
            self._held.popleft()
            self._leave(stretch, size, pieces, accesses)
            outcomes += stretch.outcomes
            self.left = stretch.left
        return pieces, outcomes, accesses

    def _leave(self, stretch: Stretch, size: int, pieces: list[memoryview], accesses: list[Access]) -> None:
        pieces.append(stretch.data[:size])
        self.held_bytes -= size
        self.released_bytes += size
        if stretch.access is not None:
            stretch.access.barrier.release(size)
            if not accesses or accesses[-1] is not stretch.access:
                accesses.append(stretch.access)

    def drop(self) -> None:
        """Nothing more leaves."""
        self._held.clear()
        self.held_bytes = 0


def _cut(data: memoryview, start: int, may: int) -> tuple[int, int]:
    """(how many of at most `may` bytes to let go, how many of the message that is cut by that are still to come).

    The first message of `data` begins at `start`; before it is the rest of one that is leaving already. Only a
    message of more than HOLD_BYTES is cut: others can wait, because an account of what left before is on its way.
    """
    if start > may:
        return may, start - may
    position = start
    while len(data) - position >= HEADER_BYTES:
        end = position + 1 + int.from_bytes(data[position + 1 : position + HEADER_BYTES], "big")
        if end > may:
            return (may, end - may) if end - position > HOLD_BYTES else (position, 0)
        position = end
    return position, 0
