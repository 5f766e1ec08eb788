"""Flushes, stubs and certificates: round trips, refusals by name, garbage."""

import base64
import os
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from approvals.kinds import validate
from ledger import encoding
from ledger.batch import MAX_ENTRIES, BatchRefused, Writer, read_header, unpack
from ledger.certificate import CERTIFIED_PREFIX, NotCertified, certify, introduced_key
from ledger.entry import Draft, Entry, Part, stub_digest
from ledger.framing import FramingRefused, body_bytes, bundle, read_bodies, read_bundle
from ledger.genesis import started
from ledger.intake import Accepted, Earlier, Early, Rejected, Rules, WriterState, examine
from ledger.storage import Batch
from ledger.stub import StubRefused, parse_stub, stub_signed_by, writer_id
from tests.ledger.world import MEMBER, ORIGIN, read_draft, request_draft

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOST = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HOST_PUBLIC = HOST.public_key().public_bytes_raw()
RULES = Rules(ORIGIN, MEMBER, {HOST_PUBLIC}, validate)


def _writer(**options: Any) -> Writer:
    return Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), **options)


def _introduction(writer: Writer, host: Ed25519PrivateKey = HOST) -> Draft:
    return started(writer, host, role="proxy", host="h1", version="0.1.0")


def _packed(drafts: list[Draft], writer: Writer | None = None) -> tuple[Writer, Batch]:
    writer = writer or _writer()
    batch = writer.pack(drafts, NOW, os.urandom)
    writer.accepted()
    return writer, batch


def test_a_batch_says_what_was_drafted() -> None:
    drafts = [
        read_draft("ada", entry_id="0195b7a0-0000-7000-8000-000000000001", grant="ab" * 32, store_def="cd" * 32),
        request_draft(purpose="naïve — \0 \U0001f512"),
    ]
    writer = _writer(release="ef" * 32, trial=True)
    writer.policy = "01" * 32
    _, batch = _packed(drafts, writer)
    first, second = unpack(batch.data)
    assert read_header(batch.data).n == batch.n == 2
    assert first.stub.id == "0195b7a0-0000-7000-8000-000000000001"
    assert (first.stub.grant, first.stub.store_def, first.stub.policy) == ("ab" * 32, "cd" * 32, "01" * 32)
    assert first.stub.time == "2026-03-01T12:00:00.123456Z"
    assert (first.stub.counter, first.stub.prev, first.stub.sig) == (0, "", "")
    assert first.content is None and first.stub.content == ""
    assert (second.stub.counter, second.stub.prev) == (1, stub_digest(first.leaf))
    assert second.stub.trial and second.stub.release == "ef" * 32
    assert stub_signed_by(second.leaf, second.stub, _public(writer))
    assert encoding.decode(second.content.data)["purpose"].startswith("naïve")  # type: ignore[union-attr]
    assert first.facts.blind != second.facts.blind != second.content.blind  # type: ignore[union-attr]


def _public(writer: Writer) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(writer.public_key)


def test_the_leaf_is_the_canonical_form_of_its_stub() -> None:
    _, batch = _packed([read_draft(), request_draft()])
    for entry in unpack(batch.data):
        assert encoding.decode(entry.leaf) == msgspec.to_builtins(entry.stub)
        assert encoding.encode(entry.stub) == entry.leaf
        assert parse_stub(entry.leaf) == entry.stub


def test_times_of_any_zone_are_written_in_utc() -> None:
    batch = _writer().pack([read_draft()], NOW.astimezone(timezone(timedelta(hours=9))), os.urandom)
    assert unpack(batch.data)[0].stub.time == "2026-03-01T12:00:00.123456Z"


def test_one_pack_is_outstanding_and_a_refused_one_gives_its_counters_back() -> None:
    writer = _writer()
    with pytest.raises(RuntimeError, match="no pack is outstanding"):
        writer.accepted()
    first = writer.pack([read_draft()], NOW, os.urandom)
    with pytest.raises(RuntimeError, match="outstanding already"):
        writer.pack([read_draft()], NOW, os.urandom)
    writer.refused()
    again = writer.pack([read_draft(), read_draft()], NOW, os.urandom)
    writer.accepted()
    assert (first.first_counter, again.first_counter, writer.next_counter) == (0, 0, 2)
    assert writer.prev == stub_digest(unpack(again.data)[-1].leaf)


