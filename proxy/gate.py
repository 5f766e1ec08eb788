"""What every protocol of the gate is given: who may do what, where to, and how it is remembered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from proxy.clock import Clock
from proxy.credentials import Credentials
from proxy.live_grants import LiveGrants, PolicyRow
from proxy.recorder import Recorder
from proxy.refusals import Refusals
from proxy.stores import Stores
from proxy.token_cache import TokenVerifier

__all__ = ["Gate", "WhenFresh"]

_log = structlog.get_logger(__name__)


class WhenFresh(Protocol):
    """See proxy.sync.ProxySync.when_fresh."""

    def __call__(self, callback: Callable[[], None], timeout_s: float = 2.0) -> Callable[[], None]: ...


@dataclass(slots=True)
class Gate:
    """One worker's. `stores` is replaced as a whole when the policy changes; everything else lives as long as
    the process."""

    stores: Stores
    live: LiveGrants
    recorder: Recorder
    clock: Clock
    credentials: Credentials
    tokens: TokenVerifier
    refusals: Refusals
    when_fresh: WhenFresh
    set_policy: Callable[[str], None]  # tells the writer which policy digest its stubs name

    def adopt_policy(self, row: PolicyRow) -> None:
        """The policy in force changed. Raises PolicyRefused; the old one then stays, and the view grows old."""
        stores = Stores.from_policy(row.document, row.digest)
        self.set_policy(row.digest)
        self.stores = stores
        _log.info("policy.in_force", digest=row.digest, stores=stores.names())
