"""The trial's child processes: they write to a log file of their own and die with us, however we die."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from glassgate.parent_death import die_with

__all__ = ["Child", "ChildFailed", "wait_until"]

_POLL_S: Final = 0.02
_TOLD_BYTES: Final = 1500


class ChildFailed(Exception):
    """A part of the trial did not come up, or went away; the text says which one and its last words."""


class Child:
    """One process. Start it in the main thread: the death signal follows the thread that forked."""

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            log.chmod(0o600)
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env),
                cwd=cwd,
                # Ctrl-C at the terminal reaches us alone; we end the children in order.
                start_new_session=True,
                preexec_fn=die_with(os.getpid(), signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises ChildFailed if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChildFailed(f"{self.name} ended (exit status {code}). Its last words: {self.last_words()}")

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            said = self.log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace").strip()
            if said:
                return f"{said}\n(all of them: {self.log})"
        return "none."

    def stop(self, timeout_s: float = 8.0) -> None:
        """Ask, then insist. Without effect when it has ended."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(how)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                continue
            return


def wait_until(what: str, ready: Callable[[], bool], children: Sequence[Child], timeout_s: float = 25.0) -> None:
    """Return once `ready()`; raises ChildFailed when a child ends before, or nothing happens in time."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            words = "; ".join(f"{child.name} said: {child.last_words()}" for child in children)
            raise ChildFailed(f"{what} did not come up within {timeout_s:.0f} s. {words}")
        time.sleep(_POLL_S)
