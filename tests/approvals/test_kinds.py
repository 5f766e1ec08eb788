"""The closed list of kinds: what fits passes, everything else is named."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.kinds import CONTENT, FACTS, AccessRefused, HttpContent, KindRefused, validate
from ledger.encoding import encode

REFUSED = AccessRefused(
    reason="no_credential", protocol="http", operation="GET", client_address="127.0.0.1", address_grade="direct"
)
CONTENT_BYTES = encode(HttpContent(target="/?q=1", headers=[["accept", "*/*"]]))


def test_what_the_gate_writes_fits() -> None:
    validate("access.refused", 1, encode(REFUSED), CONTENT_BYTES)
    validate("access.refused", 1, encode(REFUSED), None)


@pytest.mark.parametrize(
    ("kind", "version", "facts", "content", "says"),
    [
        ("access.invented", 1, encode(REFUSED), None, "no kind"),
        ("access.refused", 2, encode(REFUSED), None, "no kind"),
        ("access.refused", 1, b'{"reason":"x"}', None, "facts: AccessRefused: .*missing"),
        ("access.refused", 1, encode(REFUSED)[:-1] + b',"zz":1}', None, "unknown field"),
        ("access.refused", 1, encode(REFUSED).replace(b":", b": ", 1), None, "facts: .*canonical"),
        ("access.refused", 1, encode(REFUSED), b"{}", "content: HttpContent.*SqlContent"),
        ("access.outcome", 1, encode(REFUSED), None, "facts: AccessOutcome"),
        ("token.minted", 1, b"[]", None, "facts"),
        ("process.stopped", 1, encode({"role": "proxy", "last_counter": 1}), b"{}", "has no content"),
        ("policy.changed", 1, encode({"digest": "", "previous": "", "stores": {}}), b"{ }", "content"),
    ],
)
def test_a_refusal_says_which_part(kind: str, version: int, facts: bytes, content: bytes | None, says: str) -> None:
    with pytest.raises(KindRefused, match=says):
        validate(kind, version, facts, content)


@given(st.sampled_from(sorted(FACTS)), st.binary(max_size=64), st.none() | st.binary(max_size=64))
def test_garbage_is_only_ever_refused(kind: tuple[str, int], facts: bytes, content: bytes | None) -> None:
    with pytest.raises(KindRefused):
        validate(*kind, facts, content)


def test_every_shape_is_closed_and_frozen() -> None:
    shapes = set(FACTS.values()) | {shape for shapes in CONTENT.values() for shape in shapes}
    for shape in shapes:
        assert shape.__struct_config__.frozen, shape
        assert shape.__struct_config__.forbid_unknown_fields, shape
        assert not any(field.type is float for field in msgspec.structs.fields(shape)), shape
