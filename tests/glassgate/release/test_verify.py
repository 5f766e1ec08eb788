"""A release against its manifest, its commit, and another build of it: one changed byte anywhere is named."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from glassgate.release.assemble import Release, assemble, put
from glassgate.release.build import build_twice
from glassgate.release.builder import Builder, BuildRefused
from glassgate.release.checkout import CheckoutRefused
from glassgate.release.errors import ReleaseRefused
from glassgate.release.manifest import ManifestRefused, release_digest_of
from glassgate.release.verify import NotVerified, Verified, verify
from ledger.encoding import encode
from tests.glassgate.release.conftest import TOOLS, Project, a_wheel, an_sdist, packed

pytestmark = pytest.mark.needs("git")

WHEEL = "glassgate-1.2.3-py3-none-any.whl"
SDIST = "glassgate-1.2.3.tar.gz"
SBOM = "glassgate-1.2.3.cdx.json"
NO_BUILDER = Path("no-python-here")
Made = tuple[Release, Path]


def check(project: Project, directory: Path, builder: Path = NO_BUILDER) -> Verified:
    return verify(directory / "release.json", directory, project.checkout, builder, lambda _: None)


@pytest.fixture
def built(project: Project, builder: Builder) -> Made:
    """A release of the project as `release build` makes it."""
    made = assemble(project.tree, build_twice(project.tree, builder), builder.tools)
    put(made, project.directory / "dist")
    return made, project.directory / "dist"


def test_a_release_is_verified_by_building_it_again(project: Project, built: Made, builder: Builder) -> None:
    release, directory = built
    project.write("ledger/entry.py", "A = 2\n")
    project.commit()  # the checkout has moved on; the manifest's commit is what counts
    found = check(project, directory, builder.python)
    assert found.release_digest == release_digest_of(release.data)
    assert found.remarks == ()


def test_an_artifact_that_the_commit_does_not_give_is_named_with_its_file(
    project: Project, built: Made, builder: Builder
) -> None:
    """Manifest and archive agree and hold the commit's sources; only building shows the added line of metadata."""
    release, directory = built
    archives = {name: data for name, data in release.files.items() if name != SBOM}
    archives[WHEEL] = packed(project.tree)[WHEEL]
    put(assemble(project.tree, archives, builder.tools), directory)
    with pytest.raises(NotVerified, match=rf"^{WHEEL}: glassgate-1\.2\.3\.dist-info/METADATA differs"):
        check(project, directory, builder.python)


def test_other_tools_are_remarked_on(project: Project, built: Made, builder: Builder) -> None:
    release, directory = built
    archives = {name: data for name, data in release.files.items() if name != SBOM}
    put(assemble(project.tree, archives, TOOLS.__class__(python="3.99.0", hatchling="1.33.0", zlib="9")), directory)
    said = check(project, directory, builder.python).remarks
    assert said[0].startswith("built with python 3.99.0, rebuilt with 3.")
    assert said[1].startswith("built with zlib 9, rebuilt with ")


def test_without_the_tools_nothing_is_verified(project: Project, released: Made) -> None:
    with pytest.raises(BuildRefused, match="no-python-here is not there"):
        check(project, released[1])


