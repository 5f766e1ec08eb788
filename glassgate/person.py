"""Letting people in: an act of whoever runs the gate, on its own host. It is an entry like any other act."""

import os
from pathlib import Path

from glassgate.config import load

__all__ = ["login_code"]


def login_code(config_file: Path, person: str) -> str:
    """A one-time code for that person, good for ten minutes. Raises Refusal(PERSON_UNKNOWN), ConfigFaults."""
    from glassgate.wiring.command import run

    return run(load(config_file, os.environ), lambda service: service.login_code(person))
