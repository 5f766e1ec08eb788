"""The recorder: in order, in groups, everybody told exactly once, and closed when in doubt."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from ledger.entry import Draft
from ledger.storage import AppendRefused, AppendUnknown, Batch
from proxy import recorder as recorder_module
from proxy.recorder import Recorder


class MovableClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def unix(self) -> float:
        return self.now().timestamp()

    def monotonic(self) -> float:
        return self.seconds


class CountingWriter:
    """Packs ids and remembers what it was told; the real one is tested with the ledger."""

    def __init__(self) -> None:
        self.counter = 0
        self.log: list[str] = []
        self.packed: list[list[str]] = []

    def pack(self, drafts: list[Draft], now: datetime, entropy: Callable[[int], bytes]) -> Batch:
        self.packed.append([draft.entry_id for draft in drafts])
        return Batch("log", "writer", self.counter, len(drafts), b"".join(bytes(str(d.facts), "utf-8") for d in drafts))

    def accepted(self) -> None:
        self.counter += len(self.packed[-1])
        self.log.append("accepted")

    def refused(self) -> None:
        self.log.append("refused")


class ScriptedSink:
    """Answers each append with the next of `script` (None = durable), and waits at `gate` before."""

    def __init__(self) -> None:
        self.script: list[Exception | None] = []
        self.batches: list[Batch] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def append(self, batch: Batch) -> None:
        self.asked.set()
        await self.gate.wait()
        self.batches.append(batch)
        answer = self.script.pop(0) if self.script else None
        if answer is not None:
            raise answer


class World:
    def __init__(self) -> None:
        self.clock = MovableClock()
        self.writer = CountingWriter()
        self.sink = ScriptedSink()
        self.lost = 0
        self.recorder = Recorder(self.writer, self.sink, self.clock, self._on_lost)
        self.answers: list[tuple[str, bool]] = []

    def _on_lost(self) -> None:
        self.lost += 1

    def say(self, name: str, **facts: object) -> str:
        return self.recorder.record(Draft("k", {"n": name, **facts}), lambda ok: self.answers.append((name, ok)))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.recorder.start()
    yield made
    made.sink.gate.set()
    await made.recorder.close()


async def test_what_comes_during_a_flush_rides_in_the_next_in_order(world: World) -> None:
    world.sink.gate.clear()
    first = world.say("0")
    await world.sink.asked.wait()
    rest = [world.say(str(n)) for n in range(1, 20)]
    assert world.answers == []
    world.sink.gate.set()
    await world.recorder.close()
    assert world.writer.packed == [[first], rest]
    assert world.answers == [(str(n), True) for n in range(20)]


async def test_a_definite_failure_tells_everybody_no_and_the_next_flush_goes_on(world: World) -> None:
    world.sink.script = [AppendRefused("disk full"), None]
    world.sink.gate.clear()
    world.say("a")
    await world.sink.asked.wait()
    world.say("b")
    world.sink.gate.set()
    await world.recorder.close()
    assert world.answers == [("a", False), ("b", True)]
    assert world.writer.log == ["refused", "accepted"]
    assert [batch.first_counter for batch in world.sink.batches] == [0, 0]


async def test_an_ambiguous_failure_sends_the_same_bytes_again(world: World) -> None:
    world.sink.script = [AppendUnknown("connection lost"), AppendUnknown("again"), None]
    world.say("a")
    await world.recorder.close()
    assert world.answers == [("a", True)]
    assert world.sink.batches[0] == world.sink.batches[1] == world.sink.batches[2]
    assert len(world.writer.packed) == 1


async def test_a_refusal_after_a_doubt_is_still_in_doubt(world: World) -> None:
    # The first sending may be stored: giving its counters to other entries would be two entries under one counter.
    world.sink.script = [AppendUnknown("connection lost"), AppendRefused("disk full"), None]
    world.say("a")
    await world.recorder.close()
    assert world.answers == [("a", True)]
    assert world.writer.log == ["accepted"]
    assert world.sink.batches[0] == world.sink.batches[2]


async def test_after_two_seconds_of_doubt_the_process_must_end(world: World) -> None:
    class Impatient(ScriptedSink):
        async def append(self, batch: Batch) -> None:
            world.clock.seconds += recorder_module.RESEND_S
            raise AppendUnknown("gone")

    world.recorder._sink = Impatient()
    world.say("a")
    world.say("b")
    await world.recorder.close()
    assert world.lost == 1
    assert world.answers == [("a", False), ("b", False)]
    assert not world.recorder.able
    world.say("c")
    await asyncio.sleep(0)
    assert world.answers[-1] == ("c", False)
    assert world.writer.log == []  # its counters are never used again by this process


async def test_one_callback_that_raises_does_not_leave_the_others_hanging(world: World) -> None:
    world.sink.gate.clear()
    world.say("a")
    await world.sink.asked.wait()
    world.recorder.record(Draft("k", {}), lambda _: 1 / 0)
    world.say("b")
    world.sink.gate.set()
    await world.recorder.close()
    assert world.answers == [("a", True), ("b", True)]


async def test_an_entry_that_cannot_be_encoded_fails_alone(world: World) -> None:
    world.sink.gate.clear()
    world.say("a")
    world.say("bad", text="\ud800")
    world.say("b")
    await asyncio.sleep(0)
    world.sink.gate.set()
    await world.recorder.close()
    assert sorted(world.answers) == [("a", True), ("b", True), ("bad", False)]


async def test_a_flush_is_cut_by_size_so_that_one_large_access_stalls_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sink.gate.clear()
    world.say("first")
    await world.sink.asked.wait()
    large = recorder_module.MAX_FLUSH_BYTES - 4096
    for name in ("x", "y", "z"):
        world.say(name, text="." * large)
    world.sink.gate.set()
    await world.recorder.close()
    assert [len(ids) for ids in world.writer.packed] == [1, 1, 1, 1]


async def test_the_queue_is_bounded_and_says_no(world: World) -> None:
    world.sink.gate.clear()
    piece = "." * (8 * 1024 * 1024)
    for n in range(8):
        world.say(str(n), text=piece)
    assert not world.recorder.able
    world.say("one too many")
    await asyncio.sleep(0)
    assert world.answers == [("one too many", False)]
    world.sink.gate.set()
    await world.recorder.close()
    assert len([ok for _, ok in world.answers if ok]) == 8


async def test_an_answer_never_comes_from_inside_the_call(world: World) -> None:
    await world.recorder.close()
    world.say("after the end")
    assert world.answers == []
    await asyncio.sleep(0)
    assert world.answers == [("after the end", False)]
