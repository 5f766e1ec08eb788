"""One client connection, from its first byte to its last: the shell around startup, login and session.

Callbacks only; a task exists while TLS shakes hands and while the store is dialled. Backpressure goes both
ways: who cannot write, and what waits for the record, stops the other side's reading.
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from approvals.errors import Refusal
from approvals.ids import new_id
from approvals.kinds import AccessRefused
from approvals.reasons import Reason
from approvals.scope import Operation
from approvals.store_definition import StoreDefinition
from ledger.uuid7 import uuid7
from proxy.classify.sql import DEFAULT_SCHEMA
from proxy.enforce import Allow, Deny, LiveGrant, Wait, enforce
from proxy.live_grants import LiveKey
from proxy.postgres.access import Identity, SessionTotals
from proxy.postgres.client_login import ClientLogin
from proxy.postgres.errors import ProtocolError
from proxy.postgres.framing import Frame, Frontend
from proxy.postgres.messages import backend_key, error_response, parameter_status, ready_for_query
from proxy.postgres.relay import FRESH_S, Relay
from proxy.postgres.scram import ScramServer, fake_verifier, read_verifier
from proxy.postgres.session import Session
from proxy.postgres.startup import (
    Answer,
    CancelRequest,
    Dropped,
    StartTls,
    Startup,
    StartupMessage,
    StartupRefused,
)
from proxy.postgres.upstream import StoreConnection, open_store
from proxy.postgres.wording import ended, login_failed, refused_login

if TYPE_CHECKING:
    from proxy.postgres.listener import PostgresGate

__all__ = ["ClientConnection"]

STARTUP_S: Final = 5.0  # from the first byte to the StartupMessage
LOGIN_S: Final = 15.0  # from there to the proof
LINGER_S: Final = 1.0  # for what was written to be flushed; then the connection is cut
APPLICATION_BYTES: Final = 63  # PostgreSQL cuts application_name there

_log = structlog.get_logger(__name__)


class ClientConnection(asyncio.Protocol):
    def __init__(self, home: "PostgresGate", *, secure: bool) -> None:
        self._home = home
        self._gate = home.gate
        self._secure = secure
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._startup: Startup | None = Startup(secure=secure)
        self._early: list[bytes] | None = None  # bytes that came while nobody could take them
        self._frontend = Frontend()
        self._login: ClientLogin | None = None
        self._message: StartupMessage | None = None
        self._found: tuple[StoreDefinition, str] | None = None
        self._key: LiveKey | None = None
        self._grant: LiveGrant | None = None
        self._who: Identity | None = None
        self._opened_at = 0.0
        self._relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] = _nothing
        self._pid = 0
        self._closed = self._lost = False
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol, towards the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else "unknown"
        self._home.arrived(self)
        self._deadline(STARTUP_S)
        if self._secure and transport.get_extra_info("ssl_object").selected_alpn_protocol() != "postgresql":
            transport.abort()  # what speaks TLS here without saying PostgreSQL may be tricked into it (ALPACA)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            if self._relay is not None:
                self._relay.from_client(data)
            elif self._early is not None:
                self._early.append(data)
            elif self._startup is not None:
                self._starting(data)
            else:
                self._logging_in(data)
        except StartupRefused as cause:
            self._refuse(cause.sqlstate, cause.text, cause.hint)
        except ProtocolError as cause:
            self._refused(Reason.PROTOCOL_VIOLATION, cause.text)
            self._goodbye(error_response("FATAL", cause.sqlstate, f"protocol violation: {cause.text}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._relay is not None:
            self._relay.client_gone()
        elif self._who is not None and not self._closed:
            self._not_opened("client_gone")
        self._close()
        self._lost = True
        self._maybe_gone()

    def pause_writing(self) -> None:
        if self._relay is not None:
            self._relay.client_paused(True)

    def resume_writing(self) -> None:
        if self._relay is not None:
            self._relay.client_paused(False)

    # -- before the login

    def _starting(self, data: bytes) -> None:
        assert self._startup is not None and self._transport is not None
        event, rest = self._startup.receive(data)
        if isinstance(event, Answer):
            self._transport.write(event.data)
        elif isinstance(event, StartTls):
            self._transport.pause_reading()  # what comes now is for TLS alone
            self._early = []
            self._transport.write(b"S")
            self._spawn(self._shake_hands())
        elif isinstance(event, CancelRequest):
            self._home.cancel(event, self._address)
            self._close()
        elif isinstance(event, Dropped):
            self._refused(Reason.PROTOCOL_VIOLATION, "bytes behind a request for encryption")
            self._close()
        elif isinstance(event, StartupMessage):
            self._startup = None
            if rest:
                raise ProtocolError("bytes behind the startup packet")
            self._begin_login(event)

    async def _shake_hands(self) -> None:
        transport = self._transport
        assert transport is not None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, self, self._home.tls.context, server_side=True, ssl_handshake_timeout=STARTUP_S
            )
        except OSError:  # ssl.SSLError and ConnectionError among them
            transport.abort()
            return
        if secured is None or self._closed:
            return
        self._transport = secured
        self._secure = True
        self._startup = Startup(secure=True)
        early, self._early = self._early or [], None
        for data in early:
            self.data_received(data)

    def _begin_login(self, message: StartupMessage) -> None:
        self._message = message
        self._deadline(LOGIN_S)
        name, _, key = message.user.partition("+")
        found = self._gate.stores.by_name(message.database)
        if found is not None and found[0].protocol == "postgres":
            self._found = found
            self._key = self._gate.live.key(message.database, name, key)
        if self._gate.refusals.exhausted(self._address):
            self._refused(Reason.TOO_MANY_ATTEMPTS)
            self._goodbye(refused_login(Reason.TOO_MANY_ATTEMPTS))
            return
        verifier = None
        if self._key is not None:
            try:
                verifier = read_verifier(self._key.scram)
            except ValueError:
                _log.error("postgres.verifier_unreadable", key=self._key.key, grant=self._key.grant)
        scram = ScramServer(
            verifier or fake_verifier(self._home.secret, message.database, message.user),
            secrets.token_urlsafe(18),
            known=verifier is not None,
            end_point=self._home.tls.end_point,
        )
        self._login = ClientLogin(scram)
        self._write(message.negotiate + self._login.offer())

    def _logging_in(self, data: bytes) -> None:
        assert self._login is not None
        for frame in self._frontend.receive(data):
            if self._early is not None or not isinstance(frame, Frame):
                raise ProtocolError("a message before the login was over")
            outcome = self._login.receive(frame)
            if outcome.state == "failed":
                self._refused(Reason.CREDENTIAL_UNKNOWN)
                self._goodbye(login_failed())
                return
            self._write(outcome.reply)
            if outcome.state == "proven":
                if self._frontend.partial:
                    raise ProtocolError("a message before the login was over")
                self._early = []
                if self._transport is not None:
                    self._transport.pause_reading()  # until there is a store to take what comes
                self._proven()

    # -- admission: the person is who they say

    def _proven(self) -> None:
        self._write(_AUTHENTICATION_OK)
        self._cancel_deadline()
        self._admit(last_chance=False)

    def _admit(self, *, last_chance: bool) -> None:
        """Opening a store takes an Allow for all that the grant holds."""
        if self._closed:
            return
        key, found = self._key, self._found
        assert key is not None and found is not None
        verdict: Allow | Deny | Wait
        grant = self._gate.live.grant(key.grant)
        if self._home.draining:
            verdict = Deny(Reason.DRAINING)
        elif grant is None:
            verdict = Deny(Reason.GRANT_UNKNOWN)
        else:
            verdict = self._enforce(grant, Operation(grant.scope.actions, grant.scope.resources))
        if isinstance(verdict, Wait):
            if not last_chance:
                self._gate.when_fresh(lambda: self._admit(last_chance=True), FRESH_S)
                return
            verdict = Deny(Reason.VIEW_STALE)
        if isinstance(verdict, Deny):
            self._refused(verdict.reason, verdict.detail, grant)
            self._goodbye(refused_login(verdict.reason))
            return
        self._start_session(verdict)

    def _enforce(self, grant: LiveGrant, operation: Operation) -> Allow | Deny | Wait:
        assert self._key is not None and self._found is not None
        found = self._gate.stores.by_name(self._found[0].name)
        if found is None:
            return Deny(Reason.STORE_UNKNOWN)
        clock = self._gate.clock
        freshness = self._gate.live.freshness(clock.monotonic())
        return enforce(self._key.subject, found[0], found[1], operation, grant, freshness, clock.unix())

    def _decide(self, operation: Operation) -> Allow | Deny | Wait:
        """For the session: the verdict at this moment."""
        assert self._key is not None
        grant = self._gate.live.grant(self._key.grant)
        if grant is None:
            return Deny(Reason.GRANT_UNKNOWN)
        return self._enforce(grant, operation)

    def _start_session(self, allow: Allow) -> None:
        assert self._key is not None and self._found is not None and self._message is not None
        self._opened_at = self._now()
        self._grant = allow.grant
        session = new_id("ses", int(self._gate.clock.unix() * 1000), os.urandom(10))
        self._who = Identity(session, allow.grant, self._found[1], self._key.key, self._address)
        self._unwatch = self._gate.live.watch(allow.grant.grant, self._grant_over)
        application = _printable(self._message.parameters.get("application_name", ""))
        draft = self._who.started(application, self._tls_version())
        self._gate.recorder.record(draft, partial(self._started, allow))

    def _started(self, allow: Allow, durable: bool) -> None:
        if self._closed:
            return
        if not durable:
            self._goodbye(ended(Reason.RECORD_FAILED))
            return
        self._spawn(self._open(allow))

    async def _open(self, allow: Allow) -> None:
        assert self._who is not None and self._message is not None
        try:
            credential = self._gate.credentials.for_store(allow.store)
            tls = self._gate.credentials.tls_context(allow.store)
            store = await open_store(allow, credential, tls, self._store_parameters())
        except Refusal as refusal:
            _log.warning(
                "postgres.store_not_opened", store=allow.store.name, reason=refusal.reason, cause=refusal.cause
            )
            if not self._closed:
                self._not_opened(refusal.reason.value)
                self._goodbye(refused_login(refusal.reason))
            return
        if self._closed:
            store.abort()
            return
        self._greet(store, allow)

    def _store_parameters(self) -> dict[str, str]:
        assert self._message is not None and self._who is not None
        parameters = dict(self._message.parameters)
        application = f"glassgate {self._who.session} {_printable(parameters.get('application_name', ''))}"
        parameters["application_name"] = application[:APPLICATION_BYTES].strip()
        # What decides how a text is read, and where a name is looked up, must be as the statement judge has it,
        # whatever the role or database is set to at the store; RESET leads back here too.
        parameters["client_encoding"] = "UTF8"
        parameters["standard_conforming_strings"] = "on"
        parameters["search_path"] = DEFAULT_SCHEMA
        return parameters

    def _greet(self, store: StoreConnection, allow: Allow) -> None:
        assert self._who is not None and self._message is not None and self._transport is not None
        session = Session(
            self._who, self._decide, self._entry_id, store.reported, allow.store.max_text_bytes, self._now()
        )
        self._pid, key = self._home.cancels.issue(self, self._message.version)
        settings = b"".join(parameter_status(name, value) for name, value in store.reported.items())
        self._write(settings + backend_key(self._pid, key) + ready_for_query("I"))
        self._relay = Relay(self._home, session, self._transport, store, self._close, self._maybe_gone)
        self._transport.resume_reading()
        early, self._early = self._early or [], None
        for data in early:
            self.data_received(data)

    # -- from outside

    @property
    def over(self) -> bool:
        """Nothing more happens here; sockets may still be flushed."""
        return self._closed

    @property
    def session(self) -> Session | None:
        return self._relay.session if self._relay is not None else None

    def cancel(self) -> None:
        """A CancelRequest with this session's key arrived."""
        if self._relay is not None:
            self._relay.cancel()

    def tick(self) -> None:
        if self._relay is not None:
            self._relay.tick()

    def end(self, reason: Reason) -> None:
        """The gate ends this connection, whatever it is doing."""
        if self._relay is not None:
            self._relay.end(reason)
        elif not self._closed:
            if self._who is not None:
                self._not_opened(reason.value)
            self._goodbye(ended(reason))

    def _grant_over(self, reason: Reason) -> None:
        self.end(reason)

    # -- refusing and closing

    def _refuse(self, sqlstate: str, text: str, hint: str) -> None:
        reason = Reason.TLS_REQUIRED if not self._secure and sqlstate == "28000" else Reason.UNSUPPORTED
        self._refused(reason, text)
        self._goodbye(error_response("FATAL", sqlstate, text, hint=hint))

    def _refused(self, reason: Reason, detail: str = "", grant: LiveGrant | None = None) -> None:
        """Record a login that did not lead to a session."""
        message, refusals = self._message, self._gate.refusals
        store = subject = ""
        if message is not None:
            store = self._found[0].name if self._found is not None else refusals.hashed(message.database)
            subject = self._key.subject if self._key is not None else refusals.hashed(message.user)
        facts = AccessRefused(
            reason=reason.value,
            protocol="postgres",
            operation="LOGIN",
            client_address=self._address,
            address_grade="direct",
            store=store,
            subject=subject,
            grant=grant.grant if grant is not None else "",
            request=grant.request if grant is not None else "",
            credential=self._key.key if self._key is not None else "",
            detail=detail,
        )
        decision = grant.decision if grant is not None else ""
        store_def = self._found[1] if self._found is not None else ""
        refusals.record(facts, authenticated=grant is not None, grant=decision, store_def=store_def)

    def _not_opened(self, how: str) -> None:
        """A session that was announced and came to nothing."""
        assert self._who is not None
        duration = max(0, round((self._now() - self._opened_at) * 1_000_000))
        self._gate.recorder.record(self._who.ended(how, SessionTotals(), duration))

    def _goodbye(self, last_words: bytes) -> None:
        self._write(last_words)
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._cancel_deadline()
        self._unwatch()
        self._home.cancels.forget(self._pid)
        if self._task is not None:
            self._task.cancel()
        if self._relay is not None:
            self._relay.store.close()
            self._abort_later(self._relay.store.abort)
        if self._transport is not None:
            self._transport.close()
            self._abort_later(self._transport.abort)

    def _maybe_gone(self) -> None:
        """Both sockets are closed: nothing of this connection is left."""
        if self._lost and (self._relay is None or self._relay.store.lost):
            self._home.gone(self)

    def _abort_later(self, abort: Callable[[], None]) -> None:
        """Closing flushes first; a peer that does not read must not keep the connection open by that."""
        asyncio.get_running_loop().call_later(LINGER_S, abort)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = self._home.keep(coroutine)

    def _deadline(self, seconds: float) -> None:
        self._cancel_deadline()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close)

    def _cancel_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tls_version(self) -> str:
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return str(tls.version()) if tls is not None else ""

    def _entry_id(self) -> str:
        return str(uuid7(int(self._gate.clock.unix() * 1000), os.urandom(10)))

    def _now(self) -> float:
        return self._gate.clock.monotonic()


_AUTHENTICATION_OK: Final = b"R\0\0\0\x08\0\0\0\0"


def _nothing() -> None:
    """Nothing is watched yet."""


def _printable(text: str) -> str:
    """An application's name as PostgreSQL keeps it: printable ASCII, and short."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:APPLICATION_BYTES]
