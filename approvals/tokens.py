"""Tokens: RFC 9068 access tokens, minted here and verified, by the same code, at the proxies.

Verification, in numbered steps (RFC 8725 for what each prevents):

    1  size: at most 8 KiB, ASCII
    2  form: three parts of canonical base64url without padding (RFC 7515 §2)
    3  header: exactly alg EdDSA, typ at+jwt and a kid, in our own spelling; alg is never taken from the token
    4  key: the kid is one of the pinned keys
    5  signature: Ed25519 over the first two parts as received
    6  claims: canonical JSON with exactly the members that `mint` writes
    7  issuer
    8  audience: this one store, which is also the one place that authorization_details names
    9  time: a life of at most 15 minutes, begun (30 s of skew are forgiven), not over (none is)

Nothing that a token says is believed before step 5.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from approvals.errors import Refusal
from approvals.ids import is_id
from approvals.reasons import Reason
from approvals.scope import DETAIL_TYPE, Action, Limits, Scope, details
from ledger.encoding import NotCanonical, decode, encode

__all__ = ["MAX_LIFE", "MAX_TOKEN_BYTES", "Claims", "Issuer", "mint", "verify"]

MAX_TOKEN_BYTES: Final = 8192
MAX_LIFE: Final = timedelta(minutes=15)  # P7
SKEW_S: Final = 30  # clocks of two hosts that both keep time
ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
CLIENT_ID: Final = "glassgate"

# RFC 7515 by PyJWT; its checks of claims are not used: they read the clock by themselves and are laxer than step 6.
_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Times are Unix seconds; `not_before` has the forgiven skew taken off already,
    so that a cached verdict can be held against it as it stands. `cnf` is the thumbprint of the key the token is
    bound to, or ""."""

    issuer: str
    subject: str
    store: str
    scope: Scope
    grant: str
    decision: str
    jti: str
    issued_at: int
    not_before: int
    expires_at: int
    cnf: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who mints: the `iss` of every token, and the key with its id."""

    name: str
    key: Ed25519PrivateKey
    kid: str


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


class _Detail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    locations: tuple[str]
    actions: tuple[Action, ...]
    datatypes: tuple[str, ...]
    limits: Limits = Limits()


class _Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jkt: str  # RFC 9449 §6.1: thumbprint of the key (RFC 7638)


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    iss: str
    sub: str
    aud: str
    client_id: str
    iat: int
    nbf: int
    exp: int
    jti: str
    authorization_details: list[Any]
    gg_grant: str
    gg_decision: str
    cnf: _Confirmation | None = None


def mint(
    issuer: Issuer,
    *,
    subject: str,
    scope: Scope,
    grant: str,
    decision: str,
    jti: str,
    now: datetime,
    not_after: datetime,
    cnf: str = "",
) -> tuple[str, datetime]:
    """A token for `scope` and when it ends: 15 minutes from `now`, or at `not_after` (the grant's end) if sooner.

    Whole seconds, rounded so that the token never outlives either. Raises ValueError when no second is left.
    """
    issued = int(now.timestamp())
    expires = int(min(now + MAX_LIFE, not_after).timestamp())
    expires = min(expires, issued + int(MAX_LIFE.total_seconds()))
    if expires <= now.timestamp():
        raise ValueError("there is no second left to mint a token for")
    body = _Body(
        iss=issuer.name,
        sub=subject,
        aud=scope.store,
        client_id=CLIENT_ID,
        iat=issued,
        nbf=issued,
        exp=expires,
        jti=jti,
        authorization_details=details(scope),
        gg_grant=grant,
        gg_decision=decision,
        cnf=_Confirmation(cnf) if cnf else None,
    )
    header = {"kid": issuer.kid, "typ": TYPE}
    token = _JWS.encode(encode(body), issuer.key, algorithm=ALGORITHM, headers=header, sort_headers=True)
    return token, datetime.fromtimestamp(expires, UTC)


def verify(token: str | bytes, keys: Mapping[str, Ed25519PublicKey], issuer: str, audience: str, now: float) -> Claims:
    """What the token says, if all nine steps pass at Unix time `now`.

    Refused as CREDENTIAL_MALFORMED (1–3, 6), TOKEN_FORGED (4, 5, a life too long), TOKEN_FOREIGN (7, 8),
    TOKEN_EXPIRED or TOKEN_NOT_YET_VALID (9). Raises nothing but Refusal, whatever the bytes.
    """
    text = _text(token)  # 1
    header = _split(text)  # 2
    kid = _kid(header)  # 3
    key = keys.get(kid)  # 4
    if key is None:
        raise Refusal(Reason.TOKEN_FORGED, cause="no pinned key has that kid")
    try:  # 5
        body = _JWS.decode(text, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError:
        raise Refusal(Reason.TOKEN_FORGED, cause="the signature does not verify") from None
    claims = _claims(body)  # 6
    if claims.issuer != issuer:  # 7
        raise Refusal(Reason.TOKEN_FOREIGN, cause="another issuer")
    if claims.store != audience or claims.scope.store != audience:  # 8
        raise Refusal(Reason.TOKEN_FOREIGN, cause="another audience")
    if claims.expires_at - claims.issued_at > MAX_LIFE.total_seconds():  # 9
        raise Refusal(Reason.TOKEN_FORGED, cause="a longer life than this gate mints")
    if now >= claims.expires_at:
        raise Refusal(Reason.TOKEN_EXPIRED)
    if now < claims.not_before:
        raise Refusal(Reason.TOKEN_NOT_YET_VALID)
    return claims


def _text(token: str | bytes) -> str:
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="empty, or larger than any token")
    try:
        text = token.decode("ascii") if isinstance(token, bytes) else token
    except UnicodeDecodeError:
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not ASCII") from None
    if not text.isascii():
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not ASCII")
    return text


def _split(text: str) -> bytes:
    """The header, if all three parts are in the one spelling that they have."""
    parts = text.split(".")
    if len(parts) != 3:
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not three parts")
    header, _, _ = (_unb64(part) for part in parts)
    return header


def _unb64(part: str) -> bytes:
    """Strictly: one spelling per value, so that a changed last character is never the same token."""
    if not _PART.fullmatch(part):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not base64url")
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="base64url, but not canonical")
    return data


def _kid(header: bytes) -> str:
    """The key's id. Any other member (jku, x5u, jwk, crit, zip) or algorithm is refused unread."""
    try:
        parsed = msgspec.json.decode(header, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not a header that this gate writes") from None
    if parsed.alg != ALGORITHM or parsed.typ != TYPE or not _KID.fullmatch(parsed.kid):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="another alg, typ or kind of kid")
    if encode(parsed) != header:
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="a header in another spelling than this gate's")
    return parsed.kid


def _claims(data: bytes) -> Claims:
    """The claims. Canonical form leaves no room for a member that is named twice."""
    try:
        body = msgspec.convert(decode(data), _Body)
        detail = msgspec.convert(body.authorization_details, tuple[_Detail])[0]
    except (NotCanonical, msgspec.ValidationError):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="not the claims that this gate writes") from None
    if (
        detail.type != DETAIL_TYPE
        or detail.locations != (body.aud,)
        or body.client_id != CLIENT_ID
        or not is_id("jti", body.jti)
        or not is_id("gr", body.gg_grant)
        or body.nbf != body.iat
    ):
        raise Refusal(Reason.CREDENTIAL_MALFORMED, cause="claims that this gate would not write")
    return Claims(
        issuer=body.iss,
        subject=body.sub,
        store=body.aud,
        scope=Scope(detail.locations[0], detail.actions, detail.datatypes, detail.limits),
        grant=body.gg_grant,
        decision=body.gg_decision,
        jti=body.jti,
        issued_at=body.iat,
        not_before=body.nbf - SKEW_S,
        expires_at=body.exp,
        cnf=body.cnf.jkt if body.cnf is not None else "",
    )
