"""Two builds, the same bytes; and what the comparison finds when they are not."""

from pathlib import Path

import pytest

from glassgate.release.archive import members
from glassgate.release.assemble import BUILD_LOCK, LOCK, assemble, put
from glassgate.release.build import SURROUNDINGS, build_once, build_twice, tree_sources
from glassgate.release.builder import Builder, BuildRefused, find_builder
from glassgate.release.checkout import CheckoutRefused
from glassgate.release.lock import LockRefused, Pin, parse_lock
from glassgate.release.manifest import parse, release_digest_of
from glassgate.release.source_digest import source_digest
from tests.glassgate.release.conftest import TOOLS, Project, packed

pytestmark = pytest.mark.needs("git")


def test_two_builds_in_unlike_surroundings_are_the_same_bytes(project: Project, builder: Builder) -> None:
    made = build_twice(project.tree, builder)
    assert sorted(made) == ["glassgate-1.2.3-py3-none-any.whl", "glassgate-1.2.3.tar.gz"]
    wheel, sdist = (members(name, made[name]) for name in sorted(made))
    assert wheel["migrations/0001_ledger.sql"] == "SELECT 1; -- é\n".encode()
    assert sdist["glassgate-1.2.3/requirements.lock"] == project.tree.read(LOCK)


def test_nothing_that_is_not_committed_gets_in(project: Project, builder: Builder) -> None:
    tree = project.tree
    before = build_once(tree, builder, SURROUNDINGS[0])
    project.write("ledger/entry.py", "A = 666\n")
    project.write("ledger/planted.py", "")
    assert build_once(tree, builder, SURROUNDINGS[1]) == before


@pytest.mark.parametrize(
    ("expression", "where"),
    [
        ("os.getcwd()", "the directory"),
        ("oct(os.umask(0))", "the umask"),
        ("os.environ['TZ']", "the time zone"),
        ("os.environ['HOME']", "the home directory"),
        ("hash('x')", "the hash seed"),
        ("os.stat('ledger/entry.py').st_mtime", "a file's time"),
        ("os.stat('ledger/entry.py').st_mode", "a file's mode"),
        ("sys.getfilesystemencoding()", "the encoding"),
    ],
)
def test_whatever_leaks_in_from_around_is_found(
    project: Project, builder: Builder, expression: str, where: str
) -> None:
    """A build that writes it into the wheel's description differs between the two, and the file is named."""
    project.write("pyproject.toml", _with_hook((project.directory / "pyproject.toml").read_text(encoding="utf-8")))
    project.write(
        "hatch_build.py",
        f"import os, sys\n"
        f"from hatchling.metadata.plugin.interface import MetadataHookInterface\n"
        f"class Leak(MetadataHookInterface):\n"
        f"    def update(self, metadata):\n"
        f"        metadata['description'] = 'built with ' + str({expression}).replace(os.linesep, ' ')\n",
    )
    project.commit()
    with pytest.raises(BuildRefused, match=r"two builds of one commit differ: .*(METADATA|PKG-INFO) differs"):
        build_twice(project.tree, builder)


def _with_hook(pyproject: str) -> str:
    return (
        pyproject.replace("[project]\n", '[project]\ndynamic = ["description"]\n')
        + "[tool.hatch.metadata.hooks.custom]\n"
    )


def test_a_file_that_the_build_leaves_out_is_named(project: Project, builder: Builder) -> None:
    """It works in the checkout, and not where the wheel is installed."""
    project.write(".gitignore", "dist/\n*.sql\n")
    project.git("add", "--force", "migrations/0001_ledger.sql")
    project.commit()
    with pytest.raises(
        BuildRefused, match=r"does not hold what the commit holds: migrations/0001_ledger\.sql is missing"
    ):
        build_twice(project.tree, builder)


def test_a_build_that_fails_says_why(project: Project, builder: Builder) -> None:
    project.write(
        "pyproject.toml", (project.directory / "pyproject.toml").read_text().replace("1.2.3", "not a version")
    )
    project.commit()
    with pytest.raises(BuildRefused, match=r"(?s)failed with exit status 1.*not a version"):
        build_twice(project.tree, builder)


def test_other_tools_than_the_locked_ones_are_refused(project: Project, tmp_path: Path) -> None:
    pins = parse_lock(project.tree.read(BUILD_LOCK), BUILD_LOCK)
    with pytest.raises(BuildRefused, match="is not there"):
        find_builder(pins, tmp_path / "python")
    other = Pin("pytest", "0.0.1", "", ("1" * 64,))
    with pytest.raises(BuildRefused, match=r"has pytest \S+, locked is 0\.0\.1.*--builder PYTHON"):
        find_builder((other,))
    lacking = Pin("no-such-package", "1", "", ("1" * 64,))
    with pytest.raises(BuildRefused, match="has no-such-package not installed, locked is 1"):
        find_builder((lacking,))


def test_a_builder_may_be_named_from_where_one_stands(
    project: Project, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = parse_lock(project.tree.read(BUILD_LOCK), BUILD_LOCK)
    monkeypatch.chdir(builder.python.parent)
    assert find_builder(pins, Path(builder.python.name)).python == builder.python


def test_a_manifest_says_what_was_built_of_what(project: Project) -> None:
    tree = project.tree
    release = assemble(tree, packed(tree), TOOLS)
    manifest = parse(release.data)
    assert (manifest.version, manifest.commit, manifest.tree) == ("1.2.3", tree.commit, tree.tree)
    assert manifest.source_digest == source_digest(tree_sources(tree))
    assert [(one.name, one.version, len(one.sha256)) for one in manifest.trusted_not_rebuilt] == [
        ("msgspec", "0.22.0", 3)
    ]
    assert set(release.files) == {one.name for one in (*manifest.artifacts, manifest.sbom)}
    again = assemble(project.tree, packed(tree), TOOLS)
    assert release_digest_of(again.data) == release_digest_of(release.data)


def test_a_commit_without_locks_or_version_is_no_release(project: Project) -> None:
    archives = packed(project.tree)
    project.write(LOCK, "click>=8\n")
    project.commit()
    with pytest.raises(LockRefused, match=r"requirements\.lock: line 1"):
        assemble(project.tree, archives, TOOLS)
    project.git("rm", "--quiet", LOCK)
    project.commit()
    with pytest.raises(CheckoutRefused, match=r"has no requirements\.lock"):
        assemble(project.tree, archives, TOOLS)
    project.write("pyproject.toml", "[project]\n")
    project.commit()
    with pytest.raises(CheckoutRefused, match="names no version"):
        assemble(project.tree, archives, TOOLS)


def test_the_manifest_is_written_last(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds a manifest finds what it names, also after a build that was cut short."""
    release = assemble(project.tree, packed(project.tree), TOOLS)
    out = tmp_path / "out"
    put(release, out)
    assert {path.name for path in out.iterdir()} == {*release.files, "release.json"}
    replaced = Path.replace

    def fail_on_the_sbom(self: Path, target: Path) -> Path:
        if target.name.endswith(".cdx.json"):
            raise OSError(28, "No space left on device")
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_sbom)
    with pytest.raises(OSError, match="No space"):
        put(release, out)
    assert not (out / "release.json").exists()
