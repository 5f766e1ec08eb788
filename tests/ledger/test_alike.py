"""The short way through a batch of stubs that are spelled alike says what the long way says, and nothing more."""

import hmac
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import batch as batches
from ledger import encoding
from ledger.batch import BatchRefused, Writer, read_header, unpack
from ledger.entry import BLIND_BYTES, Draft, Entry, commit, stub_digest
from ledger.framing import body_bytes, bundle
from ledger.stub import decode_alike, parse_stub, spell_alike, spelling_of, stub_signed_by
from ledger.uuid7 import uuid7, uuid7_text
from tests.ledger.world import MEMBER, ORIGIN, read_draft, request_draft

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DRAFTS = [read_draft("ada"), request_draft(), read_draft("bob", grant="ab" * 32)]


def _data(drafts: Sequence[Draft]) -> bytes:
    return Writer(ORIGIN, MEMBER, KEY, next_counter=7, prev="cd" * 32).pack(drafts, NOW, os.urandom).data


def _framed(data: bytes, entries: Sequence[Entry]) -> bytes:
    rows = [bundle([entry.leaf]) + body_bytes(entry.facts, entry.content) for entry in entries]
    return data[: read_header(data).start] + b"".join(rows)


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The counters of the entries that were read in full."""
    seen: list[int] = []
    original = batches._read_entry

    def read(data: bytes, at: int, writer: str, counter: int, prev: str, last: bool) -> tuple[Entry, int]:
        seen.append(counter)
        return original(data, at, writer, counter, prev, last)

    monkeypatch.setattr(batches, "_read_entry", read)
    return seen


def test_only_new_spellings_and_the_signed_stub_are_read_in_full(long_way: list[int]) -> None:
    data = _data([*DRAFTS, *DRAFTS, *DRAFTS])
    entries = unpack(data)
    assert long_way == [7, 8, 9, 15]
    assert _framed(data, entries) == data
    for entry in entries:
        assert parse_stub(entry.leaf) == entry.stub
        assert commit(entry.facts.data, entry.facts.blind) == entry.stub.facts
    for one, other in pairwise(entries):
        assert other.stub.prev == stub_digest(one.leaf)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(range(len(DRAFTS))), min_size=1, max_size=40))
def test_what_is_packed_the_short_way_is_what_the_long_way_makes(order: list[int]) -> None:
    entries = unpack(_data([DRAFTS[place] for place in order]))
    for entry in entries:
        assert parse_stub(entry.leaf) == entry.stub
        assert encoding.encode(entry.stub) == entry.leaf
    assert [entry.stub.kind for entry in entries] == [DRAFTS[place].kind for place in order]
    assert stub_signed_by(entries[-1].leaf, entries[-1].stub, KEY.public_key())


def test_every_byte_of_a_stub_read_the_short_way_counts() -> None:
    data = _data([read_draft()] * 4)
    third = unpack(data)[2]
    row = bundle([third.leaf]) + body_bytes(third.facts, third.content)
    start = data.index(row)
    # The signed stub behind it holds its digest, so a change of the leaf must be found here or there; what is asked
    # for is that it is found at all, and that no other error escapes.
    for at in range(start, start + len(row)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            with pytest.raises(BatchRefused):
                unpack(bytes(changed))


def test_a_leaf_is_alike_only_if_each_of_its_bytes_is_answered_for() -> None:
    entries = unpack(_data([read_draft()] * 4))
    leaf, stub = entries[2].leaf, entries[2].stub
    known = [spelling_of(entries[0].leaf)]
    assert decode_alike(leaf, known, stub.content, stub.counter, stub.facts, stub.prev) == stub
    for at in range(len(leaf)):
        for other in b'0aZ"\\ ,':
            changed = leaf[:at] + bytes([other]) + leaf[at + 1 :]
            found = decode_alike(changed, known, stub.content, stub.counter, stub.facts, stub.prev)
            # In the id alone a byte may be another one; the whole is then a stub all the same.
            assert found is None or parse_stub(changed) == found
    for cut in range(len(leaf)):
        assert decode_alike(leaf[:cut], known, stub.content, stub.counter, stub.facts, stub.prev) is None
        assert decode_alike(leaf[:cut] + b"0" + leaf[cut:], known, stub.content, 9, stub.facts, stub.prev) is None
    assert decode_alike(leaf, [], stub.content, stub.counter, stub.facts, stub.prev) is None
    assert decode_alike(leaf, known, stub.content, stub.counter + 1, stub.facts, stub.prev) is None
    assert decode_alike(leaf, known, "ab" * 32, stub.counter, stub.facts, stub.prev) is None


def test_a_counter_that_no_stub_has_is_not_alike() -> None:
    entries = unpack(_data([read_draft()] * 2))
    spelling = spelling_of(entries[0].leaf)
    for counter, fits in ((10**15 - 1, True), (10**15, False), (0, False)):
        leaf = spell_alike(spelling, "", counter, "ab" * 32, entries[0].stub.id, "cd" * 32)
        assert (decode_alike(leaf, [spelling], "", counter, "ab" * 32, "cd" * 32) is not None) is fits


def test_an_escaped_id_is_another_spelling() -> None:
    entries = unpack(_data([read_draft()] * 2))
    spelling = spelling_of(entries[0].leaf)
    escaped = (r"\u0030" * 6)[:36]
    leaf = spell_alike(spelling, "", 9, "ab" * 32, escaped, "cd" * 32)
    assert decode_alike(leaf, [spelling], "", 9, "ab" * 32, "cd" * 32) is None


def test_many_spellings_are_read_all_the_same(long_way: list[int]) -> None:
    drafts = [read_draft(grant=f"{place:064x}") for place in range(40)]
    entries = unpack(_data(drafts * 2))
    assert [entry.stub.grant for entry in entries] == [draft.grant for draft in drafts * 2]
    assert len(long_way) == 80 - 16


@given(st.binary(max_size=300), st.binary(min_size=BLIND_BYTES, max_size=BLIND_BYTES))
def test_a_commitment_is_hmac_sha256(data: bytes, blind: bytes) -> None:
    assert commit(data, blind) == hmac.digest(blind, data, "sha256").hex()


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=80))
def test_a_uuid_is_spelled_as_its_own_class_does(unix_ms: int, entropy: bytes) -> None:
    assert uuid7_text(unix_ms, entropy) == str(uuid7(unix_ms, entropy))
