"""Entries in groups: flush when the writer is free, no timer; callbacks, no future per entry.

A proxy writer is one connection with one flush in flight. After a definite failure the counters are used
again and everybody waiting is told no. After an ambiguous one the same bytes are sent again for 2 s; then the
process must end (`on_lost`), because only a new writer may speak.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog

from ledger.encoding import NotCanonical, encode
from ledger.entry import Draft
from ledger.storage import AppendRefused, AppendUnknown, Batch, RecordSink
from ledger.uuid7 import uuid7_text
from proxy.clock import Clock

__all__ = ["Recorder"]

MAX_FLUSH_ENTRIES: Final = 1024
MAX_FLUSH_BYTES: Final = 4 * 1024 * 1024  # one large access must not stall its neighbours
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
RESEND_S: Final = 2.0
RESEND_EVERY_S: Final = 0.05
_OVERHEAD_BYTES: Final = 1024  # stub, blinds and lengths

_log = structlog.get_logger(__name__)

Done = Callable[[bool], None]


class _Writer(Protocol):
    def pack(self, drafts: list[Draft], now: datetime, entropy: Callable[[int], bytes]) -> Batch: ...
    def accepted(self) -> None: ...
    def refused(self) -> None: ...


class Recorder:
    """Makes drafts durable, in the order they were given."""

    def __init__(self, writer: _Writer, sink: RecordSink, clock: Clock, on_lost: Callable[[], None]) -> None:
        self._writer = writer
        self._sink = sink
        self._clock = clock
        self._on_lost = on_lost
        self._queue: deque[tuple[Draft, Done | None, int]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    @property
    def able(self) -> bool:
        """Whether new entries are accepted; false is a reason not to be ready."""
        return not self._lost and not self._closing and self._queued_bytes < MAX_QUEUED_BYTES

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="recorder")

    def record(self, draft: Draft, done: Done | None = None) -> str:
        """Queue an entry and return its id. `done(durable)` is called exactly once, never from inside this call."""
        entry_id = draft.entry_id or uuid7_text(int(self._clock.unix() * 1000), os.urandom(10))
        facts: bytes | None = None
        content: bytes | None = None
        try:
            facts = _encoded(draft.facts)
            content = None if draft.content is None else _encoded(draft.content)
        except NotCanonical as cause:
            # Encoded here and not in the flush, so that one bad entry fails alone.
            _log.error("recorder.not_canonical", kind=draft.kind, cause=str(cause))
            facts = None
        if facts is None or not self.able:
            if done is not None:
                asyncio.get_running_loop().call_soon(_tell, done, False)
            return entry_id
        size = _OVERHEAD_BYTES + len(facts) + (len(content) if content else 0)
        queued = Draft(draft.kind, facts, content, draft.version, draft.grant, draft.store_def, entry_id)
        self._queue.append((queued, done, size))
        self._queued_bytes += size
        self._wake.set()
        return entry_id

    async def close(self) -> None:
        """Flush what is queued and stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            drafts, waiting = self._take()
            durable = await self._flush(drafts)
            for done in waiting:
                _tell(done, durable)

    def _take(self) -> tuple[list[Draft], list[Done]]:
        drafts: list[Draft] = []
        waiting: list[Done] = []
        total = 0
        while self._queue and len(drafts) < MAX_FLUSH_ENTRIES:
            draft, done, size = self._queue[0]
            if drafts and total + size > MAX_FLUSH_BYTES:
                break
            self._queue.popleft()
            self._queued_bytes -= size
            total += size
            drafts.append(draft)
            if done is not None:
                waiting.append(done)
        return drafts, waiting

    async def _flush(self, drafts: list[Draft]) -> bool:
        if self._lost:
            return False
        try:
            batch = self._writer.pack(drafts, self._clock.now(), os.urandom)
        except Exception:
            # One entry that cannot be encoded fails its flush, closed; the writer has not moved.
            _log.exception("recorder.pack_failed", entries=len(drafts))
            return False
        deadline = self._clock.monotonic() + RESEND_S
        in_doubt = False
        while True:
            try:
                await self._sink.append(batch)
            except (AppendRefused, AppendUnknown) as failure:
                # Once in doubt always in doubt: a refusal now says nothing about the sending before it.
                in_doubt = in_doubt or isinstance(failure, AppendUnknown)
                if not in_doubt:
                    self._writer.refused()
                    _log.error("recorder.refused", entries=len(drafts), cause=str(failure))
                    return False
                if self._clock.monotonic() < deadline:
                    _log.warning("recorder.resending", cause=str(failure))
                    await asyncio.sleep(RESEND_EVERY_S)
                    continue
                self._lost = True
                _log.critical("recorder.lost", cause=str(failure), first_counter=batch.first_counter)
                self._on_lost()
                return False
            self._writer.accepted()
            return True


def _encoded(part: Mapping[str, Any] | msgspec.Struct | bytes) -> bytes:
    return part if isinstance(part, bytes) else encode(part)


def _tell(done: Done, durable: bool) -> None:
    # Isolated: one caller's closed transport must not leave the rest of the flush hanging.
    try:
        done(durable)
    except Exception:
        _log.exception("recorder.callback_failed")
