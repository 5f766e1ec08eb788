"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both ends (RFC 5802, RFC 7677, RFC 5929 §4); pure.

A server here knows a verifier, never a password. For a name that does not exist it plays the whole exchange
with a salt that stays the same for that name, and fails where a wrong password fails, with the same work done.
"""

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.postgres.errors import ProtocolError

__all__ = [
    "PLAIN",
    "PLUS",
    "ScramClient",
    "ScramFailed",
    "ScramServer",
    "Verifier",
    "fake_verifier",
    "read_verifier",
    "salted_password",
    "saslprep",
]

PLAIN: Final = "SCRAM-SHA-256"
PLUS: Final = "SCRAM-SHA-256-PLUS"
CHANNEL_TYPE: Final = "tls-server-end-point"
ITERATIONS: Final = 4096
MAX_ITERATIONS: Final = 1_000_000  # a rogue store could ask for 2^31 and keep a core busy for hours
MAX_MESSAGE_BYTES: Final = 8 * 1024
NONCE_BYTES: Final = 18


class ScramFailed(Exception):
    """The other side did not prove that it knows the password, or asked for something that must not be."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server stores (RFC 5803): enough to check a proof, not enough to make one."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def read_verifier(text: str) -> Verifier:
    """ "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", as PostgreSQL writes it. Raises ValueError."""
    scheme, _, rest = text.partition("$")
    parameters, _, keys = rest.partition("$")
    iterations, _, salt = parameters.partition(":")
    stored, _, server = keys.partition(":")
    if scheme != PLAIN or not (iterations.isascii() and iterations.isdigit()):
        raise ValueError("not a SCRAM-SHA-256 verifier")
    verifier = Verifier(int(iterations), _base64(salt), _base64(stored), _base64(server))
    if len(verifier.stored_key) != 32 or len(verifier.server_key) != 32 or not verifier.salt:
        raise ValueError("not a SCRAM-SHA-256 verifier")
    return verifier


def fake_verifier(secret: bytes, store: str, name: str) -> Verifier:
    """For a name that nobody has: the salt is a function of the name, so asking twice teaches nothing."""

    def derive(label: bytes) -> bytes:
        return hmac.digest(secret, label + store.encode() + b"\0" + name.encode(), "sha256")

    return Verifier(ITERATIONS, derive(b"salt\0")[:16], derive(b"stored\0"), derive(b"server\0"))


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """Hi() of RFC 5802: 4,096 iterations take about 2 ms, so callers keep large counts off the event loop."""
    return hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)


class ScramServer:
    """The gate towards a client. `known` False makes every proof wrong. `end_point` is the hash of our own
    certificate, b"" where the certificate has none: then channel binding is not offered."""

    def __init__(self, verifier: Verifier, nonce: str, *, known: bool = True, end_point: bytes = b"") -> None:
        self._verifier = verifier
        self._nonce = nonce
        self._known = known
        self._end_point = end_point
        self._first_bare = b""
        self._server_first = b""
        self._gs2_header = b""
        self._binding = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        return (PLUS, PLAIN) if self._end_point else (PLAIN,)

    def first(self, mechanism: str, data: bytes) -> bytes:
        """client-first-message in, server-first-message out. Raises ProtocolError or ScramFailed."""
        if mechanism not in self.mechanisms:
            raise ProtocolError("client selected an invalid SASL authentication mechanism")
        flag, _, rest = _bounded(data).partition(b",")
        authzid, comma, bare = rest.partition(b",")
        if not comma or authzid:
            raise ProtocolError("malformed SCRAM message")
        self._check_flag(mechanism, flag)
        fields = bare.split(b",")
        if len(fields) < 2 or not fields[0].startswith(b"n=") or not fields[1].startswith(b"r="):
            # The name in here is ignored: who logs in was said in the startup packet.
            raise ProtocolError("malformed SCRAM message")
        client_nonce = fields[1][2:]
        if not client_nonce or not all(0x21 <= byte <= 0x7E for byte in client_nonce):
            raise ProtocolError("malformed SCRAM message")
        self._gs2_header = flag + b",,"
        self._first_bare = bare
        self._nonce = client_nonce.decode("ascii") + self._nonce
        salt = base64.b64encode(self._verifier.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={self._verifier.iterations}".encode()
        return self._server_first

    def final(self, data: bytes) -> bytes:
        """client-final-message in, server-final-message out. Raises ProtocolError or ScramFailed."""
        without_proof, comma, proof_text = _bounded(data).rpartition(b",p=")
        fields = without_proof.split(b",")
        if not comma or len(fields) < 2 or fields[0][:2] != b"c=" or fields[1][:2] != b"r=":
            raise ProtocolError("malformed SCRAM message")
        try:
            proof = _base64(proof_text.decode("ascii"))
            binding = _base64(fields[0][2:].decode("ascii"))
        except (ValueError, UnicodeDecodeError):
            raise ProtocolError("malformed SCRAM message") from None
        if len(proof) != 32 or not hmac.compare_digest(fields[1][2:], self._nonce.encode()):
            raise ProtocolError("malformed SCRAM message")
        if not hmac.compare_digest(binding, self._gs2_header + self._binding):
            raise ScramFailed("the channel binding is of another channel")
        signed = b",".join((self._first_bare, self._server_first, without_proof))
        signature = hmac.digest(self._verifier.stored_key, signed, "sha256")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        right = hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key)
        server_signature = hmac.digest(self._verifier.server_key, signed, "sha256")
        if not (right and self._known):
            raise ScramFailed("the proof is wrong")
        return b"v=" + base64.b64encode(server_signature)

    def _check_flag(self, mechanism: str, flag: bytes) -> None:
        if mechanism == PLUS:
            if flag != b"p=" + CHANNEL_TYPE.encode():
                raise ProtocolError("unsupported SCRAM channel-binding type")
            self._binding = self._end_point
        elif flag == b"y" and self._end_point:
            # The client can bind and believes that we cannot: somebody removed PLUS from our offer.
            raise ScramFailed("channel binding was negotiated away")
        elif flag not in (b"n", b"y"):
            raise ProtocolError("malformed SCRAM message")


