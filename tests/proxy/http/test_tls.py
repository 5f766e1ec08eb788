"""TLS on both sides: to the client, and verified towards the store."""

import asyncio
import hashlib
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from approvals.store_definition import StoreDefinition
from glassgate.certificates import Pair, issue_server, make_ca
from proxy.http.server import HttpGate
from tests.proxy.fakes import FakeGate
from tests.proxy.http.origin import Origin

CA = make_ca("test CA", datetime.now(UTC))
OTHER_CA = make_ca("another CA", datetime.now(UTC))


def server_context(directory: Path, pair: Pair) -> ssl.SSLContext:
    (directory / "cert.pem").write_bytes(pair.certificate)
    (directory / "key.pem").write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def client_context(ca: Pair = CA) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca.certificate.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class TlsWorld:
    """A TLS store behind a TLS gate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.origin = Origin()

    async def start(self, names: tuple[str, ...] = ("127.0.0.1",), **settings: Any) -> None:
        pair = issue_server(CA, names, datetime.now(UTC))
        upstream = await self.origin.start(server_context(self.directory, pair))
        (self.directory / "ca.pem").write_bytes(CA.certificate)
        definition = StoreDefinition(
            **{
                "name": "crm-api",
                "protocol": "http",
                "upstream": upstream,
                "credential": "crm",
                "hosts": ("localhost",),
                "reads": ("GET /crm/*",),
                **settings,
            }
        )
        self.gate = FakeGate(
            definition, credentials={"crm": {"bearer": "s", "upstream_ca_file": str(self.directory / "ca.pem")}}
        )
        context = server_context(self.directory, issue_server(CA, ("localhost",), datetime.now(UTC)))
        self.http = HttpGate(self.gate, "127.0.0.1:0", context)  # type: ignore[arg-type]
        await self.http.start()
        self.token = self.gate.token(self.gate.grant())

    async def stop(self) -> None:
        await self.http.stop()
        await self.origin.stop()

    async def get(self) -> tuple[int, bytes, str | None]:
        """(status, body, ALPN)"""
        host, port = self.http.address
        reader, writer = await asyncio.open_connection(host, port, ssl=client_context(), server_hostname="localhost")
        alpn = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.write(f"GET /crm/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        writer.close()
        return int(head.split(b" ")[1]), body, alpn


@pytest.fixture
def tls(tmp_path: Path) -> TlsWorld:
    return TlsWorld(tmp_path)


async def test_both_legs(tls: TlsWorld) -> None:
    await tls.start(tls_ca=hashlib.sha256(CA.certificate).hexdigest())
    assert await tls.get() == (200, b"/crm/x", "http/1.1")
    assert b"X-Forwarded-Proto: https" in tls.origin.heads[0]
    await tls.stop()


async def test_a_store_under_another_name_is_sent_nothing(tls: TlsWorld) -> None:
    await tls.start(names=("elsewhere.example",))
    status, body, _ = await tls.get()
    assert (status, json.loads(body)["code"]) == (502, "store_identity")
    assert tls.origin.heads == []
    assert tls.gate.recorder.of("access.outcome")[0].facts["result"] == "store_unreachable"
    await tls.stop()


async def test_a_store_of_another_authority_is_sent_nothing(tls: TlsWorld) -> None:
    await tls.start()
    (tls.directory / "ca.pem").write_bytes(OTHER_CA.certificate)
    tls.gate.clock.advance(1.1)
    tls.gate.contact()
    status, body, _ = await tls.get()
    assert (status, json.loads(body)["code"]) == (502, "store_identity")
    assert tls.origin.heads == []
    await tls.stop()


async def test_a_bundle_that_policy_does_not_pin_is_not_used(tls: TlsWorld) -> None:
    await tls.start(tls_ca="00" * 32)
    status, body, _ = await tls.get()
    assert (status, json.loads(body)["code"]) == (502, "store_identity")
    assert tls.origin.connections == 0
    await tls.stop()


def test_plain_http_is_for_loopback() -> None:
    gate = FakeGate()
    for address in ("0.0.0.0:0", "10.0.0.1:80", "[::]:80", "gate.example:80"):
        with pytest.raises(ValueError, match="loopback"):
            HttpGate(gate, address)  # type: ignore[arg-type]
    for address in ("127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:70000"):
        with pytest.raises(ValueError, match="host:port"):
            HttpGate(gate, address)  # type: ignore[arg-type]
