"""What a refused request is answered with: problem+json (RFC 9457), or a small page where a browser asks.

Both say what happened in the gate's own words and what to type next. Nothing a client sent is repeated except
what is escaped, and no header of the answer can be influenced by it.
"""

import html
from dataclasses import dataclass
from typing import Final

import msgspec

from approvals.reasons import TEXT, Reason

__all__ = ["CONTINUE", "STATUS", "Answer", "render", "wants_page"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

STATUS: Final[dict[Reason, int]] = {
    Reason.NO_CREDENTIAL: 401,
    Reason.SEVERAL_CREDENTIALS: 400,
    Reason.CREDENTIAL_MALFORMED: 401,
    Reason.CREDENTIAL_UNKNOWN: 401,
    Reason.TOKEN_FORGED: 401,
    Reason.TOKEN_EXPIRED: 401,
    Reason.TOKEN_NOT_YET_VALID: 401,
    Reason.TOKEN_FOREIGN: 401,
    Reason.NOT_KEY_HOLDER: 401,
    Reason.TOO_MANY_ATTEMPTS: 429,
    Reason.STORE_UNKNOWN: 404,
    Reason.STORE_UNREACHABLE: 502,
    Reason.STORE_IDENTITY: 502,
    Reason.PROTOCOL_VIOLATION: 400,
    Reason.UNSUPPORTED: 501,
    Reason.BODY_TOO_LARGE: 413,
    Reason.VIEW_STALE: 503,
    Reason.RECORD_FAILED: 503,
    Reason.RECORD_TOO_LARGE: 413,
    Reason.DRAINING: 503,
    Reason.OVERLOADED: 503,
    Reason.INTERNAL: 500,
}
"""403 where it is not listed: known, understood, and not allowed."""

_PHRASE: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

_RETRY_AFTER_S: Final = {429: 60, 503: 1}

_ASK_AGAIN: Final = frozenset(
    {
        Reason.NO_CREDENTIAL,
        Reason.GRANT_UNKNOWN,
        Reason.GRANT_EXPIRED,
        Reason.GRANT_ENDED,
        Reason.GRANT_REVOKED,
        Reason.GRANT_POLICY_CHANGED,
        Reason.GRANT_OTHER_STORE,
        Reason.ACTION_NOT_GRANTED,
        Reason.RESOURCE_NOT_GRANTED,
    }
)
_FRESH_TOKEN: Final = frozenset(
    {
        Reason.CREDENTIAL_MALFORMED,
        Reason.CREDENTIAL_UNKNOWN,
        Reason.TOKEN_EXPIRED,
        Reason.TOKEN_FOREIGN,
        Reason.TOKEN_FORGED,
        Reason.GRANT_NOT_ACTIVE,
    }
)

_encoder: Final = msgspec.json.Encoder()


class Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    code: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal as it goes out. `store` is a store's name or ""; `detail` is our own words beside the reason's."""

    reason: Reason
    status: int
    store: str = ""
    detail: str = ""
    actions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, reason: Reason, store: str = "", detail: str = "", actions: tuple[str, ...] = (), status: int = 0
    ) -> "Answer":
        """With the reason's own status unless another one is given."""
        return cls(reason, status or STATUS.get(reason, 403), store, detail, actions)


def wants_page(accept: bytes) -> bool:
    """Whether an Accept field asks for HTML by name: a browser, not a tool that takes anything."""
    return b"text/html" in accept.lower()


def render(answer: Answer, *, page: bool, head_only: bool, close: bool) -> bytes:
    """The whole answer. `head_only`: to HEAD, so no body is sent."""
    body = _page(answer) if page else _problem(answer)
    kind = b"text/html; charset=utf-8" if page else b"application/problem+json"
    head = [
        b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
        % (answer.status, _PHRASE[answer.status].encode(), kind, len(body)),
        b"X-Content-Type-Options: nosniff\r\n",
    ]
    if page:
        head.append(
            b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
            b"Referrer-Policy: no-referrer\r\n"
        )
    if answer.status == 401:
        realm = (answer.store or "glassgate").encode("ascii", "replace").replace(b'"', b"")
        head.append(b'WWW-Authenticate: Bearer realm="%s"\r\n' % realm)
        if not page:
            # To a browser this would be a password box in front of the page that says what to do.
            head.append(b'WWW-Authenticate: Basic realm="%s", charset="UTF-8"\r\n' % realm)
    if answer.status in _RETRY_AFTER_S:
        head.append(b"Retry-After: %d\r\n" % _RETRY_AFTER_S[answer.status])
    if close:
        head.append(b"Connection: close\r\n")
    head.append(b"\r\n")
    if not head_only:
        head.append(body)
    return b"".join(head)


def _text(answer: Answer) -> str:
    return f"{TEXT[answer.reason]} ({answer.detail})" if answer.detail else TEXT[answer.reason]


def _next(answer: Answer) -> str:
    """The command that leads on, or ""."""
    if not answer.store:
        return ""
    if answer.reason in _FRESH_TOKEN:
        return f"glassgate token {answer.store}"
    if answer.reason in _ASK_AGAIN:
        actions = "".join(f" --action {action}" for action in answer.actions) or " --action read"
        return f'glassgate request create {answer.store}{actions} --for 1h --reason … --purpose "…"'
    return ""


def _problem(answer: Answer) -> bytes:
    return _encoder.encode(
        Problem(
            type=f"urn:glassgate:problem:{answer.reason.value.replace('_', '-')}",
            title=_PHRASE[answer.status],
            status=answer.status,
            detail=_text(answer),
            code=answer.reason.value,
            next=_next(answer),
        )
    )


def _page(answer: Answer) -> bytes:
    store = html.escape(answer.store)
    title = f"{answer.status} · {html.escape(_PHRASE[answer.status])}"
    lines = [
        "<!doctype html>",
        '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:12vh auto;padding:0 1rem}"
        "code{background:#8882;padding:.15em .35em;border-radius:4px;overflow-wrap:anywhere}small{opacity:.7}</style>",
        f"<h1>{store or 'glassgate'} is behind the gate</h1>",
        f"<p>{html.escape(_text(answer))}</p>",
    ]
    following = _next(answer)
    if following:
        lines.append(f"<p>On the command line:<br><code>{html.escape(following)}</code></p>")
        if answer.reason in _ASK_AGAIN:
            lines.append(f"<p>In Slack:<br><code>/access {store}</code></p>")
    lines.append(f"<p><small>{html.escape(answer.reason.value)}</small></p></html>")
    return "\n".join(lines).encode()
