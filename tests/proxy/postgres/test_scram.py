"""RFC 7677's vector, and what either end must not accept."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.postgres.errors import ProtocolError
from proxy.postgres.scram import (
    PLAIN,
    PLUS,
    ScramClient,
    ScramFailed,
    ScramServer,
    Verifier,
    fake_verifier,
    read_verifier,
    salted_password,
    saslprep,
)
from tests.proxy.postgres.conftest import verifier

# RFC 7677 §3
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def pencil() -> Verifier:
    return read_verifier(verifier("pencil", SALT))


def test_the_server_of_rfc_7677() -> None:
    server = ScramServer(pencil(), SERVER_NONCE)
    assert server.first(PLAIN, CLIENT_FIRST) == SERVER_FIRST
    assert server.final(CLIENT_FINAL) == SERVER_FINAL


def test_the_client_of_rfc_7677() -> None:
    client = ScramClient("pencil", CLIENT_NONCE, [PLAIN])
    client._bare = b"n=user,r=" + CLIENT_NONCE.encode()  # PostgreSQL leaves the name out, the vector does not
    assert client.first() == CLIENT_FIRST
    assert client.final(SERVER_FIRST) == CLIENT_FINAL
    client.verify(SERVER_FINAL)
    with pytest.raises(ScramFailed):
        client.verify(b"v=AAAA")


def exchange(password: str, *, end_point: bytes = b"", seen: bytes = b"", known: bool = True) -> bytes:
    """Our client against our server; `seen` is the certificate that the client saw."""
    server = ScramServer(pencil(), "server", known=known, end_point=end_point)
    client = ScramClient(password, "client", server.mechanisms, seen)
    final = server.final(client.final(server.first(client.mechanism, client.first())))
    client.verify(final)
    return final


def test_both_ends_together() -> None:
    assert exchange("pencil")
    assert exchange("pencil", end_point=b"certificate", seen=b"certificate")


@pytest.mark.parametrize("password", ["", "Pencil", "pencil "])
def test_a_wrong_password_is_refused(password: str) -> None:
    with pytest.raises(ScramFailed, match="proof is wrong"):
        exchange(password)


def test_an_unknown_name_is_refused_even_with_the_right_proof() -> None:
    with pytest.raises(ScramFailed, match="proof is wrong"):
        exchange("pencil", known=False)


def test_another_certificate_is_a_man_in_the_middle() -> None:
    with pytest.raises(ScramFailed, match="another channel"):
        exchange("pencil", end_point=b"the gate's", seen=b"somebody else's")


def test_a_removed_offer_of_channel_binding_is_noticed() -> None:
    server = ScramServer(pencil(), "server", end_point=b"certificate")
    with pytest.raises(ScramFailed, match="negotiated away"):
        server.first(PLAIN, b"y,,n=,r=abc")


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("SCRAM-SHA-1", b"n,,n=,r=abc"),
        (PLUS, b"p=tls-server-end-point,,n=,r=abc"),  # not offered
        (PLAIN, b""),
        (PLAIN, b"n"),
        (PLAIN, b"n,,"),
        (PLAIN, b"n,,n="),
        (PLAIN, b"n,,n=,r="),
        (PLAIN, b"n,,m=x,n=,r=abc"),
        (PLAIN, b"n,a=other,n=,r=abc"),
        (PLAIN, b"x,,n=,r=abc"),
        (PLAIN, b"n,,n=,r=a\x00c"),
        (PLAIN, b"n,,n=,r=" + b"a" * 9000),
    ],
)
def test_malformed_first_messages(mechanism: str, message: bytes) -> None:
    with pytest.raises(ProtocolError):
        ScramServer(pencil(), "server").first(mechanism, message)


@pytest.mark.parametrize(
    "message",
    [b"", b"c=biws", b"c=biws,r=other,p=AAAA", b"c=!,r=abcserver,p=AAAA", b"c=biws,r=abcserver,p=AAAA", b"p=AAAA"],
)
def test_malformed_final_messages(message: bytes) -> None:
    server = ScramServer(pencil(), "server")
    server.first(PLAIN, b"n,,n=,r=abc")
    with pytest.raises(ProtocolError):
        server.final(message)


@given(st.binary(), st.binary())
def test_any_bytes_raise_nothing_else(first: bytes, final: bytes) -> None:
    server = ScramServer(pencil(), "server")
    try:
        server.first(PLAIN, first)
        server.final(final)
    except (ProtocolError, ScramFailed):
        return
    raise AssertionError("random bytes were let in")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"r=client,s=AAAA,i=4096",  # the store added no nonce of its own
        b"r=other,s=AAAA,i=4096",
        b"r=clientx,s=AAAA,i=0",
        b"r=clientx,s=AAAA,i=2147483648",  # a rogue store could ask for hours of work
        b"r=clientx,s=!,i=4096",
        b"r=clientx,s=,i=4096",
        b"m=x,r=clientx,s=AAAA,i=4096",
        b"r=clientx,s=AAAA,i=\xff",
    ],
)
def test_what_a_store_may_not_ask(message: bytes) -> None:
    client = ScramClient("pencil", "client", [PLAIN])
    with pytest.raises(ScramFailed):
        client.final(message)


def test_a_store_without_scram_is_refused() -> None:
    with pytest.raises(ScramFailed):
        ScramClient("pencil", "client", ["OAUTHBEARER"])


@pytest.mark.parametrize("text", ["", "x", "SCRAM-SHA-256$x:a$b:c", "SCRAM-SHA-256$4096:AA==$AA==:AA==", "md5abc"])
def test_malformed_verifiers(text: str) -> None:
    with pytest.raises(ValueError, match=r"SCRAM|base64"):
        read_verifier(text)


def test_fake_salts_are_stable_per_name_and_secret() -> None:
    one = fake_verifier(b"secret", "store", "ada")
    assert one == fake_verifier(b"secret", "store", "ada")
    assert one.salt != fake_verifier(b"secret", "store", "bob").salt
    assert one.salt != fake_verifier(b"other", "store", "ada").salt
    assert len(one.salt) == 16


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("pencil", "pencil"),
        ("I\u00adX", "IX"),  # RFC 4013 §3
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0627\u0031", "\u0627\u0031"),  # forbidden mix of directions: used as it stands, as PostgreSQL does
        ("a\u00a0b", "a b"),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


def test_salted_password_is_what_postgresql_stores() -> None:
    assert salted_password("pencil", SALT, 4096).hex().startswith("c4a49510323ab4f952cac1fa99441939")
