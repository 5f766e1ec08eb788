"""Collecting packs: what belongs to what, found by time and id; and what a log that has holes gives."""

from datetime import timedelta

import pytest

from glassgate.grant_sums import GRACE_S, SETTLE_S, due
from glassgate.packs import Asked, LogBytes, NotCollected, ScanCatalogue, collect, hosts_of
from ledger.encoding import decode
from ledger.entry import Part
from ledger.pack.contents import pack_bytes, read_pack
from ledger.pack.count import Counter, belongs
from tests.ledger.pack_world import GRANT, MemoryLog, PackWorld, faults, kind_of


@pytest.fixture(scope="module")
def long() -> PackWorld:
    return PackWorld(filler=1000)


def test_a_pack_has_its_matter_and_what_it_rests_on() -> None:
    world = PackWorld()
    pack = world.collected()
    kinds = [kind_of(held) for held in pack.entries]
    assert kinds[0] == "log.created"
    assert kinds.count("process.started") == 3 and kinds.count("policy.changed") == 1
    assert [kind for kind in kinds if kind.startswith(("request.", "review.", "grant."))] == [
        *("request.created", "review.recorded", "grant.issued", "grant.activated", "grant.closed", "grant.summed")
    ]
    about = {decode(held.facts.data).get("grant") for held in pack.entries}
    assert about == {None, "gr_1"}
    assert read_pack(world.pack()) == pack
    assert hosts_of(pack) == {world.host.public_key().public_bytes_raw(): ""}


def test_request_and_grant_are_one_matter() -> None:
    world = PackWorld()
    by_request = world.collected(Asked("request", "req_1"))
    assert [held.index for held in by_request.entries] == [held.index for held in world.collected().entries]


def test_what_is_not_there() -> None:
    world = PackWorld(accesses=1)
    for asked in (Asked("grant", "gr_404"), Asked("request", "req_404"), Asked("store", "nothing")):
        with pytest.raises(NotCollected, match=f"nothing of this {asked.kind}"):
            world.pack(asked)
    with pytest.raises(NotCollected, match="nothing of this period"):
        world.pack(Asked("period", period=(world.now + timedelta(hours=1), world.now + timedelta(hours=2))))
    with pytest.raises(NotCollected, match="nothing of this period"):
        world.pack(Asked("period", period=(world.now - timedelta(hours=2), world.now - timedelta(hours=1))))


def test_every_period_is_found_and_complete(long: PackWorld) -> None:
    log = LogBytes(long.log)
    times = [entry.stub.time for entry in long.log.entries]
    for first, end in ((0, 1), (0, 300), (3, 257), (255, 256), (256, 512), (700, 701), (len(times) - 5, len(times))):
        since = times[first]
        until = times[end] if end < len(times) else "9999-01-01T00:00:00.000000Z"
        inside = [i for i, time in enumerate(times) if since <= time < until]
        if inside:
            assert log.range_of(since, until) == (inside[0], inside[-1] + 1)
    middle = long.log.entries[500].stub.time
    assert log.range_of(middle, middle) == (500, 500)


def test_stragglers_belong_to_their_period() -> None:
    """Entries of a journal that was shipped late stand behind later ones."""
    world = PackWorld()
    start = world.log.entries[0].stub.time
    world.now += timedelta(hours=2)
    [later] = world.write(world.proxies[0], world.refused("gr_2"))
    world.now -= timedelta(hours=1)
    [late] = world.write(world.proxies[1], world.refused("gr_1"))
    world.now += timedelta(hours=2)
    world.write(world.proxies[0], world.refused("gr_2"))
    assert LogBytes(world.log).range_of(start, world.log.entries[later].stub.time) == (0, late + 1)
    assert LogBytes(world.log).range_of(world.log.entries[late].stub.time, "9999") == (later, late + 2)


def test_an_entry_is_found_by_its_id(long: PackWorld) -> None:
    log = LogBytes(long.log)
    for index in (0, 1, 255, 256, 700, len(long.log.entries) - 1):
        assert log.index_of(long.log.entries[index].stub.id) == index
    with pytest.raises(NotCollected, match="has the id"):
        log.index_of("0195aaaa-0000-7000-8000-000000000000")
    with pytest.raises(NotCollected, match="neither an index nor"):
        log.index_of("nonsense")


