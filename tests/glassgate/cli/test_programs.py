"""connect, curl and token: the credential reaches the program, and nobody who only looks at the process list."""

import asyncio
import json
import os
import ssl
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jwt
import pytest
from aiohttp import web

from approvals import access_key
from glassgate.certificates import issue_server, make_ca
from glassgate.cli import curl
from glassgate.cli.session import No
from tests.approvals.api.world import connection_to
from tests.glassgate.cli.conftest import Terminals

TELL = """#!{python}
import json, os, sys
fds = [int(a.rpartition("/")[2]) for a in sys.argv if a.startswith("/dev/fd/")]
read = [os.read(fd, 65536).decode() for fd in fds]
print(json.dumps({{"argv": sys.argv, "env": dict(os.environ), "read": read, "stdin": sys.stdin.read()}}))
sys.exit(7)
"""


@pytest.fixture
def telling(tmp_path: Path) -> Path:
    """A PATH on which psql and curl tell what they were given, and exit with 7."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("psql", "curl", "other"):
        (directory / name).write_text(TELL.format(python=sys.executable))
        (directory / name).chmod(0o755)
    return directory


def doors(at: Terminals, ca: str = "") -> None:
    at.world.doors.found["customers-db"] = connection_to("customers-db", "postgres", 5480, ca=ca)
    at.world.doors.found["crm-api"] = connection_to("crm-api", "http", 8480, ca=ca)


def check_root(path: Path) -> None:
    """The CA is in a file of the person's own."""
    assert path.read_text() == "-----BEGIN CERTIFICATE-----\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_connect_becomes_psql(at: Terminals, telling: Path) -> None:
    doors(at, "-----BEGIN CERTIFICATE-----\n")
    grant = await at.granted()
    done = await at.spawn(
        "ada",
        "connect",
        "customers-db",
        PATH=str(telling),
        PGHOSTADDR="10.0.0.1",
        PGSERVICE="elsewhere",
        PGSSLMODE="disable",
        given=b"select 1",
    )
    assert done.status == 7, "the program's exit status is ours"
    told = json.loads(done.out)
    variables = told["env"]
    assert (variables["PGHOST"], variables["PGPORT"], variables["PGDATABASE"]) == ("127.0.0.1", "5480", "customers-db")
    assert variables["PGSSLMODE"] == "verify-full"
    check_root(Path(variables["PGSSLROOTCERT"]))
    assert not {"PGHOSTADDR", "PGSERVICE"} & set(variables)
    assert access_key.is_access_key(variables["PGPASSWORD"])
    assert variables["PGUSER"].startswith("ada+")
    assert told["stdin"] == "select 1"
    assert not any(variables["PGPASSWORD"] in part for part in (*told["argv"], done.err))
    assert f"under {grant['id']}, which ends in" in done.err
    # The gate knows what checks the key, never the key.
    shown = (await at.world.call("ada", "GET", f"/grants/{grant['id']}")).body.decode()
    assert variables["PGUSER"] in shown
    assert variables["PGPASSWORD"] not in shown


async def test_connect_runs_another_program(at: Terminals, telling: Path) -> None:
    doors(at)
    await at.granted()
    done = await at.spawn("ada", "connect", "customers-db", "--", "other", "-c", "--json", PATH=str(telling))
    told = json.loads(done.out)
    assert told["argv"][1:] == ["-c", "--json"]
    assert told["env"]["PGSSLROOTCERT"] == "system"


async def test_connect_without_psql(at: Terminals, tmp_path: Path) -> None:
    doors(at)
    await at.granted()
    done = await at.spawn("ada", "connect", "customers-db", PATH=str(tmp_path))
    assert (done.status, done.out) == (1, "")
    assert "psql is not on this machine's PATH" in done.err


async def test_connect_asks_for_the_right_things(at: Terminals) -> None:
    doors(at)
    none = await at.type("ada", "connect", "customers-db")
    assert (none.status, "you hold no grant for customers-db. Ask for one:" in none.err) == (1, True)
    made = await at.asked()
    pending = await at.type("ada", "connect", "customers-db")
    assert pending.err == f"glassgate: {made['id']} is still waiting for approval. Add --wait to wait for it.\n"
    http = await at.type("ada", "connect", "crm-api")
    assert "crm-api is an HTTP store. Use:\n  glassgate curl --profile ada crm-api /" in http.err
    unknown = await at.type("ada", "connect", "nowhere")
    assert (unknown.status, "No such store here." in unknown.err) == (1, True)


