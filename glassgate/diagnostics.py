"""/healthz, /readyz and /metrics on an address of their own.

Healthy: the process answers. Ready: it should be sent work; not while draining, and not while any of its checks
has a reason against it (a view of grants that is stale, a recorder that cannot record, a database that is away).
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from aiohttp import web

from glassgate.metrics import CONTENT_TYPE, Metrics

__all__ = ["Readiness", "make_app"]

Check = Callable[[], str]
"""Why not to be sent work now; "" = nothing against it."""


class Readiness:
    """Named checks, and whether the process is up and staying."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self.phase: Literal["starting", "serving", "draining"] = "starting"

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def reasons(self) -> dict[str, str]:
        """Everything against it; empty = ready."""
        found = {} if self.phase == "serving" else {"process": self.phase}
        return found | {name: reason for name, check in self._checks.items() if (reason := check())}


_NO_STORE: Final = {"Cache-Control": "no-store"}


def make_app(readiness: Readiness, metrics: Metrics) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers=_NO_STORE)

    async def readyz(_request: web.Request) -> web.Response:
        reasons = readiness.reasons()
        body = msgspec.json.encode({"ready": not reasons, "reasons": reasons})
        return web.Response(
            status=503 if reasons else 200, body=body, content_type="application/json", headers=_NO_STORE
        )

    async def numbers(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers=_NO_STORE | {"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", numbers)
    return app
