"""What a commit holds, and what is no commit to release."""

import subprocess
from pathlib import Path

import pytest

from glassgate.release.checkout import Checkout, CheckoutRefused
from tests.glassgate.release.conftest import Project

pytestmark = pytest.mark.needs("git")


def test_a_tree_is_what_was_committed_whatever_lies_around(project: Project) -> None:
    head = project.checkout.head()
    project.write("ledger/entry.py", "A = 666\n")
    tree = project.checkout.tree(head)
    assert tree.read("ledger/entry.py") == b"A = 1\n"
    assert tree.commit == head
    assert tree.tree == project.git("rev-parse", "HEAD^{tree}")
    assert tree.epoch == int(project.git("show", "--no-patch", "--format=%ct"))
    assert list(tree.files) == sorted(tree.files)


def test_attributes_and_line_ending_settings_change_nothing(project: Project) -> None:
    """`git archive` would leave the file out and write the commit's id into it."""
    project.write(".gitattributes", "*.py export-subst text eol=crlf\nledger/entry.py export-ignore\n")
    project.write("ledger/entry.py", 'A = "$Format:%H$"\n')
    project.git("config", "core.autocrlf", "true")
    project.commit()
    assert project.tree.read("ledger/entry.py") == b'A = "$Format:%H$"\n'


def test_replacement_objects_are_not_obeyed(project: Project) -> None:
    first = project.checkout.head()
    project.write("ledger/entry.py", "A = 2\n")
    second = project.commit()
    project.git("replace", first, second)
    assert project.git("show", f"{first}:ledger/entry.py") == "A = 2"
    assert project.checkout.tree(first).read("ledger/entry.py") == b"A = 1\n"


def test_executable_files_are_told_apart(project: Project) -> None:
    (project.directory / "ledger/entry.py").chmod(0o755)
    project.commit()
    assert project.tree.files["ledger/entry.py"].executable
    assert not project.tree.files["README.md"].executable


@pytest.mark.parametrize(
    ("path", "text"), [("ledger/entry.py", "A = 2\n"), ("ledger/new.py", ""), ("notes.txt", "for later")]
)
def test_a_dirty_tree_is_refused_by_name(project: Project, path: str, text: str) -> None:
    project.checkout.refuse_dirty()
    project.write(path, text)
    with pytest.raises(CheckoutRefused, match=f"not what the commit holds: '{path}'"):
        project.checkout.refuse_dirty()


def test_staged_and_deleted_files_make_it_dirty_too(project: Project) -> None:
    project.write("ledger/new.py", "")
    project.git("add", "--all")
    with pytest.raises(CheckoutRefused, match=r"ledger/new\.py"):
        project.checkout.refuse_dirty()
    project.commit()
    (project.directory / "ledger/new.py").unlink()
    with pytest.raises(CheckoutRefused, match=r"ledger/new\.py"):
        project.checkout.refuse_dirty()


def test_many_changes_are_counted_and_ignored_ones_are_none(project: Project) -> None:
    project.write("dist/old.whl", "")
    project.checkout.refuse_dirty()
    for number in range(8):
        project.write(f"n{number}", "")
    with pytest.raises(CheckoutRefused, match="'n4' and 3 more"):
        project.checkout.refuse_dirty()


def test_links_and_submodules_are_refused(project: Project) -> None:
    (project.directory / "ledger/link.py").symlink_to("entry.py")
    project.commit()
    with pytest.raises(CheckoutRefused, match=r"'ledger/link\.py' is not a plain file"):
        project.tree  # noqa: B018 reading it is the act


def test_a_tree_that_leads_out_of_itself_is_refused(project: Project) -> None:
    """No git command writes such a tree; somebody who wants a rebuild to write elsewhere does."""
    blob = project.git("rev-parse", "HEAD:README.md")
    inner = _object(project, "tree", b"100644 evil\0" + bytes.fromhex(blob))
    outer = _object(project, "tree", b"40000 ..\0" + bytes.fromhex(inner))
    commit = project.git("commit-tree", outer, "-m", "out")
    with pytest.raises(CheckoutRefused, match=r"'\.\./evil' is no path inside a tree"):
        project.checkout.tree(commit)


def _object(project: Project, kind: str, data: bytes) -> str:
    words = ["git", "-C", str(project.directory), "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout.decode().strip()


def test_what_is_no_commit_is_refused(project: Project) -> None:
    for text in ("HEAD", "--all", "a" * 39, "A" * 40, "a" * 40 + "\n"):
        with pytest.raises(CheckoutRefused, match="is not a commit's id"):
            project.checkout.tree(text)
    with pytest.raises(CheckoutRefused, match="does not have commit"):
        project.checkout.tree("a" * 40)
    blob = project.git("rev-parse", "HEAD:README.md")
    project.git("tag", "--annotate", "--message", "x", "v1")
    for other in (blob, project.git("rev-parse", "v1")):
        with pytest.raises(CheckoutRefused, match="is not a commit here"):
            project.checkout.tree(other)


def test_no_checkout_and_no_git_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(CheckoutRefused, match="not a git repository"):
        Checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheckoutRefused, match="git is not installed"):
        Checkout(tmp_path)
