"""Typed ids: sortable, and one kind never passes for another."""

from hypothesis import given
from hypothesis import strategies as st

from approvals.ids import is_id, new_id


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(unix_ms: int, one: bytes, other: bytes) -> None:
    assert new_id("req", unix_ms, one) < new_id("req", unix_ms + 1, other)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_of_its_kind_only(unix_ms: int, entropy: bytes) -> None:
    made = new_id("gr", unix_ms, entropy)
    assert is_id("gr", made)
    assert not is_id("req", made)
    assert not is_id("gr", made.upper())
    assert not is_id("gr", made + "\n")
    assert not is_id("gr", made[:-1])


def test_other_texts_are_no_ids() -> None:
    for text in ("", "gr_", "gr_" + "u" * 26, "gr_8" + "0" * 25, "gr_" + "é" * 26, "gr_../../etc/passwd"):
        assert not is_id("gr", text)
