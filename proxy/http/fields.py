"""Which field means what to a gateway: what it reads, refuses, or never passes on.

Hop-by-hop fields are RFC 9110 §7.6.1's. Identity fields are whatever a store may take as a proxy's word for who
is asking: all of them go, in both spellings, because the gate alone speaks for the engineer.
"""

from enum import IntEnum
from typing import Final

__all__ = ["FRAMING", "RECORDED", "REPEATED", "Role", "request_role", "response_role"]


class Role(IntEnum):
    PASS = 0
    DROP = 1
    HOST = 2
    LENGTH = 3
    CODING = 4
    CONNECTION = 5
    EXPECT = 6
    UPGRADE = 7
    CREDENTIAL = 8  # Authorization, Proxy-Authorization: read by the gate, never passed on
    REFUSE = 9  # asks the store to take the request for another one
    KEEP_ALIVE = 10
    LOCATION = 11


_HOP_BY_HOP: Final = ("keep-alive", "proxy-connection", "te", "trailer", "http2-settings")
_IDENTITY: Final = (
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-host",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "remote-user",
    "remote-addr",
    "x-user",
    "x-webauth-user",
    "x-authenticated-user",
    "x-ssl-client-cert",
    "x-client-cert",
    "ssl-client-cert",
)
_IDENTITY_PREFIXES: Final = ("x-forwarded", "x-auth", "x-remote-", "x-ssl-client-", "x-glassgate-", "proxy-")
_OVERRIDES: Final = (
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-prefix",
)

_REQUEST: Final[dict[str, Role]] = {
    "host": Role.HOST,
    "content-length": Role.LENGTH,
    "transfer-encoding": Role.CODING,
    "connection": Role.CONNECTION,
    "expect": Role.EXPECT,
    "upgrade": Role.UPGRADE,
    "authorization": Role.CREDENTIAL,
    "proxy-authorization": Role.CREDENTIAL,
    **dict.fromkeys((*_HOP_BY_HOP, *_IDENTITY), Role.DROP),
    **dict.fromkeys(_OVERRIDES, Role.REFUSE),
}

_RESPONSE: Final[dict[str, Role]] = {
    "content-length": Role.LENGTH,
    "transfer-encoding": Role.CODING,
    "connection": Role.CONNECTION,
    "keep-alive": Role.KEEP_ALIVE,
    "location": Role.LOCATION,
    "content-location": Role.LOCATION,
    **dict.fromkeys(("proxy-connection", "te", "trailer", "upgrade"), Role.DROP),
    # A challenge of the store's own would make a browser ask for the store's password and send it to us.
    **dict.fromkeys(("www-authenticate", "authentication-info"), Role.DROP),
    "glassgate-access": Role.DROP,  # the gate's own word
    # An alternative service would lead the client round the gate.
    "alt-svc": Role.DROP,
}

FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"expect", b"upgrade"})
"""Fields that a Connection option must not name: dropping one changes what the message is."""

RECORDED: Final = frozenset(
    {
        b"host",
        b"user-agent",
        b"accept",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"range",
        b"prefer",
        b"traceparent",
        b"x-request-id",
    }
)
"""The fields an entry shows; every other one may hold a secret and is left out."""

REPEATED: Final = frozenset(
    {
        b"host",
        b"user-agent",
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"keep-alive",
        b"prefer",
        b"server",
        b"transfer-encoding",
        b"vary",
        b"x-content-type-options",
    }
)
"""Fields that hold no secret, so that a line of one may be remembered from one head to the next."""


def request_role(lower: str) -> Role:
    """What a request's field means; `lower` is its name in lower case."""
    role = _REQUEST.get(lower)
    if role is not None:
        return role
    return Role.DROP if lower.startswith(_IDENTITY_PREFIXES) else Role.PASS


def response_role(lower: str) -> Role:
    """What an answer's field means; `lower` is its name in lower case."""
    role = _RESPONSE.get(lower)
    if role is not None:
        return role
    return Role.DROP if lower.startswith("proxy-") else Role.PASS
