"""The pack's container: one spelling, any zip program opens it, and no byte of it is free."""

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.pack import archive
from ledger.pack.archive import PackRefused, is_member_name, read_archive, write_archive

MEMBERS = {
    "manifest.json": b"{}",
    "checkpoint": b"text\n",
    "entries/0.leaf": b"leaf",
    "entries/10.facts": b"",
    "entries/9.facts": b"x" * 300,
    "stubs/" + "ab" * 16 + "-7.leaf": b"\x00\xff",
}
names = st.one_of(
    st.sampled_from(["checkpoint", "index.html", "manifest.json"]),
    st.builds("entries/{}.{}".format, st.integers(0, 10**15), st.sampled_from(["leaf", "facts", "content-blind"])),
    st.builds("proofs/{}.tlog-proof".format, st.integers(0, 10**15)),
)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=8))
def test_what_is_written_is_read(members: dict[str, bytes]) -> None:
    data = write_archive(members)
    assert read_archive(data) == members
    assert write_archive(dict(reversed(members.items()))) == data
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert {info.filename: opened.read(info) for info in opened.infolist()} == members
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) and info.compress_type == 0 for info in opened.infolist())


def test_every_byte_flipped_is_refused_and_named() -> None:
    data = write_archive(MEMBERS)
    for at in range(len(data)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            with pytest.raises(PackRefused) as refused:
                read_archive(bytes(changed))
            # A flip inside a name may make another member's name: it is named as it stands there, with the place.
            assert refused.value.file in {*MEMBERS, "pack"} or "(byte " in refused.value.text


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_cut_short_and_lengthened(cut: int) -> None:
    data = write_archive(MEMBERS)
    with pytest.raises(PackRefused):
        read_archive(data[: -cut - 1])
    with pytest.raises(PackRefused, match="bytes behind its end"):
        read_archive(data + b"\x00" * (cut + 1))
    with pytest.raises(PackRefused):
        read_archive(b"\x00" * (cut + 1) + data)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_that(data: bytes) -> None:
    with pytest.raises(PackRefused):
        read_archive(data)


@given(st.data())
def test_any_patchwork_of_an_archive_is_refused_or_the_same(data: st.DataObject) -> None:
    whole = write_archive(MEMBERS)
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        changed[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    if bytes(changed) == whole:
        return
    try:
        members = read_archive(bytes(changed))
    except PackRefused:
        return
    assert write_archive(members) == bytes(changed)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../checkpoint",
        "entries/../0.leaf",
        "entries\\0.leaf",
        "C:checkpoint",
        "entries/0.exe",
        "entries/00.leaf",
        "entries/-1.leaf",
        "entries/0.leaf/",
        "entries/0.leaf\n",
        "entries/٣.leaf",
        "entries/" + "1" * 60 + ".leaf",
        "Checkpoint",
        "stubs/0.leaf",
        "run.sh",
    ],
)
def test_names_that_no_member_has(name: str) -> None:
    assert not is_member_name(name)
    with pytest.raises(PackRefused):
        write_archive({name: b""})
    honest = write_archive({"checkpoint": b""})
    raw = name.encode()
    forged = honest.replace(b"checkpoint", raw).replace(
        struct.pack("<H", 10) + b"\x00\x00", struct.pack("<H", len(raw))
    )
    with pytest.raises(PackRefused):
        read_archive(forged)


def _foreign(**options: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as made:  # type: ignore[call-overload]
        for name, data in sorted(MEMBERS.items()):
            made.writestr(name, data)
    return out.getvalue()


def test_other_archives_of_the_same_files_are_refused() -> None:
    for foreign in (_foreign(), _foreign(compression=zipfile.ZIP_DEFLATED), _foreign(compression=zipfile.ZIP_BZIP2)):
        with pytest.raises(PackRefused, match="header in the archive"):
            read_archive(foreign)


def test_a_bomb_costs_what_its_bytes_cost() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("checkpoint", b"\x00" * 10_000_000)
    with pytest.raises(PackRefused, match="header in the archive"):
        read_archive(out.getvalue())


def _local(name: str, data: bytes, size: int | None = None) -> bytes:
    length = len(data) if size is None else size
    crc = zlib.crc32(data)
    return archive._LOCAL.pack(0x04034B50, 10, 0, 0, 0, 0x21, crc, length, length, len(name), 0) + name.encode() + data


def test_a_name_twice_or_out_of_order() -> None:
    for pair in (("checkpoint", "checkpoint"), ("manifest.json", "checkpoint")):
        with pytest.raises(PackRefused, match="out of order, or twice"):
            read_archive(b"".join(_local(name, b"x") for name in pair))


def test_a_size_beyond_the_file() -> None:
    with pytest.raises(PackRefused, match="cut short"):
        read_archive(_local("checkpoint", b"x", 2**32 - 1))


def test_more_members_than_the_old_format_counts() -> None:
    members = {f"entries/{n}.facts": b"" for n in range(65_536)}
    data = write_archive(members)
    assert read_archive(data) == members
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert len(opened.infolist()) == 65_536
    changed = bytearray(data)
    changed[-60] ^= 1  # in the zip64 record
    with pytest.raises(PackRefused, match="end of the archive's directory"):
        read_archive(bytes(changed))


def test_too_much_for_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    with pytest.raises(PackRefused, match="at most 5"):
        write_archive(MEMBERS)
    monkeypatch.undo()
    data = write_archive(MEMBERS)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    with pytest.raises(PackRefused, match="more than 5"):
        read_archive(data)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_PACK_BYTES", 300)
    with pytest.raises(PackRefused, match="larger than 300"):
        write_archive(MEMBERS)