@pytest.mark.parametrize("name", [WHEEL, SDIST, SBOM])
def test_every_changed_byte_of_a_file_is_named(project: Project, released: Made, name: str) -> None:
    path = released[1] / name
    whole = path.read_bytes()
    for index in range(0, len(whole), max(1, len(whole) // 20)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        with pytest.raises(NotVerified, match=f"^{name} has the digest"):
            check(project, released[1])
    path.write_bytes(whole + b"\n")
    with pytest.raises(NotVerified, match=f"^{name} has {len(whole) + 1} bytes, the manifest says {len(whole)}"):
        check(project, released[1])
    path.unlink()
    with pytest.raises(NotVerified, match=f"^{name} cannot be read: No such file"):
        check(project, released[1])


def test_a_changed_byte_of_the_manifest_is_refused(project: Project, released: Made) -> None:
    """All but those that name the tools, which are remarked on when the builds are compared."""
    path = released[1] / "release.json"
    whole = path.read_bytes()
    tools = whole.index(b'"tools"')
    for index in range(0, len(whole), 7):  # test_manifest.py takes every one; here each asks git
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        with pytest.raises(ReleaseRefused) as refused:
            check(project, released[1])
        if not tools < index < whole.index(b"}", tools):
            assert isinstance(refused.value, ManifestRefused | NotVerified | CheckoutRefused), index


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("commit", "0" * 40, "does not have commit 0000"),
        ("tree", "0" * 40, "^tree: commit [0-9a-f]{12} holds tree"),
        ("source_date_epoch", 1, "^source_date_epoch: not what commit"),
        ("requirements_lock", "0" * 64, "^requirements_lock: not what commit"),
        ("requirements_build_lock", "0" * 64, "^requirements_build_lock: not what commit"),
        ("trusted_not_rebuilt", [], "^trusted_not_rebuilt: not what commit"),
        ("source_digest", "0" * 64, f"^{WHEEL} holds sources with the digest"),
    ],
)
def test_a_field_that_the_commit_does_not_give_is_named(
    project: Project, released: Made, field: str, value: Any, said: str
) -> None:
    release, directory = released
    (directory / "release.json").write_bytes(encode({**json.loads(release.data), field: value}))
    with pytest.raises(ReleaseRefused, match=said):
        check(project, directory)


def test_a_bill_of_materials_that_leaves_something_out_is_named(project: Project, released: Made) -> None:
    release, directory = released
    spoiled = release.files[SBOM].replace(b"msgspec", b"msgspek")
    (directory / SBOM).write_bytes(spoiled)
    other = json.loads(release.data)
    other["sbom"]["sha256"] = hashlib.sha256(spoiled).hexdigest()
    (directory / "release.json").write_bytes(encode(other))
    with pytest.raises(NotVerified, match=r"^sbom: not what commit"):
        check(project, directory)


def test_archives_with_one_other_source_file_are_named_by_it(project: Project, released: Made) -> None:
    """Manifest, wheel and sdist agree with each other; the commit does not."""
    tree = project.tree
    project.write("ledger/entry.py", "A = 1  # and a way in\n")
    project.commit()
    forged = assemble(project.tree, packed(project.tree), TOOLS)
    fields = {**json.loads(forged.data), "commit": tree.commit, "tree": tree.tree}
    put(forged, released[1])
    (released[1] / "release.json").write_bytes(encode(fields))
    with pytest.raises(NotVerified, match=rf"^{WHEEL}: ledger/entry\.py differs, compared with commit"):
        check(project, released[1])


def test_a_wheel_and_an_sdist_of_different_sources_are_no_release(project: Project, released: Made) -> None:
    tree = project.tree
    files = {path: file.data for path, file in tree.files.items()} | {"ledger/entry.py": b"A = 2\n"}
    put(assemble(tree, {**packed(tree), SDIST: an_sdist(files)}, TOOLS), released[1])
    with pytest.raises(NotVerified, match=f"^{SDIST} holds sources with the digest"):
        check(project, released[1])
    put(assemble(tree, {**packed(tree), WHEEL: a_wheel({"ledger/entry.py": b"A = 1\n"})}, TOOLS), released[1])
    with pytest.raises(NotVerified, match=f"^{WHEEL} holds sources with the digest"):
        check(project, released[1])


def test_a_manifest_that_is_none_is_refused_before_anything_is_read(project: Project, released: Made) -> None:
    for data in (b"", b"{}", b"\x00" * 100, b"[" * 10_000):
        (released[1] / "release.json").write_bytes(data)
        with pytest.raises(ManifestRefused):
            check(project, released[1])
    (released[1] / "release.json").unlink()
    with pytest.raises(NotVerified, match=r"^release\.json cannot be read"):
        check(project, released[1])
