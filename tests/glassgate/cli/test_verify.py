"""log tail, show, search and verify against a real log; and what verify says of one that somebody edited."""

import asyncio
import base64
import os
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from glassgate.cli import profile
from glassgate.cli.verify import remarks_of
from ledger.note import Signer
from ledger.verify import Verdict
from ledger.writers import Remark, Unclosed
from tests.glassgate.cli.conftest import Terminals
from tests.support.postgres import Database


async def test_an_honest_log(at: Terminals) -> None:
    await at.granted()
    done = await at.type("olga", "log", "verify")
    assert done.status == 0
    assert done.out.startswith("verified: test.glassgate.example/log/acme, ")
    assert "--host-key checks it" in done.err
    found = await at.type("olga", "log", "verify", "--json")
    assert (found.json["verified"], found.json["faults"]) == (True, [])
    assert found.json["entries"] == found.json["size"] > 5


async def test_a_running_writer_is_remarked_on(at: Terminals) -> None:
    await at.granted()
    done = await at.type("olga", "log", "verify")
    assert done.status == 0
    [line] = [line for line in done.err.splitlines() if line.startswith("Remark: ")]
    assert line.endswith("still running, or ended without closing.")
    found = await at.type("olga", "log", "verify", "--json")
    [one] = found.json["remarks"]
    assert found.json["remarked"] == 1
    assert (one["kind"], one["successor"]) == ("unclosed", "")
    assert one["writer"] in line and one["time"] and one["counter"] > 0


def test_remarks_are_ten_lines_and_a_count() -> None:
    many: list[Remark] = [
        Unclosed(i, "ab" * 16, "pro\x1bxy", "h1", 0, "2026-03-01T12:00:00.000000Z") for i in range(12)
    ]
    lines = remarks_of(Verdict("test.example/log", remarks=many, remarked=4000))
    assert len(lines) == 11
    assert "(pro\\x1bxy on h1)" in lines[0]
    assert lines[-1] == "… and 3990 more remarks; --json tells 12 of them."
    assert remarks_of(Verdict("test.example/log", remarks=many[:10], remarked=10)) == lines[:10]


async def test_one_byte(at: Terminals, database: Database) -> None:
    made = await at.asked()
    found = await at.type("sam", "log", "search", "--request", made["id"], "--json")
    idx = found.json["entries"][0]["idx"]
    superuser = await database.connect("superuser")
    await superuser.execute(
        "UPDATE ledger.body SET content = overlay(content placing '\\x2e' from 14 for 1) WHERE idx = $1", idx
    )
    done = await at.type("olga", "log", "verify")
    assert done.status == 1
    assert done.out.splitlines()[0] == f"NOT VERIFIED: entry {idx} is the first that is not as it was written."
    assert f"entry {idx}: its content: not what the leaf commits to" in done.out
    as_json = await at.type("olga", "log", "verify", "--json")
    assert (as_json.status, as_json.json["faults"][0]["index"]) == (1, idx)


async def test_an_entry_that_is_gone(at: Terminals, database: Database) -> None:
    await at.granted()
    await at.type("sam", "log", "tail")
    superuser = await database.connect("superuser")
    await superuser.execute("DELETE FROM ledger.entry WHERE idx = 3")
    done = await at.type("olga", "log", "verify")
    assert (done.status, "from entry 3 on" in done.out) == (1, True)


async def test_the_pinned_key_counts(at: Terminals) -> None:
    await at.type("sam", "log", "tail")
    at.world.doors.key = "test.glassgate.example/log/acme+00000000+AQAA"
    done = await at.type("olga", "log", "verify")
    assert done.status == 0
    assert "WARNING: the gate shows another log key" in done.err


async def test_another_key_is_not_this_logs(at: Terminals) -> None:
    await at.type("sam", "log", "tail")
    other = Signer("test.glassgate.example/log/acme", Ed25519PrivateKey.generate()).verifier.vkey
    done = await at.type("olga", "log", "verify", "--vkey", other)
    assert (done.status, "NOT VERIFIED" in done.out, "checkpoint: " in done.out) == (1, True, True)
    assert (await at.type("olga", "log", "verify", "--vkey", "nonsense")).status == 1
    assert (await at.type("olga", "log", "verify", "--host-key", "nonsense")).status == 2
    wrong = base64.b64encode(bytes(32)).decode()
    assert (await at.type("olga", "log", "verify", "--host-key", wrong)).status == 1


async def test_engineers_cannot_read_it_all(at: Terminals) -> None:
    await at.type("sam", "log", "tail")
    done = await at.type("ada", "log", "verify")
    assert done.status == 1
    assert "overseers and stewards" in done.err


async def test_the_session_goes_to_its_own_server_only(at: Terminals) -> None:
    """A log elsewhere is asked without a credential."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        done = await at.type("olga", "log", "verify", "--url", f"http://127.0.0.1:{port}/log")
    assert done.status == 1
    kept = profile.load(at.home, "olga")
    assert kept is not None
    assert seen
    assert all(kept.session.encode() not in head and b"authorization" not in head.lower() for head in seen)


async def test_tail_show_search(at: Terminals) -> None:
    made = await at.asked()
    tail = await at.type("olga", "log", "tail", "-n", "1", "--kind", "request.created")
    assert tail.out.split()[3:5] == ["request.created", "ada"]
    assert f"request={made['id']}" in tail.out
    index = tail.out.split()[0]
    shown = await at.type("olga", "log", "show", index)
    assert "  purpose  order 1881 missing" in shown.out
    missing = await at.type("olga", "log", "show", "99999")
    assert (missing.status, "no such entry" in missing.err) == (1, True)
    mine = await at.type("ada", "log", "search", "--request", made["id"])
    assert (mine.status, "request.created" in mine.out) == (0, True)
    refused = await at.type("ada", "log", "tail")
    assert (refused.status, refused.out) == (1, "")
    assert "Name a request or grant of your own." in refused.err


FOLLOW = "from glassgate.cli import session; session.POLL_S = 0.05; from glassgate.cli.main import main; main()"


async def test_following(at: Terminals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FOLLOW, "log", "tail", "-n", "1", "--follow", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **at.environment("sam"), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            first = await process.stdout.readline()
            made = await at.asked()
            while made["id"].encode() not in (line := await process.stdout.readline()):
                assert line
        assert first.startswith(b"{")
    finally:
        process.terminate()
        await process.wait()
