"""A gate for tests: real view of grants, real stores, refusals and credentials; a recorder whose durability the
test decides, and a clock that it moves."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from approvals.kinds import validate
from approvals.reasons import Reason
from approvals.scope import Action, Scope
from approvals.store_definition import StoreDefinition, definition_digest
from ledger.encoding import decode, encode
from ledger.entry import Draft
from proxy.credentials import Credentials
from proxy.live_grants import GrantRow, KeyRow, LiveGrants, Sync
from proxy.refusals import Refusals
from proxy.stores import Stores

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Stands still until it is moved; wall and monotonic time move together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def unix(self) -> float:
        return START.timestamp() + self.passed

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def advance(self, seconds: float) -> None:
        self.passed += seconds


@dataclass(slots=True)
class Recorded:
    """One entry as it was given, in its canonical, validated form."""

    id: str
    kind: str
    facts: dict[str, Any]
    content: dict[str, Any] | None
    draft: Draft
    durable: bool | None = None  # None: not answered yet


class FakeRecorder:
    """`mode`: "durable" answers yes soon; "held" waits for `release()`/`refuse()`; "failing" answers no soon.

    As the real one: `done` is called exactly once, in order, never from inside `record`. Every entry must fit
    its kind.
    """

    def __init__(self, mode: str = "durable") -> None:
        self.mode = mode
        self.entries: list[Recorded] = []
        self._waiting: list[tuple[Recorded, Callable[[bool], None] | None]] = []
        self._changed = asyncio.Event()
        self._counter = 0

    @property
    def able(self) -> bool:
        return self.mode != "failing"

    def record(self, draft: Draft, done: Callable[[bool], None] | None = None) -> str:
        facts = draft.facts if isinstance(draft.facts, bytes) else encode(draft.facts)
        content = draft.content
        if content is not None and not isinstance(content, bytes):
            content = encode(content)
        validate(draft.kind, draft.version, facts, content)
        self._counter += 1
        entry_id = draft.entry_id or f"00000000-0000-7000-8000-{self._counter:012d}"
        entry = Recorded(entry_id, draft.kind, decode(facts), None if content is None else decode(content), draft)
        self.entries.append(entry)
        self._changed.set()
        if self.mode == "held":
            self._waiting.append((entry, done))
        else:
            asyncio.get_running_loop().call_soon(self._answer, entry, done, self.mode == "durable")
        return entry_id

    def release(self, count: int | None = None) -> None:
        """What waits (all of it, or the `count` oldest) becomes durable."""
        self._settle(count, True)

    def refuse(self, count: int | None = None) -> None:
        """What waits is definitely not stored."""
        self._settle(count, False)

    def release_last(self) -> None:
        """The newest becomes durable while older ones go on waiting, which no real recorder does: for counting."""
        entry, done = self._waiting.pop()
        self._answer(entry, done, True)

    def _settle(self, count: int | None, durable: bool) -> None:
        taken = self._waiting[:count]
        del self._waiting[:count]
        for entry, done in taken:
            self._answer(entry, done, durable)

    def _answer(self, entry: Recorded, done: Callable[[bool], None] | None, durable: bool) -> None:
        entry.durable = durable
        if done is not None:
            done(durable)
        self._changed.set()

    def of(self, kind: str) -> list[Recorded]:
        return [entry for entry in self.entries if entry.kind == kind]

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def wait_for(self, kind: str, count: int = 1, within_s: float = 5.0) -> Recorded:
        """The `count`-th entry of that kind, once it is there."""
        async with asyncio.timeout(within_s):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)[count - 1]


@dataclass(frozen=True, slots=True)
class FakeClaims:
    """The part of approvals.tokens.Claims that the proxy reads."""

    subject: str
    grant: str
    jti: str
    store: str
    expires_at: float
    cnf: str = ""


class FakeTokens:
    """TokenVerifier over a table; unknown tokens are forged."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._claims: dict[bytes, FakeClaims] = {}

    def issue(self, subject: str, grant: str, store: str, ttl_s: float = 900.0) -> str:
        token = f"token.{len(self._claims)}.{grant}"
        jti = f"jti_{len(self._claims)}"
        self._claims[token.encode()] = FakeClaims(subject, grant, jti, store, self._clock.unix() + ttl_s)
        return token

    def verify(self, token: bytes, store: str, *, known_only: bool = False) -> FakeClaims | Reason:
        claims = self._claims.get(token)
        if claims is None:
            return Reason.TOO_MANY_ATTEMPTS if known_only else Reason.TOKEN_FORGED
        if claims.store != store:
            return Reason.TOKEN_FOREIGN
        if self._clock.unix() >= claims.expires_at:
            return Reason.TOKEN_EXPIRED
        return claims


