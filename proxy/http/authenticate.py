"""Who is asking: exactly one credential, read, checked and turned into a person and a grant.

Bearer tokens and Basic pairs (login name, access key) come in `Authorization` or `Proxy-Authorization`; both
fields are stripped whatever they hold (RFC 9110 §11, RFC 6750 §2.1, RFC 7617 §2).
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final, Protocol

import msgspec

from approvals.reasons import Reason
from approvals.tokens import Claims
from proxy.enforce import Freshness
from proxy.live_grants import LiveGrants

__all__ = ["Identity", "Unknown", "authenticate"]

MAX_CREDENTIAL_BYTES: Final = 16 * 1024

_B64TOKEN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="  # RFC 6750 §2.1
_NOBODY: Final = hashlib.sha256(b"nobody").digest()


class Identity(msgspec.Struct, frozen=True):
    """A credential that is valid by itself. Whether its grant covers anything is `enforce`'s question."""

    subject: str
    grant: str
    credential: str  # jti or key id, for the record


class Unknown(msgspec.Struct, frozen=True):
    """No valid credential. `login` is what the client called itself: a secret may have slipped in, so it is only
    ever recorded as a keyed hash. `late`: the key may only not have arrived yet."""

    reason: Reason
    login: str = ""
    late: bool = False


class Tokens(Protocol):
    def verify(self, token: bytes, store: str, *, known_only: bool = False) -> Claims | Reason: ...


def authenticate(
    credentials: list[bytes], store: str, live: LiveGrants, tokens: Tokens, freshness: Freshness, *, exhausted: bool
) -> Identity | Unknown:
    """Check the request's credential fields for `store`. `exhausted`: this source has failed too often."""
    if not credentials:
        return Unknown(Reason.NO_CREDENTIAL)
    if len(credentials) > 1:
        return Unknown(Reason.SEVERAL_CREDENTIALS)
    scheme, _, rest = credentials[0].partition(b" ")
    rest = rest.strip(b" ")
    if len(rest) > MAX_CREDENTIAL_BYTES:
        return Unknown(Reason.CREDENTIAL_MALFORMED)
    kind = scheme.lower()
    if kind == b"bearer":
        return _bearer(rest, store, tokens, exhausted=exhausted)
    if kind == b"basic":
        return _basic(rest, store, live, freshness)
    return Unknown(Reason.CREDENTIAL_MALFORMED)


def _bearer(token: bytes, store: str, tokens: Tokens, *, exhausted: bool) -> Identity | Unknown:
    if not token or token.translate(None, _B64TOKEN):
        return Unknown(Reason.CREDENTIAL_MALFORMED)
    claims = tokens.verify(token, store, known_only=exhausted)
    if isinstance(claims, Reason):
        return Unknown(claims)
    if claims.cnf:
        # Bound to a key whose proof this gate cannot take yet: as a bare token it is worth nothing.
        return Unknown(Reason.NOT_KEY_HOLDER)
    return Identity(claims.subject, claims.grant, claims.jti)


def _basic(encoded: bytes, store: str, live: LiveGrants, freshness: Freshness) -> Identity | Unknown:
    try:
        pair = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return Unknown(Reason.CREDENTIAL_MALFORMED)
    login, colon, secret = pair.partition(":")
    if not colon:
        return Unknown(Reason.CREDENTIAL_MALFORMED)
    person, _, key_id = login.partition("+")
    key = live.key(store, person, key_id)
    # The same work for an unknown name as for a wrong key.
    right = hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), key.sha256 if key else _NOBODY)
    if key is None:
        if freshness == "stale":
            return Unknown(Reason.VIEW_STALE, login)
        return Unknown(Reason.CREDENTIAL_UNKNOWN, login, late=freshness == "late")
    if not right:
        return Unknown(Reason.CREDENTIAL_UNKNOWN, login)
    return Identity(key.subject, key.grant, key.key)
