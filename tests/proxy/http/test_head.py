"""The strict head reader: what it takes, what it refuses and by which name; any bytes give a head or HeadError."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials import StoreCredential
from proxy.http.cross_check import check_request, check_response
from proxy.http.faults import Fault, HeadError
from proxy.http.forward import store_head
from proxy.http.head import CHUNKED, MAX_HEAD_BYTES, UNTIL_CLOSE, head_end, parse_request, parse_response
from proxy.http.routing import Upstream

H = b"Host: a.example\r\n"

GOOD = [
    b"GET / HTTP/1.1\r\n" + H + b"\r\n",
    b"GET /a?b=c HTTP/1.1\r\n" + H + b"X-A:b\r\nX-A: c \t\r\nEmpty:\r\n\r\n",
    b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\n",
    b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n",
    b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\n" + H + b"Connection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: a:8443\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + H + b"X-Latin: \xe4\xf6\r\n\r\n",
    b"DELETE /a HTTP/1.1\r\n" + H + b"Connection: close, x-hop\r\nX-Hop: 1\r\n\r\n",
]

BAD = [
    # framing: two lengths, or a length that two readers read differently
    (b"Content-Length: 5\r\nContent-Length: 5\r\n", Fault.CONTENT_LENGTH_DUPLICATE),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n", Fault.CONTENT_LENGTH_DUPLICATE),
    (b"Content-Length: 5, 5\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: +5\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: -5\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: 0x5\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: 5_0\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: 010\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: 5 5\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length:\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: \xb25\r\n", Fault.FIELD_8BIT),
    (b"Content-Length: 99999999999999999999\r\n", Fault.CONTENT_LENGTH),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Fault.LENGTH_AND_CODING),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Fault.LENGTH_AND_CODING),
    (b"Transfer-Encoding: gzip, chunked\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: ,chunked\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: chunked,\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: chunked, chunked\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: identity\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: Chunked\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: xchunked\r\n", Fault.TRANSFER_CODING),
    (b'Transfer-Encoding: "chunked"\r\n', Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: chunked;q=1\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding:\r\n", Fault.TRANSFER_CODING),
    (b"Transfer-Encoding: \x0bchunked\r\n", Fault.CONTROL_CHARACTER),
    (b"Transfer-Encoding: chunked\xa0\r\n", Fault.FIELD_8BIT),
    (b"Transfer-Encoding: \x85chunked\r\n", Fault.FIELD_8BIT),
    # names and lines
    (b"Transfer-Encoding : chunked\r\n", Fault.FIELD_SYNTAX),
    (b"Transfer Encoding: chunked\r\n", Fault.FIELD_SYNTAX),
    (b" Transfer-Encoding: chunked\r\n", Fault.OBS_FOLD),
    (b"X: a\r\n chunked\r\n", Fault.OBS_FOLD),
    (b"X: a\r\n\tchunked\r\n", Fault.OBS_FOLD),
    (b": nameless\r\n", Fault.FIELD_SYNTAX),
    (b"no colon here\r\n", Fault.FIELD_SYNTAX),
    (b"X\x00: a\r\n", Fault.CONTROL_CHARACTER),
    (b"X: a\x00b\r\n", Fault.CONTROL_CHARACTER),
    (b"X: a\x1b[31m\r\n", Fault.CONTROL_CHARACTER),
    (b"X: a\x7f\r\n", Fault.CONTROL_CHARACTER),
    (b"X: a\nTransfer-Encoding: chunked\r\n", Fault.LINE_END),
    (b"X: a\rTransfer-Encoding: chunked\r\n", Fault.LINE_END),
    (b"X\xe4: a\r\n", Fault.FIELD_8BIT),
    (b"X(: a\r\n", Fault.FIELD_SYNTAX),
    (b"Transfer_Encoding: chunked\r\n", Fault.FIELD_UNDERSCORE),
    (b"X_Forwarded_For: 1.2.3.4\r\n", Fault.FIELD_UNDERSCORE),
    (b"X-Auth_User: root\r\n", Fault.FIELD_UNDERSCORE),
    # what would make the store see another request
    (b"X-HTTP-Method-Override: DELETE\r\n", Fault.OVERRIDE_FIELD),
    (b"x-http-method: DELETE\r\n", Fault.OVERRIDE_FIELD),
    (b"X-Original-URL: /admin\r\n", Fault.OVERRIDE_FIELD),
    (b"X-Rewrite-URL: /admin\r\n", Fault.OVERRIDE_FIELD),
    (b"X-Forwarded-Uri: /admin\r\n", Fault.OVERRIDE_FIELD),
    (b"Host: b.example\r\n", Fault.HOST_DUPLICATE),
    (b"Connection: content-length\r\nContent-Length: 3\r\n", Fault.CONNECTION_OPTION),
    (b"Connection: close, Host\r\n", Fault.CONNECTION_OPTION),
    (b"Connection: Transfer-Encoding\r\n", Fault.CONNECTION_OPTION),
    (b"Expect: 200-ok\r\n", Fault.EXPECTATION),
    (b"Expect: 100-continue\r\nExpect: 100-continue\r\n", Fault.EXPECTATION),
    (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", Fault.UPGRADE),
    (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", Fault.UPGRADE),
    (b"".join(b"X-%d: a\r\n" % n for n in range(200)), Fault.TOO_MANY_FIELDS),
]

LINES = [
    (b"GET / HTTP/2.0", Fault.VERSION),
    (b"GET / HTTP/1.2", Fault.VERSION),
    (b"GET / HTTP/1.10", Fault.VERSION),
    (b"GET / HTTP/01.1", Fault.VERSION),
    (b"PRI * HTTP/2.0", Fault.VERSION),
    (b"GET / http/1.1", Fault.REQUEST_LINE),
    (b"GET / RTSP/1.0", Fault.REQUEST_LINE),
    (b"GET /", Fault.REQUEST_LINE),
    (b"GET  / HTTP/1.1", Fault.REQUEST_LINE),
    (b"GET /  HTTP/1.1", Fault.REQUEST_LINE),
    (b" GET / HTTP/1.1", Fault.REQUEST_LINE),
    (b"GET / HTTP/1.1 ", Fault.REQUEST_LINE),
    (b"GET\t/ HTTP/1.1", Fault.REQUEST_LINE),
    (b"GET /a b HTTP/1.1", Fault.REQUEST_LINE),
    (b"", Fault.REQUEST_LINE),
    (b"get / HTTP/1.1", Fault.METHOD_REFUSED),
    (b"TRACE / HTTP/1.1", Fault.METHOD_REFUSED),
    (b"CONNECT a:443 HTTP/1.1", Fault.METHOD_REFUSED),
    (b"FOO / HTTP/1.1", Fault.METHOD_REFUSED),
    (b"G(T / HTTP/1.1", Fault.REQUEST_LINE),
]

HOSTS = [b"a b/../@c", b"a/b", b"a@b", b"a:b", b"a:80:80", b"-a", b"[::1", b"[zz]", b"a?b", b"a#b", b"a:", b"", b"a,b"]


@pytest.mark.parametrize("raw", GOOD)
def test_a_good_head_is_read_alike_by_both_readers(raw: bytes) -> None:
    head = parse_request(raw)
    check_request(raw, head)


@pytest.mark.parametrize(("fields", "fault"), BAD, ids=lambda value: repr(value)[:60])
def test_a_bad_field_is_refused_by_name(fields: bytes, fault: Fault) -> None:
    with pytest.raises(HeadError) as refused:
        parse_request(b"POST / HTTP/1.1\r\n" + H + fields + b"\r\n")
    assert refused.value.fault is fault


@pytest.mark.parametrize(("line", "fault"), LINES, ids=lambda value: repr(value)[:60])
def test_a_bad_request_line_is_refused_by_name(line: bytes, fault: Fault) -> None:
    with pytest.raises(HeadError) as refused:
        parse_request(line + b"\r\n" + H + b"\r\n")
    assert refused.value.fault is fault


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    with pytest.raises(HeadError) as refused:
        parse_request(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert refused.value.fault is Fault.HOST_SYNTAX


def test_http_1_1_needs_a_host() -> None:
    with pytest.raises(HeadError) as refused:
        parse_request(b"GET / HTTP/1.1\r\n\r\n")
    assert refused.value.fault is Fault.HOST_MISSING


def test_a_coding_in_http_1_0_is_refused() -> None:
    with pytest.raises(HeadError) as refused:
        parse_request(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert refused.value.fault is Fault.CODING_IN_1_0


def test_framing_and_persistence() -> None:
    assert parse_request(GOOD[2]).length == 5
    assert parse_request(GOOD[4]).length == CHUNKED
    assert parse_request(GOOD[0]).keep_alive
    assert not parse_request(GOOD[5]).keep_alive
    assert parse_request(GOOD[6]).keep_alive
    assert parse_request(GOOD[8]).expects_continue
    last = parse_request(GOOD[10])
    assert not last.keep_alive
    assert [field.lower for field in last.fields] == []


def test_identity_and_hop_by_hop_fields_are_not_passed_on() -> None:
    names = """
        Keep-Alive Proxy-Connection TE Trailer Forwarded Via X-Real-IP X-Forwarded-For x-forwarded-host Remote-User
        X-FORWARDED-USER X-Auth-Request-Email X-Remote-User Proxy-Foo X-Glassgate-User X-Client-IP True-Client-IP
    """.split()  # noqa: SIM905  # a table of names
    fields = "".join(f"{name}: v\r\n" for name in names).encode()
    head = parse_request(b"GET / HTTP/1.1\r\n" + H + fields + b"Accept: */*\r\n\r\n")
    assert [field.lower for field in head.fields] == [b"accept"]
    assert len(head.pairs) == len(names) + 2


def test_every_credential_is_kept_apart() -> None:
    fields = b"Authorization: Bearer a\r\nauthorization: Basic b\r\nProxy-Authorization: Bearer c\r\n"
    head = parse_request(b"GET / HTTP/1.1\r\n" + H + fields + b"\r\n")
    assert head.credentials == [b"Bearer a", b"Basic b", b"Bearer c"]
    assert head.fields == []


@pytest.mark.parametrize("raw", GOOD)
def test_byte_by_byte_the_end_is_found_once(raw: bytes) -> None:
    for size in range(len(raw)):
        assert head_end(raw[:size], max(0, size - 1)) == -1
    assert head_end(raw + b"GET / HTTP/1.1\r\n\r\n") == len(raw)


def test_another_line_end_is_found_before_the_head_is_whole() -> None:
    for wrong in (b"GET / HTTP/1.1\n", b"\nGET", b"GET / HTTP/1.1\r\nHost: a\n\n"):
        with pytest.raises(HeadError) as refused:
            head_end(wrong)
        assert refused.value.fault is Fault.LINE_END


def test_a_head_has_a_size() -> None:
    with pytest.raises(HeadError) as refused:
        head_end(b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES)
    assert refused.value.fault is Fault.HEAD_TOO_LARGE
    with pytest.raises(HeadError) as refused:
        head_end(b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n")
    assert refused.value.fault is Fault.HEAD_TOO_LARGE


RESPONSES_BAD = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", Fault.CONTENT_LENGTH_DUPLICATE),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", Fault.LENGTH_AND_CODING),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", Fault.CODING_IN_1_0),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", Fault.TRANSFER_CODING),
    (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n", Fault.OBS_FOLD),
    (b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n", Fault.LINE_END),
    (b"HTTP/1.1 200 OK\r\nX: \x01\r\n", Fault.CONTROL_CHARACTER),
    (b"HTTP/1.1 200 OK\r\nX : a\r\n", Fault.FIELD_SYNTAX),
    (b"HTTP/1.1 20 OK\r\n", Fault.STATUS_LINE),
    (b"HTTP/1.1 2000 OK\r\n", Fault.STATUS_LINE),
    (b"HTTP/1.1 099 OK\r\n", Fault.STATUS_LINE),
    (b"HTTP/2 200 OK\r\n", Fault.STATUS_LINE),
    (b"HTTP/1.1  200 OK\r\n", Fault.STATUS_LINE),
    (b"200 OK\r\n", Fault.STATUS_LINE),
    (b"ICY 200 OK\r\n", Fault.STATUS_LINE),
]


@pytest.mark.parametrize(("head", "fault"), RESPONSES_BAD, ids=lambda value: repr(value)[:60])
def test_a_bad_response_is_refused_by_name(head: bytes, fault: Fault) -> None:
    with pytest.raises(HeadError) as refused:
        parse_response(head + b"\r\n", b"GET")
    assert refused.value.fault is fault


@pytest.mark.parametrize(
    ("head", "method", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"GET", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HEAD", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"GET", CHUNKED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"HEAD", 0),
        (b"HTTP/1.1 200\r\n", b"GET", UNTIL_CLOSE),
        (b"HTTP/1.0 200 OK\r\nX: \xfc\r\n", b"GET", UNTIL_CLOSE),
        (b"HTTP/1.1 204 No Content\r\n", b"GET", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n", b"GET", 0),
        (b"HTTP/1.1 100 Continue\r\n", b"POST", 0),
    ],
)
def test_how_long_a_response_is(head: bytes, method: bytes, length: int) -> None:
    raw = head + b"\r\n"
    read = parse_response(raw, method)
    assert read.length == length
    check_response(raw, read, method)


def test_what_would_lead_round_the_gate_is_not_passed_on() -> None:
    fields = (
        b"Alt-Svc: h3\r\nWWW-Authenticate: Basic\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=2\r\nDate: x\r\n"
    )
    head = parse_response(b"HTTP/1.1 401 No\r\n" + fields + b"Content-Length: 0\r\n\r\n", b"GET")
    assert [field.lower for field in head.fields] == [b"date"]
    assert head.keep_alive_s == 2


WORDS = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"/a", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host", b":", b"a"),
        *(b"Content-Length", b"Transfer-Encoding", b"chunked", b"5", b"0", b",", b"\x00", b"\xff", b"_", b"\t"),
        *(b"Connection", b"close", b"200", b"OK", b"Expect", b"100-continue", b"Upgrade", b"Authorization"),
    ]
)
LINES_OF_FIELDS = st.sampled_from(
    [
        *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"X-A: b \t\r\n"),
        *(b"Connection: close\r\n", b"Connection: x-a\r\n", b"Connection: keep-alive,accept\r\n", b"Accept:*/*\r\n"),
        *(b"TE: trailers\r\n", b"Via: x\r\n", b"Expect: 100-continue\r\n", b"Authorization: Bearer x\r\n", b"A:\r\n"),
    ]
)


@given(st.one_of(st.binary(max_size=300), st.lists(WORDS, max_size=40).map(b"".join)))
def test_any_bytes_give_a_head_or_a_head_error(data: bytes) -> None:
    for raw in (data, data + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + H + data + b"\r\n\r\n"):
        with contextlib.suppress(HeadError):
            end = head_end(raw)
            if end > 0:
                check_request(raw[:end], parse_request(raw[:end]))
        with contextlib.suppress(HeadError):
            check_response(raw, parse_response(raw, b"GET"), b"GET")


@given(st.sampled_from([b"GET", b"POST", b"HEAD"]), st.lists(LINES_OF_FIELDS, max_size=6).map(b"".join))
def test_what_is_passed_on_reads_as_what_was_taken(method: bytes, fields: bytes) -> None:
    """The store gets the same method, target and framing, whichever reader it uses, and one credential."""
    raw = method + b" /a?b HTTP/1.1\r\n" + H + fields + b"\r\n"
    try:
        head = parse_request(raw)
        check_request(raw, head)
    except HeadError:
        return
    upstream = Upstream("h", 80, False, b"h", b"http://h")
    wire = store_head(head, upstream, StoreCredential("bearer", "", "canary"), b"http", b"a")
    again = parse_request(wire)
    check_request(wire, again)
    assert (again.method, again.target, again.length) == (head.method, head.target, head.length)
    assert again.credentials == [b"Bearer canary"]
    assert not again.expects_continue
    assert again.keep_alive
