"""Current grants and access keys as `proxy_sync` reports them; pure: the shell (proxy/sync.py) does the IO.

The view is only as good as its age. Once ended always ended: no later report revives a grant.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
import structlog

from approvals.reasons import Reason
from approvals.scope import Scope
from proxy.enforce import Freshness, LiveGrant

__all__ = ["FRESH_S", "STALE_S", "GrantRow", "KeyRow", "LiveGrants", "LiveKey", "PolicyRow", "Sync"]

FRESH_S: Final = 1.0
STALE_S: Final = 10.0  # the contact limit of P6: sessions are cut beyond it
MAX_OVER: Final = 50_000  # grants that are over and still known, so that a refusal can say what became of them

_log = structlog.get_logger(__name__)

_OVER: Final[dict[Literal["issued", "active", "ended", "expired", "revoked"], Reason]] = {
    "ended": Reason.GRANT_ENDED,
    "expired": Reason.GRANT_EXPIRED,
    "revoked": Reason.GRANT_REVOKED,
}


class GrantRow(msgspec.Struct, frozen=True):
    grant: str
    request: str
    subject: str
    store: str
    scope: Scope
    state: Literal["issued", "active", "ended", "expired", "revoked"]
    starts_at: datetime | None
    ends_at: datetime | None
    store_def: str
    decision: str
    assurance: Literal["click", "signed"]
    cnf: str


class KeyRow(msgspec.Struct, frozen=True):
    key: str  # the four characters after "+" in the login name
    grant: str
    subject: str
    store: str
    sha256: str  # of the access key, hex: for Basic over HTTP
    scram: str  # "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
    live: bool


class PolicyRow(msgspec.Struct, frozen=True):
    digest: str
    document: str


class Sync(msgspec.Struct, frozen=True):
    """One answer of `proxy_sync`, as JSON. `full`: this is everything, not a difference."""

    version: int
    full: bool
    grants: list[GrantRow]
    keys: list[KeyRow]
    policy: PolicyRow | None = None
    blocks: list[dict[str, Any]] = []
    leases: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class LiveKey:
    """An access key's verifiers; `grant` says what it opens."""

    key: str
    grant: str
    subject: str
    store: str
    sha256: bytes
    scram: str


class LiveGrants:
    """What this worker knows, and who wants to be told when a grant is over."""

    def __init__(self) -> None:
        self.version = 0
        self._seen_at = float("-inf")
        self._grants: dict[str, LiveGrant] = {}
        self._ended: dict[str, None] = {}  # those of them that are over, oldest first
        self._keys: dict[tuple[str, str, str], LiveKey] = {}  # (store, subject, key), oldest first
        self._watchers: dict[str, dict[int, Callable[[Reason], None]]] = {}
        self._next_watch = 0

    def apply(self, sync: Sync, now: float) -> None:
        """Take in one report that was current at monotonic time `now`; tells the watchers of what ended."""
        if sync.version < self.version:
            # A restored backup or a second database: nothing it says may be trusted to be newer.
            return
        if sync.full:
            reported = {row.grant for row in sync.grants}
            for grant in [g for g in self._grants if g not in reported]:
                self._over(grant, Reason.GRANT_ENDED)
            self._keys.clear()
        for row in sync.grants:
            self._take(row)
        for key in sync.keys:
            self._take_key(key)
        self.version = sync.version
        self._seen_at = now

    def freshness(self, now: float) -> Freshness:
        """How good the view is at monotonic time `now`."""
        age = now - self._seen_at
        if age <= FRESH_S:
            return "fresh"
        return "late" if age <= STALE_S else "stale"

    def grant(self, grant: str) -> LiveGrant | None:
        return self._grants.get(grant)

    def key(self, store: str, subject: str, key: str = "") -> LiveKey | None:
        """That key of that person at that store; without `key` the newest one."""
        if key:
            return self._keys.get((store, subject, key))
        newest = None
        for candidate in self._keys.values():
            if candidate.store == store and candidate.subject == subject:
                newest = candidate
        return newest

    def watch(self, grant: str, over: Callable[[Reason], None]) -> Callable[[], None]:
        """Call `over` once when the grant ends, is revoked or found expired; returns how to stop watching."""
        self._next_watch += 1
        number = self._next_watch
        self._watchers.setdefault(grant, {})[number] = over

        def unwatch() -> None:
            watchers = self._watchers.get(grant)
            if watchers is not None:
                watchers.pop(number, None)
                if not watchers:
                    del self._watchers[grant]

        return unwatch

    def expire(self, now: float) -> None:
        """Tell the watchers of grants whose time is over at Unix time `now`. Called a few times a second."""
        for grant in [g for g, live in self._grants.items() if live.state == "active" and live.ends_at <= now]:
            self._over(grant, Reason.GRANT_EXPIRED)

    def cut_all(self, reason: Reason) -> None:
        """The contact limit has passed: everything that is watched ends. Grants stay known for the refusals."""
        for grant in list(self._watchers):
            self._tell(grant, reason)

    def _take(self, row: GrantRow) -> None:
        known = self._grants.get(row.grant)
        if known is not None and known.state in _OVER:
            return  # once ended always ended
        live = LiveGrant(
            grant=row.grant,
            request=row.request,
            subject=row.subject,
            store=row.store,
            scope=row.scope,
            state=row.state,
            starts_at=row.starts_at.timestamp() if row.starts_at else float("inf"),
            ends_at=row.ends_at.timestamp() if row.ends_at else float("-inf"),
            store_def=row.store_def,
            decision=row.decision,
            assurance=row.assurance,
            cnf=row.cnf,
        )
        self._grants[row.grant] = live
        if row.state in _OVER:
            self._bury(row.grant)
            self._tell(row.grant, _OVER[row.state])

    def _take_key(self, row: KeyRow) -> None:
        place = (row.store, row.subject, row.key)
        self._keys.pop(place, None)
        if row.live:
            self._keys[place] = LiveKey(
                row.key, row.grant, row.subject, row.store, bytes.fromhex(row.sha256), row.scram
            )

    def _over(self, grant: str, reason: Reason) -> None:
        live = self._grants[grant]
        if live.state not in _OVER:
            state = next(s for s, r in _OVER.items() if r is reason)
            self._grants[grant] = replace(live, state=state)
            self._bury(grant)
        self._tell(grant, reason)

    def _bury(self, grant: str) -> None:
        self._ended[grant] = None
        if len(self._ended) > MAX_OVER:
            oldest = next(iter(self._ended))
            del self._ended[oldest], self._grants[oldest]
        for place in [p for p, key in self._keys.items() if key.grant == grant]:
            del self._keys[place]

    def _tell(self, grant: str, reason: Reason) -> None:
        for over in list(self._watchers.pop(grant, {}).values()):
            try:
                over(reason)
            except Exception:
                # Isolated: a session that fails to end must not keep the ones behind it open.
                _log.exception("live_grants.watcher_failed", grant=grant)