async def test_somebody_elses_grant_is_none(at: Terminals) -> None:
    doors(at)
    grant = await at.granted()
    await at.login("ben")
    done = await at.type("ben", "connect", "customers-db", "--grant", grant["id"])
    assert (done.status, "This gate knows no such grant." in done.err) == (1, True)
    done = await at.type("ada", "token", "crm-api", "--grant", grant["id"])
    assert "is for customers-db, not for crm-api" in done.err


async def test_waiting_and_connecting(at: Terminals, telling: Path) -> None:
    doors(at)
    made = await at.asked()
    waiting = asyncio.create_task(at.spawn("ada", "connect", "customers-db", "--wait", PATH=str(telling)))
    await at.type("olga", "request", "review", made["id"], "--approve", "--comment", "ok")
    assert (await waiting).status == 7


async def test_a_dsn(at: Terminals) -> None:
    doors(at)
    await at.granted()
    done = await at.type("ada", "connect", "customers-db", "--print-dsn")
    assert done.status == 0
    parts = urlsplit(done.out.strip())
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("postgresql", "127.0.0.1", 5480, "/customers-db")
    assert access_key.is_access_key(parts.password or "")
    assert unquote(parts.username or "").startswith("ada+")
    assert "sslmode=verify-full" in parts.query
    assert "This contains the key." in done.err


async def test_tokens(at: Terminals) -> None:
    doors(at)
    grant = await at.granted("crm-api")
    done = await at.type("ada", "token", "crm-api")
    claims = jwt.decode(done.out.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["aud"], claims["gg_grant"]) == ("ada", "crm-api", grant["id"])
    basic = await at.type("ada", "token", "crm-api", "--format", "basic")
    login, _, secret = basic.out.strip().partition(":")
    assert (login[:4], access_key.is_access_key(secret)) == ("ada+", True)
    as_json = await at.type("ada", "token", "crm-api", "--json")
    assert as_json.json["token"].count(".") == 2
    assert (await at.type("ada", "token", "crm-api", "--format", "dsn")).status == 1
    assert (await at.type("ada", "token", "customers-db", "--format", "bearer")).status == 1


async def test_curl_gets_the_token_where_nobody_sees_it(at: Terminals, telling: Path) -> None:
    doors(at)
    await at.granted("crm-api")
    done = await at.spawn(
        "ada", "curl", "crm-api", "/people.json?a=[1]", "--json", "{}", "-s", PATH=str(telling), given=b"body"
    )
    told = json.loads(done.out)
    assert (done.status, told["stdin"]) == (7, "body")
    assert told["argv"][-4:] == ["http://127.0.0.1:8480/people.json?a=[1]", "--json", "{}", "-s"]
    (config,) = told["read"]
    token = config.removeprefix('header = "Authorization: Bearer ').removesuffix('"\n')
    assert token.count(".") == 2
    assert token not in " ".join((*told["argv"], *told["env"].values(), done.err))


@pytest.mark.needs("curl")
async def test_real_curl_over_tls(at: Terminals, tmp_path: Path) -> None:
    """curl itself trusts the CA it is given, sends the token, and is told nothing on its command line."""
    ca = make_ca("test CA", datetime.now(UTC))
    pair = issue_server(ca, ["localhost"], datetime.now(UTC))
    (tmp_path / "cert.pem").write_bytes(pair.certificate)
    (tmp_path / "key.pem").write_bytes(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    seen: list[web.Request] = []

    async def store(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({"rows": 1}, status=200 if request.path == "/people.json" else 404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", store)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        base = f"https://localhost:{port}"
        at.world.doors.found["crm-api"] = connection_to(
            "crm-api", "http", port, ca=ca.certificate.decode(), base_url=base
        )
        await at.granted("crm-api")
        trap = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        done = await at.spawn("ada", "curl", "crm-api", "/people.json", "-sS", **trap)
        assert (done.status, done.out) == (0, '{"rows": 1}'), done.err
        assert seen[0].headers["Authorization"].startswith("Bearer ey")
        missing = await at.spawn("ada", "curl", "crm-api", "/nothing", "-sSf", **trap)
        assert missing.status == 22, "curl's own exit status"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("token", ['a"\nurl = "http://evil.example', "a b", "é", "a\\", ""])
def test_a_token_cannot_become_another_option(token: str) -> None:
    if token:
        with pytest.raises(No):
            curl.config_text(token)
    assert curl.config_text("e30.e30.c2ln") == b'header = "Authorization: Bearer e30.e30.c2ln"\n'


def test_a_token_that_no_pipe_takes() -> None:
    with pytest.raises(No, match="too large"):
        curl.config_text("a" * curl.MAX_CONFIG_BYTES)


def test_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = curl._pipe(b"x")
    assert os.read(reader, 10) == b"x"
    assert os.read(reader, 10) == b"", "the writing end is closed"
    os.close(reader)
