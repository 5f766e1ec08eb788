"""Verified tokens, kept: real tokens, and that keeping them never makes one good that is not."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals import tokens
from approvals.reasons import Reason
from approvals.scope import Scope
from proxy.token_cache import TokenVerifier
from tests.proxy.fakes import FakeClock

ISSUER = tokens.Issuer("https://gate.example", Ed25519PrivateKey.generate(), "k1")
JTI = "jti_01k8z9r7c4w5v6x7y8z9a0b1c2"
GRANT = "gr_01k8z9r7c4w5v6x7y8z9a0b1c2"


def mint(clock: FakeClock, issuer: tokens.Issuer = ISSUER, store: str = "crm-api") -> bytes:
    now = clock.now()
    token, _ = tokens.mint(
        issuer,
        subject="ada",
        scope=Scope(store, ("read",)),
        grant=GRANT,
        decision="d" * 64,
        jti=JTI,
        now=now,
        not_after=now + timedelta(hours=1),
    )
    return token.encode()


def verifier(clock: FakeClock, capacity: int = 10) -> TokenVerifier:
    return TokenVerifier({"k1": ISSUER.key.public_key()}, ISSUER.name, clock, capacity)


@pytest.fixture
def signature_checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every token that was really verified."""
    seen: list[bytes] = []
    real = tokens.verify

    def counting(token: bytes, *rest: object) -> tokens.Claims:
        seen.append(token)
        return real(token, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens, "verify", counting)
    return seen


def test_a_token_is_verified_once(signature_checks: list[bytes]) -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    for _ in range(3):
        claims = cache.verify(token, "crm-api")
        assert isinstance(claims, tokens.Claims)
        assert (claims.subject, claims.grant, claims.jti) == ("ada", GRANT, JTI)
    assert len(signature_checks) == 1


def test_expiry_is_looked_at_on_every_hit() -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    clock.advance(899)
    assert isinstance(cache.verify(token, "crm-api"), tokens.Claims)
    clock.advance(1)
    assert cache.verify(token, "crm-api") is Reason.TOKEN_EXPIRED
    assert cache.verify(token, "crm-api") is Reason.TOKEN_EXPIRED


def test_a_clock_that_goes_back_is_noticed() -> None:
    clock = FakeClock()
    clock.advance(3600)
    cache = verifier(clock)
    token = mint(clock)
    cache.verify(token, "crm-api")
    clock.advance(-60)
    assert cache.verify(token, "crm-api") is Reason.TOKEN_NOT_YET_VALID


def test_another_store_is_another_question() -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    assert isinstance(cache.verify(token, "crm-api"), tokens.Claims)
    assert cache.verify(token, "other") is Reason.TOKEN_FOREIGN


def test_one_changed_byte_is_another_token() -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    cache.verify(token, "crm-api")
    for at in (5, len(token) // 2, len(token) - 5):
        changed = bytearray(token)
        changed[at] ^= 1
        assert cache.verify(bytes(changed), "crm-api") in (Reason.TOKEN_FORGED, Reason.CREDENTIAL_MALFORMED)


def test_replaced_keys_count_at_once() -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    assert isinstance(cache.verify(token, "crm-api"), tokens.Claims)
    cache.replace_keys({"k2": Ed25519PrivateKey.generate().public_key()})
    assert cache.verify(token, "crm-api") is Reason.TOKEN_FORGED


def test_it_is_bounded_and_garbage_pushes_nothing_out(signature_checks: list[bytes]) -> None:
    clock = FakeClock()
    cache = verifier(clock, capacity=3)
    first = mint(clock)
    cache.verify(first, "crm-api")
    for number in range(100):
        cache.verify(b"garbage%d" % number, "crm-api")
    checks = len(signature_checks)
    cache.verify(first, "crm-api")
    assert len(signature_checks) == checks
    for _ in range(3):
        clock.advance(1)
        cache.verify(mint(clock), "crm-api")
    cache.verify(first, "crm-api")
    assert len(signature_checks) == checks + 4


def test_an_exhausted_source_gets_no_signature_check(signature_checks: list[bytes]) -> None:
    clock = FakeClock()
    cache = verifier(clock)
    token = mint(clock)
    assert cache.verify(token, "crm-api", known_only=True) is Reason.TOO_MANY_ATTEMPTS
    assert signature_checks == []
    cache.verify(token, "crm-api")
    assert isinstance(cache.verify(token, "crm-api", known_only=True), tokens.Claims)
