"""Bytes of one access on their way, both directions, under its barrier; callbacks, without a task of its own.

The request's two sides call in here, and nothing that they bring goes on before its time. `over` is final: every
callback that comes late finds it set and does nothing.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from approvals.reasons import Reason
from proxy.barrier import HOLD_BYTES, Barrier
from proxy.credentials import StoreCredential
from proxy.enforce import Allow
from proxy.http.entries import Result, outcome, progress
from proxy.http.faults import Fault, reason_of
from proxy.http.forward import LAST_CHUNK, chunk, client_head, store_head
from proxy.http.head import CHUNKED, RequestHead, ResponseHead
from proxy.http.pages import CONTINUE, Answer, wants_page
from proxy.http.routing import Route

if TYPE_CHECKING:
    from proxy.http.client_side import ClientConnection
    from proxy.http.server import HttpGate
    from proxy.http.store_side import StoreConnection

__all__ = ["Relay"]

STALL_S: Final = 60.0  # without a byte either way

_CUT: Final[dict[Reason, Result]] = {
    Reason.GRANT_REVOKED: "revoked",
    Reason.GRANT_EXPIRED: "expired",
    Reason.GRANT_ENDED: "cancelled",
}

_log = structlog.get_logger(__name__)


class Relay(ABC):
    """What an exchange does with bytes. Who may do it is decided in proxy/http/exchange.py, which extends this."""

    __slots__ = (
        "_access",
        "_allow",
        "_answer_complete",
        "_answered",
        "_barrier",
        "_bytes_in",
        "_client",
        "_credential",
        "_digest",
        "_durable",
        "_failure",
        "_finishing",
        "_forwarded",
        "_head",
        "_held",
        "_held_bytes",
        "_keep",
        "_moved_at",
        "_pending",
        "_pending_bytes",
        "_rechunk",
        "_request_complete",
        "_response_head",
        "_route",
        "_server",
        "_started_at",
        "_status",
        "_store",
        "_unsent",
        "over",
    )

    def __init__(self, server: "HttpGate", client: "ClientConnection", head: RequestHead) -> None:
        self._server = server
        self._client = client
        self._head = head
        self.over = False
        self._started_at = self._moved_at = server.gate.clock.monotonic()  # once precisely, for the decision
        self._route: Route | None = None
        self._allow: Allow | None = None
        # what is recorded
        self._access = ""
        self._barrier: Barrier | None = None
        self._durable = False
        self._failure: tuple[Reason, int, Result] | None = None  # waits for the intent to be answered
        # the request on its way to the store
        self._store: StoreConnection | None = None
        self._credential: StoreCredential | None = None
        self._forwarded = False
        self._request_complete = head.length == 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._bytes_in = 0
        self._digest: Any = None  # SHA-256 of the request's body so far
        # the answer on its way back
        self._response_head = b""
        self._status = 0
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._answer_complete = False
        self._answered = False
        self._finishing = False
        self._rechunk = False
        self._keep = head.keep_alive
        self._unsent = 0  # size of the client's write buffer at the last tick

    @abstractmethod
    def refuse(self, reason: Reason, detail: str = "", *, status: int = 0, login: str = "") -> None:
        """Say no before anything is recorded, and record that."""

    def _recorded(self, durable: bool) -> None:
        if self._barrier is None or self.over:
            return
        self._barrier.intent(durable)
        if not durable:
            # There is no intent, so there is no outcome either.
            self._drop_store()
            self.over = True
            self._say(self._answer_to(Reason.RECORD_FAILED))
            return
        self._durable = True
        if self._failure is not None:
            self._fail(*self._failure)
            return
        self._forward()
        self.pump()

    def _outcome(self, result: Result, done: Callable[[bool], None] | None = None) -> None:
        """Queue the outcome. `done` is called with whether it became durable."""
        allow, barrier, server = self._allow, self._barrier, self._server
        if allow is None or barrier is None:
            return

        def answered(durable: bool) -> None:
            server.outcomes_due -= 1
            if done is not None:
                done(durable)

        draft = outcome(
            allow,
            self._route_digest(),
            self._access,
            result,
            status=self._status,
            bytes_in=self._bytes_in,
            bytes_out=barrier.released,
            duration_us=int((server.gate.clock.monotonic() - self._started_at) * 1_000_000),
            body_digest=self._digest.hexdigest() if self._digest is not None else "",
        )
        server.outcomes_due += 1
        server.gate.recorder.record(draft, answered)

    def _route_digest(self) -> str:
        return self._route.digest if self._route is not None else ""

    def _answer_to(self, reason: Reason, status: int = 0, detail: str = "") -> Answer:
        return Answer.of(reason, self._route.store.name if self._route else "", detail, status=status)

    def _say(self, answer: Answer) -> None:
        """Answer in our own words; the connection stays open only if the request has been read whole."""
        keep = self._keep and self._request_complete and not self._server.draining
        page = wants_page(self._head.field(b"accept"))
        self._client.say(answer, page=page, head_only=self._head.method == b"HEAD", close=not keep)
        self._client.exchange_over(keep)

    # -- the request, towards the store

    def request_body(self, chunks: list[bytes], size: int, *, complete: bool) -> None:
        """The next piece of the request's body, decoded."""
        if self.over:
            return
        self._moved_at = self._server.now
        if complete:
            self._request_complete = True
        if size:
            self._bytes_in += size
            if self._digest is None:
                self._digest = hashlib.sha256()
            for data in chunks:
                self._digest.update(data)
            if self._route is not None and self._bytes_in > self._route.store.max_body_bytes:
                limit = f"this store takes at most {self._route.store.max_body_bytes} bytes"
                self._reject(Reason.BODY_TOO_LARGE, 413, "limit_reached", limit)
                return
        parts: list[bytes] = chunks
        if self._head.length == CHUNKED:
            parts = [part for data in chunks for part in chunk(data)]
            if complete:
                parts.append(LAST_CHUNK)
        if self._forwarded and self._store is not None:
            self._store.send(parts)
            return
        self._pending += parts
        self._pending_bytes += size
        if self._pending_bytes > HOLD_BYTES:
            self._client.pause_body()

    def no_further_request(self) -> None:
        """What followed this request is lost, so the connection ends with it."""
        self._keep = False

    def request_faulty(self, fault: Fault) -> None:
        """The request's body breaks its framing: what follows it cannot be known."""
        self._keep = False
        self._reject(reason_of(fault), 400, "error", fault.value)

    def _reject(self, reason: Reason, status: int, result: Result, detail: str) -> None:
        """The request itself is at fault, before or after its admission."""
        if self._allow is not None:
            self._fail(reason, status, result, detail)
        elif not self.over:
            self.refuse(reason, detail, status=status)

    def store_ready(self, store: "StoreConnection", credential: StoreCredential) -> None:
        """A connection to the store, for this exchange alone."""
        self._store = store
        self._credential = credential
        store.start(self, self._head.method)
        self._forward()

    def store_failed(self, reason: Reason, status: int) -> None:
        """There is no connection to be had. Told to the client once the intent is answered, as every access is."""
        self._failure = (reason, status, "store_unreachable")
        if self._durable:
            self._fail(reason, status, "store_unreachable")

    def _forward(self) -> None:
        """Send the request on, if everything that it waits for is there."""
        store, credential, barrier, route = self._store, self._credential, self._barrier, self._route
        if self._forwarded or self.over or store is None or credential is None or barrier is None or route is None:
            return
        if not barrier.may_forward:
            return
        self._forwarded = True
        self._moved_at = self._server.now
        host = b"" if self._client.dedicated else self._head.host
        parts = [store_head(self._head, route.upstream, credential, self._server.scheme, host), *self._pending]
        self._pending = []
        self._pending_bytes = 0
        store.send(parts)
        if self._head.expects_continue and not self._request_complete and not self._bytes_in:
            self._client.send([CONTINUE])
        self._client.resume_body()

    def store_full(self) -> None:
        self._client.pause_body()

    def store_drained(self) -> None:
        self._moved_at = self._server.now
        self._client.resume_body()

    # -- the answer, towards the client

    def answer_head(self, head: ResponseHead) -> None:
        if self.over or self._route is None:
            return
        self._moved_at = self._server.now
        self._status = head.status
        # An answer that comes before its request was read whole ends the connection: its rest is not read.
        keep = self._keep and self._request_complete and not self._server.draining
        self._response_head, self._rechunk, self._keep = client_head(
            head,
            self._head,
            self._route.upstream,
            scheme=self._server.scheme,
            access=self._access,
            keep=keep,
        )

    def answer_body(self, chunks: list[bytes], size: int, *, complete: bool) -> None:
        """The next piece of the answer's body, decoded; also called for a head without one."""
        if self.over:
            return
        self._moved_at = self._server.now
        if size:
            self._held.extend(chunks)
            self._held_bytes += size
        self._answer_complete = complete
        self.pump()
        if self._held_bytes > HOLD_BYTES and self._store is not None and not self.over:
            self._store.pause()

    def pump(self) -> None:
        """Let out of the answer what the barrier and the client's pace allow."""
        barrier, client = self._barrier, self._client
        if self.over or barrier is None or not self._durable or client.write_paused or self._finishing:
            return
        out: list[bytes] = []
        if self._response_head:
            out.append(self._response_head)
            self._response_head = b""
        elif not self._answered:
            return
        size = self._take(barrier.allowance(), out)
        if size:
            barrier.release(size)
            self._held_bytes -= size
        if self._answer_complete and not self._held:
            if self._rechunk:
                out.append(LAST_CHUNK)
            self._finish(out)
            return
        if out:
            self._answered = True
            client.send(out)
        self._progress(barrier)
        if self._held_bytes <= HOLD_BYTES // 2 and self._store is not None and not client.write_paused:
            self._store.resume()

    def _take(self, allowance: int, out: list[bytes]) -> int:
        """Move at most `allowance` bytes of what is held to `out`, framed; how many they were."""
        held, size = self._held, 0
        while held and size < allowance:
            data = held.popleft()
            if len(data) > allowance - size:
                held.appendleft(data[allowance - size :])
                data = data[: allowance - size]
            size += len(data)
            if self._rechunk:
                out += chunk(data)
            else:
                out.append(data)
        return size

    def _progress(self, barrier: Barrier) -> None:
        gate, allow = self._server.gate, self._allow
        due = barrier.progress_due(gate.clock.monotonic())
        if due is not None and allow is not None:
            gate.recorder.record(progress(allow, self._route_digest(), self._access, due), self._progressed)

    def _progressed(self, durable: bool) -> None:
        if self.over or self._barrier is None:
            return
        self._barrier.progress(durable)
        if durable:
            self.pump()
        else:
            self._fail(Reason.RECORD_FAILED, 503, "record_failed")

    def _finish(self, out: list[bytes]) -> None:
        """Everything has come: the outcome is queued before the last bytes leave, or durable if need be."""
        self._finishing = True
        if self._must_hold():
            self._outcome("complete", lambda durable: self._last(out, durable=durable))
        else:
            self._outcome("complete")
            self._last(out, durable=True)

    def _must_hold(self) -> bool:
        held = self._route is not None and self._route.store.outcome == "held"
        return held or self._server.outcomes_due >= self._server.MAX_OUTCOMES_DUE

    def _last(self, out: list[bytes], *, durable: bool) -> None:
        if self.over:
            return
        self.over = True
        if not durable:
            self._drop_store()
            if self._answered:
                self._client.abort()
            else:
                self._say(self._answer_to(Reason.RECORD_FAILED))
            return
        self._client.send(out)
        store, self._store = self._store, None
        if store is not None:
            if self._request_complete:
                self._server.pool.release(store)
            else:
                store.abort()
        self._client.exchange_over(self._keep and self._request_complete)

    # -- everything that can end it early

    def store_lost(self) -> None:
        """The store closed before its answer was whole. It is never asked again: it may have acted already."""
        if not self._status:
            self._fail(Reason.STORE_UNREACHABLE, 502, "store_closed_before_answer")
        else:
            self._fail(Reason.STORE_UNREACHABLE, 502, "store_broke")

    def store_faulty(self, fault: Fault) -> None:
        """The store's answer breaks the protocol; nothing of it is passed on."""
        _log.warning("store.faulty", store=self._allow.store.name if self._allow else "", fault=fault.value)
        self._fail(Reason.STORE_UNREACHABLE, 502, "store_broke", f"its answer breaks the protocol: {fault.value}")

    def leave(self, result: Result) -> None:
        """There is nobody to answer any more: the store stops working for them."""
        self._end(result)

    def cut(self, reason: Reason) -> None:
        """The grant is over, or the view of it too old."""
        result = _CUT.get(reason, "view_stale")
        if self._answered:
            self._end(result)
            self._client.abort()
        else:
            self._fail(reason, 0, result)

    def _fail(self, reason: Reason, status: int, result: Result, detail: str = "") -> None:
        """End it from our side: in words while nothing of the answer has left, else without the final chunk."""
        if self.over:
            return
        if self._answered:
            self._end(result)
            self._client.abort()
            return
        answer = self._answer_to(reason, status, detail)
        self._status = answer.status
        self._end(result)
        self._say(answer)

    def _end(self, result: Result) -> None:
        if self.over:
            return
        self.over = True
        self._drop_store()
        if not self._finishing:
            self._outcome(result)

    def _drop_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.abort()

    def tick(self, now: float) -> None:
        """About every half second; `now` is monotonic. Times out whoever is not moving."""
        if self._barrier is not None and self._answered:
            self._progress(self._barrier)
        unsent = self._client.unsent()
        if unsent < self._unsent:
            self._moved_at = now
        self._unsent = unsent
        if now - self._moved_at < STALL_S or self.over:
            return
        if self._client.write_paused:
            self.leave("client_gone")
            self._client.abort()
        elif not self._request_complete and not self._client.body_paused:
            self._keep = False
            self._reject(Reason.PROTOCOL_VIOLATION, 408, "client_gone", "the request's body did not arrive in time")
        elif self._forwarded and not self._answer_complete and not self._held:
            result: Result = "store_broke" if self._status else "store_closed_before_answer"
            self._fail(Reason.STORE_UNREACHABLE, 504, result)
