"""Which person and grant a request's credential fields name, without a gate around it."""

import base64

import pytest

from approvals.reasons import Reason
from approvals.store_definition import StoreDefinition
from proxy.http.authenticate import MAX_CREDENTIAL_BYTES, Identity, Unknown, authenticate
from tests.proxy.fakes import FakeGate

STORE = StoreDefinition(name="crm-api", protocol="http", upstream="http://127.0.0.1:1", tls="off")


def ask(gate: FakeGate, *credentials: bytes, exhausted: bool = False) -> Identity | Unknown:
    freshness = gate.live.freshness(gate.clock.monotonic())
    return authenticate(list(credentials), "crm-api", gate.live, gate.tokens, freshness, exhausted=exhausted)  # type: ignore[arg-type]


def basic(login: str, secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{login}:{secret}".encode())


@pytest.fixture
def gate() -> FakeGate:
    return FakeGate(STORE)


def test_a_token(gate: FakeGate) -> None:
    token = gate.token(gate.grant()).encode()
    for scheme in (b"Bearer", b"bearer", b"BEARER"):
        assert ask(gate, scheme + b" " + token) == Identity("ada", "gr_1", "jti_0")


def test_an_access_key_by_person_and_by_name(gate: FakeGate) -> None:
    grant = gate.grant()
    gate.key(grant, "aaaa", "ggk_old")
    gate.key(grant, "bbbb", "ggk_new")
    assert ask(gate, basic("ada", "ggk_new")) == Identity("ada", grant, "bbbb")
    assert ask(gate, basic("ada+aaaa", "ggk_old")) == Identity("ada", grant, "aaaa")
    assert ask(gate, basic("ada", "ggk_old")) == Unknown(Reason.CREDENTIAL_UNKNOWN, "ada")


def test_a_key_of_a_grant_that_is_over(gate: FakeGate) -> None:
    grant = gate.grant()
    gate.key(grant)
    gate.end(grant)
    assert ask(gate, basic("ada", "ggk_secret")) == Unknown(Reason.CREDENTIAL_UNKNOWN, "ada")


def test_an_unknown_key_under_an_old_view(gate: FakeGate) -> None:
    gate.clock.advance(2)
    assert ask(gate, basic("ada", "x")) == Unknown(Reason.CREDENTIAL_UNKNOWN, "ada", late=True)
    gate.clock.advance(10)
    assert ask(gate, basic("ada", "x")) == Unknown(Reason.VIEW_STALE, "ada")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer a b",
        b"Bearer \xff",
        b"Bearer a,b",
        b"Basic",
        b"Basic =",
        b"Basic YQ",
        b"Basic YWI",
        b"Basic /w==",
        b"Negotiate a",
    ],
)
def test_what_cannot_be_read(gate: FakeGate, value: bytes) -> None:
    answer = ask(gate, value)
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.CREDENTIAL_MALFORMED


def test_a_credential_has_a_size(gate: FakeGate) -> None:
    assert ask(gate, b"Bearer " + b"a" * (MAX_CREDENTIAL_BYTES + 1)) == Unknown(Reason.CREDENTIAL_MALFORMED)


def test_none_and_several(gate: FakeGate) -> None:
    assert ask(gate) == Unknown(Reason.NO_CREDENTIAL)
    token = b"Bearer " + gate.token(gate.grant()).encode()
    assert ask(gate, token, token) == Unknown(Reason.SEVERAL_CREDENTIALS)


def test_an_exhausted_source_keeps_what_is_known(gate: FakeGate) -> None:
    token = b"Bearer " + gate.token(gate.grant()).encode()
    assert isinstance(ask(gate, token, exhausted=True), Identity)
    assert ask(gate, b"Bearer forged", exhausted=True) == Unknown(Reason.TOO_MANY_ATTEMPTS)
