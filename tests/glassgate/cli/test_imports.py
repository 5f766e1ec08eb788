"""The command line answers at once: what a client does not use is not imported."""

import re
import subprocess
import sys
import time

import click
import pytest

from glassgate.cli.main import COMMANDS, main

HEAVY = {"aiohttp", "asyncpg", "slack_bolt", "slack_sdk", "msgspec", "structlog", "uvloop", "httptools", "jinja2"}
HEAVY |= {"prometheus_client", "jwt", "pgparse", "cryptography"}
RUN = "from glassgate.cli.main import main; main(prog_name='glassgate')"


def imported(*words: str) -> set[str]:
    """The top-level modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", RUN, *words],
        capture_output=True,
        text=True,
        env={"GLASSGATE_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return {match[1] for match in re.finditer(r"^import time:.*\| +([A-Za-z_0-9]+)", done.stderr, re.MULTILINE)}


@pytest.mark.parametrize(
    "words", ["--help", "request --help", "request ls", "grant ls", "connect customers-db", "curl crm-api /", "whoami"]
)
def test_clients_do_not_pay_for_the_server(words: str) -> None:
    found = imported(*words.split())
    assert "click" in found
    assert not found & HEAVY


def test_help_is_quick() -> None:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", RUN, "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    assert min(once() for _ in range(5)) < 0.3


def test_every_command_is_there_and_explains_itself() -> None:
    with click.Context(main) as context:
        for name in COMMANDS:
            command = main.get_command(context, name)  # type: ignore[attr-defined]
            assert command.name == name
            assert command.help
            for below in getattr(command, "commands", {}).values():
                assert below.help, f"{name} {below.name}"
                assert {"profile_name", "as_json"} <= {parameter.name for parameter in below.params}, below.name
