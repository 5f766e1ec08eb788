"""A psql that runs while the tour goes on, its rows read and timed as they come."""

import contextlib
import subprocess
import threading
import time
from typing import Final

from glassgate.demo.people import ENGINEER
from glassgate.demo.trial import Trial

__all__ = ["Stream"]

FINISH_S: Final = 15.0


class Stream:
    """One psql. `lines` grow while it runs (in lumps: psql writes into a pipe); `ended_at` is when it closed its
    output, in Unix seconds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self.ended_at = 0.0
        self._process = process
        self._errors: list[str] = []
        self._more = threading.Condition()
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_rows, self._read_errors)]
        for reader in self._readers:
            reader.start()

    @classmethod
    def connect(cls, trial: Trial, store: str, statement: str) -> "Stream":
        """`glassgate connect` as the engineer."""
        return cls(trial.terminal.start(ENGINEER, "connect", store, "--", "psql", "-c", statement))

    @classmethod
    def psql(cls, trial: Trial, address: str, statement: str, password: str) -> "Stream":
        """psql alone, as somebody would try it without glassgate."""
        return cls(
            subprocess.Popen(
                ["psql", "-X", "-w", address, "-c", statement],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=trial.terminal.environment(None) | {"PGPASSWORD": password},
            )
        )

    def wait_for_lines(self, count: int, timeout_s: float = FINISH_S) -> bool:
        """Whether so many lines came in time."""
        with self._more:
            self._more.wait_for(lambda: len(self.lines) >= count or self._process.poll() is not None, timeout_s)
            return len(self.lines) >= count

    def said(self) -> str:
        """What it wrote to standard error so far."""
        return "".join(self._errors).rstrip("\n")

    def finish(self, timeout_s: float = FINISH_S) -> tuple[int, str]:
        """Exit status and standard error; a psql that does not end in time is killed, with status -9."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()
        for reader in self._readers:
            reader.join(timeout_s)
        return self._process.returncode, self.said()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _read_rows(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        self.ended_at = time.time()
        with self._more:
            self._more.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)
