"""Listening sockets, taken before anything else starts and never shared by accident."""

import socket
from dataclasses import dataclass, field

from glassgate.values import Address

__all__ = ["Listener", "PortTaken", "listen"]

BACKLOG = 1024


class PortTaken(Exception):
    """The address cannot be listened on; the text names the setting and why."""


@dataclass(slots=True)
class Listener:
    """The sockets of one setting; a host name may stand for several addresses."""

    setting: str
    address: Address
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port in use: the one that the system chose where the setting says 0."""
        return int(self.sockets[0].getsockname()[1]) if self.sockets else self.address.port

    @property
    def bound(self) -> Address:
        return Address(self.address.host, self.port)

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()
        self.sockets.clear()


def listen(setting: str, address: Address) -> Listener:
    """Bind and listen. Raises PortTaken.

    Without SO_REUSEPORT: with it a second gate would share the port silently, and each would get some of the
    connections. SO_REUSEADDR only lets us back in beside connections that are already dying.
    """
    made = Listener(setting, address)
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            made.sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            # A second address of the same name takes the port that the system chose for the first.
            one.bind((place[0], made.port or place[1], *place[2:]))
            one.listen(BACKLOG)
    except OSError as cause:
        made.close()
        raise PortTaken(f"{setting}: cannot listen on {address}: {cause.strerror or cause}") from cause
    return made
