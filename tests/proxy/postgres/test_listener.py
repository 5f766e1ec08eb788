"""Before and during the login, as bytes on a socket."""

import asyncio
import contextlib
import ssl
import struct
import time

import msgspec
import pytest

from proxy.stores import Stores
from tests.proxy.postgres.conftest import KEY, STORE, Running
from tests.proxy.postgres.wire import Wire, fields, framed, query, startup

SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSSENC_REQUEST = struct.pack(">II", 8, 80877104)


async def refused(running: Running, reason: str) -> dict[str, object]:
    entry = await running.gate.recorder.wait_for("access.refused")
    assert entry.facts["reason"] == reason
    return entry.facts


async def test_plaintext_startup_gets_a_reason_before_any_password_is_asked(running: Running) -> None:
    """warpgate#2000: inbound TLS was not enforced."""
    wire = await running.plain()
    wire.send(startup("ada", STORE))
    ((kind, body),) = await wire.until_closed()
    assert kind == "E"
    assert fields(body)["C"] == "28000"
    assert "TLS only" in fields(body)["M"]
    assert "sslmode=verify-full" in fields(body)["H"]
    await refused(running, "tls_required")


async def test_bytes_behind_an_ssl_request_are_an_injection(running: Running) -> None:
    """pgbouncer CVE-2021-3935, odyssey#359."""
    wire = await running.plain()
    wire.send(SSL_REQUEST + startup("ada", STORE))
    assert await asyncio.wait_for(wire.reader.read(), 5) == b""
    await refused(running, "protocol_violation")


async def test_gss_encryption_is_declined_and_tls_may_follow(running: Running) -> None:
    """warpgate#2373: GSSENCRequest was answered by closing."""
    running.grant("read")
    wire = await running.plain()
    wire.send(GSSENC_REQUEST)
    assert await wire.reader.readexactly(1) == b"N"
    await wire.encrypt(running.tls_context())
    assert (await wire.log_in(KEY))[-1] == ("Z", b"I")


async def test_asking_twice_for_encryption_is_an_error(running: Running) -> None:
    wire = await running.plain()
    wire.send(GSSENC_REQUEST)
    assert await wire.reader.readexactly(1) == b"N"
    wire.send(GSSENC_REQUEST)
    assert (await wire.until_closed())[0][0] == "E"


async def test_ssl_request_inside_tls_is_an_error(running: Running) -> None:
    wire = await running.tls()
    wire.send(SSL_REQUEST)
    assert (await wire.until_closed())[0][0] == "E"


async def test_the_whole_login_byte_by_byte(running: Running) -> None:
    """pgbouncer#1058, #1407: startup packets that come in pieces."""
    running.grant("read")
    wire = await running.plain()
    for byte in SSL_REQUEST:
        wire.writer.write(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert await wire.reader.readexactly(1) == b"S"
    await wire.writer.start_tls(running.tls_context(), server_hostname="localhost")
    whole = wire.send

    def in_pieces(*messages: bytes) -> None:
        for byte in b"".join(messages):
            whole(bytes([byte]))

    wire.send = in_pieces  # type: ignore[method-assign]
    assert (await wire.log_in(KEY))[-1] == ("Z", b"I")
    wire.send(query("select 1"))
    assert await wire.types_until_ready() == "TDCZ"


async def test_direct_tls_needs_the_protocols_name(running: Running) -> None:
    context = running.tls_context()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", running.port, ssl=context, server_hostname="localhost"
        )
        running._kept(Wire(reader, writer)).send(startup("ada", STORE))
        await reader.readexactly(1)


async def test_direct_tls_with_it(running: Running) -> None:
    running.grant("read")
    context = running.tls_context()
    context.set_alpn_protocols(["postgresql"])
    wire = Wire(*await asyncio.open_connection("127.0.0.1", running.port, ssl=context, server_hostname="localhost"))
    running._kept(wire)
    assert (await wire.log_in(KEY))[-1] == ("Z", b"I")


