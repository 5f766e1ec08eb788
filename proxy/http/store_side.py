"""asyncio.Protocol towards the store, and the small pool of such connections per (store definition, grant).

A connection is never shared between grants. It is used again only if its last answer ended cleanly, nothing
came after it, and it has been idle for less than 4 s (or the store's own hint); a request is never sent twice.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

import structlog

from approvals.errors import Refusal
from approvals.reasons import Reason
from proxy.enforce import Allow
from proxy.http.cross_check import ChunkedBody, check_response
from proxy.http.faults import Fault, HeadError
from proxy.http.forward import write_parts
from proxy.http.head import CHUNKED, UNTIL_CLOSE, head_end, parse_response
from proxy.http.routing import Route, is_loopback

if TYPE_CHECKING:
    from proxy.gate import Gate
    from proxy.http.relay import Relay

__all__ = ["Pool", "StoreConnection"]

CONNECT_S: Final = 5.0
IDLE_S: Final = 4.0
MAX_IDLE: Final = 256  # per store and grant; 4 s without use closes them
MAX_INTERIM: Final = 8  # 1xx answers to one request

_log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""(digest of the store definition, grant)"""


class StoreConnection(asyncio.Protocol):
    """One connection to a store; at most one exchange at a time."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_exchange",
        "_in_head",
        "_interim",
        "_left",
        "_method",
        "_paused",
        "_scanned",
        "_transport",
        "idle_limit_s",
        "idle_since",
        "key",
        "lost",
        "reusable",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self._transport: asyncio.Transport | None = None
        self._exchange: Relay | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._decoder: ChunkedBody | None = None
        self._left = 0
        self._in_head = True
        self._interim = 0
        self._method = b""
        self._paused = False
        self.idle_since = 0.0
        self.idle_limit_s = IDLE_S
        self.lost = False
        self.reusable = False

    # -- what an exchange asks for

    def start(self, exchange: "Relay", method: bytes) -> None:
        """The next answer belongs to that exchange."""
        self._exchange = exchange
        self._method = method
        self._in_head = True
        self._interim = 0
        self.reusable = False

    def send(self, parts: list[bytes]) -> None:
        if self._transport is not None and not self.lost:
            write_parts(self._transport, parts)

    def pause(self) -> None:
        """Read nothing further: what has come is not let through yet."""
        if not self._paused and self._transport is not None and not self.lost:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None and not self.lost:
            self._paused = False
            self._transport.resume_reading()

    def leave(self) -> None:
        """The exchange is over; what else comes is junk."""
        self._exchange = None
        self._decoder = None

    def abort(self) -> None:
        """Close at once. The exchange hears nothing further."""
        self.leave()
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def peer(self) -> str:
        """The address that was really connected to."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if name else ""

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        exchange = self._exchange
        if exchange is not None:
            self.leave()
            exchange.store_lost()

    def eof_received(self) -> None:
        exchange = self._exchange
        if exchange is not None and not self._in_head and self._left == UNTIL_CLOSE:
            self.leave()
            exchange.answer_body([], 0, complete=True)

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.store_full()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.store_drained()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # Bytes that no request asked for would be the next one's answer.
            self.abort()
            return
        try:
            rest = self._head(exchange, data) if self._in_head else data
            if not self._in_head:
                self._body(exchange, rest)
        except HeadError as fault:
            self.abort()
            exchange.store_faulty(fault.fault)

    def _head(self, exchange: "Relay", data: bytes) -> bytes:
        """Take heads off the front, 1xx ones unused, until the answer's own; returns what follows it."""
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer)
            self._buffer.clear()
        while True:
            end = head_end(data, self._scanned)
            if end < 0:
                self._buffer += data
                self._scanned = len(data)
                return b""
            raw, data = data[:end], data[end:]
            self._scanned = 0
            head = parse_response(raw, self._method)
            if head.status >= 200:
                break
            self._interim += 1
            if head.status == 101 or self._interim > MAX_INTERIM:
                # Nothing that we pass on asks for another protocol.
                raise HeadError(Fault.UPGRADE)
            check_response(raw, head, self._method)
        self._decoder = check_response(raw, head, self._method)
        self._left = head.length
        self._in_head = False
        self.reusable = head.keep_alive
        self.idle_limit_s = IDLE_S if head.keep_alive_s < 0 else min(IDLE_S, float(head.keep_alive_s))
        exchange.answer_head(head)
        return data

    def _body(self, exchange: "Relay", data: bytes) -> None:
        if self._left == CHUNKED and self._decoder is not None:
            chunks = self._decoder.feed(data) if data else []
            complete = self._decoder.complete
            if self._decoder.overrun:
                self.reusable = False
        elif self._left == UNTIL_CLOSE:
            chunks = [data] if data else []
            complete = False
        else:
            if len(data) > self._left:
                self.reusable = False
                data = data[: self._left]
            self._left -= len(data)
            chunks = [data] if data else []
            complete = self._left == 0
        size = sum(map(len, chunks))
        if complete:
            self.leave()
        exchange.answer_body(chunks, size, complete=complete)


