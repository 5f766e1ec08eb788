"""Secrets that must not be written down, and SQL that must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.classify.redact import redact

SECRETS = [
    "alter role x password 'hunter2'",
    "ALTER USER x WITH ENCRYPTED PASSWORD'hunter2'",
    "create role x login password E'hunter2\\''",
    "create role x password $$hunter2$$",
    "create role x password $tag$hunter2$tag$",
    "alter role x password /* the */ 'hunter2' valid until 'infinity'",
    "alter role x password -- now\n 'hunter2'",
    "create user mapping for x server s options (user 'u', password 'hunter2')",
    "create user mapping for x server s options (\"password\" 'hunter2')",
    "create subscription s connection 'host=h password=hunter2 dbname=d' publication p",
    "select dblink_connect('host=h password = hunter2')",
    "select dblink('postgresql://u:hunter2@h/d', 'select 1')",
    "alter role x password U&'hunter2'",
    "alter role x password 'hunter2",  # not even terminated
    "set x = 1; alter role y password 'hunter2'; select 1",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_taken_out_and_that_is_said(text: str) -> None:
    clear, found = redact(text)
    assert "hunter2" not in clear
    assert "[redacted]" in clear
    assert found


@pytest.mark.parametrize(
    "text",
    [
        "select password from users where password = u.password",
        "select 1",
        "update users set password_changed = now()",
        "select * from users where id = 7 and password is null",
        "select 'no secret here'",
        "select * from t where url = 'https://example.com/a:b@c'",
    ],
)
def test_what_is_no_secret_stays_as_it_was(text: str) -> None:
    assert redact(text) == (text, ())


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    clear, found = redact(text)
    assert found or clear == text
    redact("password '" + text)