async def test_anything_else_is_dropped_at_its_first_byte(running: Running) -> None:
    wire = await running.plain()
    wire.send(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(wire.reader.read(), 5) == b""


@pytest.mark.parametrize(
    ("version", "negotiated", "key_bytes"),
    [
        (3 << 16, None, 4),
        ((3 << 16) | 1, None, 4),
        ((3 << 16) | 2, None, 32),
        ((3 << 16) | 9999, (3 << 16) | 2, 32),
    ],
)
async def test_protocol_versions(running: Running, version: int, negotiated: int | None, key_bytes: int) -> None:
    """warpgate#2039, pgbouncer#1007: 3.2 and what lies beyond it."""
    running.grant("read")
    wire = await running.tls()
    wire.send(startup("ada", STORE, version, **({"_pq_.grease": "1"} if negotiated else {})))
    kind, body = await wire.message()
    if negotiated is not None:
        assert kind == "v"
        assert body == struct.pack(">II", negotiated, 1) + b"_pq_.grease\0"
        kind, body = await wire.message()
    assert kind == "R"
    other = await running.tls()
    greeting = await other.log_in(KEY, version=version)
    assert greeting[-1][0] == "Z"
    assert len(other.key) == key_bytes


async def test_protocol_4_is_refused(running: Running) -> None:
    wire = await running.tls()
    wire.send(startup("ada", STORE, 4 << 16))
    assert fields((await wire.until_closed())[0][1])["C"] == "0A000"


@pytest.mark.parametrize(
    ("name", "value", "sqlstate"),
    [
        ("options", "-c default_transaction_read_only=off", "0A000"),
        ("search_path", "evil", "0A000"),  # pgbouncer CVE-2025-12819
        ("replication", "database", "0A000"),
        ("replication", "true", "0A000"),
        ("client_encoding", "LATIN1", "22023"),
    ],
)
async def test_startup_parameters_are_never_passed_on_verbatim(
    running: Running, name: str, value: str, sqlstate: str
) -> None:
    wire = await running.tls()
    wire.send(startup("ada", STORE, **{name: value}))
    ((kind, body),) = await wire.until_closed()
    assert (kind, fields(body)["C"]) == ("E", sqlstate)
    await refused(running, "unsupported")


async def test_allowed_startup_parameters_reach_the_store(running: Running) -> None:
    running.grant("read")
    wire = await running.tls()
    await wire.log_in(KEY, TimeZone="Asia/Tokyo", DateStyle="German", replication="false", options="")
    assert wire.settings["TimeZone"] == "Asia/Tokyo"
    assert wire.settings["DateStyle"].startswith("German")
    assert wire.settings["client_encoding"] == "UTF8"


async def test_every_way_of_failing_to_log_in_looks_the_same(running: Running) -> None:
    running.grant("read")
    answers = []
    attempts = [
        {"user": "ada", "password": "ggk_wrong"},
        {"user": "nobody", "password": KEY},
        {"user": "ada+zzzz", "password": KEY},
        {"user": "ada", "password": KEY, "database": "no-such-store"},
    ]
    for attempt in attempts:
        wire = await running.tls()
        answers.append(await wire.log_in(attempt.pop("password"), **attempt))
    assert all(answer == answers[0] for answer in answers)
    assert fields(answers[0][0][1])["C"] == "28P01"
    entries = [e.facts for e in running.of("access.refused")]
    assert [e["reason"] for e in entries] == ["credential_unknown"] * 4
    assert entries[0]["subject"] == "ada"
    assert entries[1]["subject"].startswith("hash:")
    assert entries[3]["store"].startswith("hash:")


async def test_an_unknown_name_is_offered_the_same_salt_each_time(running: Running) -> None:
    salts = []
    for name in ("nobody", "nobody", "somebody"):
        wire = await running.tls()
        wire.send(startup(name, STORE))
        await wire.message()
        initial = b"n,,n=,r=abc"
        wire.send(framed(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(initial)) + initial))
        _, body = await wire.message()
        salts.append(body.decode("latin-1").split(",s=")[1].split(",")[0])
    assert salts[0] == salts[1] != salts[2]


async def test_after_the_grant_is_over_its_key_opens_nothing(running: Running) -> None:
    grant = running.grant("read")
    running.gate.end(grant)
    wire = await running.tls()
    ((kind, body),) = await wire.log_in(KEY)
    assert (kind, fields(body)["C"]) == ("E", "28P01")


