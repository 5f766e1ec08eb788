"""Access keys: what tools that only know passwords present instead of a token.

The engineer's own program makes the key and sends the gate its verifiers only: SHA-256 for HTTP Basic and a
SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) for PostgreSQL. A key is 160 random bits, so guessing offline from
a verifier is hopeless at any iteration count, and 4096 keeps the login cheap.
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from approvals.base32 import ALPHABET, crockford

__all__ = [
    "ENTROPY_BYTES",
    "ITERATIONS",
    "SALT_BYTES",
    "KeyRefused",
    "Verifier",
    "is_access_key",
    "is_key_id",
    "key_id",
    "login_name",
    "make",
    "parse_verifier",
    "scram_verifier",
    "sha256",
]

PREFIX: Final = "ggk_"
ENTROPY_BYTES: Final = 20
SALT_BYTES: Final = 16
ITERATIONS: Final = 4096
_KEY: Final = re.compile(rf"{PREFIX}[{ALPHABET}]{{32}}")
_KEY_ID: Final = re.compile(rf"[{ALPHABET}]{{4}}")
_VERIFIER: Final = re.compile(
    r"SCRAM-SHA-256\$([0-9]{1,6}):([A-Za-z0-9+/=]{1,64})\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)


class KeyRefused(ValueError):
    """A verifier or digest that is not of the one form that is stored; the text says which part."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A SCRAM verifier taken apart."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def make(entropy: bytes) -> str:
    """An access key from 20 random bytes: `ggk_` and 32 characters."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError("an access key takes 20 bytes of entropy")
    return PREFIX + crockford(entropy)


def is_access_key(text: str) -> bool:
    """Whether `text` is spelled like an access key."""
    return _KEY.fullmatch(text) is not None


def key_id(entropy: bytes) -> str:
    """The four characters that name a key in `ada+k7f3`, from at least 5 random bytes. Not a secret."""
    return crockford(entropy[:5])[:4]


def is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def login_name(person: str, key: str) -> str:
    """The user name that goes with one key."""
    return f"{person}+{key}"


def sha256(access_key: str) -> str:
    """What HTTP Basic is checked against, hex."""
    return hashlib.sha256(access_key.encode()).hexdigest()


def scram_verifier(access_key: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """PostgreSQL's own spelling: `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>` (RFC 5802 §3).

    An access key is ASCII, on which SASLprep (RFC 4013) changes nothing.
    """
    salted = hashlib.pbkdf2_hmac("sha256", access_key.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def parse_verifier(text: str) -> Verifier:
    """Take a verifier apart; raises KeyRefused unless it is one that `scram_verifier` could have made.

    Only 4096 iterations and a 16-byte salt pass: a verifier is stored for others to log in against, and one
    with 10^6 iterations would let its owner burn the proxy's time.
    """
    match = _VERIFIER.fullmatch(text)
    if match is None:
        raise KeyRefused("the SCRAM verifier is not of the form SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>")
    try:
        salt, stored, server = (base64.b64decode(match[n], validate=True) for n in (2, 3, 4))
    except binascii.Error as cause:
        raise KeyRefused("the SCRAM verifier is not base64") from cause
    if int(match[1]) != ITERATIONS or match[1] != str(ITERATIONS):
        raise KeyRefused(f"the SCRAM verifier must have {ITERATIONS} iterations")
    if len(salt) != SALT_BYTES or len(stored) != 32 or len(server) != 32:
        raise KeyRefused("the SCRAM verifier needs a 16-byte salt and two 32-byte keys")
    if base64.b64encode(salt).decode() != match[2]:
        raise KeyRefused("the SCRAM verifier's salt is not in canonical base64")
    return Verifier(ITERATIONS, salt, stored, server)
