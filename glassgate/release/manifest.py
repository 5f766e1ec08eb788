"""release.json: what one release consists of, as canonical bytes. Their SHA-256 is the release digest.

Nothing in it depends on the machine or the hour: whoever builds the same commit with the same tools gets the same
bytes, and so the same release digest.
"""

import hashlib
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from glassgate.release.errors import ReleaseRefused
from ledger.encoding import NotCanonical, decode, encode

__all__ = [
    "FORM",
    "NAME",
    "Artifact",
    "Manifest",
    "ManifestRefused",
    "Native",
    "Tools",
    "artifact_of",
    "parse",
    "release_digest_of",
    "sdist_of",
    "unlike",
    "wheel_of",
    "write",
]

NAME: Final = "release.json"
FORM: Final = "glassgate-release/v1"
MAX_BYTES: Final = 1 << 20

# \Z, as $ also matches before a final line feed.
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
ObjectId = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
FileName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\Z")]  # never a path
Text = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.!+_-]{1,64}\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-z0-9]+(?:-[a-z0-9]+)*\Z", max_length=128)]


class ManifestRefused(ReleaseRefused):
    """Not a release manifest; the text says what is wrong with it."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Artifact(_Part, frozen=True):
    """A file that lies beside the manifest."""

    name: FileName
    sha256: Digest
    size_bytes: Annotated[int, Meta(ge=0, le=1 << 30)]


class Native(_Part, frozen=True):
    """A package with machine code that was built by others and is taken as it is."""

    name: Name
    version: Text
    sha256: list[Digest]  # of every file that the lock accepts, sorted


class Tools(_Part, frozen=True):
    """What the bytes may depend on. Another zlib may compress the same files to other bytes."""

    python: Text
    hatchling: Text
    zlib: Text


class Manifest(_Part, frozen=True):
    """One release. Digests are SHA-256 in hex; `commit` and `tree` are git's object ids."""

    form: Literal["glassgate-release/v1"]
    version: Text
    commit: ObjectId
    tree: ObjectId
    source_date_epoch: Annotated[int, Meta(ge=0, le=1 << 40)]  # of the commit, in seconds
    source_digest: Digest  # what a running copy finds in itself: source_digest.py
    artifacts: Annotated[list[Artifact], Meta(min_length=2, max_length=2)]  # the sdist and the wheel, by name
    requirements_lock: Digest
    requirements_build_lock: Digest
    sbom: Artifact
    tools: Tools
    trusted_not_rebuilt: list[Native]  # by name


def parse(data: bytes) -> Manifest:
    """The manifest that `data` is the canonical form of. Raises ManifestRefused."""
    if len(data) > MAX_BYTES:
        raise ManifestRefused(f"larger than {MAX_BYTES} bytes")
    try:
        decode(data)  # canonical first: two spellings of one manifest would have two release digests
        manifest = msgspec.json.decode(data, type=Manifest)
    except (NotCanonical, msgspec.DecodeError) as cause:
        raise ManifestRefused(str(cause)) from cause
    _check(manifest)
    return manifest


def write(manifest: Manifest) -> bytes:
    """The canonical bytes."""
    return encode(manifest)


def release_digest_of(data: bytes) -> str:
    """What a release is called by: SHA-256 in hex of its manifest's bytes."""
    return hashlib.sha256(data).hexdigest()


def artifact_of(name: str, data: bytes) -> Artifact:
    return Artifact(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def wheel_of(manifest: Manifest) -> Artifact:
    return next(one for one in manifest.artifacts if one.name.endswith(".whl"))


def sdist_of(manifest: Manifest) -> Artifact:
    return next(one for one in manifest.artifacts if one.name.endswith(".tar.gz"))


def unlike(theirs: Manifest, ours: Manifest) -> tuple[str, ...]:
    """The fields in which two manifests differ, in the order in which they are declared; `tools` is left out."""
    fields = (field.name for field in msgspec.structs.fields(Manifest) if field.name != "tools")
    return tuple(name for name in fields if getattr(theirs, name) != getattr(ours, name))


def _check(manifest: Manifest) -> None:
    """What the shape cannot say."""
    names = [one.name for one in manifest.artifacts]
    expected = [f"glassgate-{manifest.version}-py3-none-any.whl", f"glassgate-{manifest.version}.tar.gz"]
    if names != expected:
        raise ManifestRefused(f"artifacts: expected {' and '.join(expected)}, got {' and '.join(names)}")
    if manifest.sbom.name != f"glassgate-{manifest.version}.cdx.json":
        raise ManifestRefused(f"sbom: expected glassgate-{manifest.version}.cdx.json, got {manifest.sbom.name}")
    listed = [(one.name, one.version) for one in manifest.trusted_not_rebuilt]
    if listed != sorted(set(listed)):
        raise ManifestRefused("trusted_not_rebuilt: not sorted by name, or a name stands there twice")
    for one in manifest.trusted_not_rebuilt:
        if one.sha256 != sorted(set(one.sha256)) or not one.sha256:
            raise ManifestRefused(f"trusted_not_rebuilt: {one.name}: hashes are not sorted, or there are none")
