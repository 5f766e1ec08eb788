"""What people read: tables and fields on stdout, remarks on stderr, and nobody else's control characters.

Purposes, comments and names are written by other people. A terminal obeys what it is sent (ESC sequences move
the cursor, bidi overrides reorder a line), so every such text passes `visible` first. Pure but for the two
functions at the end.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["ago", "fields", "grouped", "remark", "result", "span", "table", "visible", "when"]

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode general categories that print as nothing, or as an order to the terminal (controls, bidi and
zero-width formatting, surrogates, private use, unassigned, line and paragraph separators)."""

_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"


def visible(value: object, *, lines: bool = False) -> str:
    """`value` as text in which every character shows itself: ESC as `\\x1b`, U+202E as `\\u202e`.

    A backslash is doubled, so an escape that is read was made here and not typed by somebody. `lines` lets line
    feeds through, for texts that are shown alone.
    """
    out = []
    for character in str(value):
        if character == "\\":
            out.append("\\\\")
        elif character == "\n" and lines:
            out.append(character)
        elif unicodedata.category(character) in _INVISIBLE:
            out.append(_escaped(ord(character)))
        else:
            out.append(character)
    return "".join(out)


def _escaped(code: int) -> str:
    if code in (0x09, 0x0A, 0x0D):
        return {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}[code]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _width(text: str) -> int:
    """Columns on a terminal: wide and full-width characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, styled: bool = False) -> str:
    """Columns aligned by display width, the header in bold when `styled`. Ends without a line feed."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(_width(text) for text in column) for column in zip(headers, *cells, strict=True)]
    lines = [_row(headers, widths)]
    if styled:
        lines[0] = f"{_BOLD}{lines[0]}{_PLAIN}"
    lines.extend(_row(row, widths) for row in cells)
    return "\n".join(lines)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_padded(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def fields(pairs: Mapping[str, object], *, styled: bool = False) -> str:
    """One `name  value` per line, names aligned; empty values are left out."""
    shown = {name: visible(value) for name, value in pairs.items() if value not in ("", None)}
    width = max((len(name) for name in shown), default=0)
    bold, plain = (_BOLD, _PLAIN) if styled else ("", "")
    return "\n".join(f"{bold}{name:<{width}}{plain}  {value}" for name, value in shown.items())


def grouped(digest: str) -> str:
    """The first 16 hex digits of a digest in groups of four: enough to compare by eye or over the telephone."""
    return " ".join(digest[start : start + 4] for start in range(0, 16, 4))


def span(seconds: float) -> str:
    """A duration as people write it: `45s`, `30m`, `1h`, `1h30m`."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{left}s" if left else ""]
    return "".join(parts) or "0s"


def when(text: str) -> str:
    """An RFC 3339 time as `2026-01-02 15:04:05Z`; anything else comes back as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return text
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def ago(text: str, now: datetime) -> str:
    """How far an RFC 3339 time is from `now`: `in 42m`, `3h ago`; "" for anything else."""
    try:
        seconds = (datetime.fromisoformat(text) - now).total_seconds()
    except (ValueError, TypeError):
        return ""
    size = abs(seconds)
    coarse = span(size if size < 60 else size // 60 * 60)
    return f"in {coarse}" if seconds >= 0 else f"{coarse} ago"


def result(value: Any, *, as_json: bool, human: str) -> None:
    """The command's answer, on stdout: the API's own object with `--json`, else `human`."""
    # Flushed here: a reader that went away (`| head`) is met inside the command, which ends quietly then.
    print(json.dumps(value, ensure_ascii=True, indent=2) if as_json else human, flush=True)


def remark(text: str) -> None:
    """Something beside the answer, on stderr, so that a pipe gets the answer alone."""
    print(text, file=sys.stderr)