class FakeGate:
    """What both protocols are given, with handles for the test."""

    def __init__(
        self,
        *definitions: StoreDefinition,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.stores = Stores(tuple(definitions), "00" * 32)
        self.live = LiveGrants()
        self.recorder = FakeRecorder()
        self.credentials = Credentials(credentials or {}, self.clock, env or {})
        self.tokens = FakeTokens(self.clock)
        self.refusals = Refusals(self.recorder, self.clock, b"k" * 32)
        self._rows: dict[str, GrantRow] = {}
        self._version = 0
        self._waiting: list[Callable[[], None]] = []
        self.contact()

    # -- the view of grants

    def contact(self, *grants: GrantRow, keys: tuple[KeyRow, ...] = ()) -> None:
        """One answer of proxy_sync arrives now."""
        self._version += 1
        sync = Sync(version=self._version, full=False, grants=list(grants), keys=list(keys))
        self.live.apply(sync, self.clock.monotonic())
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def grant(
        self,
        subject: str = "ada",
        store: str = "crm-api",
        actions: tuple[Action, ...] = ("read",),
        resources: tuple[str, ...] = ("*",),
        *,
        number: int = 1,
        for_s: float = 3600.0,
    ) -> str:
        """A live grant; returns its id."""
        found = self.stores.by_name(store)
        assert found is not None
        now = self.clock.now()
        row = GrantRow(
            grant=f"gr_{number}",
            request=f"req_{number}",
            subject=subject,
            store=store,
            scope=Scope(store, actions, resources),
            state="active",
            starts_at=now,
            ends_at=now + timedelta(seconds=for_s),
            store_def=found[1],
            decision="d" * 64,
            assurance="click",
            cnf="",
        )
        self._rows[row.grant] = row
        self.contact(row)
        return row.grant

    def key(self, grant: str, key: str = "k7f3", secret: str = "ggk_secret", scram: str = "") -> KeyRow:
        """An access key of that grant."""
        row = self._rows[grant]
        made = KeyRow(key, grant, row.subject, row.store, hashlib.sha256(secret.encode()).hexdigest(), scram, True)
        self.contact(keys=(made,))
        return made

    def end(self, grant: str, state: str = "revoked") -> None:
        """The grant is over: revoked, ended or expired."""
        self._rows[grant] = msgspec.structs.replace(self._rows[grant], state=state)
        self.contact(self._rows[grant])

    def when_fresh(self, callback: Callable[[], None], timeout_s: float = 2.0) -> Callable[[], None]:
        """Call back at the next contact or when the test lets `timeout_s` be over; returns how to cancel."""
        self._waiting.append(callback)

        def cancel() -> None:
            if callback in self._waiting:
                self._waiting.remove(callback)

        return cancel

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def give_up_waiting(self) -> None:
        """The timeout of everybody who waits for a fresh view is over."""
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def token(self, grant: str, ttl_s: float = 900.0) -> str:
        row = self._rows[grant]
        return self.tokens.issue(row.subject, grant, row.store, ttl_s)


def digest_of(definition: StoreDefinition) -> str:
    return definition_digest(definition)
