"""The gate asks the client who it is: SASL inside the PostgreSQL protocol (§"SASL Authentication"); pure.

SCRAM only, so that no access key ever crosses the wire. Every way of failing looks the same from outside.
"""

import struct
from dataclasses import dataclass
from typing import Literal

from proxy.postgres.errors import ProtocolError
from proxy.postgres.framing import Frame
from proxy.postgres.messages import message
from proxy.postgres.scram import ScramFailed, ScramServer

__all__ = ["ClientLogin", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reply` is to be sent; `state` says whether the person is in."""

    state: Literal["going_on", "proven", "failed"]
    reply: bytes = b""


class ClientLogin:
    def __init__(self, scram: ScramServer) -> None:
        self._scram = scram
        self._step = 0

    def offer(self) -> bytes:
        """AuthenticationSASL with our mechanisms, best first."""
        names = b"".join(name.encode() + b"\0" for name in self._scram.mechanisms)
        return message(b"R", struct.pack(">I", 10) + names + b"\0")

    def receive(self, frame: Frame) -> Outcome:
        """One SASLInitialResponse or SASLResponse. Raises ProtocolError."""
        if frame.type != ord("p"):
            raise ProtocolError("expected a SASL response")
        self._step += 1
        try:
            if self._step == 1:
                return self._first(bytes(frame.body))
            if self._step == 2:
                final = self._scram.final(bytes(frame.body))
                return Outcome("proven", message(b"R", struct.pack(">I", 12) + final))
        except ScramFailed:
            return Outcome("failed")
        raise ProtocolError("a SASL response too many")

    def _first(self, body: bytes) -> Outcome:
        name, end, rest = body.partition(b"\0")
        if not end or len(rest) < 4:
            raise ProtocolError("malformed SASL response")
        (size,) = struct.unpack_from(">i", rest)
        if size != len(rest) - 4:
            raise ProtocolError("malformed SASL response")
        answer = self._scram.first(name.decode("ascii", "replace"), rest[4:])
        return Outcome("going_on", message(b"R", struct.pack(">I", 11) + answer))
