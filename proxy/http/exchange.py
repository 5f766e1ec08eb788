"""One access over HTTP, up to its admission: authenticate, describe, enforce, record; then proxy/http/relay.py."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from approvals.reasons import Reason
from approvals.scope import Operation
from proxy.barrier import Barrier
from proxy.classify.rest import Classified
from proxy.enforce import Allow, Deny, Freshness, enforce
from proxy.http.authenticate import Identity, Unknown, authenticate
from proxy.http.entries import Result, intent, refused
from proxy.http.faults import HeadError, reason_of
from proxy.http.head import RequestHead
from proxy.http.pages import Answer
from proxy.http.redact import http_content
from proxy.http.relay import Relay
from proxy.http.routing import Route, RouteRefused
from proxy.http.target import decoded_path

if TYPE_CHECKING:
    from proxy.http.client_side import ClientConnection
    from proxy.http.server import HttpGate

__all__ = ["Exchange"]

_ONLY_READ: Final = ("read",)
_NOTHING: Final = Classified(Operation(()), ())

_log = structlog.get_logger(__name__)


class Exchange(Relay):
    """One request and its answer."""

    __slots__ = ("_cancel_wait", "_classified", "_fault", "_identity")

    def __init__(self, server: "HttpGate", client: "ClientConnection", head: RequestHead) -> None:
        super().__init__(server, client, head)
        self._classified = _NOTHING
        self._fault: HeadError | None = None  # of the target; told only to whoever has a credential
        self._identity: Identity | None = None
        self._cancel_wait: Callable[[], None] | None = None

    def begin(self) -> None:
        """Find the store, describe the operation, decide."""
        head = self._head
        try:
            route = self._route = self._server.routes.find(self._server.gate.stores, head.host, self._client.dedicated)
        except RouteRefused as cause:
            _log.error("store.unusable", cause=str(cause))
            self.refuse(Reason.STORE_UNREACHABLE)
            return
        if route is None:
            # Only as a hash: whatever was typed there, it is no name of ours.
            host = self._server.gate.refusals.hashed(head.host.decode("ascii")) if head.host else "none"
            self.refuse(Reason.STORE_UNKNOWN, f"host {host}")
            return
        try:
            path = decoded_path(head.target, head.method)
        except HeadError as fault:
            self._fault = fault
        else:
            self._classified = route.classifier.classify(head.method.decode("ascii"), path)
        self._decide(route, last=False)

    def _decide(self, route: Route, *, last: bool) -> None:
        """Ask who it is and whether they may. `last`: the view just became fresh, or did not in time."""
        gate, store = self._server.gate, route.store
        freshness = gate.live.freshness(gate.clock.monotonic() if last else self._started_at)
        who = authenticate(
            self._head.credentials,
            store.name,
            gate.live,
            gate.tokens,
            freshness,
            exhausted=gate.refusals.exhausted(self._client.address),
        )
        if isinstance(who, Unknown):
            if who.late and not last:
                self._wait(route)
            else:
                self.refuse(Reason.VIEW_STALE if who.late else who.reason, login=who.login)
            return
        self._identity = who
        if self._fault is not None:
            fault = self._fault
            self.refuse(reason_of(fault.fault), fault.fault.value, status=fault.status)
            return
        self._enforce(route, who, freshness, last=last)

    def _enforce(self, route: Route, who: Identity, freshness: Freshness, *, last: bool) -> None:
        gate, store, operation = self._server.gate, route.store, self._classified.operation
        live = gate.live.grant(who.grant)
        verdict = enforce(who.subject, store, route.digest, operation, live, freshness, gate.clock.unix())
        if isinstance(verdict, Allow):
            if self._head.length > store.max_body_bytes:
                self.refuse(Reason.BODY_TOO_LARGE, f"this store takes at most {store.max_body_bytes} bytes")
            else:
                self._admit(verdict, who, route)
        elif isinstance(verdict, Deny):
            unparsed = verdict.reason is Reason.ACTION_NOT_GRANTED and "unparsed" in operation.actions
            detail = "no pattern of this store names this method and path" if unparsed else verdict.detail
            self.refuse(verdict.reason, detail)
        elif last:
            self.refuse(Reason.VIEW_STALE)
        else:
            self._wait(route)

    def _wait(self, route: Route) -> None:
        def again() -> None:
            self._cancel_wait = None
            if not self.over:
                self._decide(route, last=True)

        self._cancel_wait = self._server.gate.when_fresh(again)

    def _admit(self, allow: Allow, who: Identity, route: Route) -> None:
        """Record the intent. From here on there is an access, and it will have an outcome."""
        gate = self._server.gate
        self._allow = allow
        overlap = allow.store.overlap_reads and allow.operation.actions == _ONLY_READ
        self._barrier = Barrier(overlap=overlap, now=self._started_at)
        self._client.watch(allow.grant.grant)
        draft = intent(allow, who, self._head, self._classified, self._client.source(), route.digest)
        self._access = gate.recorder.record(draft, self._recorded)
        # A connection may be opened meanwhile; nothing is sent on it before the barrier lets it.
        self._server.pool.acquire(allow, route, self)

    def refuse(self, reason: Reason, detail: str = "", *, status: int = 0, login: str = "") -> None:
        gate, route, who = self._server.gate, self._route, self._identity
        self.over = True
        if self._cancel_wait is not None:
            self._cancel_wait()
            self._cancel_wait = None
        store = route.store.name if route else ""
        wanted = tuple(action for action in self._classified.operation.actions if action != "unparsed")
        answer = Answer.of(reason, store, detail, wanted, status)
        live = gate.live.grant(who.grant) if who else None
        facts = refused(
            reason.value,
            self._head,
            self._classified,
            self._client.source(),
            store=store,
            who=who,
            login_hash=gate.refusals.hashed(login) if login else "",
            grant=live,
            status=answer.status,
            detail=detail,
        )
        gate.refusals.record(
            facts,
            authenticated=who is not None,
            content=http_content(self._head) if route else None,
            grant=live.decision if live else "",
            store_def=route.digest if route else "",
        )
        self._say(answer)

    def leave(self, result: Result) -> None:
        if self._cancel_wait is not None:
            self._cancel_wait()
            self._cancel_wait = None
        super().leave(result)
