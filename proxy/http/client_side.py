"""asyncio.Protocol towards the engineer: whole heads in, one request at a time, everything bounded.

Bytes of a next request wait unread until the present one is over. A client that closes, even half, is gone.
"""

import asyncio
import os
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from approvals.ids import new_id
from approvals.reasons import Reason
from proxy.http.cross_check import ChunkedBody, check_request
from proxy.http.entries import Source, unreadable
from proxy.http.exchange import Exchange
from proxy.http.faults import HeadError, reason_of
from proxy.http.forward import write_parts
from proxy.http.head import CHUNKED, head_end, parse_request
from proxy.http.pages import Answer, render

if TYPE_CHECKING:
    from proxy.http.server import HttpGate

__all__ = ["ClientConnection"]

HEAD_S: Final = 10.0  # for a head, from its first byte; for the first one, from the connection
IDLE_S: Final = 75.0  # between requests
LINGER_S: Final = 2.0  # for an answer to arrive before unread bytes make the kernel reset the connection
FLUSH_S: Final = 60.0  # for the last bytes of a closed connection to be taken
NEVER: Final = float("inf")


class _State(IntEnum):
    OPEN = 0
    LINGERING = 1
    CLOSED = 2


_BODY: Final = 1
_PIPELINE: Final = 2


