"""The commands of the gate's own host: thin, and plain when something is in the way."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from approvals.errors import Refusal
from approvals.reasons import Reason
from glassgate.cli.main import main


def typed(*words: str | Path, **variables: str) -> Result:
    return CliRunner(env={"GLASSGATE_CONFIG": None, **variables}).invoke(main, [str(word) for word in words])


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    done = typed("init", tmp_path / "gate", "--trial")
    assert done.exit_code == 0, done.output
    return tmp_path / "gate"


def test_init_says_what_comes_next(tmp_path: Path) -> None:
    done = typed("init", tmp_path / "gate", "--json", "--host", "gate.test", "--member", "zeta")
    told = json.loads(done.stdout)
    assert told["directory"] == str(tmp_path / "gate")
    assert any("gate.test/log/zeta" in line for line in told["next"])


def test_init_never_overwrites(installation: Path) -> None:
    before = (installation / "glassgate.toml").read_bytes()
    done = typed("init", installation)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was changed" in done.stderr
    assert (installation / "glassgate.toml").read_bytes() == before


def test_config_check(installation: Path) -> None:
    file = installation / "glassgate.toml"
    assert "is in order" in typed("config", "check", "--config", file).stdout
    assert typed("config", "check", GLASSGATE_CONFIG=str(file)).exit_code == 0
    file.write_text(file.read_text() + '\n[apii]\n[diagnostics]\nlisten = "nowhere"\n')
    done = typed("config", "check", "--config", file, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["faults"]
    missing = typed("config", "check", "--config", installation / "none.toml")
    assert (missing.exit_code, "No such file" in missing.stdout) == (1, True)


@pytest.mark.parametrize("words", [["serve"], ["migrate"], ["person", "code", "ada"]])
def test_a_configuration_with_mistakes(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "glassgate.toml").write_text("[nonsense]\n")
    done = typed(*words, "--config", tmp_path / "glassgate.toml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "glassgate.toml: nonsense: no such section" in done.stderr


@pytest.mark.parametrize("words", [["migrate"], ["person", "code", "ada"]])
def test_a_database_that_is_not_there(words: list[str], installation: Path) -> None:
    file = installation / "glassgate.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("embedded_dir")]
    file.write_text("\n".join(lines))
    roles = ("OWNER", "APPROVALS", "PROXY", "SEQUENCER", "READER")
    nowhere = {f"GLASSGATE_DATABASE__DSN_{role}": "postgresql://x:sesame@127.0.0.1:9/db" for role in roles}
    done = typed(*words, "--config", file, **nowhere)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "database" in done.stderr
    assert "Traceback" not in done.output
    assert "sesame" not in done.output


def test_a_login_code(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def code(config: Path, person: str) -> str:
        if person != "ada":
            raise Refusal(Reason.PERSON_UNKNOWN)
        return "k7f3-9xq2"

    monkeypatch.setattr("glassgate.person.login_code", code)
    done = typed("person", "code", "ada", "--config", installation / "glassgate.toml")
    assert done.stdout == "k7f3-9xq2\n", "the code alone, for a pipe"
    done = typed("person", "code", "eve", "--config", installation / "glassgate.toml")
    assert (done.exit_code, done.stderr) == (1, "glassgate: No such person is enrolled here.\n")


@pytest.mark.parametrize("status", [0, 1])
def test_serve_and_demo_end_as_they_end(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    seen: list[Any] = []

    def serve(*given: Any) -> int:
        seen.append(given)
        return status

    def demo(**given: Any) -> int:
        seen.append(given)
        return status

    monkeypatch.setattr("glassgate.serve.main", serve)
    monkeypatch.setattr("glassgate.demo.main.main", demo)
    assert typed("serve", "--role", "proxy", "--config", "x.toml").exit_code == status
    assert typed("demo", "--tour").exit_code == status
    assert seen == [(Path("x.toml"), "proxy"), {"tour": True, "directory": None}]
