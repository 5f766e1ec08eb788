"""Canonical bytes: one spelling per value, and every other spelling refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import MAX_INT, NotCanonical, decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_back_and_its_bytes_are_those_of_rfc_8785(value: object) -> None:
    data = encode(value)
    assert decode(data) == value
    assert json.loads(data) == value
    # For ASCII keys and no floats, RFC 8785 is what the standard library writes with these options.
    jcs = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert data == jcs.replace(b"\\u007f", b"\x7f")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "canonical"),
        (b'{"b":1,"a":2}', "canonical"),
        (b'{"a": 1}', "canonical"),
        (b'["\\u0041"]', "canonical"),
        (b'["\\/"]', "canonical"),
        (b"[1.0]", "floating"),
        (b"[1e2]", "floating"),
        (b"[9007199254740992]", "2\\*\\*53"),
        (b"[-9007199254740992]", "2\\*\\*53"),
        (b"[-0]", "canonical"),
        (b"[01]", "not JSON"),
        (b"[NaN]", "not JSON"),
        ('{"é":1}'.encode(), "ASCII"),
        (b'["\xff"]', "not JSON"),
        (b"[1]\n", "canonical|not JSON"),
        (b"", "not JSON"),
        (b"[" * 40 + b"]" * 40, "nested"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_other_spellings_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotCanonical, match=why):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_not_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except NotCanonical:
        return
    assert encode(value) == data


def test_a_lone_surrogate_has_no_canonical_form() -> None:
    with pytest.raises(NotCanonical):
        encode({"purpose": "\ud800"})
