"""Profiles hold sessions: private files, whole or not at all, and never believed when others could touch them."""

import os
import stat
from pathlib import Path

import pytest

from glassgate.cli import profile
from glassgate.cli.profile import Profile, ProfileRefused

ADA = Profile("https://gate.example", "ggs_secret", "ada", "", "key")


def test_saved_and_read_back(tmp_path: Path) -> None:
    path = profile.save(tmp_path, "engineer", ADA)
    assert profile.load(tmp_path, "engineer") == ADA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path], "no temporary file stays behind"


def test_a_directory_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir(mode=0o755)
    path = profile.save(tmp_path, "default", ADA)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert profile.load(tmp_path, "default") is None
    profile.forget(tmp_path, "default")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_refused_when_others_can_touch_it(tmp_path: Path, mode: int) -> None:
    profile.save(tmp_path, "default", ADA).chmod(mode)
    with pytest.raises(ProfileRefused, match="can be read or changed by others") as refused:
        profile.load(tmp_path, "default")
    assert "ggs_secret" not in str(refused.value)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    real = profile.save(tmp_path, "real", ADA)
    (real.parent / "default.json").symlink_to(real)
    with pytest.raises(ProfileRefused, match="cannot be opened"):
        profile.load(tmp_path, "default")


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "profiles" / "default.json").mkdir(parents=True, mode=0o700)
    with pytest.raises(ProfileRefused, match="not a regular file"):
        profile.load(tmp_path, "default")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(tmp_path: Path) -> None:
    os.chown(profile.save(tmp_path, "default", ADA), 12345, -1)
    with pytest.raises(ProfileRefused, match="belongs to somebody else"):
        profile.load(tmp_path, "default")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\x00b", "-x", "a" * 65, "é"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProfileRefused, match="cannot be a profile's name"):
        profile.load(tmp_path, name)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'{"server": 1}', b'{"stranger": "x"}', b"\xff\xfe", b"[" * 100_000, b" " * 70_000],
)
def test_garbage_is_refused_with_what_to_do(tmp_path: Path, data: bytes) -> None:
    path = profile.save(tmp_path, "default", ADA)
    path.write_bytes(data)
    with pytest.raises(ProfileRefused, match="log in again"):
        profile.load(tmp_path, "default")


def test_home(tmp_path: Path) -> None:
    assert profile.home({"GLASSGATE_HOME": "/g", "XDG_CONFIG_HOME": "/x"}) == Path("/g")
    assert profile.home({"XDG_CONFIG_HOME": "/x"}) == Path("/x/glassgate")
    assert profile.home({}) == Path.home() / ".config" / "glassgate"
