"""The disclosure barrier as arithmetic: no byte before the intent, no second MiB before its account."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.barrier import ALLOWANCE_BYTES, PROGRESS_S, Barrier


def test_nothing_moves_before_the_intent_is_durable() -> None:
    barrier = Barrier()
    assert not barrier.may_forward
    assert barrier.allowance() == 0
    with pytest.raises(ValueError, match="pass the barrier"):
        barrier.release(1)
    barrier.intent(True)
    assert barrier.may_forward
    assert barrier.allowance() == ALLOWANCE_BYTES


def test_overlap_forwards_but_does_not_release() -> None:
    barrier = Barrier(overlap=True)
    assert barrier.may_forward
    assert barrier.allowance() == 0


@pytest.mark.parametrize("overlap", [False, True])
def test_a_failed_intent_closes_for_good(overlap: bool) -> None:
    barrier = Barrier(overlap=overlap)
    barrier.intent(False)
    assert barrier.failed
    assert not barrier.may_forward
    assert barrier.allowance() == 0
    assert barrier.progress_due(100.0) is None


def test_a_failed_progress_entry_closes_for_good() -> None:
    barrier = Barrier()
    barrier.intent(True)
    barrier.release(ALLOWANCE_BYTES)
    assert barrier.progress_due(0.0) == ALLOWANCE_BYTES
    barrier.progress(False)
    assert barrier.allowance() == 0
    assert barrier.failed


def test_a_trickle_is_accounted_for_every_five_seconds() -> None:
    barrier = Barrier(now=10.0)
    barrier.intent(True)
    assert barrier.progress_due(10.0 + PROGRESS_S) is None  # nothing has left
    barrier.release(1)
    assert barrier.progress_due(9.9 + PROGRESS_S) is None
    assert barrier.progress_due(10.0 + PROGRESS_S) == 1
    assert barrier.progress_due(99.0) is None  # one in flight at a time
    barrier.progress(True)
    assert barrier.progress_due(99.0) is None  # nothing new


def test_progress_without_being_asked_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no progress"):
        Barrier().progress(True)


@given(
    st.lists(
        st.tuples(st.sampled_from(("release", "due", "durable", "tick")), st.integers(0, 2 * ALLOWANCE_BYTES)),
        max_size=60,
    )
)
def test_what_left_never_exceeds_what_is_accounted_for_plus_one_mib(steps: list[tuple[str, int]]) -> None:
    barrier = Barrier()
    barrier.intent(True)
    accounted, asked, now = 0, None, 0.0
    for step, size in steps:
        if step == "release":
            barrier.release(min(size, barrier.allowance()))
        elif step == "tick":
            now += 1.0
        elif step == "due" and asked is None:
            asked = barrier.progress_due(now)
        elif step == "durable" and asked is not None:
            barrier.progress(True)
            accounted, asked = asked, None
        assert barrier.released <= accounted + ALLOWANCE_BYTES
