"""Background tasks that must not end: when one does, the process says which and why, and stops."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

__all__ = ["Supervisor"]

_log = structlog.get_logger(__name__)


class Supervisor:
    """Runs tasks by name. `failed` is set once, with the reason, when something ended that should not have."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._failed: asyncio.Event = asyncio.Event()
        self._closing = False
        self.reason = ""

    def run(self, name: str, body: Coroutine[Any, Any, Any]) -> None:
        """A task that lives as long as the process."""
        task = asyncio.get_running_loop().create_task(body, name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda ended: self._ended(name, ended))

    def every(self, name: str, seconds: float, act: Callable[[], Awaitable[object]]) -> None:
        """Call `act` again and again with that pause. What it raises is logged and tried again: a database that is
        away for a while must not end the process; what counts on it shows that by its own age."""
        self.run(name, self._repeat(name, seconds, act))

    def fail(self, reason: str) -> None:
        """Stop the process for this reason."""
        if not self.reason:
            self.reason = reason
            _log.critical("process.must_stop", reason=reason)
        self._failed.set()

    async def failed(self) -> str:
        await self._failed.wait()
        return self.reason

    async def close(self) -> None:
        """Cancel what still runs, latest first, and wait for it."""
        self._closing = True
        for name, task in reversed(list(self._tasks.items())):
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            except Exception:
                _log.exception("task.failed_while_stopping", task=name)

    async def _repeat(self, name: str, seconds: float, act: Callable[[], Awaitable[object]]) -> None:
        failing = False
        while True:
            try:
                await act()
            except Exception as cause:
                if not failing:  # once, not every second of an outage
                    _log.warning("task.failing", task=name, cause=f"{type(cause).__name__}: {cause}")
                failing = True
            else:
                if failing:
                    _log.info("task.recovered", task=name)
                failing = False
            await asyncio.sleep(seconds)

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._closing or task.cancelled():
            return
        cause = task.exception()
        if cause is not None:
            _log.error("task.failed", task=name, exc_info=cause)
        self.fail(f"the task {name} ended" + (f": {type(cause).__name__}: {cause}" if cause else " by itself"))