class ClientConnection(asyncio.Protocol):
    """One client's connection. `dedicated` is the store that its port belongs to, or ""."""

    __slots__ = (
        "_body_done",
        "_buffer",
        "_deadline",
        "_decoder",
        "_driving",
        "_exchange",
        "_left",
        "_paused",
        "_scanned",
        "_sequence",
        "_server",
        "_session",
        "_state",
        "_transport",
        "_unwatch",
        "_watched",
        "address",
        "dedicated",
        "write_paused",
    )

    def __init__(self, server: "HttpGate", dedicated: str = "") -> None:
        self._server = server
        self.dedicated = dedicated
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self._session = ""
        self._sequence = -1
        self._state = _State.OPEN
        self._buffer: bytes | bytearray = b""
        self._scanned = 0
        self._exchange: Exchange | None = None
        self._decoder: ChunkedBody | None = None
        self._left = 0
        self._body_done = True
        self._driving = False
        self._paused = 0
        self.write_paused = False
        self._deadline = NEVER
        self._watched = ""
        self._unwatch: Callable[[], None] | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        clock = self._server.gate.clock
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._session = new_id("ses", int(clock.unix() * 1000), os.urandom(10))
        self._deadline = clock.monotonic() + HEAD_S
        if self._server.full:
            self.abort()
            return
        self._server.connections.add(self)
        if self._server.draining:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _State.CLOSED
        self._server.connections.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave("client_gone")
        self._stop_watching()
        self._transport = None
        self._server.connection_gone()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange is not None:
            self._exchange.pump()

    def data_received(self, data: bytes) -> None:
        if self._state is not _State.OPEN:
            return  # lingering: what still comes is read, so that our answer arrives, and forgotten
        if self._exchange is not None and not self._body_done:
            self._body(data)
            return
        if not self._buffer:
            self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        if self._exchange is not None:
            self._pause(_PIPELINE)
        else:
            self._drive()

    # -- what an exchange asks for

    def send(self, parts: list[bytes]) -> None:
        if self._transport is not None and self._state is _State.OPEN:
            write_parts(self._transport, parts)

    def say(self, answer: Answer, *, page: bool, head_only: bool, close: bool) -> None:
        self.send([render(answer, page=page, head_only=head_only, close=close)])

    def abort(self) -> None:
        """Cut the connection at once, with what has not left yet."""
        self._exchange = None
        self._state = _State.CLOSED
        if self._transport is not None:
            self._transport.abort()

    def exchange_over(self, keep: bool) -> None:
        """The exchange has sent its last byte."""
        self._exchange = None
        if self._state is not _State.OPEN:
            return
        if not keep or self._server.draining:
            self._close()
            return
        self._decoder = None
        self._deadline = self._server.now + IDLE_S
        self._resume(_BODY | _PIPELINE)
        if self._buffer:
            self._drive()

    def source(self) -> Source:
        """Where the present request came from."""
        return Source(self.address, self._session, self._sequence)

    def watch(self, grant: str) -> None:
        """Be told when that grant is over, also between requests."""
        if grant != self._watched:
            self._stop_watching()
            self._watched = grant
            self._unwatch = self._server.gate.live.watch(grant, self._grant_over)

    def pause_body(self) -> None:
        self._pause(_BODY)

    def resume_body(self) -> None:
        self._resume(_BODY)

    @property
    def body_paused(self) -> bool:
        return bool(self._paused & _BODY)

    def unsent(self) -> int:
        """Bytes of answers that wait for the client to read."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    # -- what the server asks for

    @property
    def idle(self) -> bool:
        return self._exchange is None

    def tick(self, now: float) -> None:
        """About every half second; `now` is monotonic."""
        exchange = self._exchange
        if exchange is not None:
            exchange.tick(now)
        elif now >= self._deadline and self._transport is not None:
            if self._state is not _State.OPEN:
                self._transport.abort()
            elif self._buffer:
                self._refuse(Reason.PROTOCOL_VIOLATION, 408, "the request's head did not arrive in time")
            else:
                self._close()

    def cut_off(self) -> None:
        """The server stops: whatever is under way ends here."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave("cancelled")
        self.abort()

    def close_if_idle(self) -> None:
        if self._exchange is None and self._state is _State.OPEN:
            self._close()

    # -- reading requests

    def _drive(self) -> None:
        """Read requests out of the buffer while there are whole heads and no exchange is under way."""
        if self._driving:
            return
        self._driving = True
        try:
            while self._buffer and self._exchange is None and self._state is _State.OPEN and self._next():
                pass
        finally:
            self._driving = False

    def _next(self) -> bool:
        buffer = self._buffer
        try:
            end = head_end(buffer, self._scanned)
            if end < 0:
                if not self._scanned and self._sequence >= 0:
                    self._deadline = self._server.now + HEAD_S
                self._scanned = len(buffer)
                return False
            raw = bytes(buffer[:end])
            head = parse_request(raw)
            self._decoder = check_request(raw, head)
        except HeadError as fault:
            self._refuse(reason_of(fault.fault), fault.status, fault.fault.value)
            return False
        rest = bytes(buffer[end:])
        self._buffer = b""
        self._scanned = 0
        self._deadline = NEVER
        self._sequence += 1
        self._left = head.length
        self._body_done = head.length == 0
        exchange = self._exchange = Exchange(self._server, self, head)
        exchange.begin()
        if rest and self._state is _State.OPEN:
            if self._exchange is exchange and not self._body_done:
                self._body(rest)
            else:
                self._buffer = rest
                if self._exchange is not None:
                    self._pause(_PIPELINE)
        return True

    def _body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        rest = b""
        if self._left == CHUNKED and self._decoder is not None:
            try:
                chunks = self._decoder.feed(data)
            except HeadError as fault:
                exchange.request_faulty(fault.fault)
                return
            self._body_done = self._decoder.complete
            if self._decoder.overrun:
                exchange.no_further_request()
        else:
            if len(data) > self._left:
                rest = data[self._left :]
                data = data[: self._left]
            self._left -= len(data)
            self._body_done = self._left == 0
            chunks = [data]
        exchange.request_body(chunks, sum(map(len, chunks)), complete=self._body_done)
        if rest and self._state is _State.OPEN:
            self._buffer = rest
            if self._exchange is not None:
                self._pause(_PIPELINE)
            else:
                self._drive()

    def _refuse(self, reason: Reason, status: int, detail: str) -> None:
        """No request could be read: say so, record it, close."""
        gate = self._server.gate
        source = Source(self.address, self._session, self._sequence + 1)
        facts = unreadable(reason.value, source, store=self.dedicated, status=status, detail=detail)
        gate.refusals.record(facts, authenticated=False)
        self._buffer = b""
        self.say(Answer(reason, status, "", detail), page=False, head_only=False, close=True)
        self._body_done = False  # what follows cannot be told from a body
        self._close()

    # -- closing

    def _close(self) -> None:
        if self._transport is None or self._state is not _State.OPEN:
            return
        now = self._server.gate.clock.monotonic()
        if self._body_done and not self._buffer:
            self._state = _State.CLOSED
            self._deadline = now + FLUSH_S
            self._transport.close()
            return
        self._state = _State.LINGERING
        self._deadline = now + LINGER_S
        self._buffer = b""
        self._resume(_BODY | _PIPELINE)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _grant_over(self, reason: Reason) -> None:
        self._watched = ""
        self._unwatch = None
        if self._exchange is not None:
            self._exchange.cut(reason)
        else:
            self.close_if_idle()

    def _stop_watching(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
            self._watched = ""

    def _pause(self, why: int) -> None:
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
        self._paused |= why

    def _resume(self, why: int) -> None:
        if self._paused and not self._paused & ~why and self._transport is not None:
            self._transport.resume_reading()
        self._paused &= ~why
