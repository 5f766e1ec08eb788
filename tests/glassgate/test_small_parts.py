"""Listeners, predecessors, diagnostics and metrics, keys and certificates, doors."""

import json
import os
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from approvals.policy import Policy
from approvals.store_definition import StoreDefinition
from glassgate.certificates import SERVER_LIFETIME, issue_server, make_ca
from glassgate.config import load
from glassgate.diagnostics import Readiness, make_app
from glassgate.init import InitRefused, Options, create
from glassgate.keys import (
    KeyRefused,
    certificate_authority,
    create_keys,
    host_keys,
    issuer_keys,
    key_id,
    load_private,
    read_password,
)
from glassgate.listeners import PortTaken, listen
from glassgate.metrics import Metrics
from glassgate.predecessors import Predecessor, Predecessors
from glassgate.values import Address
from glassgate.wiring.doors import ConfiguredDoors, log_prefix, verifier_key
from tests.support.clock import T0

# listeners


def test_a_port_is_held_against_everybody():
    with_port = listen("api.listen", Address("127.0.0.1", 0))
    assert with_port.port > 0
    with pytest.raises(PortTaken, match=rf"api\.listen: cannot listen on 127\.0\.0\.1:{with_port.port}"):
        listen("api.listen", with_port.bound)
    with socket.socket() as sharer:
        sharer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            sharer.bind(("127.0.0.1", with_port.port))
    with_port.close()
    again = listen("api.listen", with_port.address)
    again.close()


def test_a_name_that_leads_nowhere():
    with pytest.raises(PortTaken, match=r"cannot listen on nowhere\.invalid:1"):
        listen("x", Address("nowhere.invalid", 1))


# predecessors


def test_predecessors_are_kept_from_one_start_to_the_next(tmp_path):
    first = Predecessors(tmp_path)
    assert first.of("proxy") == Predecessor("", -1)
    first.remember("proxy", "ab" * 16, 7)
    Predecessors(tmp_path).remember("command", "cd" * 16, 9)  # another process, meanwhile
    first.remember("proxy", "ab" * 16, 8)
    assert Predecessors(tmp_path).of("proxy") == Predecessor("ab" * 16, 8)
    assert Predecessors(tmp_path).of("command") == Predecessor("cd" * 16, 9)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"writer": "x"}', '{"writer": "x", "counter": {}}', "\udcff"])
