"""Archives from anybody: read file by file, bounded, or refused."""

import contextlib
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgate.release import archive
from glassgate.release.archive import ArchiveRefused, first_difference, members, wheel_record
from tests.glassgate.release.conftest import a_wheel, an_sdist

WHEEL = "glassgate-1.2.3-py3-none-any.whl"
SDIST = "glassgate-1.2.3.tar.gz"
FILES = {"ledger/a.py": b"A = 1\n", "ledger/b.py": b"B = 2\n"}


def test_both_kinds_come_apart() -> None:
    assert members(WHEEL, a_wheel(FILES)).items() >= FILES.items()
    assert members(SDIST, an_sdist(FILES)) == {f"glassgate-1.2.3/{path}": data for path, data in FILES.items()}


@pytest.mark.parametrize(("name", "make"), [(WHEEL, a_wheel), (SDIST, an_sdist)])
def test_the_first_file_that_differs_is_named(name: str, make: object) -> None:
    assert callable(make)
    said = first_difference(name, make(FILES), make({**FILES, "ledger/b.py": b"B = 3\n"}))
    assert "ledger/b.py differs" in said
    assert "ledger/a.py is missing" in first_difference(name, make(FILES), make({"ledger/b.py": b"B = 2\n"}))


def test_the_same_files_packed_otherwise_are_said_to_be_that() -> None:
    again = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(a_wheel(FILES))) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    assert "every file in it is the same" in first_difference(WHEEL, a_wheel(FILES), again.getvalue())


@pytest.mark.parametrize("name", [WHEEL, SDIST])
@given(data=st.binary(max_size=200))
def test_any_bytes_give_files_or_the_readers_own_error(name: str, data: bytes) -> None:
    with contextlib.suppress(ArchiveRefused):
        members(name, data)


@pytest.mark.parametrize(("name", "whole"), [(WHEEL, a_wheel(FILES)), (SDIST, an_sdist(FILES))])
def test_every_flipped_byte_gives_files_or_the_readers_own_error(name: str, whole: bytes) -> None:
    for index in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            try:
                members(name, whole[:index] + bytes([whole[index] ^ flip]) + whole[index + 1 :])
            except ArchiveRefused as refused:
                assert str(refused).startswith(name) or "not a plain file" in str(refused)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_in_it_twice_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as twice:
        twice.writestr("ledger/a.py", "good")
        twice.writestr("ledger/a.py", "bad")
    with pytest.raises(ArchiveRefused, match=r"ledger/a\.py is in it twice"):
        members(WHEEL, out.getvalue())


def test_a_link_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as linked:
        info = tarfile.TarInfo("glassgate-1.2.3/ledger/a.py")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        linked.addfile(info)
    with pytest.raises(ArchiveRefused, match="not a plain file"):
        members(SDIST, out.getvalue())


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 100_000)
    for name, data in ((WHEEL, a_wheel({"a/a": b"0" * 1_000_000})), (SDIST, an_sdist({"a": b"0" * 1_000_000}))):
        assert len(data) < 5_000
        with pytest.raises(ArchiveRefused, match="unpacks to more than"):
            members(name, data)


def test_a_record_that_is_not_true_of_its_wheel_is_refused() -> None:
    held = members(WHEEL, a_wheel(FILES))
    assert wheel_record(WHEEL, held).keys() == FILES.keys()
    held["ledger/a.py"] = b"A = 2\n"
    with pytest.raises(ArchiveRefused, match=r"its RECORD is not true: ledger/a\.py differs"):
        wheel_record(WHEEL, held)
    with pytest.raises(ArchiveRefused, match="expected one RECORD in it, found 0"):
        wheel_record(WHEEL, FILES)


def test_a_record_alone_is_named_where_nothing_else_differs() -> None:
    said = first_difference(WHEEL, a_wheel(FILES), a_wheel(FILES, record="x,,\n"))
    assert said.endswith("glassgate-1.2.3.dist-info/RECORD differs")
