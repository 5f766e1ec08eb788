"""Tokens: what is minted passes here and at a foreign verifier; whatever else is refused, each for its reason."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from approvals.errors import Refusal
from approvals.ids import new_id
from approvals.reasons import Reason
from approvals.scope import Limits, Scope
from approvals.tokens import MAX_TOKEN_BYTES, Claims, Issuer, mint, verify

ISSUER = Issuer("https://gate.demo.glassgate.example", Ed25519PrivateKey.from_private_bytes(b"k" * 32), "k1")
KEYS = {"k1": ISSUER.key.public_key()}
NOW = datetime(2026, 3, 2, 9, 0, 0, 500000, tzinfo=UTC)
SCOPE = Scope("customers-db", ("read",), ("public.orders", "public.o*"), Limits(rows=10))
GRANT = new_id("gr", 1, b"g" * 10)
JTI = new_id("jti", 1, b"j" * 10)


def token(**changes: Any) -> str:
    given: dict[str, Any] = {
        "subject": "ada",
        "scope": SCOPE,
        "grant": GRANT,
        "decision": "d" * 64,
        "jti": JTI,
        "now": NOW,
        "not_after": NOW + timedelta(hours=1),
    }
    issuer = changes.pop("issuer", ISSUER)
    return mint(issuer, **(given | changes))[0]


def check(
    text: str | bytes, *, issuer: str = ISSUER.name, audience: str = "customers-db", after: float = 0.0
) -> Claims:
    return verify(text, KEYS, issuer, audience, NOW.timestamp() + after)


def refused(reason: Reason, text: str | bytes, **options: Any) -> None:
    with pytest.raises(Refusal) as caught:
        check(text, **options)
    assert caught.value.reason is reason


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else msgspec.json.encode(value, order="sorted")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(text: str) -> dict[str, Any]:
    body = text.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


HEADER = {"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}


def signed(header: Any, body: Any, key: Ed25519PrivateKey = ISSUER.key) -> str:
    text = f"{part(header)}.{part(body)}"
    return f"{text}.{part(key.sign(text.encode()))}"


def test_what_was_minted_is_what_is_read() -> None:
    found = check(token(cnf="thumb"))
    assert found == Claims(
        issuer=ISSUER.name,
        subject="ada",
        store="customers-db",
        scope=SCOPE,
        grant=GRANT,
        decision="d" * 64,
        jti=JTI,
        issued_at=int(NOW.timestamp()),
        not_before=int(NOW.timestamp()) - 30,
        expires_at=int(NOW.timestamp()) + 900,
        cnf="thumb",
    )
    assert check(token().encode()).cnf == ""


def test_a_foreign_verifier_agrees() -> None:
    text = token()
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    found = jwt.decode(
        text, KEYS["k1"], algorithms=["EdDSA"], audience="customers-db", issuer=ISSUER.name, options=options
    )
    assert found["sub"] == "ada"
    assert found["authorization_details"][0]["actions"] == ["read"]
    assert jwt.get_unverified_header(text) == HEADER


def test_a_token_lives_15_minutes_and_never_beyond_its_grant() -> None:
    _, ends = mint_until(NOW + timedelta(hours=1))
    assert ends - NOW <= timedelta(minutes=15)
    _, ends = mint_until(NOW + timedelta(seconds=90, milliseconds=700))
    assert ends == datetime(2026, 3, 2, 9, 1, 31, tzinfo=UTC)
    with pytest.raises(ValueError, match="no second left"):
        mint_until(NOW + timedelta(milliseconds=499))


def mint_until(not_after: datetime) -> tuple[str, datetime]:
    return mint(ISSUER, subject="a", scope=SCOPE, grant=GRANT, decision="", jti=JTI, now=NOW, not_after=not_after)


def test_time() -> None:
    text = token()
    check(text, after=-30.4)
    refused(Reason.TOKEN_NOT_YET_VALID, text, after=-30.6)
    check(text, after=899.4)
    refused(Reason.TOKEN_EXPIRED, text, after=899.5)
    refused(Reason.TOKEN_EXPIRED, text, after=10**9)


def test_another_gate_or_another_store() -> None:
    refused(Reason.TOKEN_FOREIGN, token(), issuer="https://other.example")
    refused(Reason.TOKEN_FOREIGN, token(), audience="crm-api")
    refused(Reason.TOKEN_FOREIGN, token(), audience="")
    refused(Reason.TOKEN_FOREIGN, token(), audience="customers-db ")


def test_another_key() -> None:
    stranger = Ed25519PrivateKey.generate()
    refused(Reason.TOKEN_FORGED, token(issuer=Issuer(ISSUER.name, stranger, "k1")))
    refused(Reason.TOKEN_FORGED, token(issuer=Issuer(ISSUER.name, stranger, "k2")))
    refused(Reason.TOKEN_FORGED, token(issuer=Issuer(ISSUER.name, ISSUER.key, "k2")))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "at+jwt", "kid": "k1"},
        {"alg": "HS256", "typ": "at+jwt", "kid": "k1"},
        {"alg": "eddsa", "typ": "at+jwt", "kid": "k1"},
        {"alg": "ES256", "typ": "at+jwt", "kid": "k1"},
        {"alg": "EdDSA", "typ": "JWT", "kid": "k1"},
        {"alg": "EdDSA", "typ": "AT+JWT", "kid": "k1"},
        {"alg": "EdDSA", "kid": "k1"},
        {"alg": "EdDSA", "typ": "at+jwt"},
        {"alg": "EdDSA", "typ": "at+jwt", "kid": 1},
        {"alg": "EdDSA", "typ": "at+jwt", "kid": "../k1"},
        HEADER | {"jku": "https://evil.example/keys"},
        HEADER | {"x5u": "https://evil.example/cert"},
        HEADER | {"jwk": {"kty": "OKP"}},
        HEADER | {"crit": ["exp"]},
        HEADER | {"zip": "DEF"},
        HEADER | {"b64": False},
        [HEADER],
        b'{"alg":"EdDSA","kid":"k1","typ":"at+jwt","typ":"at+jwt"}',
        b'{"typ":"at+jwt","alg":"EdDSA","kid":"k1"}',
        b'{"alg":"EdDSA","kid":"\\u006b1","typ":"at+jwt"}',
        b'{"alg": "EdDSA","kid":"k1","typ":"at+jwt"}',
        b"\xff",
        b"[" * 2000,
    ],
)
def test_a_header_that_this_gate_does_not_write(header: Any) -> None:
    """Correctly signed, so that only the header can be why."""
    refused(Reason.CREDENTIAL_MALFORMED, signed(header, claims_of(token())))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 9_999_999_999}, Reason.TOKEN_FORGED),
        ({"exp": int(NOW.timestamp()) + 901}, Reason.TOKEN_FORGED),
        ({"iat": 0, "nbf": 0}, Reason.TOKEN_FORGED),
        ({"nbf": 0}, Reason.CREDENTIAL_MALFORMED),
        ({"exp": "tomorrow"}, Reason.CREDENTIAL_MALFORMED),
        ({"exp": 1.5}, Reason.CREDENTIAL_MALFORMED),
        ({"exp": True}, Reason.CREDENTIAL_MALFORMED),
        ({"exp": None}, Reason.CREDENTIAL_MALFORMED),
        ({"aud": ["customers-db", "crm-api"]}, Reason.CREDENTIAL_MALFORMED),
        ({"aud": "crm-api"}, Reason.CREDENTIAL_MALFORMED),
        ({"iss": 7}, Reason.CREDENTIAL_MALFORMED),
        ({"client_id": "other"}, Reason.CREDENTIAL_MALFORMED),
        ({"jti": "1"}, Reason.CREDENTIAL_MALFORMED),
        ({"gg_grant": JTI}, Reason.CREDENTIAL_MALFORMED),
        ({"scope": "everything"}, Reason.CREDENTIAL_MALFORMED),
        ({"authorization_details": []}, Reason.CREDENTIAL_MALFORMED),
        ({"cnf": {}}, Reason.CREDENTIAL_MALFORMED),
        ({"cnf": {"jkt": "a", "kid": "b"}}, Reason.CREDENTIAL_MALFORMED),
    ],
)
def test_claims_that_this_gate_does_not_write(changes: dict[str, Any], reason: Reason) -> None:
    refused(reason, signed(HEADER, claims_of(token()) | changes))


@pytest.mark.parametrize(
    "missing", ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "gg_grant", "authorization_details"]
)
def test_every_claim_is_needed(missing: str) -> None:
    body = claims_of(token())
    del body[missing]
    refused(Reason.CREDENTIAL_MALFORMED, signed(HEADER, body))


def test_two_details_or_two_places_are_none() -> None:
    body = claims_of(token())
    detail = body["authorization_details"][0]
    for details in (
        [detail, detail],
        [detail | {"locations": ["customers-db", "crm-api"]}],
        [detail | {"locations": ["crm-api"]}],
        [detail | {"type": "other"}],
        [detail | {"actions": ["everything"]}],
        [detail | {"privileges": ["admin"]}],
        [detail | {"limits": {"columns": 1}}],
    ):
        refused(Reason.CREDENTIAL_MALFORMED, signed(HEADER, body | {"authorization_details": details}))


def test_a_claim_named_twice_is_none() -> None:
    body = msgspec.json.encode(claims_of(token()), order="sorted")
    refused(Reason.CREDENTIAL_MALFORMED, signed(HEADER, body[:-1] + b',"sub":"ben"}'))
    refused(Reason.CREDENTIAL_MALFORMED, signed(HEADER, b'{"sub":"ben",' + body[1:]))


def test_every_changed_byte_is_noticed() -> None:
    text = token()
    for at in range(len(text)):
        for letter in ("A", "_", "."):
            if text[at] != letter:
                with pytest.raises(Refusal):
                    check(text[:at] + letter + text[at + 1 :])


def test_every_piece_and_every_extension_is_noticed() -> None:
    text = token()
    for end in range(len(text)):
        with pytest.raises(Refusal):
            check(text[:end])
    for tail in ("=", ".", "\n", " ", ".A", "\x00"):
        refused(Reason.CREDENTIAL_MALFORMED, text + tail)
        refused(Reason.CREDENTIAL_MALFORMED, tail + text)
    refused(Reason.TOKEN_FORGED, text + "A")


def test_size_comes_first() -> None:
    refused(Reason.CREDENTIAL_MALFORMED, "A" * (MAX_TOKEN_BYTES + 1))
    refused(Reason.CREDENTIAL_MALFORMED, b"." * 10**7)
    refused(Reason.CREDENTIAL_MALFORMED, "")


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(text: str | bytes) -> None:
    refused(Reason.CREDENTIAL_MALFORMED, text)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_signed_garbage_is_refused_too(header: bytes, body: bytes) -> None:
    with pytest.raises(Refusal):
        check(signed(header or b"x", body or b"x"))
    with pytest.raises(Refusal):
        check(signed(HEADER, body or b"x"))
