"""One store, one gate in front of it, and clients that see every byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from approvals.store_definition import StoreDefinition
from proxy.http.server import HttpGate
from tests.proxy.fakes import FakeGate
from tests.proxy.http.origin import Handler, Origin, fields_of


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What the gate runs on; transports differ in when they write and what they raise."""
    return {"uvloop": uvloop.new_event_loop}


class Response:
    """One answer as a client saw it. `whole`: its body ended where its framing says."""

    def __init__(self, head: bytes, body: bytes, whole: bool) -> None:
        self.head = head
        self.body = body
        self.whole = whole
        self.status = int(head.split(b" ")[1]) if head else 0
        self.fields = fields_of(head)


class Client:
    """A client's connection at the level of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, size: int = 65536) -> bytes:
        return await self.reader.read(size)

    async def head(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def response(self, method: str = "GET") -> Response:
        head = await self.head()
        if not head:
            return Response(b"", b"", False)
        fields = fields_of(head)
        status = int(head.split(b" ")[1])
        if method == "HEAD" or status in (100, 204, 304):
            return Response(head, b"", True)
        try:
            if fields.get("transfer-encoding") == "chunked":
                return Response(head, *await self._chunked())
            if "content-length" in fields:
                size = int(fields["content-length"])
                return Response(head, await self.reader.readexactly(size), True)
            return Response(head, await self.reader.read(), True)
        except asyncio.IncompleteReadError as cut:
            return Response(head, cut.partial, False)
        except ConnectionError:
            return Response(head, b"", False)

    async def _chunked(self) -> tuple[bytes, bool]:
        body = b""
        try:
            while True:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                data = await self.reader.readexactly(size + 2)
                if not size:
                    return body, True
                body += data[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return body, False

    async def closed(self) -> bool:
        """Whether the gate closes without another byte."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()


class World:
    """A store called crm-api behind a gate: reads GET /crm/*, writes POST /crm/*."""

    def __init__(self) -> None:
        self.origin = Origin()
        self.gate: FakeGate
        self.http: HttpGate
        self.grant = ""
        self.token = ""
        self._clients: list[Client] = []

    async def start(self, handler: Handler | None = None, **settings: Any) -> None:
        self.origin.handler = handler
        upstream = await self.origin.start()
        await self.serve(upstream, **settings)

    async def serve(self, upstream: str, **settings: Any) -> None:
        values: dict[str, Any] = {
            "name": "crm-api",
            "protocol": "http",
            "upstream": upstream,
            "tls": "off",
            "credential": "crm",
            "hosts": ("crm-api.localhost",),
            "actions": ("read", "write"),
            "reads": ("GET /crm/*",),
            "writes": ("POST /crm/*",),
            **settings,
        }
        self.gate = FakeGate(StoreDefinition(**values), credentials={"crm": {"bearer": "store-canary"}})
        self.http = HttpGate(self.gate, "127.0.0.1:0")  # type: ignore[arg-type]
        await self.http.start()
        self.grant = self.gate.grant(actions=("read", "write"))
        self.token = self.gate.token(self.grant)

    async def stop(self) -> None:
        for client in self._clients:
            client.writer.close()
        if hasattr(self, "http"):
            await self.http.stop()
        await self.origin.stop()

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection(*self.http.address)
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    def request(self, target: str = "/crm/x", method: str = "GET", extra: str = "", *, auth: bool = True) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: crm-api.localhost"]
        if auth:
            lines.append(f"Authorization: Bearer {self.token}")
        return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode("latin-1")

    async def get(self, target: str = "/crm/x", method: str = "GET", extra: str = "", body: bytes = b"") -> Response:
        """One request on a connection of its own."""
        client = await self.client()
        if body:
            extra += f"Content-Length: {len(body)}\r\n"
        client.send(self.request(target, method, extra) + body)
        response = await client.response(method)
        await client.close()
        return response

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.gate.recorder.entries]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.stop()


async def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.001)


def answering(response: bytes) -> Callable[[Any], Awaitable[None]]:
    """A handler that reads each request whole and gives the same bytes back."""

    async def handler(connection: Any) -> None:
        while await connection.read_head():
            await connection.read_body()
            await connection.send(response)

    return handler
