"""A child process that ends when its parent does, kill -9 of the parent included (Linux; elsewhere nothing happens)."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["die_with"]

_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with(parent: int, how: signal.Signals) -> Callable[[], None] | None:
    """For `Popen(preexec_fn=…)`: send `how` to the child when the thread that forked it ends.

    The thread, not the process: start such children in the main thread. `parent` is the caller's process id.
    """
    libc = _libc
    if libc is None:
        return None

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, how, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the call above
            os._exit(1)

    return ask
