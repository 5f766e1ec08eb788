"""The stores' own credentials: shapes, rotation, and that they never show."""

import os
import ssl
from pathlib import Path

import pytest

from approvals.errors import Refusal
from approvals.reasons import Reason
from approvals.store_definition import StoreDefinition
from proxy.credentials import Credentials, StoreCredential
from tests.proxy.fakes import FakeClock


def store(**settings: object) -> StoreDefinition:
    values: dict[str, object] = {
        "name": "s",
        "protocol": "http",
        "upstream": "https://h",
        "credential": "c",
        **settings,
    }
    return StoreDefinition(**values)  # type: ignore[arg-type]


def credentials(settings: dict[str, str], env: dict[str, str] | None = None) -> tuple[Credentials, FakeClock]:
    clock = FakeClock()
    return Credentials({"c": settings}, clock, env or {}), clock


@pytest.mark.parametrize(
    ("settings", "kind", "line"),
    [
        ({"user": "u", "password": "p"}, "password", b"Authorization: Basic dTpw\r\n"),
        ({"bearer": "b"}, "bearer", b"Authorization: Bearer b\r\n"),
        ({"header": "X-Api-Key", "value": "v"}, "header", b"X-Api-Key: v\r\n"),
        ({"user": "u", "password_env": "PW"}, "password", b"Authorization: Basic dTplbnY=\r\n"),
        ({}, "none", b""),
    ],
)
def test_shapes(settings: dict[str, str], kind: str, line: bytes) -> None:
    made, _ = credentials(settings, {"PW": "env"})
    credential = made.for_store(store())
    assert credential.kind == kind
    assert credential.header_line == line


@pytest.mark.parametrize(
    "settings",
    [
        {"password": "p"},
        {"user": "u"},
        {"value": "v"},
        {"header": "X"},
        {"header": "X\r\nY", "value": "v"},
        {"bearer": "b", "user": "u", "password": "p"},
        {"bearer": "b", "bearer_file": "/f"},
    ],
)
def test_what_is_no_credential_is_said_at_once(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"credentials\.c"):
        credentials(settings)


def test_it_never_shows() -> None:
    made, _ = credentials({"user": "u", "password": "canary"})
    credential = made.for_store(store())
    for text in (repr(made), repr(credential), str(credential), f"{credential}"):
        assert "canary" not in text


def test_a_store_without_a_credential_gets_none() -> None:
    made, _ = credentials({})
    assert made.for_store(store(credential="")).kind == "none"


@pytest.mark.parametrize("settings", [{"bearer_file": "/nowhere"}, {"bearer_env": "UNSET"}])
def test_nothing_usable_is_a_refusal(settings: dict[str, str]) -> None:
    made, _ = credentials(settings)
    with pytest.raises(Refusal) as refused:
        made.for_store(store())
    assert refused.value.reason is Reason.STORE_UNREACHABLE


def test_an_unknown_name_is_a_refusal() -> None:
    made, _ = credentials({})
    with pytest.raises(Refusal):
        made.for_store(store(credential="other"))


def test_rotation_is_noticed_within_a_second_and_a_bad_file_keeps_the_last_good_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one\n")
    made, clock = credentials({"bearer_file": str(path)})

    def secret() -> str:
        return made.for_store(store()).secret

    assert secret() == "one"
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(path)
    assert secret() == "one"
    clock.advance(1.1)
    assert secret() == "two"
    for broken in ("", "a\r\nX-Evil: 1", "\x00"):
        path.write_bytes(broken.encode())
        os.utime(path, (clock.passed, clock.passed))
        clock.advance(1.1)
        assert secret() == "two"
    path.unlink()
    clock.advance(1.1)
    assert secret() == "two"
    path.write_text("three\r\n")
    clock.advance(1.1)
    assert secret() == "three"


def test_tls_is_verified_with_the_pinned_bundle_or_not_at_all(tmp_path: Path) -> None:
    made, _ = credentials({})
    assert made.tls_context(store(tls="off")) is None
    system = made.tls_context(store())
    assert system is not None
    assert system.verify_mode is ssl.CERT_REQUIRED
    assert system.check_hostname
    with pytest.raises(Refusal) as refused:
        made.tls_context(store(tls_ca="00" * 32))
    assert refused.value.reason is Reason.STORE_IDENTITY
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    broken, _ = credentials({"upstream_ca_file": str(path)})
    for definition in (store(), store(tls_ca="00" * 32)):
        with pytest.raises(Refusal) as refused:
            broken.tls_context(definition)
        assert refused.value.reason is Reason.STORE_IDENTITY


def test_a_password_may_be_any_text() -> None:
    assert StoreCredential("password", "u", "pä:ss").header_line == b"Authorization: Basic dTpww6Q6c3M=\r\n"
