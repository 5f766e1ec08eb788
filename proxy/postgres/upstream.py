"""The connection to a store: dialled with an Allow, proven over TLS, logged in, then relayed by callbacks."""

import asyncio
import contextlib
import secrets
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from approvals.errors import Refusal
from approvals.reasons import Reason
from approvals.store_definition import StoreDefinition
from proxy.credentials import StoreCredential
from proxy.enforce import Allow
from proxy.postgres.errors import ProtocolError
from proxy.postgres.guards import alarming
from proxy.postgres.startup import CANCEL_CODE, SSL_CODE
from proxy.postgres.store_login import StoreLogin, StoreRefused

__all__ = ["StoreConnection", "end_point_of", "open_store"]

DIAL_S: Final = 10.0
CANCEL_S: Final = 5.0  # a cancel whose peer never closes must not hold its session for ever
_SSL_REQUEST: Final = struct.pack(">II", 8, SSL_CODE)


class StoreConnection(asyncio.Protocol):
    """One connection to a store. While it logs in, bytes are queued; then `relay` attaches who takes them."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reported: dict[str, str] = {}
        self.keys = (0, b"")  # the store's own cancel key
        self.cancel: Cancel | None = None
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self._on_paused: Callable[[bool], None] | None = None
        self.lost = False

    def relay(
        self, on_data: Callable[[bytes], None], on_lost: Callable[[], None], on_paused: Callable[[bool], None]
    ) -> None:
        """From now on the callbacks take what comes: bytes, the connection's end, and whether to write less."""
        self._on_data, self._on_lost, self._on_paused = on_data, on_lost, on_paused
        if self.lost:
            on_lost()

    async def next(self) -> bytes:
        """The next bytes of the login. Raises StoreRefused at the connection's end."""
        data = await self._incoming.get()
        if not data:
            raise StoreRefused("the store closed the connection")
        return data

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)
        else:
            self._incoming.put_nowait(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._incoming.put_nowait(b"")
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        if self._on_paused is not None:
            self._on_paused(True)

    def resume_writing(self) -> None:
        if self._on_paused is not None:
            self._on_paused(False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """How to cancel what one connection runs: on a connection of its own, with TLS where that one has TLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    pid: int
    key: bytes

    async def send(self) -> None:
        """Returns once the store has acted (it closes), or after a time; never raises."""
        with contextlib.suppress(OSError, ssl.SSLError, StoreRefused, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                connection = await _connect(self.host, self.port, self.tls)
                try:
                    assert connection.transport is not None
                    body = struct.pack(">II", CANCEL_CODE, self.pid) + self.key
                    connection.transport.write(struct.pack(">I", len(body) + 4) + body)
                    await connection.next()
                finally:
                    connection.abort()


async def open_store(
    allow: Allow,
    credential: StoreCredential,
    tls: ssl.SSLContext | None,
    parameters: dict[str, str],
) -> StoreConnection:
    """Dial and log in. `parameters` are the startup parameters beside user and database.

    Raises Refusal: STORE_UNREACHABLE, or STORE_IDENTITY where its certificate is not the one on file.
    """
    host, port, database = _address(allow.store)
    connection: StoreConnection | None = None
    try:
        async with asyncio.timeout(DIAL_S):
            connection = await _connect(host, port, tls)
            startup = {"user": credential.name, "database": database, **parameters}
            await _log_in(connection, startup, credential.secret, secure=tls is not None)
    except ssl.SSLCertVerificationError as cause:
        raise Refusal(Reason.STORE_IDENTITY, cause=str(cause)) from cause
    except (OSError, ssl.SSLError, TimeoutError, StoreRefused, ProtocolError) as cause:
        if connection is not None:
            connection.abort()
        raise Refusal(Reason.STORE_UNREACHABLE, cause=f"{type(cause).__name__}: {cause}") from cause
    except BaseException:
        if connection is not None:
            connection.abort()
        raise
    connection.cancel = Cancel(host, port, tls, *connection.keys)
    return connection


def end_point_of(certificate: bytes) -> bytes:
    """tls-server-end-point (RFC 5929 §4.1) of a DER certificate; b"" where its signature names no hash."""
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if algorithm is None:
        return b""
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return digest.finalize()


async def _connect(host: str, port: int, tls: ssl.SSLContext | None) -> StoreConnection:
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_connection(StoreConnection, host, port)
    if tls is None:
        return connection
    try:
        transport.write(_SSL_REQUEST)
        if await connection.next() != b"S":
            raise StoreRefused("the store does not speak TLS")
        secured = await loop.start_tls(transport, connection, tls, server_hostname=host)
        assert secured is not None
        connection.transport = secured
    except BaseException:
        transport.abort()
        raise
    return connection


async def _log_in(connection: StoreConnection, startup: dict[str, str], password: str, *, secure: bool) -> None:
    transport = connection.transport
    assert transport is not None
    certificate = None
    if secure:
        certificate = transport.get_extra_info("ssl_object").getpeercert(True)
    login = StoreLogin(
        startup,
        password,
        secrets.token_urlsafe(24),
        secure=secure,
        end_point=end_point_of(certificate) if certificate else b"",
    )
    transport.write(login.start())
    loop = asyncio.get_running_loop()
    while not login.ready:
        data = await connection.next()
        answer = await loop.run_in_executor(None, login.receive, data)  # a store chooses its iteration count
        if answer:
            transport.write(answer)
    for name, value in login.reported.items():
        if alarm := alarming(name, value, login.reported):
            raise StoreRefused(alarm)
    connection.reported = login.reported
    connection.keys = (login.pid, login.key)


def _address(definition: StoreDefinition) -> tuple[str, int, str]:
    """ "host:port/database" of the definition; raises Refusal."""
    place, slash, database = definition.upstream.partition("/")
    host, colon, port = place.rpartition(":")
    if not (slash and colon and host and database and port.isascii() and port.isdigit()):
        raise Refusal(Reason.STORE_UNREACHABLE, cause=f"upstream {definition.upstream!r} is not host:port/database")
    return host.strip("[]"), int(port), database
