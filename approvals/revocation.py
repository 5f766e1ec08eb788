"""How far the end of a grant has reached the proxies. Pure; times are the database's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from approvals.views import RevocationView

__all__ = ["CONTACT_LIMIT", "Worker", "acknowledgement"]

CONTACT_LIMIT: Final = timedelta(seconds=10)  # P6: a proxy without contact for so long has cut everything itself


@dataclass(frozen=True, slots=True)
class Worker:
    """A proxy worker by its last words. `first_version` is what its first answer told it, at least."""

    name: str
    applied_version: int
    first_version: int
    seen_at: datetime


def acknowledgement(version: int, over_since: datetime, workers: Iterable[Worker], now: datetime) -> RevocationView:
    """REVOKE_DONE when every worker in contact enforces `version`, the one that ended the grant.

    A worker whose first answer told it `version` or later has never served the grant: it was told the end with it.
    One that is out of contact for 10 s serves nothing at all. REVOKE_FAILED when one stays in contact and does not
    enforce it for longer than that; REVOKE_PENDING before.
    """
    waiting = tuple(
        sorted(
            worker.name
            for worker in workers
            if worker.applied_version < version
            and worker.first_version < version
            and now - worker.seen_at <= CONTACT_LIMIT
        )
    )
    if not waiting:
        return RevocationView("REVOKE_DONE", version, ())
    late = now - over_since > CONTACT_LIMIT
    return RevocationView("REVOKE_FAILED" if late else "REVOKE_PENDING", version, waiting)
