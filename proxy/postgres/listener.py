"""The gate's PostgreSQL side: listens, looks at the first byte, and keeps all connections."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from approvals.reasons import Reason
from proxy.gate import Gate
from proxy.postgres.cancel_keys import CancelKeys
from proxy.postgres.server import STARTUP_S, ClientConnection
from proxy.postgres.startup import CancelRequest
from proxy.postgres.upstream import end_point_of

__all__ = ["PostgresGate", "TlsIdentity"]

BACKLOG: Final = 512
MAX_CONNECTIONS: Final = 4096
TICK_S: Final = 1.0
_TLS_HANDSHAKE: Final = b"\x16"  # the first byte of a TLS record that carries a ClientHello
_LENGTH: Final = b"\0"  # ... and of any startup packet below 16 MiB

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Who the gate is to clients. `end_point` is its certificate's hash for channel binding, or b""."""

    context: ssl.SSLContext
    end_point: bytes

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "TlsIdentity":
        """From PEM files; the first certificate is the gate's own. Raises OSError or ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["postgresql"])
        text = certificate.read_text("ascii")
        first = text[text.index("-----BEGIN") :].partition("-----END CERTIFICATE-----")[0]
        der = ssl.PEM_cert_to_DER_cert(first + "-----END CERTIFICATE-----\n")
        return cls(context, end_point_of(der))


class PostgresGate:
    """All PostgreSQL connections of one worker. `sockets` are bound already and stay the caller's to hand on."""

    def __init__(self, gate: Gate, tls: TlsIdentity, sockets: list[socket.socket]) -> None:
        self.gate = gate
        self.tls = tls
        self.sockets = sockets
        self.secret = os.urandom(32)  # behind the salts of names that do not exist
        self.connections: set[ClientConnection] = set()
        self.cancels: CancelKeys[ClientConnection] = CancelKeys(os.urandom)
        self.draining = False
        self._peeking: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = False
        self._ticker: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self.sockets:
            listening.setblocking(False)
            listening.listen(BACKLOG)
            loop.add_reader(listening, self._accept, listening)
        self._listening = True
        self._tick()

    async def drain(self, within_s: float = 30.0) -> None:
        """Take no new connections; idle sessions end now, others when what they run is over or time is up."""
        self.draining = True
        self._stop_listening()
        deadline = asyncio.get_running_loop().time() + within_s
        while self.connections and asyncio.get_running_loop().time() < deadline:
            for connection in list(self.connections):
                if not connection.over and (connection.session is None or connection.session.idle):
                    connection.end(Reason.DRAINING)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), 0.1)
        await self.stop()

    async def stop(self) -> None:
        """End every connection and wait for what that started."""
        self.draining = True
        self._stop_listening()
        for connection in list(self.connections):
            connection.end(Reason.DRAINING)
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._quiet.wait()  # each connection cuts itself off if its peer does not let it close

    def cancel(self, request: CancelRequest, address: str) -> None:
        found = self.cancels.find(request.pid, request.key, address, self.gate.clock.monotonic())
        if found is not None:
            found.cancel()

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine whose failure is logged and harms nobody else."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def arrived(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self._quiet.clear()

    def gone(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._quiet.set()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("postgres.task_failed", exc_info=task.exception())

    def _stop_listening(self) -> None:
        if not self._listening:
            return
        self._listening = False
        loop = asyncio.get_running_loop()
        for listening in self.sockets:
            loop.remove_reader(listening)
        for peeked in list(self._peeking):
            self._forget(peeked)
            peeked.close()
        if self._ticker is not None:
            self._ticker.cancel()

    def _tick(self) -> None:
        for connection in list(self.connections):
            try:
                connection.tick()
            except Exception:
                _log.exception("postgres.tick_failed")  # the timer serves every other connection too
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as cause:
                _log.error("postgres.accept_failed", cause=str(cause))
                return
            if len(self.connections) + len(self._peeking) >= MAX_CONNECTIONS:
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop = asyncio.get_running_loop()
            self._peeking[accepted] = loop.call_later(STARTUP_S, self._too_slow, accepted)
            loop.add_reader(accepted, self._peek, accepted)

    def _peek(self, accepted: socket.socket) -> None:
        """One byte decides, and it stays in the socket: nothing has to be un-read."""
        try:
            first = accepted.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        self._forget(accepted)
        if first not in (_TLS_HANDSHAKE, _LENGTH):
            accepted.close()
            return
        self.keep(self._adopt(accepted, direct=first == _TLS_HANDSHAKE))

    async def _adopt(self, accepted: socket.socket, *, direct: bool) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # ssl.SSLError among them: a handshake that failed has no more to say
            if direct:
                await loop.connect_accepted_socket(
                    lambda: ClientConnection(self, secure=True),
                    accepted,
                    ssl=self.tls.context,
                    ssl_handshake_timeout=STARTUP_S,
                )
            else:
                await loop.connect_accepted_socket(lambda: ClientConnection(self, secure=False), accepted)

    def _too_slow(self, accepted: socket.socket) -> None:
        self._forget(accepted)
        accepted.close()

    def _forget(self, accepted: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(accepted)
        timer = self._peeking.pop(accepted, None)
        if timer is not None:
            timer.cancel()
