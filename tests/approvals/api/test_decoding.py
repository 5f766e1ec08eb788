"""Whatever bytes come: a struct, or one refusal that names what is wrong."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.api import decoding
from approvals.api.schema import LogQuery, RequestInput, RequestQuery, ReviewInput
from approvals.errors import Refusal
from approvals.reasons import Reason

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*RequestInput.__struct_fields__, "stranger"])


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decoding.body(RequestInput, data)
    assert refused.value.reason is Reason.REQUEST_INVALID


@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_any_object(value: dict[str, object]) -> None:
    try:
        made = decoding.body(RequestInput, _json(value))
    except Refusal as refused:
        assert refused.reason is Reason.REQUEST_INVALID
        assert refused.faults
    else:
        assert set(value) <= set(RequestInput.__struct_fields__)
        assert isinstance(made.duration_s, int)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_what_is_read_is_what_was_sent() -> None:
    sent = {
        "store": "customers-db",
        "actions": ["read", "write"],
        "reason": "incident",
        "purpose": "Zoë 東京 \U0001f511\n\\",
        "duration_s": 60,
    }
    made = decoding.body(RequestInput, _json(sent))
    assert msgspec.to_builtins(made) == {**sent, "actions": ("read", "write"), "resources": ("*",), "ticket": ""}


@pytest.mark.parametrize(("size", "fits"), [(decoding.MAX_BODY_BYTES, True), (decoding.MAX_BODY_BYTES + 1, False)])
def test_size(size: int, fits: bool) -> None:
    with pytest.raises(Refusal) as refused:
        decoding.body(RequestInput, b" " * size)
    assert refused.value.reason is (Reason.REQUEST_INVALID if fits else Reason.BODY_TOO_LARGE)


def test_optional_is_not_null_elsewhere() -> None:
    body = {"verdict": "approve", "shown_digest": "0" * 64, "duration_s": None}
    assert decoding.body(ReviewInput, _json(body)).duration_s is None
    with pytest.raises(Refusal):
        decoding.body(ReviewInput, _json(body | {"comment": None}))
    with pytest.raises(Refusal):
        decoding.body(ReviewInput, _json(body | {"shown_digest": "0" * 63}))


def test_faults_are_bounded() -> None:
    with pytest.raises(Refusal) as refused:
        decoding.body(RequestInput, _json({f"x{n}" * 50: n for n in range(200)}))
    assert len(refused.value.faults) == 20
    assert all(len(fault.field) <= 64 for fault in refused.value.faults)


@given(st.lists(st.tuples(st.sampled_from([*LogQuery.__struct_fields__, "x"]), st.text(max_size=10)), max_size=4))
def test_any_query(pairs: list[tuple[str, str]]) -> None:
    try:
        made = decoding.query(LogQuery, pairs)
    except Refusal as refused:
        assert refused.reason is Reason.REQUEST_INVALID
    else:
        assert 1 <= made.limit <= 200
        assert len({name for name, _ in pairs}) == len(pairs)


def test_queries_are_text_read_as_what_the_field_is() -> None:
    assert decoding.query(RequestQuery, [("limit", "7"), ("mine", "true"), ("state", "pending")]) == RequestQuery(
        limit=7, mine=True, state="pending"
    )
    assert decoding.query(LogQuery, [("after", "-1")]).after == -1
