"""On which line of a TOML document a key stands, so that a fault can point at it.

Not a parser: the document has been parsed already. Lines are read one by one, so a multi-line string that looks
like a table can point a fault at the wrong line, and at nothing worse.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["Lines"]

_TABLE: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART: Final = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")

Path = tuple[str, ...]


class Lines:
    """Line numbers (from 1) by path; elements of an array of tables have their index as a part ("rules", "0")."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        tables: dict[Path, int] = {}
        table: Path = ()
        for number, line in enumerate(text.splitlines(), 1):
            header = _TABLE.fullmatch(line)
            if header is not None:
                table = _parts(header[2])
                if header[1] == "[[":
                    count = tables[table] = tables.get(table, -1) + 1
                    table = (*table, str(count))
                self._lines.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key is not None:
                self._lines.setdefault(table + _parts(key[1]), number)

    def of(self, path: Sequence[str]) -> int:
        """The line of that key, or of the nearest thing around it; 1 at worst."""
        for end in range(len(path), 0, -1):
            line = self._lines.get(tuple(path[:end]))
            if line is not None:
                return line
        return 1


def _parts(text: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
