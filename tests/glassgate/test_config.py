"""The configuration: everything wrong at once, in words; nothing secret in them."""

import os
from pathlib import Path

import pytest

from glassgate.config import ConfigFaults, load, parse
from glassgate.init import Options, create
from glassgate.settings import SECTIONS, settings_of
from glassgate.values import Address
from tests.support.clock import T0

MINIMAL = """
[gate]
member = "acme"
origin = "gate.acme.example/log/acme"
issuer = "https://gate.acme.example"
[proxy.postgres]
listen = ""
"""


def read(text: str, directory: Path, **environ: str):
    return parse(text.encode(), "glassgate.toml", directory, environ)


def faults(text: str, directory: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        read(text, directory, **environ)
    return [fault.removeprefix("glassgate.toml: ") for fault in caught.value.faults]


def secret_file(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_defaults_and_paths(tmp_path):
    config = read(MINIMAL, tmp_path)
    assert config.gate.data_dir == tmp_path / "data"
    assert config.policy.file == tmp_path / "policy.toml"
    assert config.api.listen == Address("127.0.0.1", 8470)
    assert config.postgres.listen is None
    assert not config.database.dsn_owner
    assert not config.gate.trial


def test_every_fault_at_once_with_what_was_expected_and_got(tmp_path):
    found = faults(
        """
[gate]
member = "Acme AG"
origin = "https://gate.acme.example"
trial = "yes"
[api]
listen = "8443"
lisen = "127.0.0.1:1"
[proxy.htttp]
listen = "127.0.0.1:8480"
[databse]
[slack]
mode = "sometimes"
""",
        tmp_path,
    )
    assert found == [
        "proxy.htttp: no such section; did you mean proxy.http?",
        "databse: no such section; did you mean database?",
        'gate.member: expected a name of small letters, digits and hyphens, got "Acme AG"',
        "gate.origin: expected a host and path without scheme, such as gate.acme.example/log/acme, "
        'got "https://gate.acme.example"',
        "gate.issuer: is required",
        'gate.trial: expected true or false, got "yes"',
        "api.lisen: no such setting; did you mean listen?",
        'api.listen: expected host:port, got "8443"',
        'slack.mode: expected "off" or "socket" or "http", got "sometimes"',
    ]


def test_plain_listeners_are_for_loopback_and_postgres_is_tls_always(tmp_path):
    text = MINIMAL.replace('listen = ""', 'listen = "127.0.0.1:5480"') + (
        '[api]\nlisten = "0.0.0.0:8470"\n[proxy.http]\nlisten = "[::1]:8480"\n'
    )
    assert faults(text, tmp_path) == [
        "api.tls_cert: is required: plain HTTP is for loopback only, and listen is 0.0.0.0:8470",
        "proxy.postgres.tls_cert: is required: this listener speaks TLS only",
    ]


def test_half_a_pair_and_missing_files(tmp_path):
    found = faults(MINIMAL + '[api]\ntls_cert = "no.pem"\n', tmp_path)
    assert found == [
        "api.tls_key: is required beside the other half of the pair",
        f"api.tls_cert: {tmp_path / 'no.pem'} is no file",
    ]


def test_the_environment_overrides(tmp_path):
    config = read(
        MINIMAL,
        tmp_path,
        GLASSGATE_PROXY__HTTP__LISTEN="127.0.0.1:9000",
        GLASSGATE_GATE__TRIAL="true",
        GLASSGATE_DSN="postgresql://owner:pw@db/glassgate",
        GLASSGATE_PROFILE="engineer",
    )
    assert config.http.listen == Address("127.0.0.1", 9000)
    assert config.gate.trial is True
    assert config.database.dsn_owner.reveal() == "postgresql://owner:pw@db/glassgate"


def test_the_environment_can_be_wrong_too(tmp_path):
    found = faults(MINIMAL, tmp_path, GLASSGATE_PROXI__HTTP__LISTEN="x", GLASSGATE_API__LISTEN="nowhere")
    assert found == [
        "GLASSGATE_PROXI__HTTP__LISTEN: no such section: proxi.http; did you mean proxy.http?",
        'api.listen: expected host:port, got "nowhere"',
    ]


def test_an_override_replaces_the_other_form_of_the_same_secret(tmp_path):
    secret_file(tmp_path, "postgresql://file/db")
    text = MINIMAL + '[database]\ndsn_proxy_file = "secret"\n'
    assert read(text, tmp_path).database.dsn_proxy.reveal() == "postgresql://file/db"
    config = read(text, tmp_path, GLASSGATE_DATABASE__DSN_PROXY="postgresql://environment/db")
    assert config.database.dsn_proxy.reveal() == "postgresql://environment/db"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_secret_that_everybody_can_reach_is_refused(tmp_path, mode):
    path = secret_file(tmp_path, "postgresql://file/db", mode)
    assert faults(MINIMAL + '[database]\ndsn_owner_file = "secret"\n', tmp_path) == [
        f"database.dsn_owner_file: {path} is open to everybody on this machine (mode {mode:04o}); run: chmod 600 {path}"
    ]


def test_secret_files_that_hold_nothing_or_are_missing(tmp_path):
    path = secret_file(tmp_path, "\n")
    found = faults(MINIMAL + '[slack]\nbot_token_file = "secret"\napp_token_file = "gone"\n', tmp_path)
    assert found == [
        f"slack.bot_token_file: {path} holds no secret of a usable size",
        f"slack.app_token_file: {tmp_path / 'gone'} cannot be read: No such file or directory",
    ]


def test_no_secret_in_faults_or_reprs(tmp_path):
    text = MINIMAL + '[database]\ndsn_owner = "mysql://u:hunter2@db"\n[slack]\nbot_token = "xoxb-hunter2\\u0007"\n'
    assert "hunter2" not in "\n".join(faults(text, tmp_path))
    text = MINIMAL + '[slack]\nbot_token = "xoxb-hunter2"\n'
    config = read(text, tmp_path)
    assert "hunter2" not in repr(config) + str(config.slack.bot_token) + f"{config.slack.bot_token}"


def test_given_twice(tmp_path):
    secret_file(tmp_path, "xoxb-a")
    assert faults(MINIMAL + '[slack]\nbot_token = "xoxb-b"\nbot_token_file = "secret"\n', tmp_path) == [
        "slack.bot_token: given twice, also as bot_token_file"
    ]


def test_slack_needs_what_its_mode_needs(tmp_path):
    assert faults(MINIMAL + '[slack]\nmode = "socket"\nbot_token = "xoxb-1"\n', tmp_path) == [
        'slack.app_token: is required for mode = "socket"',
        'slack.channel: is required for mode = "socket"',
    ]
    assert faults(MINIMAL + '[slack]\nmode = "http"\nchannel = "C1"\n', tmp_path) == [
        'slack.bot_token: is required for mode = "http"',
        'slack.signing_secret: is required for mode = "http"',
    ]


def test_embedded_and_a_dsn_exclude_each_other(tmp_path):
    text = MINIMAL + '[database]\nembedded_dir = "pg"\ndsn_owner = "postgresql://db/x"\n'
    assert faults(text, tmp_path) == [
        "database.embedded_dir: means nothing beside dsn_owner: remove one of them",
    ]
    # But the one environment variable that says "use this database" needs no edit of the file.
    config = read(MINIMAL + '[database]\nembedded_dir = "pg"\n', tmp_path, GLASSGATE_DSN="postgresql://db/x")
    assert config.database.embedded_dir is None


def test_credentials_become_plain_mappings_with_absolute_paths(tmp_path):
    secret_file(tmp_path, "s3cret")
    text = MINIMAL + '[credentials.customers-db]\nuser = "gate"\npassword_file = "secret"\n'
    assert read(text, tmp_path).credentials == {
        "customers-db": {"user": "gate", "password_file": str(tmp_path / "secret")}
    }
    overridden = read(text, tmp_path, GLASSGATE_CREDENTIALS__CUSTOMERS_DB__USER="other")
    assert overridden.credentials["customers-db"]["user"] == "other"


def test_credentials_name_their_faults(tmp_path):
    found = faults(
        MINIMAL
        + '[credentials.a]\nusr = "x"\npassword_file = "gone"\n'
        + '[credentials."b c"]\nbearer = 7\nupstream_ca_file = "no"\n',
        tmp_path,
    )
    assert found == [
        "credentials.a.usr: no such setting; did you mean user?",
        f"credentials.a.password_file: {tmp_path / 'gone'} cannot be read: No such file or directory",
        "credentials.b c: expected a name of letters, digits, hyphens and underscores",
        "credentials.b c.bearer: expected a text in quotes, got something else",
        f"credentials.b c.upstream_ca_file: {tmp_path / 'no'} is no file",
    ]


def test_credentials_are_given_in_exactly_one_way(tmp_path):
    text = '[credentials.a]\nuser = "x"\n[credentials.b]\nbearer = "x"\npassword = "y"\n[credentials.c]\nvalue = "x"\n'
    found = faults(MINIMAL + text, tmp_path)
    assert [fault.partition(":")[0] for fault in found] == ["credentials.a", "credentials.b", "credentials.c"]
    assert "a user or header, but no secret" in found[0]
    assert "several secrets (password, bearer), expected one" in found[1]


@pytest.mark.parametrize(
    "text",
    ["", "[gate", "\x00", "gate = 1", "[[gate]]\nmember=1", "proxy = 3", "[proxy]\nhttp = 3", "credentials = []"],
)
def test_any_text_gives_faults_and_nothing_else(tmp_path, text):
    assert faults(text, tmp_path)


def test_bytes_that_are_no_text(tmp_path):
    with pytest.raises(ConfigFaults, match="not TOML"):
        parse(b"\xff\xfe", "glassgate.toml", tmp_path, {})


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigFaults, match="cannot be read: No such file"):
        load(tmp_path / "glassgate.toml", {})


def test_what_init_writes_is_a_valid_configuration(tmp_path):
    create(tmp_path / "gate", Options(trial=True), T0)
    config = load(tmp_path / "gate" / "glassgate.toml", {})
    assert config.gate.origin == "gate.acme.example/log/acme"
    assert config.gate.trial is True
    assert config.database.embedded_dir is not None
    assert os.stat(config.keys.dir).st_mode & 0o777 == 0o700  # noqa: PTH116


def test_every_setting_has_a_meaning():
    for section in SECTIONS.values():
        for setting in settings_of(section):
            assert len(setting.meaning) > 5, setting


@pytest.mark.parametrize(
    "password", ["hun#ter2", "hun/ter2", "hun?ter2", "hun?ter=2", "hun[ter2", "hun@ter2", "12/34/56"]
)
def test_a_dsn_that_falls_apart_is_refused_without_a_word_of_it(password, tmp_path):
    """The driver would quote parts of it: `invalid literal for int() with base 10: 'hun'`."""
    text = MINIMAL + f'[database]\ndsn_proxy = "postgresql://u:{password}@db:5432/glassgate"\n'
    (fault,) = faults(text, tmp_path)
    assert fault.startswith("database.dsn_proxy: expected postgresql://user:password@host:port/database")
    assert fault.endswith("got something else")
    assert not any(part in fault for part in ("hun", "ter2", "12", "34"))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p%2Fq%40r@db:5432/glassgate?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem",
        "postgresql://u:p@/glassgate?host=/var/run/postgresql&port=5432",
        "postgres://db/glassgate",
        "postgresql://u@[::1]:5432/glassgate",
        "postgresql://u:p@one:5432,two:5433/glassgate?target_session_attrs=read-write",
        "postgresql:///glassgate",
    ],
)
def test_a_dsn_as_the_driver_reads_it(dsn, tmp_path):
    assert read(MINIMAL + f'[database]\ndsn_proxy = "{dsn}"\n', tmp_path).database.dsn_proxy.reveal() == dsn
