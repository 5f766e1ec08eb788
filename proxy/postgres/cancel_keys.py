"""The keys that cancel a session: ours, random, and dead with the session; pure.

Protocol 3.0 has room for 64 bits (process id and key together), 3.2 for a key of up to 256 bytes.
"""

import hmac
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from proxy.postgres.messages import PROTOCOL_3_2

__all__ = ["CancelKeys"]

T = TypeVar("T")

PER_SECOND: Final = 10  # cancel requests that one address may send
MAX_ADDRESSES: Final = 4096
KEY_BYTES: Final = 32  # what PostgreSQL 18 sends itself


class CancelKeys(Generic[T]):
    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._sessions: dict[int, tuple[bytes, T]] = {}
        self._second = 0
        self._asked: dict[str, int] = {}

    def issue(self, session: T, version: int) -> tuple[int, bytes]:
        """A process id and key for a session."""
        while True:
            pid = int.from_bytes(self._entropy(4), "big")
            if pid and pid not in self._sessions:
                break
        key = self._entropy(KEY_BYTES if version >= PROTOCOL_3_2 else 4)
        self._sessions[pid] = (key, session)
        return pid, key

    def forget(self, pid: int) -> None:
        self._sessions.pop(pid, None)

    def find(self, pid: int, key: bytes, address: str, now: float) -> T | None:
        """Whose key that is. Guessing is slowed down per address; the comparison takes the same time always."""
        if int(now) != self._second:
            self._second = int(now)
            self._asked.clear()
        asked = self._asked.get(address, 0)
        if asked >= PER_SECOND or len(self._asked) >= MAX_ADDRESSES:
            return None
        self._asked[address] = asked + 1
        known, session = self._sessions.get(pid, (b"", None))
        return session if hmac.compare_digest(known, key) and known else None