def test_a_spoiled_file_names_nobody(tmp_path, text):
    (tmp_path / "writer-proxy.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Predecessors(tmp_path).of("proxy") == Predecessor()


# diagnostics


async def test_ready_only_while_nothing_speaks_against_it(aiohttp_get):
    readiness, metrics = Readiness(), Metrics()
    wrong = ""
    readiness.add("recorder", lambda: wrong)
    metrics.gauge("x", "An x.", lambda: 3)
    metrics.counter("y", "A y.", lambda: 4)
    app = make_app(readiness, metrics)
    assert await aiohttp_get(app, "/healthz") == (200, b'{"status": "ok"}')
    assert (await aiohttp_get(app, "/readyz"))[0] == 503  # still starting
    readiness.phase = "serving"
    assert await aiohttp_get(app, "/readyz") == (200, b'{"ready":true,"reasons":{}}')
    wrong = "entries cannot be written"
    status, body = await aiohttp_get(app, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, {"recorder": "entries cannot be written"})
    wrong = ""
    readiness.phase = "draining"
    assert json.loads((await aiohttp_get(app, "/readyz"))[1])["reasons"] == {"process": "draining"}
    text = (await aiohttp_get(app, "/metrics"))[1].decode()
    assert "glassgate_x 3.0\n" in text and "glassgate_y_total 4.0\n" in text


@pytest.fixture
def aiohttp_get():
    from aiohttp.test_utils import TestClient, TestServer

    async def get(app, path):
        async with TestClient(TestServer(app)) as client:
            response = await client.get(path)
            return response.status, await response.read()

    return get


# keys


def test_keys_are_private_and_of_one_kind(tmp_path):
    directory = tmp_path / "keys"
    create_keys(directory, "gate.example/log/acme", T0)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for file in directory.iterdir():
        if file.suffix in (".key", ".password"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    issuer = load_private(directory / "issuer.key").public_key()
    assert set(issuer_keys(directory)) == {key_id(issuer)}
    assert host_keys(directory) == [load_private(directory / "host.key").public_key().public_bytes_raw()]
    assert read_password(directory, "proxy") and not read_password(directory, "nobody")
    with pytest.raises(FileExistsError):
        create_keys(directory, "gate.example/log/acme", T0)


def test_the_key_id_is_the_jwk_thumbprint():
    # RFC 8037 Appendix A.3
    x = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert key_id(ed25519.Ed25519PublicKey.from_public_bytes(x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_rotating_issuers_and_other_hosts(tmp_path):
    directory = tmp_path / "keys"
    create_keys(directory, "gate.example/log/acme", T0)
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "issuer-2027.pub").write_bytes(pem)
    (directory / "host-b.pub").write_bytes(pem)
    assert key_id(other) in issuer_keys(directory)
    assert other.public_bytes_raw() in host_keys(directory)


def test_keys_that_are_none_are_refused(tmp_path):
    path = tmp_path / "k.key"
    with pytest.raises(KeyRefused, match="cannot be read"):
        load_private(path)
    path.write_text("nonsense")
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="not an unencrypted private key"):
        load_private(path)
    other = x25519.X25519PrivateKey.generate()
    path.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(KeyRefused, match="not an Ed25519 key"):
        load_private(path)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="open to others"):
        load_private(path)
    with pytest.raises(KeyRefused, match=r"no issuer\.pub"):
        issuer_keys(tmp_path)
    (tmp_path / "issuer.pub").write_text("nonsense")
    with pytest.raises(KeyRefused, match="not a public key"):
        issuer_keys(tmp_path)
    fifo = tmp_path / "pipe.key"
    os.mkfifo(fifo, 0o600)
    opened = os.open(fifo, os.O_RDWR)
    with pytest.raises(KeyRefused, match="not a regular file"):
        load_private(fifo)
    os.close(opened)


# certificates


def verified(ca: bytes, chain: bytes, name: str, at: datetime):
    leaf = x509.load_pem_x509_certificates(chain)[0]
    store = Store([x509.load_pem_x509_certificate(ca)])
    return PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(name)).verify(leaf, [])


def test_a_server_certificate_holds_for_its_names_and_its_time():
    ca = make_ca("test CA", T0)
    server = issue_server(ca, ["gate.example", "*.stores.example", "127.0.0.1"], T0)
    assert verified(ca.certificate, server.certificate, "gate.example", T0)
    assert verified(ca.certificate, server.certificate, "crm.stores.example", T0)
    for name, at in (
        ("other.example", T0),
        ("a.b.stores.example", T0),
        ("gate.example", T0 + SERVER_LIFETIME + timedelta(days=1)),
        ("gate.example", T0 - timedelta(days=1)),
    ):
        with pytest.raises(VerificationError):
            verified(ca.certificate, server.certificate, name, at)
    stranger = make_ca("test CA", T0)
    with pytest.raises(VerificationError):
        verified(stranger.certificate, server.certificate, "gate.example", T0)


def test_openssl_agrees_on_names_and_addresses():
    now = datetime.now(UTC)
    ca = make_ca("test CA", now)
    pair = issue_server(ca, ["localhost", "127.0.0.1"], now)
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _files(pair) as (certificate, key):
        server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cadata=ca.certificate.decode())
    shaking = threading.Thread(target=lambda: server.wrap_socket(theirs, server_side=True).close())
    shaking.start()
    with client.wrap_socket(ours, server_hostname="127.0.0.1") as secured:
        assert secured.version() == "TLSv1.3"
    shaking.join()


def _files(pair):
    import tempfile
    from contextlib import contextmanager

    @contextmanager
    def written():
        with tempfile.NamedTemporaryFile() as certificate, tempfile.NamedTemporaryFile() as key:
            certificate.write(pair.certificate)
            key.write(pair.key)
            certificate.flush()
            key.flush()
            yield certificate.name, key.name

    return written()


def test_which_authority_clients_are_told(tmp_path):
    ca = make_ca("test CA", T0)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(issue_server(ca, ["gate.example"], T0).certificate)
    assert certificate_authority(chain).encode() == ca.certificate
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))  # as from a public CA: clients know it
    assert certificate_authority(chain) == ""
    chain.write_text("nonsense")
    with pytest.raises(KeyRefused, match="not a certificate chain"):
        certificate_authority(chain)