@pytest.mark.parametrize(
    "draft",
    [
        Draft("Not.Lower", {}),
        Draft("nodot", {}),
        Draft("a.b", {}, version=0),
        Draft("a.b", {}, grant="gr_1"),
        Draft("a.b", {}, store_def="AB" * 32),
        Draft("a.b", {}, entry_id="0195b7a0-0000-4000-8000-000000000001"),
        Draft("a.b", {"x": "\ud800"}),
        Draft('a.b","x":"', {}),
    ],
    ids=lambda draft: f"{draft.kind} {draft.entry_id} {draft.grant}"[:30],
)
def test_what_can_have_no_stub_is_refused_and_leaves_nothing_outstanding(draft: Draft) -> None:
    writer = _writer()
    with pytest.raises(ValueError, match=r"has no stub|surrogates"):
        writer.pack([read_draft(), draft], NOW, os.urandom)
    writer.pack([read_draft()], NOW, os.urandom)
    writer.accepted()
    assert writer.next_counter == 1


def test_a_known_kind_does_not_excuse_a_bad_entry_id() -> None:
    writer, _ = _packed([read_draft()])
    with pytest.raises(ValueError, match="has no stub"):
        writer.pack([read_draft(entry_id='x","kind":"y')], NOW, os.urandom)


def test_a_writer_may_be_told_to_check_kinds_itself() -> None:
    with pytest.raises(ValueError, match=r"no kind 'no\.such'"):
        _writer(validate=validate).pack([Draft("no.such", {})], NOW, os.urandom)


@pytest.mark.parametrize("n", [0, MAX_ENTRIES + 1])
def test_a_batch_is_neither_empty_nor_endless(n: int) -> None:
    with pytest.raises(ValueError, match="1 to 1024 entries"):
        _writer().pack([read_draft()] * n, NOW, os.urandom)


def test_every_byte_of_a_batch_counts() -> None:
    """Flip each bit's byte: refused, or an unsigned header field, or a signature that no longer verifies."""
    writer, batch = _packed([_introduction(_writer()), request_draft()], None)
    key = _public(writer)
    for at in range(len(batch.data)):
        changed = bytearray(batch.data)
        changed[at] ^= 1
        try:
            header, entries = read_header(bytes(changed)), unpack(bytes(changed))
        except BatchRefused:
            continue
        last = entries[-1]
        assert header.log != ORIGIN or not stub_signed_by(last.leaf, last.stub, key), at


@pytest.mark.parametrize("cut", [1, 2, 20, 40, 100, 500])
def test_a_cut_or_lengthened_batch_is_refused(cut: int) -> None:
    _, batch = _packed([read_draft(), read_draft()])
    with pytest.raises(BatchRefused):
        unpack(batch.data[:-cut])
    with pytest.raises(BatchRefused):
        unpack(batch.data[:cut])
    with pytest.raises(BatchRefused, match="bytes behind"):
        unpack(batch.data + bytes(cut))


def test_entries_of_a_batch_cannot_be_reordered() -> None:
    _, batch = _packed([read_draft("a"), read_draft("b"), read_draft("c")])
    header = read_header(batch.data)
    a, b, c = unpack(batch.data)

    def framed(*entries: Entry) -> bytes:
        rows = [bundle([entry.leaf]) + body_bytes(entry.facts, entry.content) for entry in entries]
        return batch.data[: header.start] + b"".join(rows)

    assert framed(a, b, c) == batch.data
    with pytest.raises(BatchRefused, match="another counter"):
        unpack(framed(b, a, c))
    swapped = Entry(a.leaf, a.stub, b.facts)
    with pytest.raises(BatchRefused, match="the facts are not those"):
        unpack(framed(swapped, b, c))
    with pytest.raises(BatchRefused, match="the content is not that"):
        unpack(framed(Entry(a.leaf, a.stub, a.facts, Part(b"{}", bytes(32))), b, c))


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_its_own_errors(data: bytes) -> None:
    magic = b"glassgate-batch/v1\n"
    for candidate in (data, magic + data, magic + b"\x00\x03a/b" + bytes(24) + b"\x00\x00\x00\x01" + data):
        with pytest.raises(BatchRefused):
            unpack(candidate)
    with pytest.raises(StubRefused):
        parse_stub(data)
    for count in (1, 2):
        for read in (read_bundle, read_bodies):
            try:
                read(data, count)
            except FramingRefused:
                continue


