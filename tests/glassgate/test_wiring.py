"""Every joint at once: a request, its approval, a grant, and accesses through both gates of one running program."""

import asyncio
import hashlib
import http.client
import json
import os
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import pytest

from approvals.access_key import key_id, make, scram_verifier, sha256
from tests.support.gate import Installation, installation

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
name = "Olga Example"
organisation = "zurich"
roles = ["overseer"]
[reasons.incident]
text = "Incident"
[stores.customers-db]
protocol = "postgres"
upstream = "127.0.0.1:{postgres}/postgres"
tls_ca = "{ca}"
credential = "customers"
actions = ["read"]
[stores.crm-api]
protocol = "http"
upstream = "http://127.0.0.1:{http}"
tls = "off"
credential = "crm"
hosts = ["crm-api.localhost"]
reads = ["GET /*"]
[[rules]]
name = "incidents"
stores = ["customers-db", "crm-api"]
requesters = {{ organisation = "acme", roles = ["engineer"] }}
actions = ["read"]
approvals = [{{ from = "overseer:zurich", count = 1 }}]
assurance = "click"
"""
SECRETS = """
[credentials.customers]
user = "gate"
password_file = "customers.password"
upstream_ca_file = "customers-ca.pem"
[credentials.crm]
bearer_file = "crm.token"
"""


class Crm(BaseHTTPRequestHandler):
    """A store that answers only to the gate's own token, and says who asked."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer crm-secret"
        body = json.dumps({"path": self.path, "allowed": allowed}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def crm():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Crm)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def gate(tls_cluster, crm):
    await tls_cluster.execute("DROP ROLE IF EXISTS gate")
    await tls_cluster.create_user("gate", "store-secret")
    ca = hashlib.sha256(tls_cluster.ca_file.read_bytes()).hexdigest()
    policy = POLICY.format(postgres=tls_cluster.port, ca=ca, http=crm)
    with installation(policy=policy, extra=SECRETS) as made:
        (made.directory / "customers-ca.pem").write_bytes(tls_cluster.ca_file.read_bytes())
        for name, secret in (("customers.password", "store-secret"), ("crm.token", "crm-secret")):
            path = made.directory / name
            path.write_text(secret + "\n")
            path.chmod(0o600)
        done = await asyncio.to_thread(made.run, "migrate")
        assert done.returncode == 0, done.stderr
        await asyncio.to_thread(lambda: made.serve().wait_ready())
        yield made


class Somebody:
    """A person with a session at the API."""

    def __init__(self, gate: Installation, name: str) -> None:
        self._port = gate.ports["api"]
        self._headers = {"Content-Type": "application/json"}
        code = gate.run("person", "code", name).stdout.strip()
        self._headers["Authorization"] = "Bearer " + self.call("POST", "/login", {"code": code})["session"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None, self._headers)
        answer = connection.getresponse()
        said = json.loads(answer.read() or b"null")
        connection.close()
        assert answer.status < 300, said
        return said


def granted(ada: Somebody, olga: Somebody, store: str) -> str:
    asked = {"store": store, "actions": ["read"], "reason": "incident", "purpose": "order 1881", "duration_s": 600}
    request = ada.call("POST", "/requests", asked)
    review = {"verdict": "approve", "shown_digest": request["digest"], "comment": "for the incident"}
    decided = olga.call("POST", f"/requests/{request['id']}/reviews", review)
    grant = decided["grant"]["id"]
    ada.call("POST", f"/grants/{grant}/activate", {})
    return grant


async def test_both_gates_from_request_to_record(gate):
    ada, olga = await asyncio.to_thread(lambda: (Somebody(gate, "ada"), Somebody(gate, "olga")))
    postgres, crm = await asyncio.to_thread(lambda: (granted(ada, olga, "customers-db"), granted(ada, olga, "crm-api")))

    await through_postgres(gate, ada, postgres)
    token = await asyncio.to_thread(ada.call, "POST", f"/grants/{crm}/tokens", {})
    assert await asyncio.to_thread(through_http, gate, token["token"]) == (200, True)
    assert (await asyncio.to_thread(through_http, gate, ""))[0] == 401

    await asyncio.to_thread(olga.call, "POST", f"/grants/{crm}/revoke", {"comment": "enough"})
    for _ in range(40):  # revocation reaches the gate within a second
        status, _ = await asyncio.to_thread(through_http, gate, token["token"])
        if status == 403:
            break
        await asyncio.sleep(0.05)
    assert status == 403

    await asyncio.to_thread(wait_recorded, olga)


RECORDED = {
    *("request.created", "review.recorded", "grant.issued", "grant.activated", "grant.revoked", "token.minted"),
    *("accesskey.registered", "session.started", "session.ended"),
    *("access.intent", "access.outcome", "access.refused", "log.read"),
}


def wait_recorded(olga: Somebody) -> None:
    """Until all of it is in the log: an entry is numbered some milliseconds after it was committed."""
    kinds: set[str] = set()
    after = -1
    deadline = time.monotonic() + 10.0
    while not kinds >= RECORDED:
        page = olga.call("GET", f"/log/entries?after={after}&limit=200")
        kinds |= {entry["kind"] for entry in page["entries"]}
        after = page["next"]
        assert time.monotonic() < deadline, RECORDED - kinds


async def through_postgres(gate: Installation, ada: Somebody, grant: str) -> None:
    door = await asyncio.to_thread(ada.call, "GET", "/connection/customers-db")
    text, key = make(os.urandom(20)), key_id(os.urandom(16))
    made = {"key": key, "sha256": sha256(text), "scram": scram_verifier(text, os.urandom(16))}
    login = await asyncio.to_thread(ada.call, "POST", f"/grants/{grant}/keys", made)
    context = ssl.create_default_context(cadata=door["ca"])
    for _ in range(40):  # the key reaches the gate within a second
        try:
            connection = await asyncpg.connect(
                host=door["host"],
                port=door["port"],
                user=login["login"],
                password=text,
                database=door["database"],
                ssl=context,
                timeout=10,
            )
        except asyncpg.InvalidPasswordError:
            await asyncio.sleep(0.05)
            continue
        break
    assert await connection.fetchval("SELECT 40 + $1::int", 2) == 42
    assert await connection.fetchval("SELECT current_user") == "gate"
    await connection.close()


def through_http(gate: Installation, token: str) -> tuple[int, bool]:
    connection = http.client.HTTPConnection("127.0.0.1", gate.ports["http"], timeout=10)
    headers = {"Host": f"crm-api.localhost:{gate.ports['http']}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("GET", "/orders/1881", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.status == 200 and json.loads(body)["allowed"]


async def test_credentials_of_stores_are_in_no_file_but_their_own(gate):
    assert holders(gate.directory, b"store-secret") == ["customers.password"]


def holders(directory: Path, secret: bytes) -> list[str]:
    files = (path for path in directory.rglob("*") if path.is_file() and "postgresql" not in path.parts)
    return [path.name for path in files if secret in path.read_bytes()]