class ScramClient:
    """The gate towards a store. Verifies the store's signature, so that only who holds the verifier is believed."""

    def __init__(self, password: str, nonce: str, offered: Sequence[str], end_point: bytes = b"") -> None:
        if PLUS in offered and end_point:
            self.mechanism, self._gs2, self._binding = PLUS, f"p={CHANNEL_TYPE},,".encode(), end_point
        elif PLAIN in offered:
            # "y" tells a store that can bind and did offer it that its offer was tampered with.
            self.mechanism, self._gs2, self._binding = PLAIN, b"y,," if end_point else b"n,,", b""
        else:
            raise ScramFailed("the store offers no SCRAM-SHA-256")
        self._password = password
        self._nonce = nonce
        self._server_signature = b""
        self._bare = f"n=,r={nonce}".encode()

    def first(self) -> bytes:
        return self._gs2 + self._bare

    def final(self, server_first: bytes) -> bytes:
        """server-first-message in, client-final-message out. Raises ScramFailed."""
        fields = dict(part.partition("=")[::2] for part in _ascii(server_first).split(","))
        nonce, count = fields.get("r", ""), fields.get("i", "")
        if "m" in fields or not nonce.startswith(self._nonce) or nonce == self._nonce or not count.isdigit():
            raise ScramFailed("the store's SCRAM message is malformed")
        try:
            salt = _base64(fields.get("s", ""))
        except ValueError:
            raise ScramFailed("the store's SCRAM message is malformed") from None
        if len(count) > 9 or not 1 <= int(count) <= MAX_ITERATIONS or not salt:
            raise ScramFailed("the store asks for an impossible number of iterations")
        salted = salted_password(self._password, salt, int(count))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = b"c=" + base64.b64encode(self._gs2 + self._binding) + b",r=" + nonce.encode()
        signed = b",".join((self._bare, server_first, without_proof))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, server_final: bytes) -> None:
        """Raises ScramFailed unless the store proved that it holds the verifier."""
        expected = b"v=" + base64.b64encode(self._server_signature)
        if not self._server_signature or not hmac.compare_digest(server_final.split(b",")[0], expected):
            raise ScramFailed("the store did not prove that it knows the password")


def saslprep(text: str) -> str:
    """RFC 4013. Like PostgreSQL, a text that may not be prepared is used as it stands."""
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c) or c == "\u200b"
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(_prohibited(c) for c in prepared):
        return text
    right_to_left = [stringprep.in_table_d1(c) for c in prepared]
    if any(right_to_left) and not (
        right_to_left[0] and right_to_left[-1] and not any(stringprep.in_table_d2(c) for c in prepared)
    ):
        return text
    return prepared


def _prohibited(character: str) -> bool:
    return any(
        table(character)
        for table in (
            stringprep.in_table_a1,
            stringprep.in_table_c12,
            stringprep.in_table_c21_c22,
            stringprep.in_table_c3,
            stringprep.in_table_c4,
            stringprep.in_table_c5,
            stringprep.in_table_c6,
            stringprep.in_table_c7,
            stringprep.in_table_c8,
            stringprep.in_table_c9,
        )
    )


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise ValueError("not base64") from cause


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_MESSAGE_BYTES or b"\0" in data:
        raise ProtocolError("malformed SCRAM message")
    return data


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii") if len(data) <= MAX_MESSAGE_BYTES else ""
    except UnicodeDecodeError:
        raise ScramFailed("the store's SCRAM message is malformed") from None
