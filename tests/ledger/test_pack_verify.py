"""An evidence pack against its exporter: entries left out, invented logs, keys of the exporter's own."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from glassgate.packs import Asked
from ledger.note import Signer
from ledger.pack.anchors import AnchorsRefused, parse_anchors
from ledger.pack.contents import Scope, pack_bytes
from ledger.pack.verify import NOT_ANCHORED, verify_pack
from tests.ledger.pack_world import ACCESSES, PackWorld, faults, kind_of, repaged, without


@pytest.fixture(scope="module")
def world() -> PackWorld:
    return PackWorld()


# what holds


@pytest.mark.parametrize("filler", [0, 300])
@pytest.mark.parametrize("asked", [Asked("grant", "gr_1"), Asked("request", "req_1")])
def test_a_closed_grant_is_shown_complete(filler: int, asked: Asked) -> None:
    world = PackWorld(filler=filler)
    verdict = world.check(world.pack(asked))
    assert verdict.ok, faults(verdict)
    assert verdict.complete and verdict.completeness is not None
    assert verdict.completeness.text.startswith(f"complete: {ACCESSES} of {ACCESSES} accesses and 1 of 1 refusals")
    assert (verdict.member, verdict.writers, verdict.cosigned) == ("acme", 4, {"w1": 1_800_000_000})
    assert verdict.releases == {"7e" * 32: "0.1.0"}


def test_equal_logs_give_equal_bytes(world: PackWorld) -> None:
    assert world.pack() == world.pack()


def test_a_period_is_measured_by_indexes(world: PackWorld) -> None:
    period = (world.now - timedelta(seconds=2), world.now)
    pack = world.collected(Asked("period", period=period))
    verdict = world.check(pack_bytes(pack))
    assert verdict.complete, (faults(verdict), verdict.completeness)
    inside = [held for held in pack.entries if pack.scope.first <= held.index < pack.scope.end]
    assert len(inside) == pack.scope.end - pack.scope.first > 5
    verdict = world.check(pack_bytes(without(pack, lambda held: held.index == inside[2].index)))
    assert verdict.ok and verdict.completeness is not None
    assert verdict.completeness.text == f"NOT SHOWN COMPLETE: {len(inside) - 1} of {len(inside)} entries"
    shifted = replace(pack.scope, name="2026-03-01T11:00:00.000000Z/2026-03-01T11:30:00.000000Z") if False else None
    assert shifted is None
    claimed = Scope(
        "period", "2026-03-01T11:00:00.000000Z/2026-03-01T11:30:00.000000Z", pack.scope.first, pack.scope.end
    )
    verdict = world.check(pack_bytes(repaged(replace(pack, scope=claimed))))
    assert not verdict.complete


def test_a_store_is_never_shown_complete(world: PackWorld) -> None:
    verdict = world.check(world.pack(Asked("store", "customers-db")))
    assert verdict.ok and not verdict.complete and verdict.completeness is not None
    assert "of its 2 grants in the pack 1 are complete" in verdict.completeness.text


def test_contents_can_be_left_out_and_that_is_said(world: PackWorld) -> None:
    data = world.pack(content=False)
    verdict = world.check(data)
    assert verdict.complete, faults(verdict)
    assert set(verdict.unreadable.values()) == {"withheld"} and len(verdict.unreadable) == ACCESSES + 3
    assert b"order 1881" not in data


# what was left out


def test_thirteen_of_fourteen(world: PackWorld) -> None:
    pack = world.collected()
    victim = next(held.index for held in pack.entries if kind_of(held) == "access.intent")
    verdict = world.check(pack_bytes(without(pack, lambda held: held.index in (victim, victim + 1))))
    assert verdict.ok, faults(verdict)
    assert not verdict.complete and verdict.completeness is not None
    assert verdict.completeness.text.startswith("NOT SHOWN COMPLETE: 13 of 14 accesses, 27 of 29 access entries")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("access.outcome", "14 of 14 accesses, 28 of 29 access entries"),
        ("access.refused", "14 of 14 accesses, 0 of 1 refusals, 28 of 29 access entries"),
        ("grant.summed", "14 accesses, and no entry grant.summed says how many there were"),
    ],
)
def test_any_entry_that_is_counted_is_missed(world: PackWorld, kind: str, said: str) -> None:
    pack = world.collected()
    victim = next(held.index for held in pack.entries if kind_of(held) == kind)
    verdict = world.check(pack_bytes(without(pack, lambda held: held.index == victim)))
    assert verdict.ok, faults(verdict)
    assert verdict.completeness is not None and not verdict.completeness.shown
    assert verdict.completeness.text.startswith(f"NOT SHOWN COMPLETE: {said}")


def test_every_single_access_entry_left_out_shows(world: PackWorld) -> None:
    pack = world.collected()
    for victim in [held.index for held in pack.entries if kind_of(held).startswith("access.")]:
        assert not world.check(pack_bytes(without(pack, lambda held, at=victim: held.index == at))).complete  # type: ignore[misc]


def test_what_comes_after_the_count_is_said_to() -> None:
    world = PackWorld()
    world.write(world.proxies[0], world.refused("gr_1"))
    verdict = world.check(world.pack())
    assert verdict.complete and verdict.completeness is not None
    assert verdict.completeness.text.endswith("1 later entries are here that it does not count.")


def test_a_later_count_does_not_hide_what_an_earlier_one_says() -> None:
    """A rogue writer's sum that fits the exporter's thirteen: the true one is in the log, and must agree too."""
    world = PackWorld()
    pack = world.collected()
    victim = next(held.index for held in pack.entries if kind_of(held) == "access.intent")
    ids = sorted(
        entry.stub.id
        for index, entry in enumerate(world.log.entries)
        if entry.stub.grant == world.decisions["gr_1"]
        and entry.stub.kind.startswith("access.")
        and index not in (victim, victim + 1)
    )
    digest = hashlib.sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()
    world.write(world.proxies[1], world.sum("gr_1", accesses=13, counted=27, entries=digest))
    verdict = world.check(pack_bytes(without(world.collected(), lambda held: held.index in (victim, victim + 1))))
    assert verdict.ok and not verdict.complete and verdict.completeness is not None
    assert "13 of 14 accesses" in verdict.completeness.text


def test_a_grant_under_way_is_not_shown_complete(world: PackWorld) -> None:
    verdict = world.check(world.pack(Asked("grant", "gr_2")))
    assert verdict.ok and not verdict.complete


def test_another_grants_name_is_not_its_pack(world: PackWorld) -> None:
    pack = world.collected()
    renamed = repaged(replace(pack, scope=Scope("grant", "gr_2", pack.scope.first, pack.scope.end)))
    verdict = world.check(pack_bytes(renamed))
    assert verdict.completeness is not None
    assert verdict.completeness.text == "NOT SHOWN COMPLETE: the grant is not in the pack"


# whose keys


def test_without_anchors_nothing_is_believed(world: PackWorld) -> None:
    verdict = verify_pack(world.pack(), None)
    assert [str(one) for one in verdict.faults] == [
        f"anchors: {NOT_ANCHORED}: whom to trust cannot be taken from a pack"
    ]


def test_an_invented_log_with_invented_keys(world: PackWorld) -> None:
    other = PackWorld()
    for anchors, said in (
        (other.anchors(), "checkpoint: no signature by the log's trusted key|checkpoint: signed by no known key"),
        (replace(world.anchors(), hosts=other.anchors().hosts), NOT_ANCHORED),
    ):
        verdict = world.check(world.pack(), anchors)
        assert not verdict.ok
        assert any(part in faults(verdict) for part in said.split("|")), faults(verdict)
    elsewhere = parse_anchors(
        f"log {Signer('b.example/log', Ed25519PrivateKey.generate()).verifier.vkey}\n"
        "host AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nquorum none\n"
    )
    assert NOT_ANCHORED in faults(world.check(world.pack(), elsewhere))


def test_the_quorum_is_the_auditors_to_ask_for() -> None:
    world = PackWorld()
    world.log.witness = None
    data = world.pack()
    assert "quorum 'w1' is not reached" in faults(world.check(data))
    verdict = world.check(data, world.anchors(witnessed=False))
    assert verdict.complete and verdict.cosigned == {}


# The same key in every worker: it is part of test ids.
LOG_LINE = f"log {Signer('a.example/log', Ed25519PrivateKey.from_private_bytes(bytes(32))).verifier.vkey}"
HOST_LINE = "host AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= h1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no host line"),
        (f"{LOG_LINE}\nquorum none\n", "no host line"),
        (f"{HOST_LINE}\nquorum none\n", "no log line"),
        (f"{LOG_LINE}\n{HOST_LINE}\n", "no quorum line"),
        (f"{LOG_LINE}\nquorum none\n{HOST_LINE}\n{HOST_LINE}\n", "line 4: expected host"),
        (f"{LOG_LINE}\n\nhost AAAA h1\nquorum none\n", "line 3: expected host"),
        (f"{LOG_LINE}\n{HOST_LINE} more words\nquorum none\n", "line 2: expected host"),
        (f"{HOST_LINE}\nlag x\nquorum none\n", "line 2: expected log"),
        (f"{LOG_LINE}\n{HOST_LINE}\ngroup g {'9' * 5000} x\nquorum none\n", "line 3|digits"),
    ],
)
def test_anchors_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(AnchorsRefused) as refused:
        parse_anchors(text)
    assert any(part in str(refused.value) for part in said.split("|"))


@given(
    st.text(max_size=300) | st.lists(st.sampled_from([LOG_LINE, HOST_LINE, "quorum none", "host", "#"])).map("\n".join)
)
def test_any_text_is_anchors_or_refused(text: str) -> None:
    try:
        anchors = parse_anchors(text)
    except AnchorsRefused:
        return
    assert anchors.hosts and anchors.trust.logs


def test_one_key_has_one_role(world: PackWorld) -> None:
    import base64

    for key in (world.log.signer.verifier.public_key, world.witness.verifier.public_key):
        with pytest.raises(AnchorsRefused, match="one key, one role"):
            parse_anchors(
                f"log {world.log.signer.verifier.vkey}\nwitness w {world.witness.verifier.vkey}\nquorum none\n"
                f"host {base64.b64encode(key).decode()}\n"
            )
