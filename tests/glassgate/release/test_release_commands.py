"""release build, verify and show as people type them; and this project itself, built and installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from glassgate.cli.main import main
from glassgate.release.builder import Builder
from glassgate.release.manifest import parse, release_digest_of
from tests.glassgate.release.conftest import Project, unpack
from tests.support.source_tree import ROOT, committed_files

pytestmark = pytest.mark.needs("git")

WHEEL = "glassgate-1.2.3-py3-none-any.whl"


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["release", *map(str, words)], prog_name="glassgate", catch_exceptions=False)


@pytest.fixture
def there(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.directory)
    return project


def test_build_then_verify_then_install(there: Project, builder: Builder, tmp_path: Path) -> None:
    done = typed("build", "--builder", builder.python)
    assert done.exit_code == 0, done.output
    data = (there.directory / "dist/release.json").read_bytes()
    assert done.stdout.startswith("two builds, the same bytes.\nversion         1.2.3\n")
    assert release_digest_of(data) in done.stdout
    there.checkout.refuse_dirty()  # what it wrote is ignored

    done = typed("verify", "--builder", builder.python)
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            f"verified: glassgate 1.2.3 is what commit {there.checkout.head()} gives, byte for byte.",
            f"release digest {release_digest_of(data)}",
            "taken as they are, not rebuilt: msgspec",
        ],
    )
    site = unpack((there.directory / "dist" / WHEEL).read_bytes(), tmp_path / "site")
    done = typed("verify", "dist", "--site", site)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"source digest {parse(data).source_digest}")
    (site / "ledger/entry.py").write_text("A = 2\n")
    done = typed("verify", "dist", "--site", site)
    assert (done.exit_code, done.stdout) == (
        1,
        "NOT VERIFIED: ledger/entry.py differs, compared with the wheel's RECORD.\n",
    )
    done = typed("verify", "dist", "--site", site, "--json")
    assert (done.exit_code, json.loads(done.stdout)["verified"]) == (1, False)


def test_a_dirty_tree_is_refused_and_nothing_is_written(there: Project) -> None:
    there.write("ledger/entry.py", "A = 2\n")
    done = typed("build")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "glassgate: no release: the working tree is not what the commit holds: 'ledger/entry.py'. "
        "A release is made from a commit: commit these, put them aside, or let git ignore them.\n"
    )
    assert not (there.directory / "dist").exists()


def test_without_the_locked_tools_it_says_what_to_do(there: Project) -> None:
    done = typed("build", "--builder", "nowhere/python")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nowhere/python is not there" in done.stderr
    assert "pip install --require-hashes -r requirements-build.lock" in done.stderr


def test_verify_without_a_release_says_so(there: Project) -> None:
    done = typed("verify")
    assert (done.exit_code, done.stdout) == (
        1,
        "NOT VERIFIED: release.json cannot be read: No such file or directory.\n",
    )


def test_names_from_a_foreign_commit_do_not_move_the_cursor(there: Project) -> None:
    there.write("evil\x1b[2Jname", "")
    done = typed("build")
    assert "\x1b" not in done.stderr
    assert done.exit_code == 1


def test_this_checkout_says_that_it_is_one() -> None:
    done = typed("show", "--json")
    told = json.loads(done.stdout)
    assert told["says"].endswith("(development checkout)")
    assert told["installed"] is False
    assert len(told["source_digest"]) == 64
    assert told["source_digest"] in typed("show").stdout
    done = typed("verify", "--installed")
    assert done.exit_code == 1
    assert "holds no glassgate that was installed from a wheel" in done.stdout


def test_this_project_itself(there: Project, builder: Builder, tmp_path: Path) -> None:
    """What lies here now, committed elsewhere: built twice, built again, installed, and asked who it is."""
    for path in there.directory.iterdir():
        if path.name != ".git":
            there.git("rm", "-r", "--quiet", path.name)
    for path in committed_files():
        name = path.relative_to(ROOT)
        (there.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (there.directory / name).write_bytes(path.read_bytes())
    there.commit()
    for words in (("build",), ("verify",)):
        done = typed(*words, "--builder", builder.python)
        assert done.exit_code == 0, done.output
    manifest = parse((there.directory / "dist/release.json").read_bytes())
    wheel = (there.directory / "dist" / manifest.artifacts[0].name).read_bytes()
    site = unpack(wheel, tmp_path / "site")
    run = "from glassgate.release.identity import release_digest; print(*release_digest(), sep='|')"
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", run],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{manifest.source_digest}|{manifest.version}\n"
