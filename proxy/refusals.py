"""Refused accesses into the log, without letting strangers fill it.

A refusal that a valid credential stands behind is always recorded. Without one, the first FULL of a source and
minute are recorded in full; the rest are counted and written as one `refusals.counted` per source when the
minute is over. Sources and full entries per minute are bounded; what exceeds them is counted together under
the source "*". A name nobody here knows is never written in clear text: it may be a password typed in the
wrong field.
"""

import hashlib
import hmac
import ipaddress
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from approvals.kinds import AccessRefused, RefusalsCounted
from ledger.entry import Draft
from proxy.clock import Clock

__all__ = ["FULL", "Refusals"]

FULL: Final = 20
MAX_FULL: Final = 2_000  # over all sources, a minute
MAX_SOURCES: Final = 4_096
OTHERS: Final = "*"
TRIES: Final = 300  # failed attempts a minute before a source is not worth a signature check any more


class _Recorder(Protocol):
    def record(self, draft: Draft, done: Callable[[bool], None] | None = None) -> str: ...


class Refusals:
    """The throttle of one process. `key` is random per process: hashed names match within it only."""

    def __init__(self, recorder: _Recorder, clock: Clock, key: bytes) -> None:
        self._recorder = recorder
        self._clock = clock
        self._key = key
        self._minute = int(clock.unix() // 60)
        self._full = 0
        self._seen: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {}

    def record(
        self,
        facts: AccessRefused,
        *,
        authenticated: bool,
        content: msgspec.Struct | None = None,
        grant: str = "",
        store_def: str = "",
    ) -> str:
        """Record a refusal; returns the entry's id, or "" if it was only counted. `grant` is a decision's digest."""
        self.tick()
        if not authenticated and self._counted(facts):
            return ""
        return self._recorder.record(Draft("access.refused", facts, content, grant=grant, store_def=store_def))

    def exhausted(self, client_address: str) -> bool:
        """Whether that source has failed so often this minute that its next attempt is refused unlooked at."""
        self.tick()
        return self._seen[source_of(client_address)] >= TRIES

    def hashed(self, name: str) -> str:
        """An unknown name as it may be written: keyed, so that it cannot be guessed from the log."""
        return "hash:" + hmac.new(self._key, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]

    def tick(self) -> None:
        """Write the counts of a minute that is over. Called about once a second."""
        minute = int(self._clock.unix() // 60)
        if minute != self._minute:
            self.flush()
            self._minute = minute

    def flush(self) -> None:
        """Write the counts so far; also at shutdown, so that they are not lost."""
        when = datetime.fromtimestamp(self._minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:00Z")
        for source, reasons in self._reasons.items():
            facts = RefusalsCounted(
                client_address=source, minute=when, count=reasons.total(), reasons=dict(sorted(reasons.items()))
            )
            self._recorder.record(Draft("refusals.counted", facts))
        self._reasons.clear()
        self._seen.clear()
        self._full = 0

    def _counted(self, facts: AccessRefused) -> bool:
        source = source_of(facts.client_address)
        if source not in self._seen and len(self._seen) >= MAX_SOURCES:
            source = OTHERS
        self._seen[source] += 1
        if source != OTHERS and self._seen[source] <= FULL and self._full < MAX_FULL:
            self._full += 1
            return False
        self._reasons.setdefault(source, Counter())[facts.reason] += 1
        return True


@lru_cache(maxsize=4096)
def source_of(client_address: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64, since one host can use all of it."""
    try:
        address = ipaddress.ip_address(client_address.partition("%")[0])
    except ValueError:
        return client_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
