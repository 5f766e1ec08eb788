"""Self-contained proofs and the policies that they are judged by."""

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.merkle import leaf_hash
from ledger.note import COSIGNATURE, Note, Signer, parse_note
from ledger.proof import Proof, ProofRefused, parse_proof, prove, verify_proof
from ledger.tiles import Edge, Resource
from ledger.trust import Trust, TrustRefused, parse_trust

ORIGIN = "a.example/log"
# Keys that stay the same: they are part of test ids, which every worker must collect alike.
LOG = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
WITNESSES = [
    Signer(f"w{i}.example", Ed25519PrivateKey.from_private_bytes(bytes([i + 1] * 32)), COSIGNATURE) for i in range(3)
]
SIZE = 70_000
POLICY = "\n".join(
    [
        "# who is trusted",
        f"log {LOG.verifier.vkey} https://a.example/log",
        *(f"witness w{i} {witness.verifier.vkey}" for i, witness in enumerate(WITNESSES)),
        "group inner any w0 w1",
        "group outer all inner w2",
        "quorum outer",
        "",
    ]
)


class _Tiles:
    """A log's tiles, and its checkpoint cosigned by some."""

    def __init__(self, size: int) -> None:
        edge = Edge()
        self.full = {
            (tile.level, tile.n): tile.hashes for tile in edge.append([leaf_hash(b"%d" % i) for i in range(size)])
        }
        self.edge = edge

    def __call__(self, resource: Resource) -> bytes:
        data = self.full.get((resource.level, resource.n)) or self.edge.partial(resource.level)
        assert len(data) >= resource.width * 32
        return data[: resource.width * 32]

    def note(self, *witnesses: int) -> bytes:
        note = parse_note(sign_checkpoint(Checkpoint(ORIGIN, self.edge.size, self.edge.root()), LOG))
        lines = tuple(WITNESSES[i].sign(note.text, 1_800_000_000 + i) for i in witnesses)
        return bytes(Note(note.text, (*note.signatures, *lines)))


@pytest.fixture(scope="module")
def tiles() -> _Tiles:
    return _Tiles(SIZE)


TRUST = parse_trust(POLICY)
LOG_ONLY = parse_trust(f"log {LOG.verifier.vkey}\nquorum none\n")


@pytest.mark.parametrize("index", [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1])
def test_every_entry_can_be_proven(tiles: _Tiles, index: int) -> None:
    proof = parse_proof(bytes(prove(index, tiles.note(0, 2), tiles)))
    checkpoint = verify_proof(proof, b"%d" % index, TRUST)
    assert checkpoint.size == SIZE
    with pytest.raises(ProofRefused, match="not where the proof says"):
        verify_proof(proof, b"%d" % (index + 1), TRUST)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 513])
def test_small_logs_too(size: int) -> None:
    tiles = _Tiles(size)
    for index in {0, size // 2, size - 1}:
        assert verify_proof(prove(index, tiles.note(), tiles), b"%d" % index, LOG_ONLY).size == size
    with pytest.raises(ProofRefused, match="no entry"):
        prove(size, tiles.note(), tiles)


def test_the_quorum_counts(tiles: _Tiles) -> None:
    for cosigners, enough in (
        ((), False),
        ((0,), False),
        ((0, 1), False),
        ((2,), False),
        ((1, 2), True),
        ((0, 1, 2), True),
    ):
        proof = prove(5, tiles.note(*cosigners), tiles)
        if enough:
            verify_proof(proof, b"5", TRUST)
        else:
            with pytest.raises(ProofRefused, match="the quorum 'outer' is not reached"):
                verify_proof(proof, b"5", TRUST)
    assert TRUST.check(parse_note(tiles.note(0, 2)), ORIGIN) == {"w0": 1_800_000_000, "w2": 1_800_000_002}


def test_who_signed_matters(tiles: _Tiles) -> None:
    unsigned = parse_note(tiles.note(0, 2))
    without_log = bytes(Note(unsigned.text, unsigned.signatures[1:]))
    with pytest.raises(ProofRefused, match="no signature by the log"):
        verify_proof(prove(5, without_log, tiles), b"5", TRUST)
    other = parse_trust(f"log {Signer('b.example', Ed25519PrivateKey.generate()).verifier.vkey}\nquorum none")
    with pytest.raises(ProofRefused, match="is not trusted here"):
        verify_proof(prove(5, tiles.note(), tiles), b"5", other)
    forged = tiles.note(0, 2).replace(b"\n70000\n", b"\n70001\n")
    with pytest.raises(ProofRefused, match="does not verify"):
        verify_proof(Proof(5, prove(5, tiles.note(), tiles).hashes, forged), b"5", TRUST)


def test_no_byte_of_a_proof_can_change(tiles: _Tiles) -> None:
    data = bytes(prove(5, tiles.note(0, 2), tiles))
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ProofRefused):
            verify_proof(parse_proof(changed), b"5", TRUST)


