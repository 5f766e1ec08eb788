"""Access keys and their verifiers, against the published SCRAM vector and against every other spelling."""

import base64
import hashlib
import hmac
import os
import re

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.access_key import (
    KeyRefused,
    is_access_key,
    is_key_id,
    key_id,
    login_name,
    make,
    parse_verifier,
    scram_verifier,
    sha256,
)
from tests.support.postgres import Database

KEY = make(b"\x00\x01\x02\x03\x04" * 4)
SALT = bytes(range(16))


def test_a_key_is_160_bits_in_36_characters_that_survive_a_dsn() -> None:
    key = make(os.urandom(20))
    assert re.fullmatch(r"ggk_[0-9a-hjkmnp-tv-z]{32}", key)
    assert is_access_key(key)
    assert make(b"\xff" * 20) == "ggk_" + "z" * 32
    assert make(b"\x00" * 20) == "ggk_" + "0" * 32
    with pytest.raises(ValueError, match="20 bytes"):
        make(b"short")


@pytest.mark.parametrize("text", ["", "ggk_", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n", "ggs_" + KEY[4:]])
def test_what_is_no_key(text: str) -> None:
    assert not is_access_key(text)


def test_key_ids() -> None:
    assert key_id(b"\x00" * 5) == "0000"
    assert is_key_id(key_id(os.urandom(5)))
    assert login_name("ada", "k7f3") == "ada+k7f3"
    for text in ("", "abc", "abcde", "ABCD", "abcl", "ab+d", "abcd\n"):
        assert not is_key_id(text)


def test_the_published_vector() -> None:
    """RFC 7677 §3: user "user", password "pencil", 4096 iterations. A client proof made from the password alone
    must fit the StoredKey of our verifier, and the server signature its ServerKey."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    auth = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    verifier = parse_verifier(scram_verifier("pencil", salt))
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(verifier.stored_key, auth, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == verifier.stored_key
    server = hmac.digest(verifier.server_key, auth, "sha256")
    assert base64.b64encode(server) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_a_verifier_comes_apart_again() -> None:
    parsed = parse_verifier(scram_verifier(KEY, SALT))
    assert (parsed.iterations, parsed.salt) == (4096, SALT)
    assert sha256(KEY) == hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize(
    "verifier",
    [
        "",
        scram_verifier(KEY, SALT, 4095),
        scram_verifier(KEY, SALT, 5000),
        scram_verifier(KEY, SALT).replace("$4096:", "$04096:"),
        scram_verifier(KEY, b"short"),
        scram_verifier(KEY, b"s" * 17),
        scram_verifier(KEY, SALT) + "\n",
        scram_verifier(KEY, SALT)[:-1],
        scram_verifier(KEY, SALT).replace("SCRAM-SHA-256", "scram-sha-256"),
        scram_verifier(KEY, SALT).replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        scram_verifier(KEY, SALT).replace("Dw==$", "Dx==$"),  # the same salt in another spelling
        "md5" + "0" * 32,
    ],
)
def test_other_verifiers_are_refused(verifier: str) -> None:
    with pytest.raises(KeyRefused):
        parse_verifier(verifier)


@given(st.text(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(KeyRefused):
        parse_verifier(text)


async def test_postgresql_takes_the_verifier_for_its_own(database: Database) -> None:
    """The form is PostgreSQL's: a role with that verifier logs in with the key over SCRAM."""
    owner = await database.connect("superuser")
    name = "t_" + os.urandom(6).hex()
    await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{scram_verifier(KEY, os.urandom(16))}'")
    try:
        await owner.execute(f"GRANT CONNECT ON DATABASE {database.name} TO {name}")
        stored = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
        assert stored.startswith("SCRAM-SHA-256$4096:")
        dsn = database.cluster.server.dsn(name, KEY, database.name)
        connection = await asyncpg.connect(dsn)
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(database.cluster.server.dsn(name, KEY[:-1], database.name))
    finally:
        await owner.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM {name}")
        await owner.execute(f"DROP ROLE {name}")
