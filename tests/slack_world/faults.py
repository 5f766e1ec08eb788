"""The fault script: what goes wrong next, and where. Each fault is used up once it has happened."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ApiFault", "Faults"]

DeliveryFault = Literal["duplicate", "hold", "lose_ack", "disconnect"]
"""duplicate: the same bytes arrive twice · hold: arrives after the next one (reordering) · lose_ack: the answer
never reaches Slack · disconnect: the Socket Mode connection is told to go before the payload is sent."""


@dataclass(frozen=True)
class ApiFault:
    """One misbehaviour of a Web API method.

    rate_limited: 429 with Retry-After · server_error: a 503 page that is no JSON · timeout: no answer, nothing
    done · lost_answer: done, but the connection breaks before the answer · error: `{ok: false, error}`.
    """

    kind: Literal["rate_limited", "server_error", "timeout", "lost_answer", "error"]
    retry_after_s: int = 1
    word: str = ""


@dataclass
class Faults:
    """Scripts per method (`*` = any), and for deliveries."""

    api_script: dict[str, deque[ApiFault]] = field(default_factory=dict)
    delivery_script: deque[DeliveryFault] = field(default_factory=deque)
    down: bool = False  # everything answers 503 until it is put back
    released: asyncio.Event = field(default_factory=asyncio.Event)  # ends hanging answers at shutdown

    def api(self, method: str, fault: ApiFault, times: int = 1) -> None:
        self.api_script.setdefault(method, deque()).extend([fault] * times)

    def delivery(self, fault: DeliveryFault) -> None:
        self.delivery_script.append(fault)

    def next_api(self, method: str) -> ApiFault | None:
        if self.down:
            return ApiFault("server_error")
        for script in self._scripts(method):
            if script:
                return script.popleft()
        return None

    def next_delivery(self) -> DeliveryFault | None:
        return self.delivery_script.popleft() if self.delivery_script else None

    def _scripts(self, method: str) -> Iterator[deque[ApiFault]]:
        for name in (method, "*"):
            if name in self.api_script:
                yield self.api_script[name]
