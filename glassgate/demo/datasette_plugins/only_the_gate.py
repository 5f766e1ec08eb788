"""A plugin for datasette: answers nobody who does not hold the one token, which lies in a file of the gate's side."""

import hmac
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from datasette import hookimpl  # type: ignore[import-untyped]

_App = Callable[[Any, Any, Any], Awaitable[None]]


@hookimpl  # type: ignore[untyped-decorator]
def asgi_wrapper(datasette: Any) -> Callable[[_App], _App]:
    token = Path(os.environ["CRM_TOKEN_FILE"]).read_text().strip()
    wanted = f"Bearer {token}".encode()

    def wrap(app: _App) -> _App:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            sent = [value for name, value in scope["headers"] if name == b"authorization"]
            if len(sent) == 1 and hmac.compare_digest(sent[0], wanted):
                await app(scope, receive, send)
                return
            headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"This store answers its gate alone.\n"})

        return guarded

    return wrap
