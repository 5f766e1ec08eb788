"""The approvals service for one act on the gate's own host, in a process that writes under a key of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from approvals.service import Approvals
from glassgate import log
from glassgate.database import Dsns, open_database
from glassgate.settings import Config
from glassgate.wiring.approvals import introduce, make_service
from glassgate.wiring.ground import Ground
from glassgate.wiring.sequencer import record_stopped

__all__ = ["run"]

ROLE: Final = "command"
T = TypeVar("T")


def run(config: Config, act: Callable[[Approvals], Awaitable[T]]) -> T:
    """Do `act`. What it records is in the log under this host's key like everything else, between a
    process.started and a process.stopped. Main thread only."""
    # What this process has to say beside its answer belongs on stderr: the answer may be read by a program.
    log.set_up(level=logging.WARNING)
    with open_database(config, join=True) as dsns:
        return asyncio.run(_run(config, dsns, act))


async def _run(config: Config, dsns: Dsns, act: Callable[[Approvals], Awaitable[T]]) -> T:
    ground = Ground(config, dsns)
    pool = await ground.pool("approvals", size=2, name=ROLE)
    try:
        writer = ground.writer()
        await introduce(pool, writer, ROLE, ground)
        try:
            return await act(make_service(pool, writer, ground))
        finally:
            async with pool.acquire() as connection:
                await record_stopped(connection, writer, ROLE, ground)
    finally:
        pool.terminate()