class Pool:
    """Connections to stores that wait for their grant's next request."""

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self._idle: dict[Key, list[StoreConnection]] = {}
        self._watched: dict[Key, Callable[[], None]] = {}
        self._dials: set[asyncio.Task[None]] = set()

    def acquire(self, allow: Allow, route: Route, exchange: "Relay") -> None:
        """Give the exchange a connection (`store_ready`), now or later, or tell it that there is none."""
        try:
            credential = self._gate.credentials.for_store(allow.store)
            context = None
            connection = self._take((route.digest, allow.grant.grant))
            if connection is None:
                context = self._gate.credentials.tls_context(allow.store)
        except Refusal as refusal:
            _log.error("store.unusable", store=allow.store.name, reason=refusal.reason.value, cause=refusal.cause)
            exchange.store_failed(refusal.reason, 502)
            return
        if connection is not None:
            exchange.store_ready(connection, credential)
            return
        task = asyncio.get_running_loop().create_task(self._dial(allow, route, exchange, context))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def release(self, connection: StoreConnection) -> None:
        """The exchange is over and its request was sent whole: keep the connection if it is clean."""
        connection.leave()
        if not connection.reusable or connection.lost:
            connection.abort()
            return
        idle = self._idle.setdefault(connection.key, [])
        if len(idle) >= MAX_IDLE:
            connection.abort()
            return
        connection.resume()
        connection.idle_since = self._gate.clock.monotonic()
        idle.append(connection)
        if connection.key not in self._watched:
            key = connection.key
            self._watched[key] = self._gate.live.watch(key[1], lambda reason: self._over(key))

    def tick(self, now: float) -> None:
        """Close what has been idle too long; `now` is monotonic."""
        for key in list(self._idle):
            connections = self._idle[key]
            kept = [c for c in connections if not c.lost and now - c.idle_since < c.idle_limit_s]
            for connection in connections:
                if connection not in kept:
                    connection.abort()
            if kept:
                self._idle[key] = kept
            else:
                self._forget(key)

    async def close(self) -> None:
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for key in list(self._idle):
            self._over(key)

    def _take(self, key: Key) -> StoreConnection | None:
        idle = self._idle.get(key)
        now = self._gate.clock.monotonic()
        while idle:
            connection = idle.pop()
            if not connection.lost and now - connection.idle_since < connection.idle_limit_s:
                return connection
            connection.abort()
        return None

    def _over(self, key: Key) -> None:
        for connection in self._idle.get(key, []):
            connection.abort()
        self._forget(key)

    def _forget(self, key: Key) -> None:
        self._idle.pop(key, None)
        unwatch = self._watched.pop(key, None)
        if unwatch is not None:
            unwatch()

    async def _dial(self, allow: Allow, route: Route, exchange: "Relay", context: ssl.SSLContext | None) -> None:
        upstream = route.upstream
        loop = asyncio.get_running_loop()
        key = (route.digest, allow.grant.grant)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await loop.create_connection(
                    lambda: StoreConnection(key),
                    upstream.host,
                    upstream.port,
                    ssl=context,
                    server_hostname=upstream.host if context is not None else None,
                )
        except TimeoutError:
            exchange.store_failed(Reason.STORE_UNREACHABLE, 504)
            return
        except ssl.SSLError as cause:
            _log.error("store.identity", store=allow.store.name, cause=str(cause))
            exchange.store_failed(Reason.STORE_IDENTITY, 502)
            return
        except OSError as cause:
            _log.warning("store.unreachable", store=allow.store.name, cause=cause.strerror or str(cause))
            exchange.store_failed(Reason.STORE_UNREACHABLE, 502)
            return
        if context is None and not is_loopback(connection.peer):
            # The name said this machine, the resolver said another: nothing is sent in clear.
            connection.abort()
            exchange.store_failed(Reason.STORE_IDENTITY, 502)
            return
        if exchange.over:
            connection.abort()
            return
        try:
            credential = self._gate.credentials.for_store(allow.store)
        except Refusal as refusal:
            connection.abort()
            exchange.store_failed(refusal.reason, 502)
            return
        exchange.store_ready(connection, credential)