def test_a_log_with_holes_says_where() -> None:
    world = PackWorld()
    index = next(i for i, entry in enumerate(world.log.entries) if entry.stub.kind == "request.created")
    whole = world.log.entries[index]

    def damaged(facts: Part, content: Part | None) -> None:
        world.log.entries[index] = type(whole)(whole.leaf, whole.stub, facts, content)

    damaged(whole.facts, Part(b"", b"", "erased"))
    verdict = world.check(world.pack())
    assert verdict.complete and verdict.unreadable == {index: "erased"}, faults(verdict)
    damaged(whole.facts, None)
    with pytest.raises(NotCollected, match=f"entry {index}: the log has not got its content any more"):
        world.pack()
    damaged(Part(b"", b"", "erased"), whole.content)
    with pytest.raises(NotCollected, match=f"entry {index}: the log has not got its facts"):
        world.pack(Asked("period", period=(world.now - timedelta(hours=1), world.now)))
    world.log.entries[index] = type(whole)(b"{}", whole.stub, whole.facts, whole.content)
    with pytest.raises(NotCollected, match=f"entry {index} is no entry any more"):
        world.pack(Asked("period", period=(world.now - timedelta(hours=1), world.now)))


def test_a_catalogue_that_keeps_things_back_is_found_out() -> None:
    world = PackWorld()
    log = LogBytes(world.log)

    class Forgetful(ScanCatalogue):
        def find(self, **chosen: str):  # type: ignore[no-untyped-def, override]
            found = list(super().find(**chosen))
            return [one for one in found if one.facts.get("sequence") != 3]

    honest = collect(log, ScanCatalogue(log), GRANT)
    short = collect(log, Forgetful(log), GRANT)
    [missing] = {held.index for held in honest.entries} - {held.index for held in short.entries}
    assert world.log.entries[missing].stub.kind == "access.intent"
    verdict = world.check(pack_bytes(short))
    assert verdict.ok and verdict.completeness is not None
    assert verdict.completeness.text.startswith("NOT SHOWN COMPLETE: 13 of 14 accesses")


def test_a_source_that_serves_no_log() -> None:
    class Broken:
        def __init__(self, checkpoint: bytes) -> None:
            self.checkpoint = checkpoint

        def fetch(self, path: str) -> bytes:
            return self.checkpoint if path == "checkpoint" else b"\xff\xff"

    with pytest.raises(NotCollected, match="checkpoint is none"):
        LogBytes(Broken(b"x"))
    fresh = MemoryLog(PackWorld(accesses=1).log.signer)
    with pytest.raises(NotCollected, match="is empty"):
        LogBytes(fresh)
    served = LogBytes(Broken(PackWorld(accesses=1).log.fetch("checkpoint")))
    with pytest.raises(NotCollected, match=r"tile/entries/000\.p/"):
        served.leaf(0)


# counting


def test_when_a_grant_is_counted() -> None:
    assert not due(timedelta(seconds=SETTLE_S - 0.001), unfinished=False)
    assert due(timedelta(seconds=SETTLE_S), unfinished=False)
    assert not due(timedelta(seconds=GRACE_S - 0.001), unfinished=True)
    assert due(timedelta(seconds=GRACE_S), unfinished=True)


def test_what_belongs_to_a_grant() -> None:
    decision, facts = "ab" * 32, b'{"grant":"gr_1"}'
    assert belongs("access.outcome", decision, b"{}", "gr_1", decision)
    assert belongs("access.refused", "", facts, "gr_1", decision)
    assert belongs("session.started", "", facts, "gr_1", decision)
    assert not belongs("token.minted", decision, facts, "gr_1", decision)
    assert not belongs("access.intent", "cd" * 32, b'{"grant":"gr_2"}', "gr_1", decision)
    assert not belongs("access.intent", "", b"{}", "gr_1", "")
    assert not belongs("access.intent", "", b"not json", "gr_1", "")


def test_a_count_does_not_depend_on_order_and_survives_nonsense() -> None:
    entries = [
        ("b", "access.intent", b'{"grant":"gr_1","session":"s1"}'),
        ("a", "access.outcome", b'{"access":"b","rows":3,"bytes_out":7}'),
        ("c", "access.intent", b'{"grant":"gr_1","session":"s2"}'),
        ("d", "access.refused", b'{"grant":"gr_1","session":"s2"}'),
        ("e", "access.outcome", b'{"access":7,"rows":"x","bytes_out":-5}'),
        ("f", "access.progress", b"\xff"),
        ("g", "session.started", b'{"session":"s3"}'),
    ]
    one, other = Counter(), Counter()
    for entry in entries:
        one.add(*entry)
    for entry in reversed(entries):
        other.add(*entry)
    assert one.total() == other.total()
    total = one.total()
    assert (total.sessions, total.accesses, total.unfinished, total.refused) == (3, 2, 1, 1)
    assert (total.rows, total.bytes_out, total.counted) == (3, 7, 6)
