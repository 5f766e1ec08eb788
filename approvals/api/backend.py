"""What the API stands on: plain objects, handed over by whoever builds the program."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from approvals.api.log_reading import LogReading
from approvals.api.schema import ConnectionInfo, LogInfo
from approvals.queries import Queries
from approvals.service import Approvals

__all__ = ["Backend", "Doors"]


class Doors(Protocol):
    """How the gate is reached. Changes when the policy or a certificate does, so it is asked every time."""

    def connections(self) -> Mapping[str, ConnectionInfo]:
        """Per store."""

    def log(self) -> LogInfo:
        """Where this gate's log is, and its key."""


@dataclass(frozen=True, slots=True)
class Backend:
    service: Approvals
    queries: Queries
    log: LogReading
    doors: Doors
