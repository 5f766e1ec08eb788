"""Whether a release is what its manifest says, and what its commit gives: checked here, without a network.

    1. The manifest is one, in its one canonical form; its digest is what the release is called by.
    2. Wheel, sdist and bill of materials lie beside it, with the sizes and digests that it names.
    3. Wheel and sdist hold the program with the source digest that it names.
    4. The checkout has the commit that it names.
    5. Everything in the manifest that does not need a build follows from that commit.
    6. The commit, built again here, gives the same bytes.

The first step that fails ends it: what comes after would be measured against something already known to be wrong.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glassgate.release.archive import first_difference, members, sources, wheel_record
from glassgate.release.assemble import BUILD_LOCK, Release, assemble
from glassgate.release.build import SURROUNDINGS, build_once, tree_sources
from glassgate.release.builder import find_builder
from glassgate.release.checkout import Checkout, CheckoutRefused, Tree
from glassgate.release.errors import ReleaseRefused
from glassgate.release.identity import Copy
from glassgate.release.installed import against, measure, own_record, version_at
from glassgate.release.lock import parse_lock
from glassgate.release.manifest import Artifact, Manifest, parse, release_digest_of, sdist_of, unlike, wheel_of
from glassgate.release.record import differences
from glassgate.release.source_digest import source_digest

__all__ = ["NotVerified", "Verified", "check_files", "read_bounded", "verify", "verify_installed"]

MAX_BYTES = 64 << 20
"""Of one file of a release. Today's are below 2 MiB."""


class NotVerified(ReleaseRefused):
    """Something is not as the manifest says; the text begins with the first file, or field, that is not."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A release that was rebuilt here."""

    manifest: Manifest
    release_digest: str
    remarks: tuple[str, ...]


def verify(
    manifest_path: Path, directory: Path, checkout: Checkout, builder: Path | None, told: Callable[[str], None]
) -> Verified:
    """Take the six steps; `told` hears of each before it is taken. Raises ReleaseRefused (mostly NotVerified)."""
    told(f"reading {manifest_path}")
    data = read_bounded(manifest_path)
    manifest = parse(data)  # 1
    told("comparing the files with the manifest")
    files = check_files(manifest, directory)  # 2
    check_sources(manifest, files)  # 3
    told(f"reading commit {manifest.commit[:12]}")
    tree = check_commit(manifest, checkout)  # 4
    check_fields(manifest, tree, files)  # 5
    found = find_builder(parse_lock(tree.read(BUILD_LOCK), BUILD_LOCK), builder)
    told("building it again")
    rebuilt = build_once(tree, found, SURROUNDINGS[1])
    tools = [
        f"built with {name} {theirs}, rebuilt with {ours}"
        for name in ("python", "hatchling", "zlib")
        if (theirs := getattr(manifest.tools, name)) != (ours := getattr(found.tools, name))
    ]
    for one in manifest.artifacts:  # 6
        if rebuilt.get(one.name) != files[one.name]:
            why = first_difference(one.name, rebuilt.get(one.name, b""), files[one.name])
            raise NotVerified("; ".join([f"{why}, compared with what commit {tree.commit[:12]} gives here", *tools]))
    return Verified(manifest, release_digest_of(data), tuple(tools))


def check_files(manifest: Manifest, directory: Path) -> dict[str, bytes]:
    """Name -> bytes of every file that the manifest names. Raises NotVerified."""
    return {one.name: _check_file(one, directory) for one in (*manifest.artifacts, manifest.sbom)}


def _check_file(named: Artifact, directory: Path) -> bytes:
    data = read_bounded(directory / named.name)
    if len(data) != named.size_bytes:
        raise NotVerified(f"{named.name} has {len(data)} bytes, the manifest says {named.size_bytes}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != named.sha256:
        raise NotVerified(f"{named.name} has the digest {digest}, the manifest says {named.sha256}")
    return data


def check_sources(manifest: Manifest, files: dict[str, bytes]) -> None:
    """That both archives hold the program which the manifest names by its source digest. Raises NotVerified."""
    for one in (wheel_of(manifest), sdist_of(manifest)):
        found = source_digest(sources(one.name, members(one.name, files[one.name])))
        if found != manifest.source_digest:
            raise NotVerified(f"{one.name} holds sources with the digest {found}, not {manifest.source_digest}")


def check_commit(manifest: Manifest, checkout: Checkout) -> Tree:
    """What the manifest's commit holds. Raises NotVerified, CheckoutRefused."""
    tree = checkout.tree(manifest.commit)
    if tree.tree != manifest.tree:
        raise NotVerified(f"tree: commit {tree.commit[:12]} holds tree {tree.tree}, the manifest says {manifest.tree}")
    return tree


def check_fields(manifest: Manifest, tree: Tree, files: dict[str, bytes]) -> Release:
    """That locks, version, bill of materials, source digest and trusted packages follow from the commit."""
    archives = {one.name: files[one.name] for one in manifest.artifacts}
    try:
        ours = assemble(tree, archives, manifest.tools)
    except CheckoutRefused as cause:
        raise NotVerified(str(cause)) from cause
    fields = unlike(manifest, ours.manifest)
    if "source_digest" in fields:
        wheel = wheel_of(manifest).name
        changed = differences(tree_sources(tree), sources(wheel, members(wheel, files[wheel])))
        raise NotVerified(f"{wheel}: {changed[0]}, compared with commit {tree.commit[:12]}")
    if fields:
        raise NotVerified(f"{fields[0]}: not what commit {tree.commit[:12]} gives")
    return ours


def read_bounded(path: Path) -> bytes:
    """The file's bytes. Raises NotVerified if it cannot be read, or is larger than anything of ours."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as cause:
        raise NotVerified(f"{path.name} cannot be read: {cause.strerror}") from cause
    if len(data) > MAX_BYTES:
        raise NotVerified(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    return data


def verify_installed(site: Path, manifest_path: Path | None, directory: Path | None) -> Copy:
    """The copy in `site`, every file of which is as the wheel has it. Raises ReleaseRefused (mostly NotVerified).

    The wheel is the one in `directory` that the manifest names. Without a manifest the judge is the RECORD that the
    installer left in `site`.
    """
    if manifest_path is None or directory is None:
        record = own_record(site)
        if record is None:
            raise NotVerified(f"{site} holds no glassgate that was installed from a wheel")
        version = version_at(site)
    else:
        manifest = parse(read_bounded(manifest_path))
        named = wheel_of(manifest)
        record = wheel_record(named.name, members(named.name, _check_file(named, directory)))
        version = manifest.version
    changed = against(record, site)
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise NotVerified(f"{changed[0]}{more}, compared with the wheel's RECORD")
    found = measure(site)
    return Copy(site, version, source_digest(found), len(found), installed=True)