@given(
    st.lists(
        st.tuples(
            st.none()
            | st.builds(Part, st.binary(max_size=50), st.just(bytes(32)), st.sampled_from(["clear", "sealed"])),
            st.none() | st.builds(Part, st.binary(max_size=50), st.just(bytes(32))) | st.just(Part(b"", b"", "erased")),
        ),
        max_size=5,
    )
)
def test_bodies_come_back_as_they_were(bodies: list[tuple[Part | None, Part | None]]) -> None:
    data = b"".join(body_bytes(*body) for body in bodies)
    assert read_bodies(data, len(bodies)) == bodies
    with pytest.raises(FramingRefused):
        read_bodies(data, len(bodies) + 1)


def _stub_text() -> bytes:
    _, batch = _packed([read_draft()])
    return unpack(batch.data)[0].leaf


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":1,"v":1'),
        (b'"v":1', b'"v": 1'),
        (b'"counter":0', b'"counter":00'),
        (b'"counter":0', b'"counter":1'),
        (b'"counter":0', b'"counter":-1'),
        (b'"counter":0', b'"counter":0.0'),
        (b'"prev":""', b'"prev":"' + b"0" * 64 + b'"'),
        (b"T12:00:00.123456Z", b"T12:00:00Z"),
        (b"T12:00:00.123456Z", b"T24:61:00.123456Z"),
        (b'"kind":"log.read"', b'"kind":"log\\u002eread"'),
        (b'"member":"acme"', b'"member":""'),
        (b'"grant":""', b'"grant":null'),
        (b'"content":""', b'"content":"","also":1'),
    ],
)
def test_a_stub_has_one_spelling(old: bytes, new: bytes) -> None:
    leaf = _stub_text()
    assert old in leaf
    with pytest.raises(StubRefused):
        parse_stub(leaf.replace(old, new))


@pytest.mark.parametrize("tail", [b" ", b"\n", b"\0", b"}"])
def test_nothing_stands_around_a_stub(tail: bytes) -> None:
    with pytest.raises(StubRefused):
        parse_stub(_stub_text() + tail)
    with pytest.raises(StubRefused):
        parse_stub(tail + _stub_text())


def test_a_signature_has_one_spelling() -> None:
    leaf = _stub_text()
    at = leaf.index(b'=="')
    others = b"BCDEFGHIJKLMNOPRSTUVWXYZ"
    with pytest.raises(StubRefused):
        parse_stub(leaf[: at - 1] + others[:1] + leaf[at:])


# Certificates ---------------------------------------------------------------------------------------------------------


def _first(writer: Writer, draft: Draft) -> Entry:
    return unpack(_packed([draft], writer)[1].data)[0]


def test_a_writer_is_introduced_by_a_trusted_host() -> None:
    writer = _writer()
    entry = _first(writer, _introduction(writer))
    assert introduced_key(entry, {HOST_PUBLIC}) == writer.public_key
    assert entry.stub.writer == writer_id(writer.public_key)


def test_introductions_that_are_none() -> None:
    writer, other = _writer(), _writer()
    with pytest.raises(NotCertified, match="not enrolled"):
        introduced_key(_first(writer, _introduction(writer)), set())
    with pytest.raises(NotCertified, match="not that of the certified key"):
        introduced_key(_first(_writer(), _introduction(other)), {HOST_PUBLIC})
    facts = dict(_introduction(other).facts)  # type: ignore[call-overload]
    facts["certificate"] = certify(Ed25519PrivateKey.generate(), other.public_key)
    with pytest.raises(NotCertified, match="did not sign"):
        introduced_key(_first(other, Draft("process.started", facts)), {HOST_PUBLIC})
    # A signature of the host over something else is no certificate.
    facts["certificate"] = base64.b64encode(HOST.sign(other.public_key)).decode()
    entry = _first(_writer(), Draft("process.started", facts))
    with pytest.raises(NotCertified, match="did not sign"):
        introduced_key(entry, {HOST_PUBLIC})
    assert CERTIFIED_PREFIX not in other.public_key
    with pytest.raises(NotCertified, match="first entry is process"):
        introduced_key(_first(_writer(), read_draft()), {HOST_PUBLIC})


