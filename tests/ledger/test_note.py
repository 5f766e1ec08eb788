"""Notes, keys and checkpoints: strict in what is read, and about who signed."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, CheckpointRefused, open_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import cosigned_bytes, split_signature, subtree_bytes
from ledger.merkle import EMPTY_ROOT
from ledger.note import COSIGNATURE, Note, NoteRefused, Signer, Verifier, open_note, parse_note, parse_vkey

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer("a.example/log", KEY)
TEXT = b"hello\n\nworld\n"
NOTE = Note(TEXT, (SIGNER.sign(TEXT),))


def test_the_text_may_hold_empty_lines() -> None:
    assert parse_note(bytes(NOTE)) == NOTE
    assert open_note(NOTE, [SIGNER.verifier]) == [(SIGNER.verifier, 0)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        bytes(NOTE)[:-1],
        bytes(NOTE) + b"x",
        bytes(NOTE) + b"\n",
        bytes(NOTE).replace(b"hello", b"he\tlo"),
        bytes(NOTE).replace(b"hello", b"he\xff"),
        bytes(NOTE).replace(b"\n", b"\r\n"),
        bytes(NOTE).replace("— ".encode(), b"- "),
        bytes(NOTE).replace(b"a.example/log ", b"a.example/log  "),
        bytes(NOTE).replace(b"a.example/log ", b" "),
        bytes(NOTE).replace(b"a.example/log ", b"a+b "),
        bytes(NOTE).replace(b"=\n", b"\n"),
        TEXT + b"\n" + "— a AAAA\n".encode(),
        b"x" * 600_000 + bytes(NOTE),
        TEXT + b"\n" + SIGNER.sign(TEXT).line.encode() * 101,
    ],
)
def test_what_is_no_note(data: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_note(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    for candidate in (data, b"text\n\n" + data, b"text\n\n" + "— a ".encode() + data + b"\n"):
        try:
            note = parse_note(candidate)
        except NoteRefused:
            continue
        assert bytes(note) == candidate


def test_unknown_keys_are_passed_over_and_known_ones_must_hold() -> None:
    other = Signer("b.example", Ed25519PrivateKey.generate())
    both = Note(TEXT, (other.sign(b"something else\n"), SIGNER.sign(TEXT)))
    assert open_note(both, [SIGNER.verifier]) == [(SIGNER.verifier, 0)]
    with pytest.raises(NoteRefused, match=r"b\.example does not verify"):
        open_note(both, [SIGNER.verifier, other.verifier])
    with pytest.raises(NoteRefused, match="no known key"):
        open_note(both, [])
    with pytest.raises(NoteRefused, match="no known key"):
        open_note(both, [Verifier("renamed", 1, SIGNER.verifier.public_key)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a+b",
        "a+00000000+",
        "a+zz000000+AAAA",
        SIGNER.verifier.vkey[:-1],
        SIGNER.verifier.vkey + "=",
        SIGNER.verifier.vkey.replace("a.example/log", "b.example/log"),
        SIGNER.verifier.vkey.upper(),
        "a b" + SIGNER.verifier.vkey[13:],
        f"x+00000000+{base64.b64encode(bytes(33)).decode()}",
    ],
)
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_vkey(text)


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    for candidate in (text, "a+00000000+" + text, "PRIVATE+KEY+" + text):
        for parse in (parse_vkey, Signer.parse):
            with pytest.raises(NoteRefused):
                parse(candidate)


def test_cosignatures_say_when() -> None:
    cosigner = Signer("w.example", KEY, COSIGNATURE)
    with pytest.raises(ValueError, match="says when"):
        cosigner.sign(TEXT)
    note = Note(TEXT, (cosigner.sign(TEXT, 5), cosigner.sign(TEXT, 7)))
    assert open_note(note, [cosigner.verifier]) == [(cosigner.verifier, 7)]
    # The time is signed too.
    line = cosigner.sign(TEXT, 5)
    later = type(line)(line.name, line.key_id, (6).to_bytes(8, "big") + line.data[8:])
    with pytest.raises(NoteRefused, match="does not verify"):
        open_note(Note(TEXT, (later,)), [cosigner.verifier])
    assert cosigned_bytes(b"x\n", 5) == b"cosignature/v1\ntime 5\nx\n"
    assert split_signature(b"\xff" * 72, 64) is None
    assert split_signature(b"\0" * 71, 64) is None


@pytest.mark.parametrize(("start", "end", "time"), [(1, 2, 5), (2, 2, 0), (-1, 2, 0), (0, 2, -1)])
def test_subtrees_that_cannot_be_cosigned(start: int, end: int, time: int) -> None:
    with pytest.raises(ValueError, match="carries no time"):
        subtree_bytes("w", time, "o", start, end, bytes(32))
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        subtree_bytes("", 0, "o", 0, 1, bytes(32))


CHECKPOINT = Checkpoint("a.example/log", 5, bytes(range(32)))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a\n5\n",
        b"a\n5\nAAAA\n",
        bytes(CHECKPOINT)[:-1],
        bytes(CHECKPOINT) + b"\n",
        bytes(CHECKPOINT).replace(b"\n5\n", b"\n05\n"),
        bytes(CHECKPOINT).replace(b"\n5\n", b"\n-5\n"),
        bytes(CHECKPOINT).replace(b"\n5\n", b"\n+5\n"),
        bytes(CHECKPOINT).replace(b"\n5\n", b"\n5 \n"),
        bytes(CHECKPOINT).replace(b"\n5\n", "\n٥\n".encode()),
        bytes(CHECKPOINT).replace(b"\n5\n", b"\n9223372036854775808\n"),
        bytes(CHECKPOINT).replace(b"=\n", b"\n"),
        bytes(CHECKPOINT).replace(b"8=\n", b"9=\n"),
        bytes(CHECKPOINT).replace(b"a.example/log", b""),
        bytes(CHECKPOINT).replace(b"a.example", b"\xff"),
    ],
)
def test_what_is_no_checkpoint(text: bytes) -> None:
    with pytest.raises(CheckpointRefused):
        parse_checkpoint(text)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_checkpoint_or_refused(data: bytes) -> None:
    for text in (data, bytes(CHECKPOINT) + data):
        try:
            checkpoint = parse_checkpoint(text)
        except CheckpointRefused:
            continue
        assert bytes(checkpoint) == text


def test_a_checkpoint_is_opened_by_the_logs_own_key_only() -> None:
    note = sign_checkpoint(CHECKPOINT, SIGNER)
    assert open_checkpoint(note, SIGNER.verifier)[0] == CHECKPOINT
    with pytest.raises(CheckpointRefused, match="no known key"):
        open_checkpoint(note, Signer("a.example/log", Ed25519PrivateKey.generate()).verifier)
    with pytest.raises(CheckpointRefused, match="type 1"):
        open_checkpoint(note, Signer("a.example/log", KEY, COSIGNATURE).verifier)
    foreign = sign_checkpoint(Checkpoint("b.example/log", 5, bytes(32)), SIGNER)
    with pytest.raises(CheckpointRefused, match="another log"):
        open_checkpoint(foreign, SIGNER.verifier)
    empty = sign_checkpoint(Checkpoint("a.example/log", 0, bytes(32)), SIGNER)
    with pytest.raises(CheckpointRefused, match="empty tree"):
        open_checkpoint(empty, SIGNER.verifier)
    assert open_checkpoint(sign_checkpoint(Checkpoint("a.example/log", 0, EMPTY_ROOT), SIGNER), SIGNER.verifier)


def test_extension_lines_are_kept_because_signatures_cover_them() -> None:
    text = bytes(CHECKPOINT) + b"extension\n"
    assert parse_checkpoint(text).extensions == ("extension",)
    assert bytes(parse_checkpoint(text)) == text
