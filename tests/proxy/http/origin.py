"""A store for tests: raw sockets, scripted answers, everything it received kept as bytes."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

Handler = Callable[["OriginConnection"], Awaitable[None]]


class OriginConnection:
    """One connection to the origin, at the level of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    async def read_head(self) -> bytes:
        """The next request's head, or b"" at the end of the connection."""
        try:
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            self.head = b""
        return self.head

    async def read_body(self) -> bytes:
        """The body that `head` declares, decoded."""
        fields = fields_of(self.head)
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                data = await self.reader.readexactly(size + 2)
                if not size:
                    return body
                body += data[:-2]
        return await self.reader.readexactly(int(fields.get("content-length", "0")))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


def fields_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


class Origin:
    """Answers by `handler`; the default answers every request with 200 and its own target as the body."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.handler = handler
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.open = 0
        self._server: asyncio.Server | None = None
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext | None = None) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{'https' if context else 'http'}://{host}:{port}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        connection = OriginConnection(reader, writer)
        try:
            if self.handler is not None:
                await self.handler(connection)
            else:
                await self._echo(connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self.closed.set()
            writer.close()
            self._tasks.discard(task)

    async def _echo(self, connection: OriginConnection) -> None:
        while head := await connection.read_head():
            self.heads.append(head)
            self.bodies.append(await connection.read_body())
            self.arrived.set()
            body = head.split(b" ")[1]
            shown = b"" if head.startswith(b"HEAD ") else body
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), shown))
