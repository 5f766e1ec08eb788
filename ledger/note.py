"""Signed notes and verifier keys (c2sp.org/signed-note@v1.0.0).

A note is a text, an empty line, and signature lines `— <name> <base64 of key id and signature>`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.cosignature import cosigned_bytes, join_signature, split_signature, subtree_bytes

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "MAX_NOTE_BYTES",
    "ML_DSA_44",
    "Note",
    "NoteRefused",
    "Signature",
    "Signer",
    "Verifier",
    "open_note",
    "parse_note",
    "parse_signatures",
    "parse_vkey",
]

MAX_NOTE_BYTES: Final = 512 * 1024
MAX_SIGNATURES: Final = 100

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
ML_DSA_44: Final = 0x06
_KEY_BYTES: Final = {ED25519: 32, COSIGNATURE: 32, ML_DSA_44: 1312}
_ML_DSA_44_SIGNATURE_BYTES: Final = 2420

_HEX8: Final = re.compile(r"[0-9a-f]{8}", re.ASCII)
_DASH: Final = "— "


class NoteRefused(ValueError):
    """Not a note, not a key, or a note without the signature that was asked for."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: `data` is what follows the key id."""

    name: str
    key_id: bytes
    data: bytes

    @property
    def line(self) -> str:
        """With its final newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note; nothing is verified. `text` ends in a newline."""

    text: bytes
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return self.text + b"\n" + "".join(signature.line for signature in self.signatures).encode()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with a name: a log's (type 1) or a cosigner's (types 4 and 6)."""

    name: str
    type: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        return _key_id(self.name, self.type, self.public_key)

    @property
    def vkey(self) -> str:
        key = base64.b64encode(bytes((self.type,)) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def time_of(self, text: bytes, data: bytes) -> int | None:
        """The POSIX time of a valid signature over `text` (0 where the type has none), None for an invalid one."""
        try:
            if self.type == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(data, text)
                return 0
            length = 64 if self.type == COSIGNATURE else _ML_DSA_44_SIGNATURE_BYTES
            split = split_signature(data, length)
            if split is None:
                return None
            time, signature = split
            if self.type == COSIGNATURE:
                message = cosigned_bytes(text, time)
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature, self._subtree(text, time))
            return time
        except (InvalidSignature, ValueError):
            return None

    def _subtree(self, text: bytes, time: int) -> bytes:
        origin, size, root = text.decode().split("\n")[:3]
        return subtree_bytes(self.name, time, origin, 0, int(size), base64.b64decode(root))


class Signer:
    """A private Ed25519 key with a name, for notes (type 1) or cosignatures (type 4)."""

    def __init__(self, name: str, key: Ed25519PrivateKey, type: int = ED25519) -> None:
        if type not in (ED25519, COSIGNATURE):
            raise ValueError("an Ed25519 key signs notes or cosigns them")
        _check_name(name)
        self._key = key
        self.verifier = Verifier(name, type, key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """From Go's `PRIVATE+KEY+name+id+base64` form; raises NoteRefused, which never quotes the key."""
        prefix = "PRIVATE+KEY+"
        if not text.startswith(prefix):
            raise NoteRefused("not a private key")
        name, key_id, data = _split_key(text[len(prefix) :])
        if len(data) != 33 or data[0] != ED25519:
            raise NoteRefused("not an Ed25519 private key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
        if signer.verifier.key_id != key_id:
            raise NoteRefused("the key id is not that of the key")
        return signer

    def sign(self, text: bytes, time: int = 0) -> Signature:
        """A signature over a note's text; `time` is POSIX seconds and only for cosignatures, where it is not 0."""
        verifier = self.verifier
        if verifier.type == COSIGNATURE:
            if time <= 0:
                raise ValueError("a cosignature says when")
            data = join_signature(time, self._key.sign(cosigned_bytes(text, time)))
        else:
            data = self._key.sign(text)
        return Signature(verifier.name, verifier.key_id, data)


def parse_vkey(text: str) -> Verifier:
    """A verifier key as text; raises NoteRefused for malformed ones and unknown types."""
    name, key_id, data = _split_key(text)
    if not data or len(data) - 1 != _KEY_BYTES.get(data[0]):
        raise NoteRefused("a verifier key of an unknown type, or of the wrong length")
    verifier = Verifier(name, data[0], data[1:])
    if verifier.key_id != key_id:
        raise NoteRefused("the key id is not that of the key")
    return verifier


def parse_note(data: bytes) -> Note:
    """A note's text and signatures, unverified; raises NoteRefused."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteRefused("longer than any note")
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise NoteRefused("not UTF-8") from cause
    if any(char < " " and char != "\n" for char in text):
        raise NoteRefused("control characters")
    # The text may hold empty lines of its own: the signatures stand behind the last one.
    split = text.rfind("\n\n")
    if split < 0:
        raise NoteRefused("no empty line before the signatures")
    return Note(text[: split + 1].encode(), parse_signatures(text[split + 2 :]))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """One or more signature lines, each with its newline; raises NoteRefused."""
    if not lines.endswith("\n"):
        raise NoteRefused("the last line has no end")
    signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MAX_SIGNATURES:
        raise NoteRefused("too many signatures")
    return signatures


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_DASH):
        raise NoteRefused("a signature line begins with an em dash and a space")
    name, found, text = line[len(_DASH) :].partition(" ")
    _check_name(name)
    data = _base64(text)
    if not found or len(data) < 5:
        raise NoteRefused("a signature line without a signature")
    return Signature(name, data[:4], data[4:])


def open_note(note: Note, verifiers: Sequence[Verifier]) -> list[tuple[Verifier, int]]:
    """Which of `verifiers` signed, each with its time; unknown keys are passed over.

    Raises NoteRefused if a known key's signature fails, or if none of them signed: what is half forged is not read.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    found: dict[Verifier, int] = {}
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        time = verifier.time_of(note.text, signature.data)
        if time is None:
            raise NoteRefused(f"the signature of {verifier.name} does not verify")
        found[verifier] = max(time, found.get(verifier, 0))
    if not found:
        raise NoteRefused("signed by no known key")
    return list(found.items())


def _key_id(name: str, type: int, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes((type,)) + public_key).digest()[:4]


def _split_key(text: str) -> tuple[str, bytes, bytes]:
    # Base64 may contain `+` itself: split at the first two only.
    parts = text.split("+", 2)
    if len(parts) != 3 or not _HEX8.fullmatch(parts[1]):
        raise NoteRefused("a key is name+id+base64")
    _check_name(parts[0])
    return parts[0], bytes.fromhex(parts[1]), _base64(parts[2])


def _check_name(name: str) -> None:
    if not name or "+" in name or not name.isprintable() or any(char.isspace() for char in name):
        raise NoteRefused("a key's name is not empty and has no space and no plus")


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as cause:
        raise NoteRefused("not base64") from cause
    if base64.b64encode(data).decode() != text:
        raise NoteRefused("not the one base64 spelling")
    return data
