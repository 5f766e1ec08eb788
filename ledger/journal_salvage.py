"""What a person does with a journal that may not be continued: ship what is whole in it, keep the rest as evidence."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ledger.batch import BatchRefused, read_header
from ledger.journal import take
from ledger.journal_disk import Disk, LocalDisk
from ledger.journal_files import LOCK, MARK, JournalRefused, segment_names
from ledger.journal_format import Damaged, read_mark, read_segment_header, whole_records
from ledger.shipment import Shipment
from ledger.storage import Batch

__all__ = ["Salvaged", "salvage"]


@dataclass(slots=True)
class Salvaged:
    """What was shipped, and where the directory is now. `last_counters`: of every writer that was found."""

    aside: Path
    journal_ids: list[str] = field(default_factory=list)
    batches: int = 0
    entries: int = 0
    last_counters: dict[str, int] = field(default_factory=dict)


async def salvage(directory: Path, shipment: Shipment, *, disk: Disk | None = None) -> Salvaged:
    """Ship every whole record, before and behind any damage, then rename the directory.

    What the database has already is sent again and counts once; what is behind a gap of its writer goes to
    quarantine, whole and visibly. Nothing is renamed unless all was shipped. Raises JournalRefused, NotShipped.
    """
    disk = disk or LocalDisk()
    try:
        lock = await asyncio.to_thread(disk.lock, directory / LOCK)
    except OSError as cause:
        raise JournalRefused(f"{directory}: {cause.strerror or cause}: stop what uses this journal first.") from cause
    try:
        ids, batches = await asyncio.to_thread(_read, directory, disk)
        done = Salvaged(_aside(directory), [journal_id.hex() for journal_id in ids])
        while batches:
            group = take(batches)
            await shipment.ship(group)
            del batches[: len(group)]
            done.batches += len(group)
            for batch in group:
                done.entries += batch.n
                last = batch.first_counter + batch.n - 1
                done.last_counters[batch.writer] = max(done.last_counters.get(batch.writer, -1), last)
        await asyncio.to_thread(_set_aside, directory, done.aside, disk)
    except OSError as cause:
        raise JournalRefused(f"{directory}: {cause.strerror or cause}.") from cause
    finally:
        disk.close(lock)
    return done


def _read(directory: Path, disk: Disk) -> tuple[list[bytes], list[Batch]]:
    segments = [disk.read(directory / name) for name in segment_names(disk.names(directory))]
    ids: list[bytes] = []
    with suppress(Damaged, OSError):
        ids.append(read_mark(disk.read(directory / MARK))[0].journal_id)
    for data in segments:
        with suppress(Damaged):
            ids.append(read_segment_header(data).journal_id)
    ids = list(dict.fromkeys(ids))  # one, unless files of several were mixed
    batches: list[Batch] = []
    for data in segments:
        for journal_id in ids:
            for found in whole_records(data, journal_id):
                record = data[found.start : found.end]
                with suppress(BatchRefused):
                    header = read_header(record)
                    batches.append(Batch(header.log, header.writer, header.first_counter, header.n, record))
    return ids, batches


def _aside(directory: Path) -> Path:
    taken = {path.name for path in directory.parent.iterdir()}
    number = 1
    while (name := f"{directory.name}.salvaged-{number}") in taken:
        number += 1
    return directory.with_name(name)


def _set_aside(directory: Path, aside: Path, disk: Disk) -> None:
    disk.rename(directory, aside)
    disk.sync_directory(directory.parent)
