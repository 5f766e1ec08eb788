"""The tamper campaign: for every table and field, an edit with the owner's rights is found, and named."""

import asyncio
import base64
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.merkle import leaf_hash, root_of
from ledger.note import Signer
from ledger.reader import LogReader
from ledger.server import log_routes
from ledger.sources import DatabaseSource, FolderSource, HttpSource
from ledger.tiles import Resource, tiles_of
from ledger.verify import Source, Verdict, verify_log
from tests.ledger.world import ORIGIN, LogWorld, drain, read_draft, request_draft

SIZE = 300  # one full tile, and a partial one


@pytest.fixture
async def world(database: Any) -> LogWorld:
    """Entry 0 begins the log, 1 introduces a writer; flushes of 10; every third entry has content."""
    made = LogWorld(database)
    await made.begin()
    writer = made.writer()
    batches = [made.pack(writer, [made.started(writer)])]
    drafts = [request_draft(f"req_{i}") if i % 3 == 0 else read_draft(f"p{i}") for i in range(2, SIZE)]
    batches += [made.pack(writer, drafts[at : at + 10]) for at in range(0, len(drafts), 10)]
    await made.insert(*batches)
    sequencer = made.sequencer()
    assert await sequencer.lead()
    assert await drain(sequencer) == SIZE
    sequencer.leave()
    return made


async def _verify(world: LogWorld, **options: Any) -> Verdict:
    def run() -> Verdict:
        with DatabaseSource(world.database.dsn("reader")) as source:
            return _verdict(world, source, **options)

    return await asyncio.to_thread(run)


def _verdict(world: LogWorld, source: Source, **options: Any) -> Verdict:
    hosts = options.pop("host_keys", [world.host_public])
    return verify_log(source, options.pop("vkey", world.signer.verifier.vkey), hosts, world.rules.validate)


async def _damage(world: LogWorld, sql: str) -> None:
    owner = await world.database.connect("owner")
    assert (await owner.execute(sql)).split()[-1] != "0"
    await owner.close()


async def test_an_untouched_log_is_silent(world: LogWorld) -> None:
    verdict = await _verify(world)
    assert verdict.ok, verdict.first
    assert (verdict.size, verdict.entries, verdict.writers, verdict.anchored) == (SIZE, SIZE, 2, True)
    assert not (await _verify(world, host_keys=())).anchored


