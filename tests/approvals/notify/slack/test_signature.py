"""Whatever arrives, only what Slack signed within five minutes is let through, and the refusal says why."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.notify.slack.signature import MAX_AGE_S, SignatureRefused, sign, verify

SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
# The example of docs.slack.dev/authentication/verifying-requests-from-slack.
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack"
    b".com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0"
    b"bc887a14d10d2c447fce8b6703c"
)
AT = 1531420618
SIGNATURE = b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def test_the_published_vector() -> None:
    assert sign(SECRET, b"1531420618", BODY) == SIGNATURE
    verify(SECRET, [b"1531420618"], [SIGNATURE], BODY, AT)


@pytest.mark.parametrize("now", [AT - MAX_AGE_S, AT + MAX_AGE_S])
def test_five_minutes_are_in(now: float) -> None:
    verify(SECRET, [b"1531420618"], [SIGNATURE], BODY, now)


@pytest.mark.parametrize("now", [AT - MAX_AGE_S - 1, AT + MAX_AGE_S + 1])
def test_more_is_out(now: float) -> None:
    with pytest.raises(SignatureRefused, match="outside five minutes"):
        verify(SECRET, [b"1531420618"], [SIGNATURE], BODY, now)


@pytest.mark.parametrize(
    "timestamp",
    [b"abc", b"", b"-1531420618", b"1531420618.0", b" 1531420618", b"1e9", "１".encode(), b"1" * 400, b"\xff"],
)
def test_a_timestamp_that_is_no_plain_number(timestamp: bytes) -> None:
    signature = b"v0=" + hmac.new(SECRET, b"v0:" + timestamp + b":" + BODY, hashlib.sha256).hexdigest().encode()
    with pytest.raises(SignatureRefused, match="no number"):
        verify(SECRET, [timestamp], [signature], BODY, AT)


@pytest.mark.parametrize("values", [[], [b"1531420618", b"1531420618"]])
def test_each_header_once(values: list[bytes]) -> None:
    with pytest.raises(SignatureRefused, match="one timestamp"):
        verify(SECRET, values, [SIGNATURE], BODY, AT)
    with pytest.raises(SignatureRefused, match="one timestamp"):
        verify(SECRET, [b"1531420618"], [SIGNATURE] * len(values) * 2, BODY, AT)


def test_an_empty_secret_verifies_nothing() -> None:
    with pytest.raises(SignatureRefused, match="no signing secret"):
        verify(b"", [b"1531420618"], [sign(b"", b"1531420618", BODY)], BODY, AT)


def test_every_byte_of_the_body_counts() -> None:
    for index in range(0, len(BODY), 7):
        changed = BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]
        with pytest.raises(SignatureRefused, match="does not match"):
            verify(SECRET, [b"1531420618"], [SIGNATURE], changed, AT)


@given(st.binary(max_size=80), st.binary(max_size=20), st.binary(max_size=200))
def test_any_bytes_are_fit_to_be_refused(signature: bytes, timestamp: bytes, body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify(SECRET, [timestamp], [signature], body, AT)