# init


def test_init_never_overwrites(tmp_path):
    steps = create(tmp_path / "g", Options(), T0)
    assert any("serve" in step for step in steps)
    with pytest.raises(InitRefused, match="exists already; nothing was changed"):
        create(tmp_path / "g", Options(), T0)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "policy.toml").write_text("mine")
    with pytest.raises(InitRefused, match=r"policy\.toml exists already"):
        create(tmp_path / "h", Options(), T0)
    assert list((tmp_path / "h").iterdir()) == [tmp_path / "h" / "policy.toml"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (Options(member="Acme AG"), "member: expected a name"),
        (Options(host="https://x"), "origin: expected a host and path"),
        (Options(issuer="ftp://x"), "issuer: expected a URL"),
        (Options(issuer="http://gate.example"), "issuer: expected an https:// URL"),
    ],
)
def test_init_refuses_names_that_could_not_be_kept(tmp_path, options, what):
    with pytest.raises(InitRefused, match=what):
        create(tmp_path / "g", options, T0)
    assert not (tmp_path / "g").exists()


# doors


def test_doors_tell_people_where_to_knock(tmp_path):
    create(tmp_path / "g", Options(), T0)
    config = load(tmp_path / "g" / "glassgate.toml", {})
    assert log_prefix(config) == "/log/acme"
    stores = {
        "customers-db": StoreDefinition(name="customers-db", protocol="postgres", upstream="db:5432/c"),
        "crm-api": StoreDefinition(
            name="crm-api", protocol="http", upstream="https://crm:443", hosts=("crm-api.localhost",)
        ),
    }
    policy = Policy(
        version=1, member="acme", trial=False, organisations={}, people={}, reasons={}, stores=stores, rules=()
    )
    doors = ConfiguredDoors(config, lambda: policy, verifier_key(config), "L0")
    found = doors.connections()
    assert (found["customers-db"].host, found["customers-db"].port) == ("127.0.0.1", 5480)
    assert found["customers-db"].database == "customers-db"
    assert found["customers-db"].ca == (tmp_path / "g" / "keys" / "trial-ca.pem").read_text()
    assert found["crm-api"].base_url == "http://crm-api.localhost:8480"
    assert doors.log().url == "http://127.0.0.1:8470/log/acme"
    assert ConfiguredDoors(config, lambda: None, "", "L1").connections() == {}


def test_doors_behind_a_public_name(tmp_path):
    create(tmp_path / "g", Options(), T0)
    config = load(
        tmp_path / "g" / "glassgate.toml",
        {
            "GLASSGATE_GATE__PUBLIC_URL": "https://gate.acme.example/",
            "GLASSGATE_PROXY__HTTP__PUBLIC_URL": "https://stores.acme.example",
            "GLASSGATE_PROXY__POSTGRES__PUBLIC_ADDRESS": "db-gate.acme.example:5432",
        },
    )
    stores = {
        "crm": StoreDefinition(name="crm", protocol="http", upstream="https://crm:443", hosts=("crm.acme.example",)),
        "db": StoreDefinition(name="db", protocol="postgres", upstream="db:5432/c"),
    }
    policy = Policy(
        version=1, member="acme", trial=False, organisations={}, people={}, reasons={}, stores=stores, rules=()
    )
    doors = ConfiguredDoors(config, lambda: policy, verifier_key(config), "L1")
    assert doors.connections()["crm"].base_url == "https://crm.acme.example:443"
    assert (doors.connections()["db"].host, doors.connections()["db"].port) == ("db-gate.acme.example", 5432)
    assert doors.log().url == "https://gate.acme.example/log/acme"


def test_the_logs_key_must_be_that_logs(tmp_path):
    create(tmp_path / "g", Options(), T0)
    config = load(tmp_path / "g" / "glassgate.toml", {"GLASSGATE_GATE__ORIGIN": "gate.acme.example/log/other"})
    with pytest.raises(KeyRefused, match=r"is the key of the log gate\.acme\.example/log/acme, not of"):
        verifier_key(config)
