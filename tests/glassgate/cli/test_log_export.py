"""log prove, export and check at a terminal: from a real log to a file that a stranger checks."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest

from glassgate.grant_sums import GRACE_S, SETTLE_S, GrantSums
from ledger.checkpoint import open_checkpoint
from ledger.entry import Draft
from ledger.note import parse_vkey
from ledger.proof import parse_proof, verify_proof
from ledger.trust import parse_trust
from ledger.uuid7 import uuid7
from tests.glassgate.cli.conftest import Terminals
from tests.support.postgres import Database


class Matter:
    """A grant of ada's at work."""

    def __init__(self, at: Terminals, database: Database, grant: dict[str, Any]) -> None:
        self.at, self.database, self.grant = at, database, grant
        self.service = at.world.service
        self._sums: GrantSums | None = None

    @classmethod
    async def begin(cls, at: Terminals, database: Database) -> "Matter":
        grant = await at.granted()
        await at.world.service.activate("ada", grant["id"], "cli")
        return cls(at, database, grant)

    async def decision(self) -> str:
        found = (await self.at.type("sam", "log", "search", "--kind", "grant.issued", "--json")).json["entries"]
        return str(next(one["facts"]["decision"] for one in found if one["facts"]["grant"] == self.grant["id"]))

    async def access(self, n: int, *, finished: bool = True) -> None:
        decision = await self.decision()
        access = str(uuid7(int(self.at.world.clock.now().timestamp() * 1000), os.urandom(10)))
        intent = {
            "grant": self.grant["id"],
            "request": self.grant["request"],
            "subject": "ada",
            "store": "customers-db",
            "protocol": "postgres",
            "actions": ["read"],
            "operation": "SELECT",
            "resources": ["public.orders"],
            "client_address": "192.0.2.7",
            "address_grade": "direct",
            "credential": "k7f3",
            "session": "ses_1",
            "sequence": n,
        }
        outcome = {"access": access, "result": "complete", "rows": n, "bytes_out": 10 * n}
        text = {"text": f"SELECT {n}"}
        drafts = [Draft("access.intent", intent, text, grant=decision, entry_id=access)]
        if finished:
            drafts.append(Draft("access.outcome", outcome, grant=decision))
        await self.service.record(drafts)

    async def count(self) -> int:
        """One look of whoever counts, at a log that is numbered and indexed as far as it goes."""
        await self.at.type("sam", "log", "tail")
        if self._sums is None:
            writer = self.service._transactions.writer
            self._sums = GrantSums(_never, writer, self.at.world.clock, lambda: True)
        connection = await self.database.connect("sequencer")
        return await self._sums.step(connection)

    async def export(self, path: Path, *options: str) -> Any:
        chosen = options or ("--grant", self.grant["id"])
        return await self.at.type("olga", "log", "export", *chosen, "-o", str(path), "--json")


async def _never() -> Any:
    raise AssertionError("the test gives its own connection")


async def _anchors(at: Terminals, path: Path, host: str = "") -> str:
    created = (await at.type("sam", "log", "show", "0", "--json")).json["facts"]
    text = f"log {at.world.doors.key}\nquorum none\nhost {host or created['host_key']} h1\n"
    await asyncio.to_thread(path.write_text, text)
    return str(path)


async def test_from_a_grant_to_a_pack_that_is_shown_complete(at: Terminals, database: Database, tmp_path: Path) -> None:
    matter = await Matter.begin(at, database)
    for n in range(3):
        await matter.access(n)
    anchors, file = await _anchors(at, tmp_path / "anchors.txt"), tmp_path / "pack.zip"

    early = await matter.export(file)
    assert early.status == 0 and not early.json["complete"]
    assert "A grant's accesses are counted some time after" in early.err
    done = await at.type("nobody", "log", "check", str(file), "--anchors", anchors)
    assert done.status == 1 and "NOT SHOWN COMPLETE: 3 accesses, and no entry grant.summed" in done.out
    assert (await at.type("nobody", "log", "check", str(file), "--anchors", anchors, "--incomplete-ok")).status == 0

    await matter.service.end("ada", matter.grant["id"], "cli")
    assert await matter.count() == 0  # not settled yet
    at.world.clock.advance(SETTLE_S)
    assert await matter.count() == 1
    assert await matter.count() == 0

    exported = await matter.export(file)
    assert exported.json["complete"], exported.json
    assert file.stat().st_mode & 0o777 == 0o600
    done = await at.type("nobody", "log", "check", str(file), "--anchors", anchors)
    assert done.status == 0, done.out
    assert "complete: 3 of 3 accesses and 0 of 0 refusals" in done.out
    assert "cosigned by nobody that your anchors name" in done.out
    by_request = await matter.export(tmp_path / "request.zip", "--request", matter.grant["request"])
    assert by_request.json["complete"]
    assert by_request.json["entries"] == exported.json["entries"]
    bare = await matter.export(tmp_path / "bare.zip", "--grant", matter.grant["id"], "--no-content")
    assert bare.json["complete"]
    done = await at.type("nobody", "log", "check", str(tmp_path / "bare.zip"), "--anchors", anchors, "--json")
    assert set(done.json["content_not_here"].values()) == {"withheld"}


async def test_what_comes_late_is_counted_again(at: Terminals, database: Database) -> None:
    matter = await Matter.begin(at, database)
    await matter.access(1, finished=False)
    await matter.service.end("ada", matter.grant["id"], "cli")
    at.world.clock.advance(SETTLE_S)
    assert await matter.count() == 0  # its access may still end
    at.world.clock.advance(GRACE_S)
    assert await matter.count() == 1
    await matter.access(2)
    assert await matter.count() == 0
    at.world.clock.advance(3600)
    assert await matter.count() == 1
    found = await at.type("sam", "log", "search", "--kind", "grant.summed", "--json")
    facts = [entry["facts"] for entry in found.json["entries"]]
    assert [(one["accesses"], one["unfinished"], one["counted"]) for one in facts] == [(1, 1, 1), (2, 1, 3)]
    by_grant = await at.type("ada", "log", "search", "--grant", matter.grant["id"], "--json")
    assert [entry["kind"] for entry in by_grant.json["entries"]].count("access.outcome") == 1


