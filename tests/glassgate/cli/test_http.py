"""The client's side of the API: what answers may not make it do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from glassgate.cli import http
from glassgate.cli.http import Api, ApiRefused, ServerUnreachable, check_server, is_loopback


@contextmanager
def server(answer: Any) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers every request with `answer(handler)`, and the headers it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            answer(self)

        def log_message(self, *_: object) -> None: ...

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", seen
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def says(status: int, body: bytes, **headers: str) -> Any:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_redirect_gets_no_session() -> None:
    with (
        server(says(200, b"{}")) as (other, theirs),
        server(says(302, b"{}", Location=other)) as (url, seen),
        pytest.raises(ServerUnreachable, match="redirect"),
    ):
        Api(url, "ggs_secret").get("/whoami")
    assert seen[0]["Authorization"] == "Bearer ggs_secret"
    assert theirs == []


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[" * 200_000])
def test_not_an_api(body: bytes) -> None:
    with server(says(200, body)) as (url, _), pytest.raises(ServerUnreachable, match="not the gate's API"):
        Api(url).get("/whoami")


def test_an_endless_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    with server(says(200, b"x" * 1001)) as (url, _), pytest.raises(ServerUnreachable, match="more than 1000 bytes"):
        Api(url).get("/whoami")


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"detail": 5, "faults": []}'])
def test_a_refusal_without_words(body: bytes) -> None:
    with server(says(502, body)) as (url, _), pytest.raises(ApiRefused) as refused:
        Api(url).get("/whoami")
    assert refused.value.status == 502
    assert refused.value.detail
    assert refused.value.faults == []


def test_half_an_answer() -> None:
    with server(says(200, b"{}", **{"Content-Length": "100"})) as (url, _), pytest.raises(ServerUnreachable):
        Api(url).get("/whoami")


@pytest.mark.parametrize("host", ["localhost", "crm-api.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example", "", "0x7f000001"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_servers() -> None:
    assert check_server("https://gate.example/") == "https://gate.example"
    assert check_server("http://[::1]:8470") == "http://[::1]:8470"
