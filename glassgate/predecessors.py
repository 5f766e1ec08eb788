"""Which writers this host ran before, and how far each had come as far as the host knows.

A new process names its predecessor in its first entry, so that a writer which was killed shows: entries that it
had committed and that are withheld leave a gap between this number and what the log holds. The file is written
often and without waiting for the disk; it may lag, and then claims less than there was, never more.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import structlog

__all__ = ["Predecessor", "Predecessors"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """`counter` is the highest of that writer that is known to be durable; -1 = none."""

    writer: str = ""
    counter: int = -1


class Predecessors:
    """One small JSON file per role: processes of several roles share the directory, each writes its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, Predecessor] = {}

    def of(self, role: str) -> Predecessor:
        """What the process before left; asked once, at the start."""
        path = self._path(role)
        try:
            stored = json.loads(path.read_text())
            return Predecessor(str(stored["writer"]), int(stored["counter"]))
        except FileNotFoundError:
            return Predecessor()
        except (OSError, ValueError, TypeError, KeyError) as cause:
            # Lost, not fatal: the first entry then names no predecessor, which an overseer sees and may ask about.
            _log.warning("predecessor.unreadable", path=str(path), cause=str(cause))
            return Predecessor()

    def remember(self, role: str, writer: str, counter: int) -> None:
        """What the next process of this role will name. Nothing happens if nothing changed."""
        now = Predecessor(writer, counter)
        if self._written.get(role) == now:
            return
        self._written[role] = now
        path = self._path(role)
        half = path.with_suffix(".new")
        try:
            half.write_text(json.dumps({"writer": writer, "counter": counter}) + "\n")
            half.replace(path)
        except OSError as cause:
            _log.warning("predecessor.not_written", path=str(path), cause=cause.strerror)

    def _path(self, role: str) -> Path:
        return self._directory / f"writer-{role}.json"