async def test_a_flipped_byte_and_foreign_keys(at: Terminals, database: Database, tmp_path: Path) -> None:
    matter = await Matter.begin(at, database)
    anchors, file = await _anchors(at, tmp_path / "anchors.txt"), tmp_path / "pack.zip"
    assert (await matter.export(file)).status == 0
    without = await at.type("nobody", "log", "check", str(file))
    assert without.status == 1 and "keys not anchored" in without.out
    stranger = await _anchors(at, tmp_path / "other.txt", base64.b64encode(bytes(32)).decode())
    assert "keys not anchored" in (await at.type("nobody", "log", "check", str(file), "--anchors", stranger)).out
    data = bytearray(file.read_bytes())
    data[data.index(b"order 1881")] ^= 1
    file.write_bytes(data)
    done = await at.type("nobody", "log", "check", str(file), "--anchors", anchors, "--json")
    assert done.status == 1 and not done.json["verified"]
    [fault] = done.json["faults"]
    assert fault["file"].endswith(".content") and "checksum" in fault["text"]
    (tmp_path / "other.txt").write_text("quorum none\n")
    done = await at.type("nobody", "log", "check", str(file), "--anchors", str(tmp_path / "other.txt"))
    assert done.status == 1 and "no host line" in done.err


async def test_a_store_and_a_period(at: Terminals, database: Database, tmp_path: Path) -> None:
    matter = await Matter.begin(at, database)
    await matter.access(1)
    store = await matter.export(tmp_path / "store.zip", "--store", "customers-db")
    assert store.status == 0 and "nothing counts a store's entries" in store.json["completeness"]
    year = at.world.clock.now().year
    day = f"{year}-01-01T00:00:00Z/{year + 1}-01-01T00:00:00+01:00"
    period = await matter.export(tmp_path / "period.zip", "--period", day)
    assert period.json["complete"], period.json
    both = await matter.export(tmp_path / "both.zip", "--store", "customers-db", "--period", day)
    assert both.json["entries"] == store.json["entries"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--grant", "gr_1", "--request", "req_1"),
        ("--period", "yesterday"),
        ("--period", "2026-01-01/2026-01-02"),
        ("--period", "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"),
    ],
)
async def test_wrong_usage(at: Terminals, tmp_path: Path, words: tuple[str, ...]) -> None:
    done = await at.type("olga", "log", "export", *words, "-o", str(tmp_path / "x.zip"))
    assert done.status == 2 and not (tmp_path / "x.zip").exists()


async def test_who_may_and_what_there_is(at: Terminals, database: Database, tmp_path: Path) -> None:
    matter = await Matter.begin(at, database)
    refused = await at.type("ada", "log", "export", "--grant", matter.grant["id"], "-o", str(tmp_path / "x.zip"))
    assert refused.status == 1 and "for overseers and stewards" in refused.err
    nothing = await matter.export(tmp_path / "x.zip", "--grant", "gr_404")
    assert nothing.status == 1 and "nothing of this grant" in nothing.err
    nowhere = await matter.export(tmp_path / "no" / "x.zip")
    assert nowhere.status == 1 and "cannot be written" in nowhere.err
    assert not (tmp_path / "x.zip").exists()


async def test_a_tampered_log_gives_no_pack(at: Terminals, database: Database, tmp_path: Path) -> None:
    matter = await Matter.begin(at, database)
    superuser = await database.connect("superuser")
    await at.type("sam", "log", "tail")
    sql = "UPDATE ledger.body SET content = overlay(content placing '\\x2e' from 14 for 1) WHERE content IS NOT NULL"
    await superuser.execute(sql)
    done = await matter.export(tmp_path / "x.zip")
    assert done.status == 1 and "does not verify, so no pack was written" in done.err
    assert not (tmp_path / "x.zip").exists()


async def test_one_entry_by_index_and_by_id(at: Terminals, tmp_path: Path) -> None:
    await at.granted()
    found = (await at.type("sam", "log", "tail", "--json")).json["entries"]
    trust = parse_trust(f"log {at.world.doors.key}\nquorum none\n")
    for entry in (found[0], found[-1]):
        for name in (str(entry["idx"]), entry["id"]):
            file = tmp_path / "entry.tlog-proof"
            done = await at.type("ada", "log", "prove", name, "-o", str(file))  # proofs say nothing by themselves
            assert done.status == 0, done.err
            leaf = (tmp_path / "entry.tlog-proof.leaf").read_bytes()
            proof = parse_proof(file.read_bytes())
            assert proof.index == entry["idx"] and entry["id"].encode() in leaf
            checkpoint = verify_proof(proof, leaf, trust)
            assert open_checkpoint(proof.checkpoint, parse_vkey(at.world.doors.key))[0] == checkpoint
    beyond = await at.type("ada", "log", "prove", "99999", "-o", str(tmp_path / "x"))
    assert beyond.status == 1 and "no entry 99999" in beyond.err
    assert (await at.type("ada", "log", "prove", "x", "-o", str(tmp_path / "x"))).status == 2
    unknown = await at.type("ada", "log", "prove", "01950000-0000-7000-8000-000000000000", "-o", str(tmp_path / "x"))
    assert unknown.status == 1 and "has the id" in unknown.err
