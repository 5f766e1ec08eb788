"""A journal's directory: what is accepted, what is cut, and what refuses to start, with the words a person reads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.journal_disk import LocalDisk
from ledger.journal_files import JournalFiles, JournalRefused, JournalUntrusted
from ledger.journal_format import read_segment_header, scan
from ledger.journal_salvage import salvage
from tests.ledger.journal_world import ID, Landing, Pen, left_in, opened


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def _begun(place: Path, **options: Any) -> JournalFiles:
    files = opened(place, **options)
    for _, through in files.unshipped():
        files.note_shipped(through)
    files.begin()
    return files


def _filled(place: Path, count: int = 3, **options: Any) -> tuple[JournalFiles, Pen, list[Any]]:
    files, pen = _begun(place, **options), Pen()
    batches = pen.batches(count)
    for batch in batches:
        files.append(batch)
    return files, pen, batches


def _segments(place: Path) -> list[Path]:
    return sorted(place.glob("*.journal"))


def _end(path: Path) -> int:
    """Where the room behind the last record begins."""
    data = path.read_bytes()
    return scan(data, read_segment_header(data), newest=True).end


def _shorten(path: Path) -> None:
    """Take the last record's last byte."""
    path.write_bytes(path.read_bytes()[: _end(path) - 1])


def _refused(place: Path, words: str, **options: Any) -> None:
    with pytest.raises(JournalRefused, match=words):
        opened(place, **options)


def test_what_was_appended_is_found_again(place: Path) -> None:
    files, pen, batches = _filled(place)
    files.close()
    again = opened(place, {pen.id: 2}, ID.hex(), new_id=bytes(16))
    assert again.journal_id == ID.hex()
    assert again.last_counters == {pen.id: 2}
    assert left_in(again) == batches
    again.close()


def test_nobody_else_can_read_it(place: Path) -> None:
    old = os.umask(0)
    try:
        files, _, _ = _filled(place)
    finally:
        os.umask(old)
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    files.close()
    place.chmod(0o770)
    opened(place).close()
    assert place.stat().st_mode & 0o777 == 0o700


def test_shipped_segments_are_deleted_and_writers_remembered(place: Path) -> None:
    files, pen, _ = _filled(place, 20, segment_bytes=2000)
    assert len(_segments(place)) > 5
    files.note_shipped(10)
    left = len(_segments(place))
    assert 1 < left < 20
    files.note_shipped(20)
    assert len(_segments(place)) == files.segments == 1
    files.close()
    again = _begun(place, expected={pen.id: 19}, segment_bytes=2000)
    assert left_in(again) == []
    assert again.last_counters == {pen.id: 19}
    again.close()
    assert len(_segments(place)) == 1
    _refused(place, f"writer {pen.id} had come to counter 20, and only counter 19", expected={pen.id: 20})


def test_a_segment_is_kept_until_all_of_it_is_shipped(place: Path) -> None:
    files, _, batches = _filled(place, 4, segment_bytes=2000)
    for through in range(4):
        files.note_shipped(through)
        on_disk = b"".join(path.read_bytes() for path in _segments(place))
        assert all(batch.data in on_disk for batch in batches[through:])
    files.close()


def test_the_mark_spares_what_is_shipped(place: Path) -> None:
    files, _, batches = _filled(place)
    files.note_shipped(2)
    files.close()
    again = opened(place)
    assert left_in(again) == batches[2:]
    again.close()


def test_a_record_larger_than_a_segment_has_one_of_its_own(place: Path) -> None:
    files, pen, batches = _filled(place, 1, segment_bytes=2000)
    large = pen.batch(20)
    files.append(large)
    files.append(pen.batch())
    files.close()
    assert len(_segments(place)) == 3
    again = opened(place)
    assert left_in(again)[:2] == [*batches, large]
    again.close()


def _crashed(place: Path, files: JournalFiles) -> Path:
    """The directory as a killed process leaves it, apart from the files' still living owner."""
    copy = place.with_name("crashed")
    copy.mkdir()
    for path in place.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    files.close()
    return copy


