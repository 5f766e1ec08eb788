"""From a commit and the two archives built of it to everything that lies in dist/."""

import hashlib
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.release.build import tree_sources
from glassgate.release.checkout import CheckoutRefused, Tree
from glassgate.release.lock import Pin, native, parse_lock
from glassgate.release.manifest import FORM, NAME, Manifest, Native, Tools, artifact_of, parse, write
from glassgate.release.sbom import make_sbom
from glassgate.release.source_digest import source_digest

__all__ = ["BUILD_LOCK", "LOCK", "Release", "assemble", "put", "version_of"]

LOCK: Final = "requirements.lock"
BUILD_LOCK: Final = "requirements-build.lock"


@dataclass(frozen=True, slots=True)
class Release:
    """A manifest, and every file that it names."""

    manifest: Manifest
    data: bytes  # the manifest's own: what the release digest is over
    files: dict[str, bytes]  # wheel, sdist, bill of materials


def assemble(tree: Tree, archives: Mapping[str, bytes], tools: Tools) -> Release:
    """Raises ReleaseRefused if the commit's locks or version cannot be read, or the archives are named otherwise."""
    version = version_of(tree)
    pins = parse_lock(tree.read(LOCK), LOCK)
    sbom_name, sbom = f"glassgate-{version}.cdx.json", make_sbom(version, pins)
    manifest = Manifest(
        form=FORM,
        version=version,
        commit=tree.commit,
        tree=tree.tree,
        source_date_epoch=tree.epoch,
        source_digest=source_digest(tree_sources(tree)),
        artifacts=[artifact_of(name, archives[name]) for name in sorted(archives)],
        requirements_lock=_sha256(tree.read(LOCK)),
        requirements_build_lock=_sha256(tree.read(BUILD_LOCK)),
        sbom=artifact_of(sbom_name, sbom),
        tools=tools,
        trusted_not_rebuilt=_trusted(native(pins)),
    )
    data = write(manifest)
    parse(data)  # what is written must be readable, or it is no release
    return Release(manifest, data, {**archives, sbom_name: sbom})


def version_of(tree: Tree) -> str:
    """The version in the commit's pyproject.toml. Raises CheckoutRefused."""
    try:
        version = tomllib.loads(tree.read("pyproject.toml").decode("utf-8"))["project"]["version"]
    except (ValueError, KeyError, TypeError) as cause:
        raise CheckoutRefused(f"pyproject.toml of commit {tree.commit[:12]} names no version") from cause
    return str(version)


def put(release: Release, directory: Path) -> None:
    """Write it there, the manifest last: where there is one, everything that it names is there too."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).unlink(missing_ok=True)
    for name, data in (*release.files.items(), (NAME, release.data)):
        with tempfile.NamedTemporaryFile(dir=directory, prefix=f".{name}.", delete=False) as file:
            file.write(data)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(directory / name)


def _trusted(pins: tuple[Pin, ...]) -> list[Native]:
    """One for each package and version, also where the lock has it twice for different platforms."""
    hashes: dict[tuple[str, str], set[str]] = {}
    for pin in pins:
        hashes.setdefault((pin.name, pin.version), set()).update(pin.hashes)
    return [
        Native(name=name, version=version, sha256=sorted(files)) for (name, version), files in sorted(hashes.items())
    ]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
