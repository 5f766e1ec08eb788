"""Installed copies: every file against the wheel, and what a copy says of itself."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from glassgate.release.archive import members, wheel_record
from glassgate.release.assemble import Release
from glassgate.release.identity import Copy, identify, release_digest, running
from glassgate.release.installed import InstalledRefused, against, bytecode, measure, own_record
from glassgate.release.record import Difference
from glassgate.release.source_digest import source_digest
from glassgate.release.verify import NotVerified, verify_installed
from glassgate.wiring.ground import Ground
from tests.glassgate.release.conftest import Project, unpack
from tests.support.source_tree import ROOT

WHEEL = "glassgate-1.2.3-py3-none-any.whl"


@pytest.fixture
def site(released: tuple[Release, Path], tmp_path: Path) -> Path:
    """site-packages with the release's wheel in it."""
    return unpack(released[0].files[WHEEL], tmp_path / "site")


@pytest.fixture
def record(released: tuple[Release, Path]) -> dict[str, str]:
    return wheel_record(WHEEL, members(WHEEL, released[0].files[WHEEL]))


def test_a_fresh_copy_is_the_wheels(released: tuple[Release, Path], site: Path, record: dict[str, str]) -> None:
    release, directory = released
    assert against(record, site) == ()
    found = verify_installed(site, directory / "release.json", directory)
    assert found.digest == release.manifest.source_digest == source_digest(measure(site))
    assert found.words == "1.2.3"
    assert verify_installed(site, None, None).digest == found.digest


