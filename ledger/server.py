"""The log over HTTP, read-only: c2sp.org/tlog-tiles@v0.1.0, and bodies in the same coordinates.

    GET <prefix>/checkpoint                          text/plain, cacheable for a second
    GET <prefix>/tile/<level>/<n>[.p/<width>]        application/octet-stream
    GET <prefix>/tile/entries/<n>[.p/<width>]        u16be length ‖ leaf, up to 256 times
    GET <prefix>/body/<n>[.p/<width>]                the entries' facts and contents (ledger/framing.py)

Full tiles and bundles never change and say so. Partial ones are served for every width up to that of the newest
checkpoint. Leaves tell nobody anything by themselves; bodies are customers' data and are refused unless the
wiring says who may read them.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ledger.reader import LogReader, ResourceMissing
from ledger.tiles import WIDTH, PathRefused, parse_path

__all__ = ["MISSING_ENTRY", "log_routes"]

MISSING_ENTRY: Final = "Glassgate-Missing-Entry"
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_PRIVATE: Final = "private, no-store"

MayRead = Callable[[web.Request], Awaitable[bool]]


def log_routes(reader: LogReader, prefix: str = "", may_read_bodies: MayRead | None = None) -> list[web.RouteDef]:
    """Routes below `prefix` ("" or "/log/acme"). `may_read_bodies` decides per request; None refuses every body."""
    server = _LogServer(reader, may_read_bodies)
    return [
        web.get(f"{prefix}/checkpoint", server.checkpoint, allow_head=False),
        web.get(f"{prefix}/{{path:tile/.+}}", server.resource, allow_head=False),
        web.get(f"{prefix}/{{path:body/.+}}", server.resource, allow_head=False),
    ]


class _LogServer:
    def __init__(self, reader: LogReader, may_read_bodies: MayRead | None) -> None:
        self._reader = reader
        self._may_read_bodies = may_read_bodies

    async def checkpoint(self, _request: web.Request) -> web.Response:
        try:
            note = await self._reader.checkpoint()
        except ResourceMissing as cause:
            return _missing(cause)
        # Seconds at most: a stale checkpoint looks like a log that has stopped.
        return web.Response(
            body=note, headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "max-age=1"}
        )

    async def resource(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        # The path as sent: an escaped or doubled spelling of a tile is not that tile.
        if not request.rel_url.raw_path.endswith("/" + path) or request.rel_url.raw_query_string:
            return web.Response(status=400, text="not the one spelling of a resource\n")
        try:
            resource = parse_path(path)
        except PathRefused as cause:
            return web.Response(status=400, text=f"{cause}\n")
        if resource.kind == "body" and not (self._may_read_bodies and await self._may_read_bodies(request)):
            return web.Response(status=403, text="bodies are for enrolled readers\n")
        try:
            data = await self._reader.read(resource)
        except ResourceMissing as cause:
            return _missing(cause)
        if resource.kind == "body":
            caching = _PRIVATE
        else:
            caching = _IMMUTABLE if resource.width == WIDTH else "public, max-age=3600"
        return web.Response(body=data, content_type="application/octet-stream", headers={"Cache-Control": caching})


def _missing(cause: ResourceMissing) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if cause.index is not None:
        headers[MISSING_ENTRY] = str(cause.index)
    return web.Response(status=404, text=f"{cause}\n", headers=headers)
