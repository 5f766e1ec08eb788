"""Verified tokens, kept: an EdDSA check costs several times the whole relay of a request.

The key is the SHA-256 of the token together with the store, so that no token text is held and a token shown at
another store is looked at again. A hit still checks the token's own times; whether its grant lives is not the
token's business but `enforce`'s. Only tokens that verified are kept: garbage cannot push them out.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from approvals import tokens
from approvals.errors import Refusal
from approvals.reasons import Reason
from approvals.tokens import Claims
from proxy.clock import Clock

__all__ = ["TokenVerifier"]

CAPACITY: Final = 10_000


class TokenVerifier:
    """Verifies bearer tokens of one issuer under pinned keys (`kid` to key)."""

    def __init__(
        self, keys: Mapping[str, Ed25519PublicKey], issuer: str, clock: Clock, capacity: int = CAPACITY
    ) -> None:
        self._keys = dict(keys)
        self._issuer = issuer
        self._clock = clock
        self._capacity = capacity
        self._verified: dict[tuple[bytes, str], Claims] = {}

    def replace_keys(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """Other keys count from now on; everything verified under the old ones is looked at again."""
        self._keys = dict(keys)
        self._verified.clear()

    def verify(self, token: bytes, store: str, *, known_only: bool = False) -> Claims | Reason:
        """The claims of a token that is good for `store` now, or why it is not.

        `known_only`: a source that failed very often gets no more signature checks, at 100 us each, but whoever
        shares its address and has shown a good token before goes on.
        """
        place = (hashlib.sha256(token).digest(), store)
        claims = self._verified.get(place)
        now = self._clock.unix()
        if claims is not None:
            if now >= claims.expires_at:
                del self._verified[place]
                return Reason.TOKEN_EXPIRED
            if now < claims.not_before:
                return Reason.TOKEN_NOT_YET_VALID  # the clock was set back
            return claims
        if known_only:
            return Reason.TOO_MANY_ATTEMPTS
        try:
            claims = tokens.verify(token, self._keys, self._issuer, store, now)
        except Refusal as refusal:
            return refusal.reason
        if len(self._verified) >= self._capacity:
            # Oldest first: a token lives 15 minutes at most, so the oldest is also the next to expire.
            del self._verified[next(iter(self._verified))]
        self._verified[place] = claims
        return claims
