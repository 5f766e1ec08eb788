"""The same requests direct and through the gate, at stores that nobody here wrote: the same bytes."""

import asyncio
import gzip
import http.server
import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.proxy.http.conftest import World

SAME = ("content-type", "content-length", "etag", "last-modified", "content-range", "accept-ranges", "content-encoding")

Got = tuple[int, bytes, dict[str, str]]


async def fetch(
    base: str, target: str, method: str = "GET", headers: dict[str, str] | None = None, data: bytes | None = None
) -> Got:
    """An answer without decompression: status, body, and the fields that must be equal."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            method,
            base + target,
            headers=headers,
            data=None if data is None else io.BytesIO(data),
            allow_redirects=False,
        ) as response,
    ):
        body = await response.read()
        return response.status, body, {k.lower(): v for k, v in response.headers.items() if k.lower() in SAME}


async def compare(
    world: World,
    upstream: str,
    target: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    data: bytes | None = None,
) -> Got:
    host, port = world.http.address
    direct = await fetch(upstream, target, method, headers, data)
    through = await fetch(
        f"http://{host}:{port}",
        target,
        method,
        {"Host": "crm-api.localhost", "Authorization": f"Bearer {world.token}", **(headers or {})},
        data,
    )
    assert through == direct
    return through


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """python -m http.server over a few files: HTTP/1.0, answers that end with the connection."""
    rng = random.Random(7)
    for size in (0, 1, 1023, 65536, 3_000_001):
        (tmp_path / f"{size}.bin").write_bytes(rng.randbytes(size))
    (tmp_path / "text.txt").write_text("Zürich\n" * 100)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_the_standard_librarys_file_server(world: World, files: str) -> None:
    await world.serve(files, reads=("GET /*",))
    for target in ("/0.bin", "/1.bin", "/1023.bin", "/65536.bin", "/3000001.bin", "/text.txt", "/", "/missing?x=%zz"):
        for method in ("GET", "HEAD"):
            await compare(world, files, target, method)
    status, _, _ = await compare(
        world, files, "/text.txt", headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    )
    assert status == 304
    outcomes = world.gate.recorder.of("access.outcome")
    assert {entry.facts["result"] for entry in outcomes} == {"complete"}


async def aiohttp_origin() -> tuple[web.AppRunner, str]:
    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(body=body, headers={"ETag": '"x"', "X-Query": request.query_string}, status=201)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(200):
            await response.write(b"%d\n" % number * (number % 17))
        await response.write_eof()
        return response

    async def packed(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"a" * 100_000, mtime=0), headers={"Content-Encoding": "gzip"})

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application(client_max_size=1 << 30)
    app.add_routes(
        [
            web.post("/echo", echo),
            web.put("/echo", echo),
            web.get("/stream", stream),
            web.get("/packed", packed),
            web.delete("/nothing", nothing),
        ]
    )
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


async def test_an_aiohttp_store(world: World) -> None:
    runner, upstream = await aiohttp_origin()
    await world.serve(upstream, reads=("GET /*",), writes=("POST /*", "PUT /*", "DELETE /*"))
    rng = random.Random(11)
    try:
        for size in (0, 1, 65535, 65536, 65537, 5_000_000):
            for method in ("POST", "PUT"):
                await compare(world, upstream, f"/echo?size={size}", method, data=rng.randbytes(size))
        await compare(world, upstream, "/stream")
        _, body, fields = await compare(world, upstream, "/packed")
        assert fields["content-encoding"] == "gzip"
        assert gzip.decompress(body) == b"a" * 100_000
        await compare(world, upstream, "/nothing", "DELETE")
        await compare(world, upstream, "/unknown")
    finally:
        await runner.cleanup()


async def test_many_at_once_do_not_mix(world: World) -> None:
    runner, upstream = await aiohttp_origin()
    await world.serve(upstream, reads=("GET /*",), writes=("POST /*",))
    host, port = world.http.address
    try:
        async with aiohttp.ClientSession() as session:

            async def one(number: int) -> None:
                body = str(number).encode() * (number % 500 + 1)
                headers = {"Host": "crm-api.localhost", "Authorization": f"Bearer {world.token}"}
                async with session.post(f"http://{host}:{port}/echo", data=body, headers=headers) as response:
                    assert await response.read() == body

            await asyncio.gather(*(one(number) for number in range(400)))
    finally:
        await runner.cleanup()
    recorder = world.gate.recorder
    assert len(recorder.of("access.intent")) == len(recorder.of("access.outcome")) == 400
    assert {e.facts["access"] for e in recorder.of("access.outcome")} == {e.id for e in recorder.of("access.intent")}
