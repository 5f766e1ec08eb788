"""The gate's own keys and passwords as files that nobody else can read.

    log.key, log.vkey         signs checkpoints; its verifier key (c2sp.org/signed-note)
    issuer.key, issuer.pub    signs tokens; what proxies verify them with (further issuer-*.pub while rotating)
    host.key                  certifies the key that each process makes for itself; host-*.pub: other hosts' that may
    trial-ca.pem, .key        a trial's own certificate authority; server.pem, server.key: what the listeners show
    db-<role>.password        of the database roles

Private keys are Ed25519 in PKCS #8 PEM (RFC 8410). A file that others could read is refused, not used.
"""

import base64
import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from glassgate.certificates import issue_server, make_ca
from ledger.note import Signer

__all__ = [
    "KeyRefused",
    "certificate_authority",
    "create_keys",
    "host_keys",
    "issuer_keys",
    "key_id",
    "load_private",
    "read_password",
    "write_private",
]

LOG: Final = "log.key"
ISSUER: Final = "issuer.key"
HOST: Final = "host.key"
SERVER_NAMES: Final = ("localhost", "*.localhost", "127.0.0.1", "::1")
MAX_BYTES: Final = 64 * 1024


class KeyRefused(Exception):
    """A key file is missing, open to others, or not what its name says."""


@dataclass(frozen=True, slots=True)
class _Checked:
    data: bytes
    path: Path


def write_private(path: Path, data: bytes) -> None:
    """Make a new file that only its owner reads; raises FileExistsError rather than overwrite a key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def create_keys(directory: Path, origin: str, now: datetime) -> None:
    """All files of a new installation; `directory` must not exist yet. Raises FileExistsError."""
    directory.mkdir(mode=0o700, parents=True)
    for name in (LOG, ISSUER, HOST):
        key = Ed25519PrivateKey.generate()
        write_private(directory / name, _private_pem(key))
        if name == ISSUER:
            (directory / "issuer.pub").write_bytes(_public_pem(key.public_key()))
        if name == LOG:
            (directory / "log.vkey").write_text(Signer(origin, key).verifier.vkey + "\n")
    ca = make_ca("glassgate trial CA", now)
    server = issue_server(ca, SERVER_NAMES, now)
    (directory / "trial-ca.pem").write_bytes(ca.certificate)
    write_private(directory / "trial-ca.key", ca.key)
    (directory / "server.pem").write_bytes(server.certificate)
    write_private(directory / "server.key", server.key)
    for role in ("owner", "approvals", "proxy", "sequencer", "reader"):
        write_private(directory / f"db-{role}.password", secrets.token_urlsafe(32).encode() + b"\n")


def load_private(path: Path) -> Ed25519PrivateKey:
    """Raises KeyRefused."""
    checked = _read(path)
    try:
        key = serialization.load_pem_private_key(checked.data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise KeyRefused(f"{path} is not an unencrypted private key in PEM") from cause
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{path} is not an Ed25519 key")
    return key


def issuer_keys(directory: Path) -> dict[str, Ed25519PublicKey]:
    """Whose tokens are accepted, by key id: every issuer*.pub. Raises KeyRefused when there is none."""
    keys = [_public(path) for path in sorted(directory.glob("issuer*.pub"))]
    found = {key_id(key): key for key in keys}
    if not found:
        raise KeyRefused(f"{directory} holds no issuer.pub: no token could be verified")
    return found


def host_keys(directory: Path) -> list[bytes]:
    """Raw public keys of the hosts that may certify writers: this one's and every host-*.pub. Raises KeyRefused."""
    own = load_private(directory / HOST).public_key().public_bytes_raw()
    return [own, *(_public(path).public_bytes_raw() for path in sorted(directory.glob("host-*.pub")))]


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm, OSError) as cause:
        raise KeyRefused(f"{path} is not a public key in PEM") from cause
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(f"{path} is not an Ed25519 key")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The JWK thumbprint (RFC 7638, RFC 8037 Appendix A.3), base64url: follows from the key, so it cannot lie."""
    x = base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()
    canonical = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def read_password(directory: Path, role: str) -> str:
    """A database role's password; "" where there is no such file. Raises KeyRefused."""
    path = directory / f"db-{role}.password"
    return _read(path).data.decode("ascii", "replace").strip() if path.exists() else ""


def certificate_authority(chain: Path) -> str:
    """The self-signed certificate at the end of a chain, PEM, for clients to trust; "" where a public CA vouches."""
    try:
        last = x509.load_pem_x509_certificates(chain.read_bytes())[-1]
    except (OSError, ValueError) as cause:
        raise KeyRefused(f"{chain} is not a certificate chain in PEM") from cause
    if last.issuer != last.subject:
        return ""
    return last.public_bytes(serialization.Encoding.PEM).decode()


def _read(path: Path) -> _Checked:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as cause:
        raise KeyRefused(f"{path} cannot be read: {cause.strerror}") from cause
    with os.fdopen(descriptor, "rb") as file:
        # On the open file, not on the path: between two looks it could be swapped.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyRefused(f"{path} is not a regular file")
        if status.st_mode & 0o077:
            raise KeyRefused(
                f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}"
            )
        return _Checked(file.read(MAX_BYTES), path)


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
