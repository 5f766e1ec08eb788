"""What may be forwarded and released when: the disclosure barrier, shared by every protocol.

Before the intent is durable nothing that can change data is forwarded and no byte of an answer leaves.
Afterwards at most ALLOWANCE bytes leave beyond what a durable progress entry accounts for.
"""

from typing import Final

__all__ = ["ALLOWANCE_BYTES", "HOLD_BYTES", "PROGRESS_S", "Barrier"]

ALLOWANCE_BYTES: Final = 1024 * 1024
PROGRESS_BYTES: Final = ALLOWANCE_BYTES // 2  # asked for early, so that a steady stream need not stop for it
PROGRESS_S: Final = 5.0
HOLD_BYTES: Final = 64 * 1024  # of an answer, held per access before the store is made to pause


class Barrier:
    """The barrier of one access. `overlap`: a read whose request may be forwarded before the commit."""

    __slots__ = ("_accounted", "_asked", "_durable", "_failed", "_last_progress", "_overlap", "released")

    def __init__(self, *, overlap: bool = False, now: float = 0.0) -> None:
        self._overlap = overlap
        self._durable = False
        self._failed = False
        self._accounted = 0
        self._asked: int | None = None
        self._last_progress = now
        self.released = 0  # bytes of the answer that have left

    @property
    def may_forward(self) -> bool:
        """Whether the request may go to the store now."""
        return not self._failed and (self._durable or self._overlap)

    @property
    def failed(self) -> bool:
        """A record could not be written: nothing further leaves."""
        return self._failed

    def intent(self, durable: bool) -> None:
        """The intent's commit has been answered."""
        self._durable = durable
        self._failed = not durable

    def allowance(self) -> int:
        """How many bytes of the answer may leave now."""
        if self._failed or not self._durable:
            return 0
        return max(0, self._accounted + ALLOWANCE_BYTES - self.released)

    def release(self, size: int) -> None:
        """`size` bytes leave. Raises ValueError beyond the allowance: a bug that must not disclose."""
        if size > self.allowance():
            raise ValueError(f"{size} bytes would pass the barrier, {self.allowance()} may")
        self.released += size

    def progress_due(self, now: float) -> int | None:
        """The byte count that a progress entry should account for now, or None. One is in flight at a time."""
        if self._asked is not None or self._failed or not self._durable:
            return None
        behind = self.released - self._accounted
        if behind >= PROGRESS_BYTES or (behind > 0 and now - self._last_progress >= PROGRESS_S):
            self._asked = self.released
            self._last_progress = now
            return self.released
        return None

    def progress(self, durable: bool) -> None:
        """The progress entry's commit has been answered."""
        if self._asked is None:
            raise ValueError("no progress entry is in flight")
        if durable:
            self._accounted = self._asked
        else:
            self._failed = True
        self._asked = None
