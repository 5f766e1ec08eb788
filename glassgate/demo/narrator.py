"""How the tour speaks: short sentences, wrapped, and what was typed and seen set apart from them."""

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Final, TextIO

__all__ = ["Narrator"]

WIDTH: Final = 86
SHOWN_WIDTH: Final = 110
_SHOWN_LINES: Final = 30


class Narrator:
    """Writes to `out`, with colour where that is a terminal that wants it (https://no-color.org)."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colour = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._step = 0
        self._showed = False

    def say(self, text: str) -> None:
        """A paragraph."""
        if self._showed:
            self._write("")
        self._write(textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False))

    def remark(self, text: str) -> None:
        """One line as it is, dimmed."""
        self._write(self._painted("2", text))

    def step(self, title: str) -> None:
        """A heading; steps are numbered."""
        self._step += 1
        self._write("\n" + self._painted("1", f"{self._step}  {title}"))

    def title(self, title: str) -> None:
        self._write(self._painted("1", title))

    def typed(self, who: str, line: str) -> None:
        """What somebody types."""
        self._write(f"\n    {self._painted('36', who + ' $')} {line}")

    def shown(self, text: str, lines: int = _SHOWN_LINES) -> None:
        """What they see, long lines wrapped, cut after so many."""
        found = [part for line in text.splitlines() for part in _wrapped(line)]
        cut: Sequence[str] = (
            found if len(found) <= lines else [*found[: lines - 1], f"… ({len(found) - lines + 1} more lines)"]
        )
        self._write("\n".join(f"    {line}".rstrip() for line in cut))
        self._showed = True

    def boxed(self, title: str, text: str) -> None:
        """A message on somebody's screen."""
        body = "\n".join(f"    │ {part}".rstrip() for line in text.splitlines() for part in _wrapped(line))
        self._write(f"\n    ┌ {self._painted('35', title)}\n{body}\n    └")
        self._showed = True

    def plain(self, text: str) -> None:
        """Exactly this line, for programs."""
        self._write(text)

    def _painted(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _write(self, text: str) -> None:
        self._showed = False
        # A terminal that cannot show a box or an umlaut must not end the tour.
        encoding = self._out.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)


def _wrapped(line: str) -> list[str]:
    """One line of output for a narrow terminal: its own spacing is kept, what goes on is indented."""
    return textwrap.wrap(
        line, SHOWN_WIDTH, subsequent_indent="  ", replace_whitespace=False, drop_whitespace=False
    ) or [""]