@given(
    st.dictionaries(st.sampled_from(["public_key", "host_key", "certificate"]), st.text(max_size=50) | st.integers())
)
def test_any_facts_are_an_introduction_or_refused(facts: dict[str, Any]) -> None:
    for kind in ("process.started", "log.created"):
        with pytest.raises(NotCertified):
            introduced_key(_first(_writer(), Draft(kind, facts)), {HOST_PUBLIC})


# The sequencer's verdict on one batch ---------------------------------------------------------------------------------


def _known() -> tuple[Writer, WriterState]:
    writer, batch = _introduced()
    verdict = examine(batch, None, 1, RULES)
    assert isinstance(verdict, Accepted)
    return writer, WriterState(verdict.public_key, 1, verdict.prev, 1)


def _introduced() -> tuple[Writer, Batch]:
    writer = _writer()
    return _packed([_introduction(writer)], writer)


def test_the_next_batch_of_a_known_writer_is_accepted() -> None:
    writer, state = _known()
    _, batch = _packed([read_draft(), request_draft()], writer)
    verdict = examine(batch, state, 5, RULES)
    assert isinstance(verdict, Accepted)
    assert (len(verdict.entries), verdict.prev) == (2, writer.prev)


def test_batches_out_of_turn() -> None:
    writer, state = _known()
    batches = [_packed([read_draft()], writer)[1] for _ in range(3)]
    assert isinstance(examine(batches[1], state, 5, RULES), Early)
    later = WriterState(state.public_key, 3, "00" * 32, 9)
    assert isinstance(examine(batches[1], later, 5, RULES), Earlier)
    assert examine(batches[2], later, 5, RULES) == Rejected(
        "conflict", "does not chain to the writer's numbered entries", stops=True
    )
    _, wide = _packed([read_draft()] * 4, Writer(ORIGIN, MEMBER, writer._key, next_counter=1, prev="00" * 32))
    verdict = examine(wide, later, 5, RULES)
    assert isinstance(verdict, Rejected) and verdict.stops and "taken in part" in verdict.detail


def test_faults_before_the_signature_stop_nobody() -> None:
    writer, state = _known()
    _, batch = _packed([read_draft()], writer)
    moved = Batch(batch.log, batch.writer, 2, batch.n, batch.data)
    assert examine(moved, state, 5, RULES) == Rejected("malformed", "the row's columns are not those of its bytes")
    elsewhere = Rules("other/log", MEMBER, {HOST_PUBLIC}, validate)
    assert examine(batch, state, 5, elsewhere) == Rejected("foreign", "a batch for another log")
    other_member = Rules(ORIGIN, "globex", {HOST_PUBLIC}, validate)
    assert examine(batch, state, 5, other_member) == Rejected("foreign", "an entry of another member")
    assert examine(batch, None, 5, RULES) == Rejected("gap", "nothing is numbered of this writer")
    stolen = WriterState(_writer().public_key, 1, state.prev, 1)
    verdict = examine(batch, stolen, 5, RULES)
    assert isinstance(verdict, Rejected) and (verdict.fault, verdict.stops) == ("not_signed", False)


@pytest.mark.parametrize(
    ("draft", "detail"),
    [
        (Draft("no.such", {}), "no kind"),
        (Draft("log.read", {"person": 1}), "facts"),
        (Draft("log.read", b'{"person": "ada"}'), "canonical"),
        (Draft("log.created", {}), "only a log's first entry"),
    ],
)
def test_faults_behind_the_signature_are_the_writers_own(draft: Draft, detail: str) -> None:
    writer, state = _known()
    verdict = examine(_packed([draft], writer)[1], state, 5, RULES)
    assert isinstance(verdict, Rejected)
    assert (verdict.fault, verdict.stops) == ("schema", True)
    assert detail in verdict.detail


def test_a_writer_is_introduced_once() -> None:
    writer, state = _known()
    verdict = examine(_packed([_introduction(writer)], writer)[1], state, 5, RULES)
    assert isinstance(verdict, Rejected) and "first entry or none" in verdict.detail


def test_a_stopped_writer_stays_stopped() -> None:
    writer, state = _known()
    stopped = WriterState(state.public_key, 1, state.prev, 1, "schema: no kind")
    assert examine(_packed([read_draft()], writer)[1], stopped, 5, RULES) == Rejected(
        "writer_stopped", "schema: no kind"
    )


def test_a_log_begins_with_its_creation() -> None:
    _, batch = _introduced()
    assert isinstance(examine(batch, None, 0, RULES), Early)
