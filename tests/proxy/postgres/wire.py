"""A client that writes raw messages, over TLS, after a login of its own; for what no driver would send."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import struct
from typing import Any


def framed(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def startup(user: str, database: str, version: int = 3 << 16, **more: str) -> bytes:
    pairs = {"user": user, "database": database, **more}
    body = struct.pack(">I", version) + b"".join(f"{k}\0{v}\0".encode() for k, v in pairs.items()) + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def query(text: str) -> bytes:
    return framed(b"Q", text.encode() + b"\0")


def parse(text: str, name: str = "") -> bytes:
    return framed(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(portal: str = "", statement: str = "", *values: bytes | None) -> bytes:
    body = f"{portal}\0{statement}\0".encode() + struct.pack(">HH", 0, len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return framed(b"B", body + struct.pack(">H", 0))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return framed(b"E", portal.encode() + b"\0" + struct.pack(">I", rows))


def describe(kind: str, name: str = "") -> bytes:
    return framed(b"D", kind.encode() + name.encode() + b"\0")


def close(kind: str, name: str = "") -> bytes:
    return framed(b"C", kind.encode() + name.encode() + b"\0")


SYNC = framed(b"S")
FLUSH = framed(b"H")
TERMINATE = framed(b"X")


class Wire:
    """One connection. Messages come back as (type, body)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.pid, self.key = 0, b""
        self.settings: dict[str, str] = {}

    @classmethod
    async def plain(cls, port: int) -> "Wire":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def tls(cls, port: int, context: ssl.SSLContext) -> "Wire":
        wire = await cls.plain(port)
        await wire.encrypt(context)
        return wire

    async def encrypt(self, context: ssl.SSLContext) -> None:
        self.send(struct.pack(">II", 8, 80877103))
        assert await self.reader.readexactly(1) == b"S"
        await self.writer.start_tls(context, server_hostname="localhost")

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def message(self) -> tuple[str, bytes]:
        async with asyncio.timeout(10):
            kind, length = struct.unpack(">cI", await self.reader.readexactly(5))
            return kind.decode(), await self.reader.readexactly(length - 4)

    async def until_ready(self) -> list[tuple[str, bytes]]:
        messages = []
        while not messages or messages[-1][0] != "Z":
            messages.append(await self.message())
        return messages

    async def types_until_ready(self) -> str:
        return "".join(kind for kind, _ in await self.until_ready())

    async def until_closed(self) -> list[tuple[str, bytes]]:
        messages = []
        try:
            while True:
                messages.append(await self.message())
        except (asyncio.IncompleteReadError, ConnectionError):
            return messages

    async def log_in(self, password: str, **more: Any) -> list[tuple[str, bytes]]:
        """Startup and SCRAM; returns what came after AuthenticationOk, or the error."""
        self.send(startup(more.pop("user", "ada"), more.pop("database", "customers-db"), **more))
        kind, body = await self.message()
        while kind == "v":
            kind, body = await self.message()
        if kind != "R":
            return [(kind, body)]
        assert body.startswith(struct.pack(">I", 10)), body
        first = "n=,r=clientnonce"
        initial = b"n,," + first.encode()
        self.send(framed(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(initial)) + initial))
        kind, body = await self.message()
        if kind != "R":
            return [(kind, body)]
        server_first = body[4:].decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c=biws,r={fields['r']}"
        signed = f"{first},{server_first},{without}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
        self.send(framed(b"p", f"{without},p={proof}".encode()))
        kind, body = await self.message()
        if kind != "R":
            return [(kind, body)]
        assert await self.message() == ("R", b"\0\0\0\0")
        messages = []
        while not messages or messages[-1][0] not in "ZE":
            messages.append(await self.message())
        for kind, body in messages:
            if kind == "K":
                self.pid, self.key = int.from_bytes(body[:4], "big"), body[4:]
            if kind == "S":
                name, value, _ = body.decode().split("\0")
                self.settings[name] = value
        return messages

    def close(self) -> None:
        self.writer.close()

    def terminate(self) -> None:
        self.writer.transport.abort()


def fields(body: bytes) -> dict[str, str]:
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}