async def test_a_grant_that_ends_during_the_login_opens_nothing(running: Running) -> None:
    running.grant("read", for_s=10.0)
    wire = await running.tls()
    wire.send(startup("ada", STORE))
    await wire.message()
    running.gate.clock.advance(11)
    running.gate.contact()
    other = await running.tls()
    ((_, body),) = await other.log_in(KEY)
    assert fields(body)["C"] == "28000"
    assert "time is over" in fields(body)["M"]
    await refused(running, "grant_expired")


async def test_a_stale_view_lets_nobody_in(running: Running) -> None:
    running.grant("read")
    running.gate.clock.advance(11)
    wire = await running.tls()
    ((_, body),) = await wire.log_in(KEY)
    assert "lost contact" in fields(body)["M"]
    await refused(running, "view_stale")


async def test_a_late_view_waits_for_a_fresh_one(running: Running) -> None:
    running.grant("read")
    running.gate.clock.advance(3)
    wire = await running.tls()
    login = asyncio.ensure_future(wire.log_in(KEY))
    while not running.gate._waiting:
        await asyncio.sleep(0.01)
    assert not login.done()
    running.gate.contact()
    assert (await login)[-1] == ("Z", b"I")


@pytest.mark.parametrize("length", [0, 3, 4, 7, 10_001, 0x7FFFFFFF, 0xFFFFFFFF])
async def test_impossible_startup_lengths(running: Running, length: int) -> None:
    """pgbouncer CVE-2026-6664, ClickHouse#107485."""
    wire = await running.tls()
    wire.send(struct.pack(">II", length, 3 << 16) + b"user\0ada\0\0")
    assert (await wire.until_closed())[0][0] == "E"


async def test_a_session_that_cannot_be_recorded_does_not_begin(running: Running) -> None:
    running.grant("read")
    running.gate.recorder.mode = "failing"
    wire = await running.tls()
    messages = await wire.log_in(KEY)
    assert [kind for kind, _ in messages] == ["E"]
    assert fields(messages[0][1])["C"] == "58000"


async def test_the_greeting_waits_for_its_record(running: Running) -> None:
    running.grant("read")
    running.gate.recorder.mode = "held"
    wire = await running.tls()
    login = asyncio.ensure_future(wire.log_in(KEY))
    await running.gate.recorder.wait_for("session.started")
    await asyncio.sleep(0.05)
    assert not login.done()
    running.gate.recorder.release()
    assert (await login)[-1] == ("Z", b"I")


async def test_an_unreachable_store_is_told_and_recorded(running: Running) -> None:
    running.grant("read")
    stores = running.gate.stores
    definition = stores.by_name(STORE)
    assert definition is not None
    moved = msgspec.structs.replace(definition[0], upstream="127.0.0.1:1/x")
    running.gate.stores = Stores((moved,), "00" * 32)
    running.grant("read", number=2)
    wire = await running.tls()
    ((_, body),) = await wire.log_in(KEY)
    assert fields(body)["C"] == "08006"
    assert (await running.gate.recorder.wait_for("session.ended")).facts["how"] == "store_unreachable"


async def test_a_store_with_another_certificate_is_sent_nothing(running: Running) -> None:
    running.grant("read")
    running.gate.credentials._entries["customers"].ca._path = running.ca  # the gate's CA, not the store's
    running.gate.credentials._entries["customers"].ca._mark = None
    wire = await running.tls()
    ((_, body),) = await wire.log_in(KEY)
    assert "identity is not the one on file" in fields(body)["M"]


async def test_a_slow_first_byte_costs_no_cpu(running: Running) -> None:
    """Peeking for more than one byte spun a core on a client that sent one."""
    wire = await running.plain()
    wire.send(SSL_REQUEST[:1])
    await asyncio.sleep(0.05)
    before = time.process_time()
    await asyncio.sleep(0.1)
    assert time.process_time() - before < 0.05


async def test_two_hundred_strangers_leave_nothing_behind(running: Running) -> None:
    wires = await asyncio.gather(*(running.plain() for _ in range(200)))
    for number, wire in enumerate(wires):
        wire.send([b"", b"\0", SSL_REQUEST, b"\x16"][number % 4])
        wire.close()
    async with asyncio.timeout(5):
        while running.listener.connections or running.listener._peeking:
            await asyncio.sleep(0.01)


def test_the_context_is_not_shared_with_clients(running: Running) -> None:
    assert running.listener.tls.context.minimum_version >= ssl.TLSVersion.TLSv1_2
