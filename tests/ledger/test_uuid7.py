"""UUIDv7: version, variant, order in time, no surprises at the edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.uuid7 import uuid7


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=16))
def test_it_is_version_7_and_carries_its_time(unix_ms: int, entropy: bytes) -> None:
    made = uuid7(unix_ms, entropy)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == unix_ms


def test_the_example_of_rfc_9562() -> None:
    # Appendix A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F
    rand = (0xCC3 << 62) | (0x18C4DC0C0C07398F)
    made = uuid7(0x017F22E279B0, rand.to_bytes(10, "big"))
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize(("unix_ms", "entropy"), [(-1, b"0" * 10), (2**48, b"0" * 10), (0, b"0" * 9)])
def test_bad_input_is_refused(unix_ms: int, entropy: bytes) -> None:
    with pytest.raises(ValueError, match="UUIDv7"):
        uuid7(unix_ms, entropy)
