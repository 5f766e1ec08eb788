"""Refused accesses into the log, without letting strangers fill it."""

import asyncio

from approvals.kinds import AccessRefused
from proxy.refusals import FULL, MAX_FULL, MAX_SOURCES, Refusals, source_of
from tests.proxy.fakes import FakeClock, FakeRecorder


def refused(address: str, reason: str = "no_credential") -> AccessRefused:
    return AccessRefused(
        reason=reason, protocol="http", operation="GET", client_address=address, address_grade="direct"
    )


def throttle() -> tuple[Refusals, FakeRecorder, FakeClock]:
    recorder, clock = FakeRecorder(), FakeClock()
    return Refusals(recorder, clock, b"k" * 32), recorder, clock


async def test_the_first_twenty_are_whole_and_the_rest_counted() -> None:
    refusals, recorder, clock = throttle()
    ids = [refusals.record(refused("10.0.0.1"), authenticated=False) for _ in range(FULL + 5)]
    assert all(ids[:FULL])
    assert ids[FULL:] == [""] * 5
    refusals.record(refused("10.0.0.1", "token_forged"), authenticated=False)
    assert recorder.of("refusals.counted") == []
    clock.advance(60)
    refusals.tick()
    (entry,) = recorder.of("refusals.counted")
    assert entry.facts == {
        "client_address": "10.0.0.1",
        "minute": "2026-03-01T12:00:00Z",
        "count": 6,
        "reasons": {"no_credential": 5, "token_forged": 1},
    }
    assert refusals.record(refused("10.0.0.1"), authenticated=False)
    await asyncio.sleep(0)


async def test_people_with_a_credential_are_never_only_counted() -> None:
    refusals, recorder, _ = throttle()
    for _ in range(100):
        assert refusals.record(refused("10.0.0.1"), authenticated=True)
    assert len(recorder.of("access.refused")) == 100
    await asyncio.sleep(0)


async def test_sources_and_entries_are_bounded() -> None:
    refusals, recorder, _ = throttle()
    for number in range(MAX_SOURCES + 100):
        refusals.record(refused(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), authenticated=False)
    assert len(recorder.of("access.refused")) == MAX_FULL
    refusals.flush()
    counted = recorder.of("refusals.counted")
    assert sum(entry.facts["count"] for entry in counted) == MAX_SOURCES + 100 - MAX_FULL
    assert [e.facts["count"] for e in counted if e.facts["client_address"] == "*"] == [100]
    await asyncio.sleep(0)


async def test_shutting_down_loses_no_count() -> None:
    refusals, recorder, _ = throttle()
    for _ in range(FULL + 1):
        refusals.record(refused("::1"), authenticated=False)
    refusals.flush()
    refusals.flush()
    assert len(recorder.of("refusals.counted")) == 1
    await asyncio.sleep(0)


async def test_exhaustion_lasts_a_minute() -> None:
    refusals, _, clock = throttle()
    for _ in range(300):
        assert not refusals.exhausted("10.0.0.1")
        refusals.record(refused("10.0.0.1"), authenticated=False)
    assert refusals.exhausted("10.0.0.1")
    assert not refusals.exhausted("10.0.0.2")
    clock.advance(60)
    assert not refusals.exhausted("10.0.0.1")
    await asyncio.sleep(0)


def test_what_is_one_source() -> None:
    assert source_of("10.0.0.1") == source_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("") == ""


async def test_unknown_names_are_keyed_hashes() -> None:
    refusals, recorder, clock = throttle()
    hashed = refusals.hashed("hunter2")
    assert "hunter2" not in hashed
    assert hashed == refusals.hashed("hunter2")
    assert hashed != Refusals(recorder, clock, b"x" * 32).hashed("hunter2")