@pytest.mark.parametrize("room", [0, 300])
def test_a_torn_tail_is_cut_at_every_byte(place: Path, room: int) -> None:
    files, pen, batches = _filled(place, 2)
    files.note_shipped(1)  # the mark knows of two
    end = _end(_segments(place)[-1])
    files.append(pen.batch())
    crashed = _crashed(place, files)
    segment = _segments(crashed)[-1]
    data = segment.read_bytes()[: _end(segment)]
    for length in range(end, len(data) - 1):
        segment.write_bytes(data[:length] + bytes(room))
        again = opened(crashed)
        assert left_in(again) == batches[1:]
        again.close()
        assert segment.read_bytes()[:end] == data[:end]
        assert not any(segment.read_bytes()[end:])


def test_what_was_acknowledged_is_not_cut_as_torn(place: Path) -> None:
    files, pen, _ = _filled(place, 2)
    files.note_shipped(1)
    crashed = _crashed(place, files)
    _shorten(_segments(crashed)[-1])
    _refused(crashed, "shorter than it was: 1 records of 2")
    # Before the mark says so, the caller may know.
    files, pen, _ = _filled(place.with_name("other"), 2)
    crashed.rename(crashed.with_name("first"))
    crashed = _crashed(place.with_name("other"), files)
    _shorten(_segments(crashed)[-1])
    _refused(crashed, f"writer {pen.id} had come to counter 1, and only counter 0", expected={pen.id: 1})


def test_every_damaged_byte_in_the_middle_refuses_and_says_what_to_do(place: Path) -> None:
    files, _, batches = _filled(place, 3)
    files.note_shipped(1)
    crashed = _crashed(place, files)
    segment = _segments(crashed)[-1]
    data = segment.read_bytes()
    data = data[: data.index(batches[-1].data) + len(batches[-1].data)]
    for at in range(0, len(data) - len(batches[-1].data) - 24, 7):
        segment.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        _refused(crashed, r"0000000000000001\.journal: .*Bring the volume back .* salvage the journal")


def test_damage_in_an_older_segment(place: Path) -> None:
    files, _, _ = _filled(place, 4, segment_bytes=2000)
    files.close()
    first = _segments(place)[0]
    _shorten(first)
    _refused(place, "0001.journal: record 1 .* is damaged, and a later segment exists")


@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (lambda place: _segments(place)[0].unlink(), "records 0 to 1 are missing, and were not shipped"),
        (lambda place: _segments(place)[1].unlink(), "segment 2 is missing before it"),
        (lambda place: _segments(place)[-1].unlink(), "segment 3 is missing"),
        (lambda place: [path.unlink() for path in _segments(place)], "segment 3 is missing"),
        (lambda place: (place / "mark").unlink(), "segments are here, and no mark"),
        (lambda place: (place / "mark").write_bytes(b""), "mark: no whole mark"),
        (lambda place: _segments(place)[2].rename(place / "0000000000000009.journal"), "its header says segment 3"),
        (lambda place: [p.unlink() for p in place.iterdir()], f"nothing is here, and journal {ID.hex()} is expected"),
    ],
)
def test_what_is_missing_is_missed(place: Path, lose: Any, words: str) -> None:
    files, _, _ = _filled(place, 5, segment_bytes=2000)
    files.close()
    assert len(_segments(place)) == 3
    lose(place)
    _refused(place, words, expected_id=ID.hex())


def test_a_journal_that_should_be_there_is_not_begun_anew(place: Path) -> None:
    for _ in range(2):
        _refused(place, "nothing is here, and the journal of writer 11 is expected", expected={"11": 0})
    opened(place, expected={"11": -1}).close()


def test_the_parts_of_two_journals_do_not_mix(place: Path) -> None:
    files, _, _ = _filled(place)
    files.close()
    other, _, _ = _filled(place.with_name("other"), new_id=bytes(16))
    other.close()
    _refused(place, f"journal {bytes(16).hex()} is expected here, and this is {ID.hex()}", expected_id=bytes(16).hex())
    _segments(place)[-1].write_bytes(_segments(place.with_name("other"))[-1].read_bytes())
    _refused(place, "it belongs to another journal")


