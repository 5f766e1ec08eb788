"""One digest over the program's own files: what a release names, and what a running copy finds in itself.

It is what this prints in a checkout or in the directory a wheel was unpacked to, with nothing of ours involved:

    find ledger approvals proxy overseer glassgate migrations ! -path '*/__pycache__/*.pyc' -type f -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum

A wheel cannot contain its own digest, but its files can be hashed where they lie.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

__all__ = ["PACKAGES", "is_source", "source_digest"]

PACKAGES: Final = ("ledger", "approvals", "proxy", "overseer", "glassgate", "migrations")
"""The directories that a wheel installs."""


def is_source(path: str) -> bool:
    """Whether the file at `path` (relative, with slashes) is part of the program.

    Everything in the packages is, also what nobody put there on purpose: an added module can be imported. The one
    exception is bytecode that the interpreter writes by itself, which differs from machine to machine.
    """
    parts = path.split("/")
    if len(parts) < 2 or parts[0] not in PACKAGES:
        return False
    return not (parts[-2] == "__pycache__" and parts[-1].endswith(".pyc"))


def source_digest(files: Mapping[str, str]) -> str:
    """SHA-256 in hex over `sha256sum`'s lines for `files` (path -> SHA-256 in hex), sorted by the paths' bytes."""
    whole = hashlib.sha256()
    for name, digest in sorted((path.encode("utf-8", "surrogateescape"), digest) for path, digest in files.items()):
        whole.update(_line(name, digest))
    return whole.hexdigest()


def _line(name: bytes, digest: str) -> bytes:
    """As GNU coreutils print it: a name that would break the line is escaped, and the line says so in front.

    Nobody has such names on purpose. Somebody who plants one must not be able to make it look like two lines.
    """
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + digest.encode("ascii") + b"  " + escaped + b"\n"
