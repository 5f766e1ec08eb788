"""Published vectors: RFC 6962 trees, signed notes, a real checkpoint, a whole tiny log, cosignatures."""

# ruff: noqa: E501 - signature lines stand here as they were published

import base64
import hashlib
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import join_signature, subtree_bytes
from ledger.framing import bundle
from ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import (
    COSIGNATURE,
    ML_DSA_44,
    Note,
    NoteRefused,
    Signature,
    Signer,
    Verifier,
    open_note,
    parse_note,
    parse_vkey,
)

RFC6962_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
RFC6962_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

NOTES = {
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k": (
        "This is an example message.\n",
        "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
    ),
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW": (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
    ),
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8": (
        "go.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n",
        "— sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=",
    ),
    # Cosignature/v1, made by a third party.
    "witness.example.org+b8a2cf20+BFLN3yikSfFkVAJtrnh/CiY3Zozkoy7clp+P7XB28qUN": (
        "rome2026h1.example.org\n300\nlCkHUpkmVBEms2r2T1K6Og69+wUuuN3MIEW1/ezu2v0=\n",
        "— witness.example.org uKLPIAAAAABpVGeAhm2bOvKc3LaB9PFN1ruG19Y5yqslmcAAbhftnn1Zznmo0LXFZq4LGvqKqLX8jWlwLKasxEGTLIqA"
        "VusneCBmBw==",
    ),
}

# transparency-dev/tessera testdata/log (Apache-2.0)
LOG_VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
LOG_SKEY = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
LOG_ENTRIES = [
    word.encode()
    for word in (
        [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eit",
            "nain",
            "ten",
            "ileven",
            "twelf",
            "threeten",
            "fourten",
            "fivten",
        ]
    )
]
LOG_ROOTS = {
    1: "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=",
    2: "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=",
    7: "IrSXADBqJ7EQoUODSDKROySgNveeL6CFhik2w/+fS7U=",
    8: "bC+VwvrJbalNVjfkdI8kUgs7mJoXrqiXCE7bgnD28pY=",
    15: "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=",
}
LOG_LINE = "— example.com/log/testdata M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI="
INCLUSION_6_15 = [
    "ThcgoV2DYcK+VCxBUDWAlNxmLy2r7dq7dK7+OlgQKWs=",
    "ycRkkNklus5eMVRUvkD1pK321vMrA+jjOiZKU8aOcY4=",
    "zY1lN35vrXYAPixXSd59LsU29xUJtuW4o2dNNg5Y2Co=",
    "5jLpqTgjsBDSEX6SgZiRnbTMdTuRd8bQ5tSsAOxe0Ks=",
]
CONSISTENCY_7_15 = ["2Q0P5jSR+TdkwdXWyx+GbBWX0KZbNZkWzCjyTPSozsw=", *INCLUSION_6_15]

SEED = bytes(range(32))
CHECKPOINT_15 = Checkpoint("example.com/log/testdata", 15, base64.b64decode(LOG_ROOTS[15]))
COSIGNED_AT = 1767000000


def _decoded(hashes: list[str]) -> list[bytes]:
    return [base64.b64decode(value) for value in hashes]


def _log_node(height: int, index: int) -> bytes:
    leaves = [leaf_hash(entry) for entry in LOG_ENTRIES]
    return root_of(leaves[index << height : (index + 1) << height])


@pytest.mark.parametrize(("size", "root"), RFC6962_ROOTS.items())
def test_rfc6962_roots(size: int, root: str) -> None:
    assert root_of(map(leaf_hash, RFC6962_LEAVES[:size])).hex() == root


def test_rfc6962_hashes_have_their_domains() -> None:
    assert EMPTY_ROOT.hex() == RFC6962_ROOTS[0]
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


@pytest.mark.parametrize("vkey", NOTES)
def test_notes_of_others_verify_and_print_as_they_were(vkey: str) -> None:
    text, line = NOTES[vkey]
    data = f"{text}\n{line}\n".encode()
    note = parse_note(data)
    verifier = parse_vkey(vkey)
    assert bytes(note) == data
    assert verifier.vkey == vkey
    [(signed_by, time)] = open_note(note, [verifier])
    assert signed_by == verifier
    assert time == (1767139200 if verifier.type == COSIGNATURE else 0)


