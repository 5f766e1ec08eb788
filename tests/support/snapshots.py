"""Texts kept as files that a reviewer can read: a change of what people see is a change in the diff.

`UPDATE_SNAPSHOTS=1` writes them; a test run never does so by itself.
"""

import os
from pathlib import Path

__all__ = ["matches"]


def matches(path: Path, text: str) -> None:
    """Assert that `text` is what the file holds."""
    wanted = text.rstrip() + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
    assert path.exists(), f"no snapshot {path.name}: run with UPDATE_SNAPSHOTS=1 and read what it wrote"
    assert wanted == path.read_text(encoding="utf-8")
