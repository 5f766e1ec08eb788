"""The source digest: what stock tools print, and nothing left out."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from glassgate.release import source_digest as module
from glassgate.release.installed import measure
from glassgate.release.source_digest import PACKAGES, is_source, source_digest
from tests.glassgate.release.conftest import Project
from tests.support.source_tree import PACKAGES as OURS
from tests.support.source_tree import ROOT


def test_the_packages_are_those_that_the_wheel_installs() -> None:
    assert set(PACKAGES) == set(OURS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("ledger/entry.py", True),
        ("migrations/0001_ledger.sql", True),
        ("ledger/entry.pyc", True),  # importable where there is no entry.py
        ("ledger/__pycache__/entry.cpython-311.pyc", False),
        ("ledger/__pycache__/planted.py", True),
        ("__pycache__/x.pyc", False),
        ("tests/test_docs.py", False),
        ("ledger", False),
        ("ledger.py", False),
    ],
)
def test_what_belongs_to_the_program(path: str, is_one: bool) -> None:
    assert is_source(path) is is_one


def test_it_is_what_the_command_in_the_docstring_prints(project: Project) -> None:
    project.write("ledger/__pycache__/entry.cpython-311.pyc", "compiled")
    project.write("approvals/a b-é.txt", "x")
    project.write("approvals/line\nfeed\\.txt", "x")
    command = re.search(r"^    find (?:.|\n)*?\| sha256sum$", module.__doc__ or "", re.MULTILINE)
    assert command
    done = subprocess.run(["sh", "-c", command[0]], cwd=project.directory, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [source_digest(measure(project.directory)), "-"]


def test_a_name_cannot_pass_for_two_lines() -> None:
    one, two = "1" * 64, "2" * 64
    honest = {"ledger/a": one, "ledger/b": two}
    forged = {f"ledger/a\n{two}  ledger/b": one}
    assert source_digest(honest) != source_digest(forged)


def test_every_changed_added_removed_or_renamed_file_changes_it(project: Project) -> None:
    before = measure(project.directory)
    seen = {source_digest(before)}
    for path in before:
        for other in (
            {**before, path: "0" * 64},
            {name: digest for name, digest in before.items() if name != path},
            {**{name: digest for name, digest in before.items() if name != path}, path + "x": before[path]},
            {**before, path + "x": before[path]},
        ):
            seen.add(source_digest(other))
    assert len(seen) == 1 + 4 * len(before)


def test_names_that_are_not_text_are_counted_too(tmp_path: Path) -> None:
    assert source_digest({"ledger/\udcff": "1" * 64}) != source_digest({"ledger/\ufffd": "1" * 64})