# name: (statement, index of the entry it is named by, part, what is said)
TAMPERS: dict[str, tuple[str, int, str, str]] = {
    "a byte of a leaf under a full tile": (
        "UPDATE ledger.entry SET leaf = set_byte(leaf, 20, get_byte(leaf, 20) # 1) WHERE idx = 42",
        42,
        "entry",
        "entry 42",
    ),
    "a byte of a leaf at the edge": (
        "UPDATE ledger.entry SET leaf = set_byte(leaf, 20, get_byte(leaf, 20) # 1) WHERE idx = 290",
        290,
        "entry",
        "entry 290",
    ),
    "a leaf that is no stub": (
        "UPDATE ledger.entry SET leaf = 'x', leaf_hash = sha256('\\x0078') WHERE idx = 290",
        290,
        "entry",
        "not a canonical stub",
    ),
    "a leaf hash": (
        "UPDATE ledger.entry SET leaf_hash = sha256('x') WHERE idx = 290",
        290,
        "tile/0/001.p/44",
        "entry 290",
    ),
    "a deleted entry": ("DELETE FROM ledger.entry WHERE idx = 42", 42, "source", "entry 42 is missing"),
    "the newest entry deleted": ("DELETE FROM ledger.entry WHERE idx = 299", 299, "source", "entry 299 is missing"),
    "two entries swapped": (
        "UPDATE ledger.entry AS e SET leaf = o.leaf, leaf_hash = o.leaf_hash FROM ledger.entry AS o"
        " WHERE (e.idx, o.idx) IN ((270, 271), (271, 270))",
        270,
        "counter",
        "entry 270",
    ),
    "two entries swapped under a full tile": (
        "UPDATE ledger.entry AS e SET leaf = o.leaf, leaf_hash = o.leaf_hash FROM ledger.entry AS o"
        " WHERE (e.idx, o.idx) IN ((70, 71), (71, 70))",
        70,
        "counter",
        "entry 70",
    ),
    "facts": (
        "UPDATE ledger.body SET facts = overlay(facts placing 'q' from 30) WHERE idx = 43",
        43,
        "facts",
        "not what the leaf commits to",
    ),
    "the blind of facts": (
        "UPDATE ledger.body SET facts_blind = sha256('x') WHERE idx = 43",
        43,
        "facts",
        "not what the leaf commits to",
    ),
    "content": (
        "UPDATE ledger.body SET content = overlay(content placing 'q' from 15) WHERE idx = 42",
        42,
        "content",
        "not what the leaf commits to",
    ),
    "the blind of content": (
        "UPDATE ledger.body SET content_blind = sha256('x') WHERE idx = 42",
        42,
        "content",
        "not what the leaf commits to",
    ),
    "content dropped": (
        "UPDATE ledger.body SET content = NULL, content_blind = NULL WHERE idx = 42",
        42,
        "content",
        "nothing is left",
    ),
    "content dropped with its form": (
        "UPDATE ledger.body SET content = NULL, content_blind = NULL, form = 16 WHERE idx = 42",
        42,
        "content",
        "nothing is left",
    ),
    "content declared erased": ("UPDATE ledger.body SET form = 19 WHERE idx = 42", 42, "content", "nothing is left"),
    "content that was never there": (
        "UPDATE ledger.body SET content = 'x', content_blind = sha256('x'), form = 17 WHERE idx = 43",
        43,
        "content",
        "not what the leaf commits to",
    ),
    "facts declared sealed": ("UPDATE ledger.body SET form = 32 WHERE idx = 43", 43, "facts", "kept in clear"),
    "content declared sealed": ("UPDATE ledger.body SET form = 18 WHERE idx = 42", 42, "content", "kept in clear"),
    "a body deleted": ("DELETE FROM ledger.body WHERE idx = 43", 43, "facts", "nothing is left"),
    "two bodies swapped": (
        "UPDATE ledger.body AS e SET facts = o.facts, facts_blind = o.facts_blind FROM ledger.body AS o"
        " WHERE (e.idx, o.idx) IN ((43, 44), (44, 43))",
        43,
        "facts",
        "not what the leaf commits to",
    ),
    "a full tile": (
        "UPDATE ledger.tile SET hashes = set_byte(hashes, 32 * 77, get_byte(hashes, 32 * 77) # 1)",
        77,
        "tile/0/000",
        "the hash of entry 77",
    ),
    "a tile's root": ("UPDATE ledger.tile SET root = sha256('x')", SIZE, "tile/1/000.p/1", "is not what the entries"),
    "a tile deleted": ("DELETE FROM ledger.tile", 0, "source", "tile/0/000 is missing"),
    "the checkpoint's signature": (
        "UPDATE ledger.head SET note = overlay(note placing 'AAAA' from octet_length(note) - 20)",
        0,
        "checkpoint",
        "does not verify",
    ),
    "the checkpoint's size": (
        "UPDATE ledger.head"
        " SET note = convert_to(replace(convert_from(note, 'UTF8'), E'\\n300\\n', E'\\n299\\n'), 'UTF8')",
        0,
        "checkpoint",
        "does not verify",
    ),
    "no checkpoint": ("DELETE FROM ledger.head", 0, "source", "no checkpoint yet"),
}


@pytest.mark.parametrize("name", TAMPERS)
async def test_tampering_is_named(world: LogWorld, name: str) -> None:
    sql, index, part, said = TAMPERS[name]
    await _damage(world, sql)
    verdict = await _verify(world)
    assert verdict.first is not None
    assert verdict.first.index == index, verdict.faults[:4]
    assert part in [fault.part for fault in verdict.faults if fault.index == index]
    assert any(said in str(fault) for fault in verdict.faults if fault.index == index), verdict.faults[:4]


