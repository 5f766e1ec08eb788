"""A verifier that nobody here wrote, in Python: tlog-scales reads our log from a folder, as files."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.framing import read_bundle
from ledger.proof import ProofRefused, parse_proof, verify_proof
from ledger.reader import LogReader
from ledger.tiles import Resource, parse_path, tiles_of
from ledger.trust import parse_trust
from tests.ledger.world import LogWorld, drain, read_draft

pytest.importorskip("tlog_scales", reason="tlog-scales is not installed")

SIZE = 300  # one full tile, and a partial one


@pytest.fixture
async def folder(database: Any, tmp_path: Path) -> tuple[LogWorld, Path]:
    world = LogWorld(database)
    await world.begin()
    writer = world.writer()
    drafts = [world.started(writer), *(read_draft(f"p{i}") for i in range(2, SIZE))]
    await world.insert(*(world.pack(writer, drafts[at : at + 10]) for at in range(0, len(drafts), 10)))
    sequencer = world.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == SIZE
    sequencer.leave()
    connection = await database.connect("reader")
    reader = LogReader(connection)
    paths = [tile.path for tile in tiles_of(SIZE)]
    paths += [Resource("entries", 0, n, width).path for n, width in ((0, 256), (1, 44))]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(await reader.read(parse_path(path)))
    (tmp_path / "checkpoint").write_bytes(await reader.checkpoint())
    await connection.close()
    return world, tmp_path


def _check(world: LogWorld, folder: Path) -> None:
    """Signature, root, every entry's inclusion, and that smaller trees are this one's beginnings."""
    from tlog_scales.backend import make_backend
    from tlog_scales.reader import TilesReader
    from tlog_scales.signing import Vkey
    from tlog_scales.tiles import leaf_hash

    reader = TilesReader(make_backend(f"file://{folder}"))
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(Vkey.from_string(world.signer.verifier.vkey))
    assert (checkpoint.size, reader.calculate_root_hash()) == (SIZE, checkpoint.root_hash)
    for index in range(SIZE):
        proof = reader.get_inclusion_proof(index, SIZE)
        proof.check(leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
    for size in (1, 2, 255, 256, 257, 299):
        proof = reader.get_consistency_proof(size, SIZE)
        proof.check(reader.mth(0, size), checkpoint.root_hash)


def test_it_verifies_our_log(folder: tuple[LogWorld, Path]) -> None:
    _check(*folder)


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"])
def test_it_catches_a_flipped_bit(folder: tuple[LogWorld, Path], path: str) -> None:
    world, where = folder
    data = bytearray((where / path).read_bytes())
    data[len(data) // 2] ^= 1
    (where / path).write_bytes(data)
    with pytest.raises(Exception):  # noqa: B017  its refusals have no common name
        _check(world, where)


async def test_its_proofs_are_proofs_to_us(folder: tuple[LogWorld, Path]) -> None:
    """Its command writes a C2SP tlog-proof of our log; ours reads and checks it, and against no other entry."""
    world, where = folder
    command = "from tlog_scales.cli import main; main()"
    arguments = [sys.executable, "-c", command, "gen-proof", f"file://{where}", "290"]
    made = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, check=True, timeout=60)
    leaves = read_bundle((where / "tile/entries/001.p/44").read_bytes(), 44)
    proof = parse_proof(made.stdout)
    trust = parse_trust(f"log {world.signer.verifier.vkey}\nquorum none\n")
    assert proof.index == 290
    assert verify_proof(proof, leaves[290 - 256], trust).size == SIZE
    with pytest.raises(ProofRefused, match="not where the proof says"):
        verify_proof(proof, leaves[291 - 256], trust)
