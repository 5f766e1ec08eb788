"""The program's own log lines (not the record): JSON, or columns on a terminal; on stderr, without secrets.

Secrets are kept out twice: values under keys that name one are dropped, and inside any text whatever has the
shape of one of our tokens, a JWT, a Slack token or a DSN's password is blanked.
"""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

__all__ = ["redact", "redacted", "set_up"]

MAX_DEPTH: Final = 6
MAX_TEXT: Final = 16 * 1024
_BLANK: Final = "…redacted…"
_SECRET_KEYS: Final = re.compile(
    r"(?:^|[_.-])(?:password|passwd|secret|token|authorization|cookie|bearer|credential|private_?key|api_?key|scram"
    r"|access_key|login_code|dsn)$",
    re.IGNORECASE,
)
_SHAPES: Final = re.compile(
    r"gg[sk]_[0-9A-Za-z]{8,}"
    r"|eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*){0,2}"
    r"|x(?:ox[a-z]|app)-[0-9A-Za-z-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[0-9A-Za-z._~+/=-]{8,}"
)


def redacted(text: str) -> str:
    """`text` with whatever looks like a secret blanked, and bounded in length."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return _SHAPES.sub(_BLANK, text)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor; runs last but one, after tracebacks have become text."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEYS.search(key):
        return _BLANK
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {str(k): _clean(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", v, depth + 1) for v in value]
    return redacted(str(value))


class _Stderr:
    """sys.stderr as it is at each line, for programs that replace it while they run."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def set_up(out: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """For processes that use the services; libraries that log through `logging` end in the same place and form."""
    stream = cast(TextIO, out or _Stderr())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Callable[..., Any] = structlog.processors.JSONRenderer(ensure_ascii=False)
    if stream.isatty():
        # plain_traceback: the default would import rich, and format_exc_info has made a text of it already.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # A traceback per connection and second of an outage says less than the parts that notice it themselves.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
