"""Who may write: a host's key certifies one ephemeral key per process.

A writer's first entry is `process.started`; its facts carry the public key, the host's key and the host's
signature over CERTIFIED_PREFIX + the raw public key. The log's very first entry, `log.created`, is the one
exception: the host key named in it signs that entry itself, as a writer of its own.
"""

import base64
from collections.abc import Collection
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.entry import Entry
from ledger.stub import writer_id

__all__ = ["CREATED", "STARTED", "NotCertified", "certify", "introduced_key"]

CERTIFIED_PREFIX: Final = b"glassgate-writer/v1\n"
CREATED: Final = "log.created"
STARTED: Final = "process.started"


class NotCertified(ValueError):
    """The entry does not introduce its writer, or nobody trusted vouches for it."""


class _Started(msgspec.Struct, frozen=True):
    public_key: str
    host_key: str
    certificate: str


class _Created(msgspec.Struct, frozen=True):
    host_key: str


_Facts = TypeVar("_Facts", _Started, _Created)


def certify(host_key: Ed25519PrivateKey, public_key: bytes) -> str:
    """The certificate of a writer's raw public key, as `process.started` carries it (base64)."""
    return base64.b64encode(host_key.sign(CERTIFIED_PREFIX + public_key)).decode()


def introduced_key(entry: Entry, host_keys: Collection[bytes]) -> bytes:
    """The raw public key of the writer whose first entry this is; raises NotCertified.

    `host_keys` are raw Ed25519 public keys that may certify. That the key signed the entry is checked elsewhere.
    """
    stub = entry.stub
    if stub.counter != 0 or entry.facts.form != "clear":
        raise NotCertified("a writer is introduced by its entry 0, in clear")
    if stub.kind == STARTED:
        facts = _read(entry.facts.data, _Started)
        public_key, host_key = _raw(facts.public_key), _raw(facts.host_key)
        if host_key not in host_keys:
            raise NotCertified("certified by a host key that is not enrolled")
        try:
            Ed25519PublicKey.from_public_bytes(host_key).verify(
                _raw(facts.certificate, 64), CERTIFIED_PREFIX + public_key
            )
        except InvalidSignature as cause:
            raise NotCertified("the host key did not sign this certificate") from cause
    elif stub.kind == CREATED:
        public_key = _raw(_read(entry.facts.data, _Created).host_key)
        if public_key not in host_keys:
            raise NotCertified("the log was created by a host key that is not enrolled")
    else:
        raise NotCertified(f"a writer's first entry is {STARTED}, not {stub.kind}")
    if writer_id(public_key) != stub.writer:
        raise NotCertified("the writer id is not that of the certified key")
    return public_key


def _read(data: bytes, shape: type[_Facts]) -> _Facts:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise NotCertified(f"facts: {cause}") from cause


def _raw(text: str, length: int = 32) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as cause:
        raise NotCertified("not base64") from cause
    if len(raw) != length or base64.b64encode(raw).decode() != text:
        raise NotCertified(f"not the base64 of {length} bytes")
    return raw