def test_extra_is_kept_and_proves_nothing(tiles: _Tiles) -> None:
    plain = prove(5, tiles.note(), tiles)
    proof = Proof(plain.index, plain.hashes, plain.checkpoint, b"anything")
    assert parse_proof(bytes(proof)) == proof
    assert verify_proof(proof, b"5", LOG_ONLY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\r\n\nx",
        b"x" * 1_000_000,
    ],
)
def test_what_is_no_proof(data: bytes) -> None:
    with pytest.raises(ProofRefused):
        parse_proof(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_proof_or_refused(data: bytes) -> None:
    for candidate in (data, b"c2sp.org/tlog-proof@v1\n" + data, b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + data):
        with pytest.raises(ProofRefused):
            verify_proof(parse_proof(candidate), b"", TRUST)


W0, W1 = (witness.verifier.vkey for witness in WITNESSES[:2])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no quorum"),
        ("quorum none\nquorum none", "line 2"),
        ("quorum w0", "line 1: 'w0' is not defined"),
        (f"witness w0 {W0}\nquorum w1", "line 2"),
        (f"witness none {W0}", "line 1: the name 'none'"),
        (f"witness w0 {W0}\nwitness w0 {W1}", "line 2: the name 'w0'"),
        (f"witness w0 {W0}\nwitness w1 {W0}", "line 2: this key"),
        (f"witness w0 {LOG.verifier.vkey}", "line 1: a key of another type"),
        (f"log {W0}", "line 1: a key of another type"),
        ("log x", "line 1: a key is"),
        (f"log {LOG.verifier.vkey} a b", "line 1: expected"),
        (f"witness w0 {W0}\ngroup g all", "line 2: expected"),
        (f"witness w0 {W0}\ngroup g 2 w0", "line 2: a threshold of 2 among 1"),
        (f"witness w0 {W0}\ngroup g 0 w0", "line 2: a threshold of 0"),
        (f"witness w0 {W0}\ngroup g 01 w0", "line 2: a threshold is"),
        (f"witness w0 {W0}\ngroup g some w0", "line 2: a threshold is"),
        (f"witness w0 {W0}\ngroup g all w0 w0", "line 2: 'w0' is a member"),
        (f"witness w0 {W0}\ngroup g all w0\ngroup h all w0", "line 3: 'w0' is a member"),
        ("group g all g", "line 1: 'g' is not defined"),
        ("hello", "line 1: expected"),
        ("#\n" * 1001, "longer than any policy"),
    ],
)
def test_policies_that_are_none(text: str, fault: str) -> None:
    with pytest.raises(TrustRefused, match=fault):
        parse_trust(text)


@given(st.text(max_size=100))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    with contextlib.suppress(TrustRefused):
        assert isinstance(parse_trust(text), Trust)


def test_a_threshold_of_thousands_of_digits_is_only_refused() -> None:
    # int() of more than 4,300 digits raises a plain ValueError.
    with pytest.raises(TrustRefused, match="a threshold is"):
        parse_trust(f"witness w0 {W0}\ngroup g {'9' * 5000} w0\nquorum g")
