"""Bytes on their way to the client: never more than the barrier allows, and whole messages wherever possible."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.barrier import ALLOWANCE_BYTES, HOLD_BYTES, Barrier
from proxy.postgres.access import Access
from proxy.postgres.framing import ROWS, Backend
from proxy.postgres.release import Release, Stretch

SIZES = st.lists(
    st.one_of(st.integers(0, 200), st.integers(HOLD_BYTES - 10, HOLD_BYTES + 10), st.integers(0, 3 * ALLOWANCE_BYTES)),
    min_size=1,
    max_size=12,
)


def row(size: int) -> bytes:
    return b"D" + (size + 4).to_bytes(4, "big") + bytes(size)


def durable() -> tuple[Access, Barrier]:
    barrier = Barrier()
    barrier.intent(True)
    return cast(Access, SimpleNamespace(barrier=barrier)), barrier


def hold(release: Release, access: Access, backend: Backend, chunk: bytes) -> None:
    """What the session does with a chunk that holds nothing but rows."""
    buffer, tiles = backend.receive(chunk)
    for tile in tiles:
        assert tile.type == ROWS
        release.hold(Stretch(memoryview(buffer)[tile.start : tile.end], access, left=tile.left))


@given(SIZES, st.integers(1000, 256 * 1024), st.integers(1, 5))
def test_what_left_ends_with_a_message_unless_that_message_is_large(sizes: list[int], step: int, wait: int) -> None:
    wire = b"".join(map(row, sizes))
    ends, at = {0}, 0
    for size in sizes:
        at += size + 5
        ends.add(at)
    access, barrier = durable()
    release, backend = Release(), Backend()
    out = bytearray()
    asked: Any = None
    rounds = 0
    chunks = [wire[i : i + step] for i in range(0, len(wire), step)]
    while chunks or release.waiting:
        rounds += 1
        if chunks:
            hold(release, access, backend, chunks.pop(0))
        pieces, _, _ = release.allowed()
        out += b"".join(pieces)
        if release.left == 0:
            assert len(out) in ends
        elif release.waiting:
            # In the midst of a message that cannot go on now: only one that is larger than what is ever held.
            whole = next(size + 5 for size, end in zip(sizes, sorted(ends - {0}), strict=True) if end > len(out))
            assert whole > HOLD_BYTES
        if asked is None:
            asked = barrier.progress_due(0.0)
        elif rounds % wait == 0:
            barrier.progress(True)
            asked = None
        assert rounds < 10 * (len(wire) // step + 100), "stuck"
    assert bytes(out) == wire


def test_nothing_leaves_before_the_intent_is_durable() -> None:
    access, barrier = cast(Any, SimpleNamespace(barrier=Barrier())), None
    barrier = access.barrier
    release = Release()
    release.hold(Stretch(memoryview(row(10)), access))
    assert release.allowed()[0] == []
    barrier.intent(True)
    assert b"".join(release.allowed()[0]) == row(10)


@pytest.mark.parametrize("size", [ALLOWANCE_BYTES + 1, 3 * ALLOWANCE_BYTES])
def test_a_message_larger_than_the_allowance_still_gets_through(size: int) -> None:
    access, barrier = durable()
    release = Release()
    release.hold(Stretch(memoryview(row(size)), access))
    assert len(b"".join(release.allowed()[0])) == ALLOWANCE_BYTES
    assert release.left == size + 5 - ALLOWANCE_BYTES
    assert barrier.progress_due(0.0) == ALLOWANCE_BYTES
