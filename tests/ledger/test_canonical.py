"""The fast yes about canonical form never says yes where the slow way says no."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.kinds import AccessIntent, LogRead, SqlContent
from ledger.encoding import NotCanonical, decode, encode, is_canonical_as


class _Nested(msgspec.Struct, frozen=True):
    numbers: list[int]


def _is_canonical(data: bytes) -> bool:
    try:
        decode(data)
    except NotCanonical:
        return False
    return True


READ = LogRead(person="ada", organisation="acme", what="entries", entries=1)


@pytest.mark.parametrize(
    ("data", "shape", "fast"),
    [
        (encode(READ), LogRead, True),
        (encode(READ).replace(b":1,", b":9007199254740991,"), LogRead, True),
        (encode(READ).replace(b":1,", b":9007199254740992,"), LogRead, False),
        (encode(READ).replace(b":1,", b":-9007199254740992,"), LogRead, False),
        (encode(READ).replace(b":1,", b":1.0,"), LogRead, False),
        (encode(READ).replace(b":1,", b": 1,"), LogRead, False),
        (encode(READ).replace(b'{"', b'{"entries":1,"'), LogRead, False),
        (encode(READ).replace(b"ada", "adä".encode()), LogRead, False),
        (encode(READ), AccessIntent, False),
        (b'{"numbers":[1,9007199254740992]}', _Nested, False),
        (b'{"numbers":[1,2]}', _Nested, True),
        (encode(SqlContent("SELECT 1", [{"oid": 23, "value": None}])), SqlContent, True),
        (encode(SqlContent("x", [{"oid": 2**60}])), SqlContent, False),
        (b"\xff", LogRead, False),
        (b"", LogRead, False),
    ],
)
def test_the_fast_yes(data: bytes, shape: type[msgspec.Struct], fast: bool) -> None:
    assert is_canonical_as(data, shape) is fast
    assert not fast or _is_canonical(data)


@given(
    st.fixed_dictionaries({"entries": st.integers(), "person": st.text(), "organisation": st.text(), "what": st.text()})
)
def test_yes_is_never_wrong(facts: dict[str, Any]) -> None:
    data = msgspec.json.encode(facts, order="sorted")
    assert not is_canonical_as(data, LogRead) or _is_canonical(data)