async def _rewrite(world: LogWorld, changes: dict[int, bytes], *, resign: bool) -> None:
    """What a database administrator with some skill does: leaves, hashes, tile and head made to fit."""
    owner = await world.database.connect("owner")
    for idx, leaf in changes.items():
        await owner.execute(
            "UPDATE ledger.entry SET leaf = $2, leaf_hash = $3 WHERE idx = $1", idx, leaf, leaf_hash(leaf)
        )
    hashes = [row["leaf_hash"] for row in await owner.fetch("SELECT leaf_hash FROM ledger.entry ORDER BY idx")]
    await owner.execute("UPDATE ledger.tile SET hashes = $1, root = $2", b"".join(hashes[:256]), root_of(hashes[:256]))
    if resign:
        checkpoint = Checkpoint(ORIGIN, SIZE, root_of(hashes))
        note = sign_checkpoint(checkpoint, world.signer)
        await owner.execute("UPDATE ledger.head SET root = $1, note = $2", checkpoint.root, note)
    await owner.close()


async def _leaf(world: LogWorld, idx: int) -> bytes:
    owner = await world.database.connect("owner")
    leaf = await owner.fetchval("SELECT leaf FROM ledger.entry WHERE idx = $1", idx)
    await owner.close()
    return bytes(leaf)


@pytest.mark.parametrize("resign", [False, True], ids=["database", "database and log key"])
@pytest.mark.parametrize("idx", [42, 45, 295])
async def test_a_consistent_rewrite_of_one_entry_is_named_by_its_writers_chain(
    world: LogWorld, idx: int, resign: bool
) -> None:
    """Even who holds the log key as well cannot change an entry that a writer signed."""
    leaf = await _leaf(world, idx)
    await _rewrite(world, {idx: leaf.replace(b'"policy":""', b'"policy":"' + b"ab" * 32 + b'"')}, resign=resign)
    verdict = await _verify(world)
    assert verdict.first is not None and verdict.first.index == idx
    assert verdict.first.part == "chain"
    assert any(fault.part == "root" for fault in verdict.faults) is not resign


async def test_a_rewrite_of_a_signed_stub_is_named_by_its_signature(world: LogWorld) -> None:
    idx = 41  # the last of its flush
    leaf = await _leaf(world, idx)
    assert b'"sig":"' in leaf
    await _rewrite(world, {idx: leaf.replace(b'"policy":""', b'"policy":"' + b"ab" * 32 + b'"')}, resign=True)
    verdict = await _verify(world)
    assert [(fault.index, fault.part) for fault in verdict.faults] == [(idx, "chain"), (idx, "signature")]


async def test_a_rewrite_of_the_last_entries_without_signatures_is_named(world: LogWorld) -> None:
    idx = SIZE - 1
    leaf = await _leaf(world, idx)
    start = leaf.index(b',"sig":"')
    end = leaf.index(b'"', start + 8) + 1
    await _rewrite(world, {idx: leaf[:start] + leaf[end:]}, resign=True)
    verdict = await _verify(world)
    assert verdict.first is not None
    assert (verdict.first.index, verdict.first.part) == (292, "signature")


async def test_a_truncated_log_under_a_new_checkpoint_shows_only_to_who_saw_the_old_one(world: LogWorld) -> None:
    """Stated plainly: cutting whole flushes off the end is bounded by witnesses, not by the log itself."""
    owner = await world.database.connect("owner")
    hashes = [row["leaf_hash"] for row in await owner.fetch("SELECT leaf_hash FROM ledger.entry ORDER BY idx")]
    shorter = Checkpoint(ORIGIN, 292, root_of(hashes[:292]))
    await owner.execute(
        "UPDATE ledger.head SET size = 292, root = $1, note = $2", shorter.root, sign_checkpoint(shorter, world.signer)
    )
    await owner.execute("DELETE FROM ledger.entry WHERE idx >= 292")
    assert (await _verify(world)).ok
    cosigned = Checkpoint(ORIGIN, SIZE, root_of(hashes))
    sequencer = world.sequencer(floor=cosigned)
    with pytest.raises(Exception, match="292 entries, but 300 were cosigned"):
        await sequencer.lead()