def test_an_older_copy_of_the_mark_or_of_everything(place: Path) -> None:
    files, pen, _ = _filled(place, 1, segment_bytes=2000)
    old = (place / "mark").read_bytes()
    copy = {path.name: path.read_bytes() for path in place.iterdir()}
    for batch in pen.batches(4):
        files.append(batch)
    files.close()
    (place / "mark").write_bytes(old)
    _refused(place, "the mark is older than segment 3")
    for path in place.iterdir():
        path.unlink()
    for name, data in copy.items():
        (place / name).write_bytes(data)
    _refused(place, f"writer {pen.id} had come to counter 4, and only counter 0", expected={pen.id: 4})


def test_two_processes_do_not_share_one(place: Path) -> None:
    files, pen, _ = _filled(place)
    _refused(place, "another process uses this journal")
    program = (
        "import sys; from pathlib import Path; from ledger.journal_files import *; from ledger.journal_disk import *\n"
        "try: JournalFiles(Path(sys.argv[1]), LocalDisk()).open(bytes(16), {}, '')\n"
        "except JournalRefused as refused: print(refused)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=True)
    assert "another process uses this journal; stop it first" in done.stdout
    files.append(pen.batch())
    files.close()
    opened(place).close()


def test_a_directory_that_cannot_be_used(place: Path) -> None:
    place.parent.joinpath("file").write_text("")
    _refused(place.parent / "file", "the journal cannot be opened")

    class ReadOnly(LocalDisk):
        def create(self, path: Path) -> int:
            raise OSError(30, "Read-only file system", str(path))

    _refused(place, "mark.new: Read-only file system: the journal cannot be opened", disk=ReadOnly())


def test_a_symbolic_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    files, _, _ = _filled(place)
    files.close()
    segment = _segments(place)[-1]
    segment.rename(tmp_path / "elsewhere")
    segment.symlink_to(tmp_path / "elsewhere")
    _refused(place, "the journal cannot be opened")


def test_a_failed_journal_writes_nothing_more(place: Path) -> None:
    class Failing(LocalDisk):
        fails = False

        def sync(self, handle: int) -> None:
            if self.fails:
                raise OSError(5, "Input/output error")
            super().sync(handle)

    disk = Failing()
    files, pen, _ = _filled(place, disk=disk)
    disk.fails = True
    with pytest.raises(JournalUntrusted) as met:
        files.append(pen.batch())
    assert met.value.perhaps_stored
    disk.fails = False
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(JournalUntrusted, match="Input/output error") as after:
        files.append(pen.batch())
    assert not after.value.perhaps_stored
    files.note_shipped(3)
    files.close()
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_half_made_files_are_swept(place: Path) -> None:
    files, _, _ = _filled(place)
    files.close()
    (place / "0000000000000002.new").write_bytes(b"glassgate")
    (place / "lost+found").mkdir()
    files = _begun(place)
    files.close()
    assert not list(place.glob("*.new"))


async def test_salvage_ships_what_is_whole_and_keeps_the_rest(place: Path) -> None:
    files, pen, batches = _filled(place, 5, segment_bytes=2000)
    files.close()
    first = _segments(place)[0]
    data = bytearray(first.read_bytes())
    data[data.index(batches[0].data) + 40] ^= 1
    first.write_bytes(bytes(data))
    second = _segments(place)[1]
    second.write_bytes(b"?" + second.read_bytes()[1:])
    _refused(place, "damaged")

    landing = Landing()
    done = await salvage(place, landing)
    assert landing.batches == batches[1:]
    assert (done.batches, done.entries, done.last_counters) == (4, 4, {pen.id: 4})
    assert done.journal_ids == [ID.hex()]
    assert set(LocalDisk().names(done.aside)) >= {"mark", first.name, second.name}
    with pytest.raises(FileNotFoundError):
        LocalDisk().names(place)
    opened(place).close()
    assert (await salvage(place, landing)).aside.name == "journal.salvaged-2"


async def test_salvage_leaves_a_journal_in_use_alone(place: Path) -> None:
    files, _, _ = _filled(place)
    with pytest.raises(JournalRefused, match="stop what uses this journal first"):
        await salvage(place, Landing())
    files.close()
