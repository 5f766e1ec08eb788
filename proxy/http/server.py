"""The HTTP listener of one worker: sockets in, connections counted, one coarse timer for every deadline."""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from proxy.http.client_side import ClientConnection
from proxy.http.routing import Routes, is_loopback
from proxy.http.store_side import Pool

if TYPE_CHECKING:
    from proxy.gate import Gate

__all__ = ["HttpGate", "parse_address"]

TICK_S: Final = 0.5
BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 4096  # strangers' too: beyond it there would be no descriptor left for a store or the record
HANDSHAKE_S: Final = 10.0

_log = structlog.get_logger(__name__)


class HttpGate:
    """Listens on `listen` ("host:port", port 0 = any), where the Host field names the store, and on the addresses of
    `dedicated` (address to store name), where the port does.

    Without `ssl_context` it listens on this machine's own addresses only: credentials never travel in clear.
    """

    MAX_OUTCOMES_DUE: Final = 64  # not yet durable; beyond it the last bytes of an answer wait for their outcome

    def __init__(
        self,
        gate: "Gate",
        listen: str,
        ssl_context: ssl.SSLContext | None = None,
        *,
        dedicated: Mapping[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """`sockets`: listening already, for `listen`, and this gate's from now on. Raises ValueError for an address
        that cannot be listened on safely."""
        self.gate = gate
        self.routes = Routes()
        self.pool = Pool(gate)
        self.connections: set[ClientConnection] = set()
        self.draining = False
        self.now = gate.clock.monotonic()  # as of the last tick: good enough for deadlines, and free
        self.outcomes_due = 0
        self.scheme = b"https" if ssl_context is not None else b"http"
        self._listen = {listen: "", **(dedicated or {})}
        self._sockets = tuple(sockets)
        self._ssl = ssl_context
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        for address in self._listen:
            host, _ = parse_address(address)
            if ssl_context is None and not is_loopback(host):
                raise ValueError(f"{address}: plain HTTP is served on loopback only, give a certificate")
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(["http/1.1"])

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it really listens, in the order given: `listen` first."""
        found = []
        for server in self._servers:
            name = server.sockets[0].getsockname()
            found.append((str(name[0]), int(name[1])))
        return found

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses[0]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        handshake_s = HANDSHAKE_S if self._ssl is not None else None
        for one in self._sockets:
            made = await loop.create_server(
                lambda: ClientConnection(self),
                sock=one,
                ssl=self._ssl,
                ssl_handshake_timeout=handshake_s,
                backlog=BACKLOG,
            )
            self._servers.append(made)
        for address, store in list(self._listen.items())[1 if self._sockets else 0 :]:
            host, port = parse_address(address)
            made = await loop.create_server(
                lambda store=store: ClientConnection(self, store),
                host,
                port,
                ssl=self._ssl,
                ssl_handshake_timeout=handshake_s,
                backlog=BACKLOG,
                reuse_address=True,
            )
            self._servers.append(made)
        self._timer = loop.call_later(TICK_S, self._tick)
        _log.info("http.listening", addresses=self.addresses, tls=self._ssl is not None)

    async def drain(self, within_s: float = 10.0) -> None:
        """Accept nothing new, close idle connections, let running requests end; returns when they have, or late."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        if self.connections:
            self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(within_s):
                    await self._empty.wait()
            except TimeoutError:
                _log.warning("http.drain_timeout", connections=len(self.connections))

    async def stop(self) -> None:
        """End everything now. Outcomes of what was cut are queued: the recorder is closed after this."""
        self.draining = True
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self.connections):
            connection.cut_off()
        await self.pool.close()
        self.gate.refusals.flush()

    @property
    def full(self) -> bool:
        return len(self.connections) >= MAX_CONNECTIONS

    def connection_gone(self) -> None:
        if self._empty is not None and not self.connections:
            self._empty.set()

    def tick(self) -> None:
        """Look at every deadline once."""
        now = self.now = self.gate.clock.monotonic()
        for connection in list(self.connections):
            connection.tick(now)
        self.pool.tick(now)
        self.gate.refusals.tick()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        try:
            self.tick()
        except Exception:
            # The timer guards every other connection: one's trouble must not end it.
            _log.exception("http.tick_failed")


def parse_address(address: str) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port". Raises ValueError."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"expected host:port, got {address!r}")
    return host, int(port)