async def test_another_logs_key_or_host_is_refused(world: LogWorld) -> None:
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    verdict = await _verify(world, vkey=other.verifier.vkey)
    assert verdict.first is not None and "signed by no known key" in str(verdict.first)
    verdict = await _verify(world, host_keys=[bytes(32)])
    assert [fault.index for fault in verdict.faults] == [0, 1]
    assert {fault.part for fault in verdict.faults} == {"writer"}


async def _serve(world: LogWorld, *, bodies: bool = True) -> TestServer:
    async def may_read(request: web.Request) -> bool:
        return request.headers.get("Authorization") == "Bearer reader"

    app = web.Application()
    reader = LogReader(await world.database.pool("reader"))
    app.add_routes(log_routes(reader, "/log/acme", may_read if bodies else None))
    server = TestServer(app)
    await server.start_server()
    return server


async def test_the_log_verifies_over_http_and_from_a_folder(world: LogWorld, tmp_path: Path) -> None:
    server = await _serve(world)
    url = str(server.make_url("/log/acme"))
    try:
        source = HttpSource(url, {"Authorization": "Bearer reader"})
        verdict = await asyncio.to_thread(_verdict, world, source)
        assert verdict.ok, verdict.first
        assert verdict.entries == SIZE
        paths = ["checkpoint", *(tile.path for tile in tiles_of(SIZE))]
        paths += [Resource(kind, 0, n, width).path for kind in ("entries", "body") for n, width in ((0, 256), (1, 44))]
        for path in paths:
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(await asyncio.to_thread(source.fetch, path))
        source.close()
        refused = HttpSource(url)
        verdict = await asyncio.to_thread(_verdict, world, refused)
        refused.close()
        assert verdict.first is not None and "403" in str(verdict.first)
    finally:
        await server.close()
    assert _verdict(world, FolderSource(tmp_path)).ok
    for path in paths:
        _flip_every_part(world, tmp_path, path)