@pytest.mark.parametrize("vkey", NOTES)
def test_notes_of_others_fail_with_any_letter_changed(vkey: str) -> None:
    text, line = NOTES[vkey]
    changed = text.replace("e", "f", 1).encode()
    with pytest.raises(NoteRefused, match="does not verify"):
        open_note(parse_note(changed + f"\n{line}\n".encode()), [parse_vkey(vkey)])


def test_a_private_key_in_gos_form_signs_as_go_does() -> None:
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    signer = Signer.parse("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
    assert signer.verifier.vkey == vkey
    text, line = NOTES[vkey]
    assert signer.sign(text.encode()).line == line + "\n"


def test_a_real_checkpoint_parses_whose_name_is_not_its_origin() -> None:
    text, _ = NOTES["sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"]
    checkpoint = parse_checkpoint(text.encode())
    assert (checkpoint.origin, checkpoint.size) == ("go.sum database tree", 35225469)
    assert bytes(checkpoint) == text.encode()


@pytest.mark.parametrize(("size", "root"), LOG_ROOTS.items())
def test_a_whole_tiny_log_roots(size: int, root: str) -> None:
    assert root_of(map(leaf_hash, LOG_ENTRIES[:size])) == base64.b64decode(root)


def test_a_whole_tiny_log_checkpoint() -> None:
    signer = Signer.parse(LOG_SKEY)
    assert signer.verifier.vkey == LOG_VKEY
    note = sign_checkpoint(CHECKPOINT_15, signer)
    assert note.decode().splitlines()[-1] == LOG_LINE
    assert open_checkpoint(note, parse_vkey(LOG_VKEY))[0] == CHECKPOINT_15


def test_a_whole_tiny_log_bundle() -> None:
    assert bundle(LOG_ENTRIES[:3]) == b"\x00\x03one\x00\x03two\x00\x05three"


def test_a_whole_tiny_log_proofs() -> None:
    inclusion = inclusion_proof(6, 15, _log_node)
    assert inclusion == _decoded(INCLUSION_6_15)
    assert verify_inclusion(6, 15, leaf_hash(LOG_ENTRIES[6]), inclusion, CHECKPOINT_15.root)
    assert consistency_proof(8, 15, _log_node) == _decoded(INCLUSION_6_15[-1:])
    assert consistency_proof(7, 15, _log_node) == _decoded(CONSISTENCY_7_15)
    roots = {size: subtree_root(0, size, _log_node) for size in range(1, 16)}
    for old, new in pairwise((1, 2, 7, 8, 15)):
        proof = consistency_proof(old, new, _log_node)
        assert verify_consistency(old, new, roots[old], roots[new], proof)


def test_cosignature_v1_from_a_known_seed() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    signer = Signer("overseer.example/w1", key, COSIGNATURE)
    assert signer.verifier.vkey == "overseer.example/w1+51d59ff1+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    signature = signer.sign(bytes(CHECKPOINT_15), COSIGNED_AT)
    assert signature.line == (
        "— overseer.example/w1 UdWf8QAAAABpUkfA47LwVYQSIwJEBEynmI66JpWYjJx+OqHqbyAEF4qZV32jCvPIvRbnYriEcP+5+uUFTvTIDAGwR2om"
        "k8I7Jt/uAA==\n"
    )


def test_ml_dsa_44_message_and_key_id_from_a_known_seed() -> None:
    key = MLDSA44PrivateKey.from_seed_bytes(SEED)
    public = key.public_key().public_bytes_raw()
    verifier = Verifier("overseer.example/w1", ML_DSA_44, public)
    message = subtree_bytes(verifier.name, COSIGNED_AT, CHECKPOINT_15.origin, 0, 15, CHECKPOINT_15.root)
    assert len(message) == 113
    assert hashlib.sha256(message).hexdigest() == "7a39c975d5ec83c94fd03c4533065e17ccb17732c150e57e62d818785f071723"
    assert verifier.key_id.hex() == "2b25c350"
    assert hashlib.sha256(public).hexdigest() == "9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46"
    assert parse_vkey(verifier.vkey) == verifier
    line = Signature(verifier.name, verifier.key_id, join_signature(COSIGNED_AT, key.sign(message)))
    assert open_note(Note(bytes(CHECKPOINT_15), (line,)), [verifier]) == [(verifier, COSIGNED_AT)]
