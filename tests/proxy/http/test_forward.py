"""Heads as they go on, and what stands in an entry."""

import pytest

from approvals.reasons import TEXT, Reason
from proxy.credentials import StoreCredential
from proxy.http.forward import client_head, store_head
from proxy.http.head import parse_request, parse_response
from proxy.http.pages import STATUS, Answer, render, wants_page
from proxy.http.redact import http_content
from proxy.http.routing import Upstream

UPSTREAM = Upstream("10.0.0.5", 8080, False, b"10.0.0.5:8080", b"http://10.0.0.5:8080")


def forwarded(fields: str, credential: StoreCredential | None = None, line: str = "GET /a?b HTTP/1.1") -> bytes:
    head = parse_request(f"{line}\r\nHost: gate.example\r\n{fields}\r\n".encode("latin-1"))
    return store_head(head, UPSTREAM, credential or StoreCredential("bearer", "", "canary"), b"https", b"gate.example")


def test_lines_are_passed_on_as_they_came() -> None:
    wire = forwarded("X-Odd:  two  spaces \t\r\nAccept:*/*\r\nX-8: \xe4\r\n")
    assert b"\r\nX-Odd:  two  spaces \t\r\nAccept:*/*\r\nX-8: \xe4\r\n" in wire
    assert wire.startswith(b"GET /a?b HTTP/1.1\r\nHost: 10.0.0.5:8080\r\nAuthorization: Bearer canary\r\n")
    assert wire.endswith(b"\r\n\r\n")


def test_a_clients_copy_of_the_stores_own_header_is_dropped() -> None:
    wire = forwarded("X-API-KEY: mine\r\nx-api-key: mine2\r\n", StoreCredential("header", "X-Api-Key", "canary"))
    assert wire.lower().count(b"x-api-key") == 1
    assert b"X-Api-Key: canary\r\n" in wire


def test_connection_cannot_take_ours_away() -> None:
    wire = forwarded(
        "Connection: authorization, via, x-forwarded-host, x-api-key\r\n", StoreCredential("header", "X-Api-Key", "c")
    )
    for own in (b"X-Api-Key: c", b"Via: 1.1 glassgate", b"X-Forwarded-Host: gate.example", b"X-Forwarded-Proto: https"):
        assert own in wire


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        ("", b""),
        ("Content-Length: 0\r\n", b"Content-Length: 0\r\n"),
        ("Content-Length: 7\r\n", b"Content-Length: 7\r\n"),
        ("Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_the_framing_is_ours(fields: str, framing: bytes) -> None:
    wire = forwarded(fields, line="POST / HTTP/1.1")
    assert wire.endswith(framing + b"\r\n")
    assert wire.count(b"Content-Length") + wire.count(b"Transfer-Encoding") == bool(framing)


def answered(raw: bytes, *, version: int = 1, keep: bool = True, method: bytes = b"GET") -> tuple[bytes, bool, bool]:
    request = parse_request(b"GET / HTTP/1.%d\r\nHost: gate.example\r\n\r\n" % version)
    head = parse_response(raw, method)
    return client_head(head, request, UPSTREAM, scheme=b"https", access="id", keep=keep)


def test_an_answers_head() -> None:
    wire, chunked, keep = answered(
        b"HTTP/1.0 200 Fine\r\nContent-Length: 3\r\nConnection: x\r\nX: y\r\nETag: z\r\n\r\n"
    )
    assert wire == b"HTTP/1.1 200 Fine\r\nETag: z\r\nContent-Length: 3\r\nGlassgate-Access: id\r\n\r\n"
    assert (chunked, keep) == (False, True)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (b"http://10.0.0.5:8080/a", b"https://gate.example/a"),
        (b"http://10.0.0.5:8080", b"https://gate.example"),
        (b"http://10.0.0.5:8080?q", b"https://gate.example?q"),
        (b"http://10.0.0.5:80801/a", b"http://10.0.0.5:80801/a"),
        (b"http://10.0.0.5:8080@evil/", b"http://10.0.0.5:8080@evil/"),
        (b"/relative", b"/relative"),
    ],
)
def test_only_the_stores_own_urls_are_rewritten(location: bytes, shown: bytes) -> None:
    wire, _, _ = answered(b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    assert b"\r\nLocation: " + shown + b"\r\n" in wire


def test_an_old_client_gets_no_chunks() -> None:
    wire, chunked, keep = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", version=0)
    assert b"Transfer-Encoding" not in wire
    assert b"Connection: close" in wire
    assert (chunked, keep) == (False, False)


def content(target: str, fields: str = "") -> tuple[str, list[str]]:
    made = http_content(parse_request(f"GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1")))
    return made.target, made.redacted


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/a?q=1&key=alice", "/a?q=1&key=alice"),
        ("/a?access_token=s&q=1", "/a?access_token=[redacted]&q=1"),
        ("/a?q=1&API_KEY=s", "/a?q=1&API_KEY=[redacted]"),
        ("/a?p%61ssword=s", "/a?p%61ssword=[redacted]"),
        ("/a?sig=s&db_password=t", "/a?sig=[redacted]&db_password=[redacted]"),
        ("/a?token=", "/a?token="),
        ("/x/ggk_" + "a" * 32, "/x/[redacted]"),
        ("/x?y=eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dX", "/x?y=[redacted]"),
    ],
)
def test_recognised_secrets_stay_out_of_the_record(target: str, shown: str) -> None:
    got, redacted = content(target)
    assert got == shown
    assert bool(redacted) == (shown != target)


def test_redaction_is_linear() -> None:
    for word in ("token", "eyJ", "password=&", "a&", "eyJ-aaaaaaaa."):
        content("/a?" + word * (15000 // len(word)))


def test_only_listed_fields_are_recorded() -> None:
    fields = "User-Agent: curl\r\nCookie: c\r\nAuthorization: Bearer b\r\nX-Api-Key: k\r\nContent-Type: a/b\r\n"
    made = http_content(parse_request(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()))
    assert made.headers == [["host", "a"], ["user-agent", "curl"], ["content-type", "a/b"]]


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("page", [False, True])
def test_every_refusal_can_be_said(reason: Reason, page: bool) -> None:
    answer = Answer.of(reason, 'st"<b>', "detail & more")
    wire = render(answer, page=page, head_only=False, close=True)
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % STATUS.get(reason, 403))
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"<b>" not in body or not page
    assert TEXT[reason][:10].encode() in body or page
    assert render(answer, page=page, head_only=True, close=False).endswith(b"\r\n\r\n")


def test_who_wants_a_page() -> None:
    assert wants_page(b"text/html,application/xhtml+xml;q=0.9")
    assert not wants_page(b"*/*")
    assert not wants_page(b"application/json")