def _flip_every_part(world: LogWorld, folder: Path, path: str) -> None:
    """No file of an exported log can change without the verdict changing; where an entry was hit, it is named."""
    file = folder / path
    data = file.read_bytes()
    for at in {0, len(data) // 3, len(data) // 2, len(data) - 1}:
        changed = bytearray(data)
        changed[at] ^= 1
        file.write_bytes(changed)
        verdict = _verdict(world, FolderSource(folder))
        assert not verdict.ok, (path, at)
        if path.startswith("tile/0/"):
            assert verdict.first is not None
            assert verdict.first.index == int(path[7:10]) * 256 + at // 32
    file.write_bytes(data[:-1])
    assert not _verdict(world, FolderSource(folder)).ok
    file.write_bytes(data + b"\0")
    assert not _verdict(world, FolderSource(folder)).ok
    file.unlink()
    assert not _verdict(world, FolderSource(folder)).ok
    file.write_bytes(data)


async def test_a_missing_entry_is_named_over_http_too(world: LogWorld) -> None:
    await _damage(world, "DELETE FROM ledger.entry WHERE idx = 42")
    server = await _serve(world)
    source = HttpSource(str(server.make_url("/log/acme")), {"Authorization": "Bearer reader"})
    try:
        verdict = await asyncio.to_thread(_verdict, world, source)
    finally:
        source.close()
        await server.close()
    assert verdict.first is not None and verdict.first.index == 42
    assert "entry 42 is missing" in str(verdict.first)


async def test_what_is_served_and_how(world: LogWorld) -> None:
    import aiohttp

    server = await _serve(world, bodies=False)
    async with aiohttp.ClientSession() as client:

        async def get(path: str) -> tuple[int, str, str, bytes]:
            import yarl

            url = yarl.URL(f"{server.make_url('/log/acme')}/{path}", encoded=True)
            async with client.get(url) as response:
                headers = response.headers
                return (
                    response.status,
                    headers.get("Content-Type", ""),
                    headers.get("Cache-Control", ""),
                    await response.read(),
                )

        status, kind, caching, note = await get("checkpoint")
        assert (status, kind, caching) == (200, "text/plain; charset=utf-8", "max-age=1")
        assert note.startswith(ORIGIN.encode())
        status, kind, caching, tile = await get("tile/0/000")
        assert (status, kind, len(tile)) == (200, "application/octet-stream", 8192)
        assert "immutable" in caching
        for width in (1, 43, 44):
            status, _, caching, part = await get(f"tile/0/001.p/{width}")
            assert (status, len(part)) == (200, 32 * width)
            assert "immutable" not in caching
        assert (await get("tile/0/000.p/7"))[3] == tile[: 7 * 32]
        assert (await get("tile/1/000.p/1"))[3] == root_of([tile[at : at + 32] for at in range(0, 8192, 32)])
        for beyond in (
            "tile/0/001",
            "tile/0/001.p/45",
            "tile/0/002.p/1",
            "tile/1/000",
            "tile/1/000.p/2",
            "tile/2/000.p/1",
        ):
            assert (await get(beyond))[0] == 404
        for malformed in ("tile/0/000.p/256", "tile/0/0", "tile/0/%30%30%30", "tile/0/000?x=1", "tile/64/000"):
            assert (await get(malformed))[0] == 400
        assert (await get("body/000"))[0] == 403
    await server.close()


@pytest.mark.needs("go")
async def test_gos_own_packages_verify_our_log(world: LogWorld, tmp_path: Path) -> None:
    """golang.org/x/mod/sumdb checks signature, tiles and every entry; and catches a bit flipped in each."""
    program = await asyncio.to_thread(_build_go_verifier, tmp_path)
    server = await _serve(world)

    async def run() -> subprocess.CompletedProcess[str]:
        command = [str(program), world.signer.verifier.vkey, str(server.make_url("/log/acme"))]
        return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)

    try:
        result = await run()
        assert (result.returncode, result.stdout) == (0, f"verified {SIZE}\n"), result.stderr
        owner = await world.database.connect("owner")
        for sql in (
            "UPDATE ledger.entry SET leaf = set_byte(leaf, 30, get_byte(leaf, 30) # 1) WHERE idx = 290",
            "UPDATE ledger.entry SET leaf_hash = set_byte(leaf_hash, 3, get_byte(leaf_hash, 3) # 1) WHERE idx = 290",
            "UPDATE ledger.tile SET root = set_byte(root, 3, get_byte(root, 3) # 1)",
            "UPDATE ledger.head SET note = set_byte(note, 60, get_byte(note, 60) # 1)",
        ):
            async with owner.transaction():
                await owner.execute(sql)
            result = await run()
            assert result.returncode == 1 and result.stdout.startswith("refused"), (sql, result)
            async with owner.transaction():
                await owner.execute(sql)  # the same bit again: as it was
        assert (await run()).returncode == 0
    finally:
        await server.close()


def _build_go_verifier(folder: Path) -> Path:
    """With Debian's golang-golang-x-mod-dev where it is, else with the module whose digest go.sum pins."""
    source = Path(__file__).parent / "go_verifier"
    program = folder / "verifier"
    environment = {"HOME": str(folder), "PATH": "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin", "CGO_ENABLED": "0"}
    if Path("/usr/share/gocode/src/golang.org/x/mod").is_dir():
        environment |= {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOPROXY": "off"}
    go = shutil.which("go") or "go"
    built = subprocess.run(
        [go, "build", "-o", str(program), "main.go"],
        cwd=source,
        env=_with_go_settings(environment),
        capture_output=True,
        text=True,
        timeout=110,
    )
    if built.returncode and "dial tcp" in built.stderr:
        pytest.skip("golang.org/x/mod is not installed and cannot be fetched")
    assert built.returncode == 0, built.stderr
    return program


def _with_go_settings(environment: dict[str, str]) -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if name.startswith("GO") or name in ("PATH", "HOME")}
    return environment | kept | {name: environment[name] for name in environment if name.startswith("GO")}


def test_the_commitment_is_an_hmac_that_anybody_can_recompute() -> None:
    import hmac

    from ledger.entry import commit

    blind = bytes(range(32))
    assert commit(b"{}", blind) == hmac.new(blind, b"{}", hashlib.sha256).hexdigest()
    assert len(base64.b64encode(blind)) == 44
    with pytest.raises(ValueError, match="32 bytes"):
        commit(b"{}", b"short")
