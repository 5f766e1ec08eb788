"""Every byte of a pack: flipped, with digests made right, left out, added; each is refused and named."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.encoding import decode, encode
from ledger.entry import Part
from ledger.note import parse_note
from ledger.pack.archive import PackRefused, read_archive, write_archive
from ledger.pack.contents import pack_bytes, read_pack
from ledger.pack.verify import verify_pack
from tests.ledger.pack_world import PackWorld, faults, kind_of, repaged, without


@pytest.fixture(scope="module")
def world() -> PackWorld:
    return PackWorld()


@pytest.fixture(scope="module")
def small() -> PackWorld:
    """With one access, for what is done to every byte."""
    return PackWorld(accesses=1)


# every byte


def test_no_byte_of_the_file_can_be_flipped(small: PackWorld) -> None:
    """Every one: refused, and the file is named."""
    data = small.pack()
    members = read_archive(data)
    assert len(data) > 20_000
    dice = random.Random(1)
    anchors = small.anchors()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << dice.randrange(8)
        verdict = verify_pack(bytes(changed), anchors)
        assert not verdict.ok, position
        assert verdict.faults[0].file in {*members, "pack"} or "(byte " in verdict.faults[0].text


def test_a_changed_file_is_named_by_its_digest(small: PackWorld) -> None:
    """The archive's own checksums made right again: every member, first, last and middle byte."""
    members = read_archive(small.pack())
    for name, data in members.items():
        for position in {0, len(data) // 2, len(data) - 1}:
            changed = bytearray(data)
            changed[position] ^= 1
            verdict = small.check(write_archive(members | {name: bytes(changed)}))
            assert not verdict.ok
            if name != "manifest.json":
                assert str(verdict.faults[0]) == f"{name}: is not what manifest.json has the SHA-256 of"


def _forged(members: dict[str, bytes], name: str, data: bytes) -> bytes:
    """With the manifest made right as well: only what the log's keys vouch for is left to tell."""
    changed = members | {name: data}
    if name != "manifest.json":
        said = decode(changed["manifest.json"])
        for file in said["files"]:
            if file["name"] == name:
                file["sha256"] = hashlib.sha256(data).hexdigest()
                file["bytes"] = len(data)
        changed["manifest.json"] = encode(said)
    return write_archive(changed)


def _stem(file: str) -> str:
    """Which entry or stub a file belongs to; its own name for the others."""
    return file.partition("/")[2].partition(".")[0] or file


def test_a_forger_who_makes_all_digests_right_is_named_too(small: PackWorld) -> None:
    members = read_archive(small.pack())
    dice = random.Random(2)
    anchors = small.anchors()
    tried = 0
    for name, data in members.items():
        positions = {0, len(data) - 1} | {dice.randrange(len(data)) for _ in range(40)}
        for position in positions:
            changed = bytearray(data)
            changed[position] ^= 1 << dice.randrange(8)
            verdict = small.check(_forged(members, name, bytes(changed)), anchors)
            assert not verdict.complete, (name, position)
            tried += 1
            if name == "manifest.json":
                assert not verdict.ok
                continue
            assert not verdict.ok, (name, position)
            assert _stem(name) in {_stem(one.file) for one in verdict.faults}, (name, faults(verdict))
    assert tried > 2000


# the container and its manifest


def _manifest(world: PackWorld, change: Callable[[Any], None]) -> str:
    members = read_archive(world.pack())
    said = decode(members["manifest.json"])
    change(said)
    return faults(world.check(write_archive(members | {"manifest.json": encode(said)})))


def test_a_manifest_that_says_other_things(small: PackWorld) -> None:
    def pop_file(said: Any) -> None:
        said["files"].pop(0)

    def pop_entry(said: Any) -> None:
        said["entries"].pop()

    def reverse(said: Any) -> None:
        said["entries"].reverse()

    assert "checkpoint: is not listed in manifest.json" in _manifest(small, pop_file)
    assert "belongs to no entry that the manifest lists" in _manifest(small, pop_entry)
    assert "not in the order of their indexes" in _manifest(small, reverse)
    assert "another" in _manifest(small, lambda said: said.update(origin="b.example/log"))
    assert "says 'b'" in _manifest(small, lambda said: said.update(member="b"))
    assert "looks at the whole log" in _manifest(small, lambda said: said["scope"].update(end=3))
    assert "ends before it begins" in _manifest(small, lambda said: said["scope"].update(first=100))
    assert "not two times" in _manifest(small, lambda said: said["scope"].update(kind="period"))
    assert "manifest.json" in _manifest(small, lambda said: said.update(more=1))
    assert "manifest.json" in _manifest(small, lambda said: said.update(format="glassgate-pack/v2"))
    assert "entries/99.leaf: is missing" in _manifest(
        small, lambda said: said["entries"].append({"index": 99, "content": "none"})
    )
    assert "the leaf not" in _manifest(small, lambda said: said["entries"][0].update(content="erased"))


def test_a_file_more_or_less(small: PackWorld) -> None:
    members = read_archive(small.pack())
    for name in members:
        left = {other: data for other, data in members.items() if other != name}
        assert str(small.check(write_archive(left)).faults[0]) == f"{name}: is missing"
    more = write_archive(members | {"entries/99.leaf": b"x"})
    assert str(small.check(more).faults[0]) == "entries/99.leaf: is not listed in manifest.json"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["checkpoint", "index.html", "manifest.json", "entries/0.leaf"]), st.binary()))
