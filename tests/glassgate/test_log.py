"""Log lines: JSON, and nothing secret in them whatever somebody logs."""

import io
import json
import logging

import pytest
import structlog

from glassgate.log import MAX_TEXT, redacted, set_up

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


@pytest.fixture
def lines():
    kept = logging.getLogger().handlers[:], logging.getLogger().level, structlog.get_config()
    out = io.StringIO()
    set_up(out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logging.getLogger().handlers[:], level, config = kept
    logging.getLogger().setLevel(level)
    structlog.configure(**config)


@pytest.mark.parametrize(
    "secret",
    [
        "ggs_0123456789abcdefghjkmnpqrstvwxyz",
        "ggk_0123456789abcdefghjkmnpqrstvwxyz",
        JWT,
        JWT.rpartition(".")[0],
        "xoxb-1234567890-abcdef",
        "xoxe.xoxp-1234567890",
        "xapp-1-A0B1C2D3-456-def",
    ],
)
@pytest.mark.parametrize("around", ["{}", "before {} after", "token={};", '{{"t":"{}"}}', "https://h/?t={}&x=1"])
def test_what_looks_like_a_secret_is_blanked_wherever_it_stands(secret, around):
    said = redacted(around.format(secret))
    assert "…redacted…" in said
    assert secret not in said
    assert secret[-12:] not in said


def test_passwords_in_dsns_and_credentials_in_headers_are_blanked():
    assert redacted("postgresql://ada:hunter2@db:5432/x") == "postgresql://…redacted…@db:5432/x"
    assert "hunter2" not in redacted("Authorization: Bearer hunter2hunter2")
    assert "aGk6aHVudGVyMg==" not in redacted("proxy said Basic aGk6aHVudGVyMg== to that")
    assert "MC4CAQ" not in redacted("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----")


@pytest.mark.parametrize("text", ["gr_0190a1", "acme/log", "a bearer of news", "gguk_short", "https://gate/x", "eye"])
def test_ordinary_text_is_left_alone(text):
    assert redacted(text) == text


def test_values_under_keys_that_name_secrets_are_dropped(lines):
    log = structlog.get_logger()
    log.info("event", password="hunter2", bot_token="hunter2", nested={"Authorization": "hunter2", "kept": "yes"})
    log.info("event", dsn=["hunter2"], scram="hunter2", reason="kept", token_count=3)
    first, second = lines()
    assert "hunter2" not in json.dumps([first, second])
    assert first["nested"]["kept"] == "yes"
    assert (second["reason"], second["token_count"]) == ("kept", 3)


def test_tracebacks_and_other_libraries_go_the_same_way(lines):
    try:
        raise ValueError(f"cannot use {JWT}")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("aiohttp.server").exception("also failed with %s", JWT)
    first, second = lines()
    assert "ValueError" in first["exception"]
    assert second["event"].startswith("also failed with")
    assert JWT not in json.dumps([first, second])


def test_objects_bytes_and_depth_are_bounded(lines):
    deep: dict = {}
    at = deep
    for _ in range(50):
        at["x"] = {}
        at = at["x"]
    structlog.get_logger().info("event", deep=deep, raw=b"\x00hunter2", text="x" * (2 * MAX_TEXT), thing=object())
    (line,) = lines()
    assert line["raw"] == "8 bytes"
    assert len(line["text"]) < MAX_TEXT + 100
    assert len(json.dumps(line["deep"])) < 200