def test_one_changed_byte_of_any_installed_file_is_named(
    released: tuple[Release, Path], site: Path, record: dict[str, str]
) -> None:
    directory = released[1]
    for name in record:
        whole = (site / name).read_bytes()
        (site / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert against(record, site) == (Difference(name, "differs"),)
        with pytest.raises(NotVerified, match=f"^{name} differs"):
            verify_installed(site, directory / "release.json", directory)
        (site / name).unlink()
        assert against(record, site) == (Difference(name, "is missing"),)
        (site / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["ledger/planted.py", "ledger/entry.pyc", "glassgate/x.so", "proxy/deep/er/x.py"])
def test_an_added_file_is_named(site: Path, record: dict[str, str], name: str) -> None:
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    (site / name).write_bytes(b"")
    assert against(record, site) == (Difference(name, "does not belong there"),)


def test_linked_files_are_read_and_linked_directories_are_not_believed(
    site: Path, record: dict[str, str], tmp_path: Path
) -> None:
    """Some installers link files from their cache. A linked directory would be a part that nobody measured."""
    (site / "ledger/entry.py").rename(tmp_path / "entry.py")
    (site / "ledger/entry.py").symlink_to(tmp_path / "entry.py")
    assert against(record, site) == ()
    (site / "ledger/more").symlink_to(tmp_path)
    assert against(record, site) == (Difference("ledger/more", "does not belong there"),)


def test_pipes_and_dangling_links_end_nothing(site: Path, record: dict[str, str]) -> None:
    os.mkfifo(site / "ledger/pipe.py")
    (site / "ledger/nowhere.py").symlink_to("gone.py")
    assert [one.path for one in against(record, site)] == ["ledger/nowhere.py", "ledger/pipe.py"]


def test_compiled_code_is_counted_and_not_compared(site: Path, record: dict[str, str]) -> None:
    (site / "ledger/__pycache__").mkdir()
    (site / "ledger/__pycache__/entry.cpython-311.pyc").write_bytes(b"anything")
    assert against(record, site) == ()
    assert bytecode(site) == 1


def test_what_an_installer_adds_is_its_affair(site: Path, record: dict[str, str]) -> None:
    info = site / "glassgate-1.2.3.dist-info"
    (info / "INSTALLER").write_text("pip\n")
    with (info / "RECORD").open("a") as file:
        file.write(f"../../../bin/glassgate,sha256={'A' * 43},200\nglassgate-1.2.3.dist-info/REQUESTED,,\n")
    assert against(record, site) == ()
    own = own_record(site)
    assert own is not None
    assert against(own, site) == ()


def test_a_package_that_is_gone_is_no_copy(site: Path) -> None:
    for file in (site / "overseer").iterdir():
        file.unlink()
    (site / "overseer").rmdir()
    with pytest.raises(InstalledRefused, match=r"overseer cannot be read: No such file"):
        measure(site)


def test_a_checkout_is_not_an_installed_copy(project: Project) -> None:
    assert own_record(project.directory) is None
    with pytest.raises(NotVerified, match="holds no glassgate that was installed from a wheel"):
        verify_installed(project.directory, None, None)


def test_a_copy_says_what_it_is(project: Project, site: Path, released: tuple[Release, Path]) -> None:
    installed, checkout = identify(site), identify(project.directory)
    assert installed.words == "1.2.3"
    assert checkout.words == "1.2.3 (development checkout)"
    # The same sources have the same digest, wherever they lie; a checkout says that it is one all the same.
    assert installed.digest == checkout.digest == released[0].manifest.source_digest
    (site / "ledger/entry.py").write_text("A = 2\n")
    changed = identify(site)
    assert changed.words == "1.2.3 (not as installed: ledger/entry.py differs)"
    assert changed.digest not in ("", installed.digest)


@pytest.mark.parametrize("text", ["a,b\n", "x,md5=1,1\n", "\x00", ""])
def test_a_spoiled_record_is_said_and_ends_nothing(site: Path, text: str) -> None:
    (site / "glassgate-1.2.3.dist-info/RECORD").write_text(text)
    assert identify(site).words.startswith("1.2.3 (")


def test_a_copy_that_cannot_be_read_says_so(site: Path) -> None:
    (site / "ledger").rename(site / "ledger-away")
    copy = identify(site)
    assert copy.digest == ""
    assert copy.words.startswith("1.2.3 (not measured: ")
    assert identify(site / "nowhere").words.startswith("unknown version (not measured: ")


def test_an_editable_install_is_a_checkout(project: Project) -> None:
    info = project.directory / "glassgate-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: glassgate\nVersion: 1.2.3\n")
    (info / "RECORD").write_text(f"_editable.pth,sha256={'A' * 43},20\n")
    assert identify(project.directory).words == "1.2.3 (development checkout)"


def test_this_copy_measures_itself() -> None:
    found, copy = release_digest(), running()
    assert isinstance(copy, Copy)
    assert copy.site == ROOT
    assert (found.digest, found.words) == (copy.digest, copy.words)
    assert found.words.endswith("(development checkout)")


def test_a_package_from_elsewhere_is_not_passed_off_as_measured(tmp_path: Path) -> None:
    """With another `proxy` in front on the path, the files beside us are not what runs."""
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy/__init__.py").write_text("")
    run = "from glassgate.release.identity import release_digest; print(*release_digest(), sep='|')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", run],
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("|")
    assert f"not measured: proxy is taken from {tmp_path / 'proxy'}" in done.stdout


def test_what_starts_says_so_in_its_first_entry(tmp_path: Path) -> None:
    gate = SimpleNamespace(origin="gate.example/log/acme", member="acme", trial=True)
    nobody = SimpleNamespace(of=lambda role: SimpleNamespace(writer="", counter=-1))
    ground = SimpleNamespace(config=SimpleNamespace(gate=gate), predecessors=nobody)
    ground.host_key = Ed25519PrivateKey.generate()
    writer = Ground.writer(ground)  # type: ignore[arg-type]
    facts = Ground.introduction(ground, writer, "proxy").facts  # type: ignore[arg-type]
    assert isinstance(facts, dict)
    assert (facts["release"], facts["version"]) == release_digest()
    assert writer.release == facts["release"] != ""
