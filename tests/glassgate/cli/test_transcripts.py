"""What people type and read, against a running API."""

import asyncio
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from glassgate.cli import profile, session
from glassgate.cli.http import Api, ApiRefused, ServerUnreachable
from glassgate.cli.session import Session
from tests.approvals.api.world import connection_to
from tests.glassgate.cli.conftest import Terminals


def same(text: str) -> str:
    """Ids, digests and times as placeholders, so that a transcript can be compared."""
    text = re.sub(r"\b(req|gr|rev)_[0-9a-z]{26}", r"\1_ID", text)
    text = re.sub(r"\b[0-9a-f]{4} [0-9a-f]{4} [0-9a-f]{4} [0-9a-f]{4}\b", "DIGEST", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\(in [0-9hms]+\)", "(in SPAN)", text)
    return re.sub(r"\b[0-9]+s ago|\bin 0s", "AGO", text)


async def test_login_is_remembered_in_private(at: Terminals) -> None:
    path = profile.path_of(at.home, "ada")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = profile.load(at.home, "ada")
    assert kept is not None
    assert kept.person == "ada"
    assert kept.log_key == at.world.doors.key
    done = await at.type("ada", "whoami")
    assert done.out == f"Ada Example (ada, Acme AG; engineer) at {at.world.url}\n"
    assert kept.session not in done.out + done.err


async def test_a_wrong_code_says_what_to_do(at: Terminals) -> None:
    done = await at.type("nobody", "login", "--server", at.world.url, "--code", "k7f3-wrong")
    assert (done.status, done.out) == (1, "")
    assert "Ask for a new one." in done.err
    assert profile.load(at.home, "nobody") is None
    done = await at.type("nobody", "login", "--server", at.world.url)
    assert done.status == 2


async def test_not_logged_in(at: Terminals) -> None:
    done = await at.type("ben", "request", "ls")
    assert done.status == 1
    assert done.err == 'glassgate: you are not logged in as "ben". Run `glassgate login --profile ben --server URL`.\n'


async def test_logout_ends_the_session_there_too(at: Terminals) -> None:
    kept = profile.load(at.home, "ada")
    assert kept is not None
    assert (await at.type("ada", "logout")).out == "Logged out.\n"
    answer = await at.world.call("", "GET", "/whoami", headers={"Authorization": f"Bearer {kept.session}"})
    assert answer.code == "session_unknown"
    assert (await at.type("ada", "whoami")).status == 1
    assert (await at.type("ada", "logout")).out == "You were not logged in.\n"


async def test_a_session_that_is_over(at: Terminals) -> None:
    at.world.clock.advance(13 * 3600)
    done = await at.type("ada", "request", "ls")
    assert (done.status, done.out) == (1, "")
    assert "Run `glassgate login`" in done.err


async def test_another_log_key_is_told(at: Terminals) -> None:
    at.world.doors.key = "test.glassgate.example/log/acme+00000000+AQAA"
    code = await at.world.service.login_code("ada")
    done = await at.type("ada", "login", "--code", code)
    assert done.status == 0
    assert "WARNING: this gate shows another log key" in done.err
    kept = profile.load(at.home, "ada")
    assert kept is not None
    assert kept.log_key != at.world.doors.key, "the first key stays pinned"


async def test_asking(at: Terminals) -> None:
    words = ["request", "create", "customers-db", "--for", "30m", "--action", "read"]
    words += ["--reason", "incident", "--ticket", "INC-42", "--purpose"]
    done = await at.type("ada", *words, "order 1881 missing")
    assert done.status == 0
    assert same(done.out) == (
        "req_ID is pending.\n"
        "digest        DIGEST\n"
        "must approve  1 person from Zurich Data Oversight (0 so far)\n"
        "expires       TIME (in SPAN)\n"
        "next          glassgate request show req_ID --profile ada\n"
    )


async def test_every_fault_is_told_at_once(at: Terminals) -> None:
    words = ["request", "create", "no-such-store", "--reason", "boredom", "--for", "1h", "--purpose"]
    done = await at.type("ada", *words, " ")
    assert (done.status, done.out) == (1, "")
    lines = done.err.splitlines()
    assert lines[0] == "glassgate: The request has mistakes."
    assert {line.split(":")[0].strip() for line in lines[1:]} >= {"store", "reason", "purpose"}


WRONG = (
    "request create",
    "request create customers-db",
    "request create customers-db --reason r --purpose p --for 1d",
    "request ls --state open",
    "request review req_1",
    "request review req_1 --deny --for 1h",
    "reqest ls",
    "connect customers-db --no-such-option",
    "log show -1",
    "log tail -n 0",
    "token",
    "curl crm-api people",
    "serve --role everything",
    "--no-such-option",
)


async def test_wrong_usage_is_two(at: Terminals) -> None:
    for words in WRONG:
        done = await at.type("ada", *words.split())
        assert (done.status, done.out) == (2, ""), (words, done)
        assert "Error: " in done.err


async def test_deciding(at: Terminals) -> None:
    made = await at.asked()
    done = await at.type("olga", "request", "review", made["id"], "--approve", "--for", "30m", "--comment", "ok")
    assert done.status == 0
    assert same(done.out) == "req_ID is approved.\n"
    assert "purpose       order 1881 missing" in done.err, "what is decided on is shown first"
    shown = await at.type("ada", "request", "show", made["id"])
    assert shown.out.endswith("next: glassgate connect customers-db --profile ada\n")
    assert "state         approved" in shown.out
    listed = await at.type("ada", "request", "ls")
    headers = "REQUEST STATE STORE ACTIONS FOR REASON TICKET BY ASKED"
    assert " ".join(listed.out.splitlines()[0].split()) == headers
    assert "approved  customers-db  read     1h   incident  INC-42  ada" in listed.out


async def test_refusals_say_which(at: Terminals) -> None:
    made = await at.asked()
    own = await at.type("ada", "request", "review", made["id"], "--approve")
    assert (own.status, own.err.splitlines()[-1]) == (1, "glassgate: Nobody reviews their own request.")
    wide = await at.type("olga", "request", "review", made["id"], "--approve", "--for", "2h")
    assert wide.err.splitlines()[-1].startswith("glassgate: An approval may narrow what was asked, never widen it.")
    other = await at.type("olga", "request", "review", made["id"], "--deny", "--digest", "0" * 64)
    assert "changed since it was shown" in other.err
    assert (await at.type("olga", "request", "review", made["id"], "--deny", "--comment", "no")).status == 0
    late = await at.type("olga", "request", "review", made["id"], "--approve")
    assert late.status == 1
    for words in (["request", "show", "req_0"], ["request", "show", "../grants"], ["grant", "show", made["id"]]):
        assert (await at.type("ada", *words)).status == 1


async def test_waiting_for_a_decision(at: Terminals) -> None:
    words = ["request", "create", "customers-db", "--reason", "support", "--purpose", "p", "--wait", "--json"]
    waiting = asyncio.create_task(at.type("ada", *words))
    made = await pending(at)
    await at.world.reviewed("olga", made, "deny")
    done = await waiting
    assert (done.status, done.json["state"]) == (1, "denied")
    assert f"waiting for a decision on {made['id']}" in done.err

    waiting = asyncio.create_task(at.type("ada", *words[:-1]))
    made = await pending(at)
    await at.world.reviewed("olga", made, "approve", duration_s=600, comment="go on")
    done = await waiting
    assert done.status == 0
    assert same(done.out) == (
        "req_ID was approved for 10m. Olga Overseer: go on\nnext: glassgate connect customers-db --profile ada\n"
    )


async def test_an_answer_that_got_lost_is_not_asked_for_twice(at: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, lost = Api.post, []

    def loses(self: Api, path: str, *given: Any) -> Any:
        answer = plain(self, path, *given)
        if path == "/requests" and not lost:
            lost.append(answer["id"])
            raise ServerUnreachable("the connection broke")
        return answer

    monkeypatch.setattr(Api, "post", loses)
    made = await at.asked()
    assert lost == [made["id"]]
    assert len((await at.type("ada", "request", "ls", "--json")).json["items"]) == 1


def test_waiting_outlasts_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "POLL_S", 0)
    looks: list[Any] = [None, ServerUnreachable("gone"), ApiRefused(503, {}), None, ServerUnreachable("gone"), "done"]

    def look() -> Any:
        seen = looks.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return seen

    assert Session("ada", False).poll(look, "it") == "done"
    looks = [ApiRefused(404, {})]
    with pytest.raises(ApiRefused):
        Session("ada", False).poll(look, "it")
    looks = [ServerUnreachable("gone")] * (session.MAX_FAILURES + 1)
    with pytest.raises(ServerUnreachable):
        Session("ada", False).poll(look, "it")


async def pending(at: Terminals) -> dict[str, str]:
    """The request that somebody at another terminal is about to make."""
    async with asyncio.timeout(20):
        while True:
            found = (await at.world.call("olga", "GET", "/requests?state=pending")).json["items"]
            if found:
                return dict(found[0])
            await asyncio.sleep(0.02)


async def test_cancelling(at: Terminals) -> None:
    made = await at.asked()
    assert same((await at.type("ada", "request", "cancel", made["id"])).out) == "req_ID is cancelled.\n"
    assert (await at.type("ada", "request", "cancel", made["id"])).status == 1


async def test_grants(at: Terminals) -> None:
    assert (await at.type("ada", "grant", "ls")).out == "No grants.\n"
    grant = await at.granted()
    listed = await at.type("ada", "grant", "ls", "--mine")
    assert "issued  customers-db  read     1h   ada  to be used in" in listed.out
    revoked = await at.type("olga", "grant", "revoke", grant["id"], "--comment", "wrong ticket")
    assert same(revoked.out).startswith("gr_ID is revoked. REVOKE_")
    shown = await at.type("ada", "grant", "show", grant["id"])
    assert "comment      wrong ticket" in shown.out
    again = await at.type("olga", "grant", "revoke", grant["id"])
    assert (again.status, "was revoked" in again.err) == (1, True)


async def test_ending_ones_own(at: Terminals) -> None:
    grant = await at.granted()
    assert (await at.type("olga", "grant", "end", grant["id"])).status == 1
    assert same((await at.type("ada", "grant", "end", grant["id"])).out).startswith("gr_ID is ended.")


async def test_stores(at: Terminals) -> None:
    done = await at.type("ada", "store", "ls")
    assert "customers-db  postgres  personal  read,write  read,write   1h       incident,support" in done.out
    assert "nothing" in (await at.type("olga", "store", "ls")).out


async def test_json_is_the_apis_own(at: Terminals) -> None:
    for words in ("whoami", "store ls", "request ls", "grant ls", "log search --kind policy.changed", "log tail -n 3"):
        done = await at.type("sam", *words.split(), "--json")
        assert done.status == 0, words
        assert isinstance(json.loads(done.out), dict)
        assert done.out.isascii()


HOSTILE = "\u202egnihton\u202c \x1b[2J\x1b]0;x\x07"


async def test_other_peoples_text_cannot_command_the_terminal(at: Terminals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service refuses such text; a terminal must not depend on that."""
    plain = Api.get

    def spoiled(self: Api, *given: object) -> object:
        return json.loads(json.dumps(plain(self, *given)).replace("order 1881 missing", json.dumps(HOSTILE)[1:-1]))  # type: ignore[arg-type]

    monkeypatch.setattr(Api, "get", spoiled)
    made = await at.asked()
    for words in (["request", "show", made["id"]], ["log", "search", "--request", made["id"]]):
        done = await at.type("olga", *words)
        assert done.status == 0
        assert not set("\x1b\x07\u202e\u202c") & set(done.out)
    done = await at.type("olga", "log", "show", str(await index_of(at, made["id"])))
    assert r"\u202egnihton\u202c \x1b[2J\x1b]0;x\x07" in done.out


async def index_of(at: Terminals, request: str) -> int:
    return int((await at.type("sam", "log", "search", "--request", request, "--json")).json["entries"][0]["idx"])


async def test_a_profile_that_others_can_read_is_not_used(at: Terminals) -> None:
    profile.path_of(at.home, "ada").chmod(0o644)
    done = await at.type("ada", "whoami")
    assert done.status == 1
    assert "can be read or changed by others" in done.err


async def test_a_gate_that_is_not_there(at: Terminals) -> None:
    done = await at.type("eve", "login", "--server", "http://127.0.0.1:9", "--code", "x")
    assert done.status == 1
    assert done.err == "glassgate: http://127.0.0.1:9 does not answer: Connection refused\n"


NO_SERVERS = {
    "http://gate.example": "plain http and not this machine",
    "gate.example": "expected a URL",
    "ftp://gate.example": "expected a URL",
    "https://ada:pw@gate.example": "without user",
    "https://gate.example:0x1": "expected a URL",
}


async def test_a_server_that_cannot_be_one(at: Terminals) -> None:
    for server, said in NO_SERVERS.items():
        done = await at.type("eve", "login", "--server", server, "--code", "x")
        assert (done.status, said in done.err) == (1, True), done.err
        assert "pw" not in done.err


async def test_a_reader_that_goes_away(at: Terminals) -> None:
    """`glassgate request ls | head -0` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from glassgate.cli.main import main; main()", "request", "ls"),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **at.environment("ada")},
    )
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


async def test_coverage_is_plain(at: Terminals) -> None:
    for store, protocol in (("customers-db", "postgres"), ("crm-api", "http")):
        at.world.doors.found[store] = connection_to(store, protocol, 1)
    done = await at.type("ada", "coverage")
    assert done.out.count("placement     L0: all on one machine: a record of what happened") == 2
    assert "Captured nowhere:" in done.out


async def test_policy_files(at: Terminals, tmp_path: Path) -> None:
    good = tmp_path / "policy.toml"
    good.write_text(POLICY)
    done = await at.type("ada", "policy", "check", str(good))
    assert (done.status, "is in order: 2 people, 1 stores, 1 rules" in done.out) == (0, True), done
    ask = ["--who", "ada", "--store", "crm-api", "--reason", "support"]
    yes = await at.type("ada", "policy", "explain", str(good), *ask)
    assert (yes.status, yes.out.splitlines()[0]) == (0, "allow:")
    assert "it needs: 1 from overseer:zurich; at most 1h" in yes.out
    no = await at.type("ada", "policy", "explain", str(good), *ask, "--action", "write", "--json")
    assert (no.status, no.json["outcome"]) == (1, "deny")
    good.write_text(POLICY.replace("http://127.0.0.1:8001", "nowhere").replace('"engineer"', '"enginer"'))
    bad = await at.type("ada", "policy", "check", str(good))
    assert bad.status == 1
    assert len(bad.out.splitlines()) >= 2
    assert (await at.type("ada", "policy", "explain", str(good), *ask)).status == 1


POLICY = """
version = 1
member = "acme"
trial = true
[organisations.acme]
kind = "member"
name = "Acme AG"
[organisations.zurich]
kind = "overseer"
name = "Zurich Data Oversight"
[people.ada]
name = "Ada Example"
organisation = "acme"
roles = ["engineer"]
[people.olga]
name = "Olga Overseer"
organisation = "zurich"
roles = ["overseer"]
[reasons.support]
text = "Support"
[stores.crm-api]
protocol = "http"
upstream = "http://127.0.0.1:8001"
tls = "off"
hosts = ["crm-api.localhost"]
[[rules]]
name = "crm"
stores = ["crm-api"]
requesters = { organisation = "acme", roles = ["engineer"] }
actions = ["read"]
approvals = [{ from = "overseer:zurich", count = 1 }]
assurance = "click"
"""