def test_any_members_are_a_pack_or_refused(members: dict[str, bytes]) -> None:
    with pytest.raises(PackRefused):
        read_pack(write_archive(members))


# writers and proofs


def test_stubs_are_needed_and_enough(small: PackWorld) -> None:
    pack = small.collected()
    assert pack.stubs
    for at in pack.stubs:
        fewer = {key: leaf for key, leaf in pack.stubs.items() if key != at}
        said = faults(small.check(pack_bytes(replace(pack, stubs=fewer))))
        assert "no signed stub of its writer follows it without a gap" in said
    spare = next(entry for entry in small.log.entries if entry.stub.kind == "grant.issued" and entry.stub.counter > 5)
    more = dict(pack.stubs) | {(spare.stub.writer, spare.stub.counter): spare.leaf}
    assert "is not needed by any entry" in faults(small.check(pack_bytes(replace(pack, stubs=more))))
    misnamed = {("ab" * 16, 3): next(iter(pack.stubs.values()))}
    assert "than its name says" in faults(small.check(pack_bytes(replace(pack, stubs=dict(pack.stubs) | misnamed))))


def test_a_writer_that_nobody_introduces(world: PackWorld) -> None:
    pack = world.collected()
    victim = [held.index for held in pack.entries if kind_of(held) == "process.started"][-1]
    said = faults(world.check(pack_bytes(repaged(without(pack, lambda held: held.index == victim)))))
    assert "is introduced by no entry of this pack that a host certifies" in said


def test_a_proof_of_another_entry_or_checkpoint(world: PackWorld) -> None:
    pack = world.collected()
    first, second, *rest = pack.entries
    swapped = (replace(first, proof=second.proof), second, *rest)
    assert "proofs/0.tlog-proof: is not the proof of entry 0" in faults(
        world.check(pack_bytes(replace(pack, entries=swapped)))
    )
    older = (
        first.proof.replace(b"\n1\n", b"\n1\n").partition(b"\n\n")[0]
        + b"\n\n"
        + bytes(parse_note(pack.checkpoint))[:-1]
    )
    said = faults(world.check(pack_bytes(replace(pack, entries=(replace(first, proof=older), second, *rest)))))
    assert "ends in another checkpoint" in said
    again = (first, replace(first, index=1, proof=second.proof), *rest)
    assert "entries/1.leaf" in faults(world.check(pack_bytes(repaged(replace(pack, entries=again)))))


def test_facts_of_another_entry(world: PackWorld) -> None:
    pack = world.collected()
    first, second, *rest = pack.entries
    said = faults(world.check(pack_bytes(replace(pack, entries=(replace(first, facts=second.facts), second, *rest)))))
    assert "entries/0.facts: with its blind, is not what the leaf commits to" in said


def test_a_short_blind_is_refused(world: PackWorld) -> None:
    members = read_archive(world.pack())
    data = _forged(members, "entries/0.facts-blind", b"x" * 31)
    assert str(world.check(data).faults[0]) == "entries/0.facts-blind: a blind has 32 bytes, not 31"


def test_sealed_content_is_checked_as_bytes_and_named(world: PackWorld) -> None:
    pack = world.collected()
    at = next(i for i, held in enumerate(pack.entries) if held.content is not None)
    held = pack.entries[at]
    assert held.content is not None
    sealed = replace(held, content=Part(held.content.data, held.content.blind, "sealed"), content_form="sealed")
    entries = (*pack.entries[:at], sealed, *pack.entries[at + 1 :])
    # This one is the policy, which has to be readable: the story says so, the commitment holds.
    verdict = verify_pack(pack_bytes(repaged(replace(pack, entries=entries))), world.anchors())
    assert verdict.ok and verdict.unreadable == {held.index: "sealed"}
