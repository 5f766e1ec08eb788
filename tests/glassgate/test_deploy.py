"""deploy/: the files name commands, roles and scopes that exist."""

import configparser
import json
import re

import pytest

from glassgate.cli.main import COMMANDS
from glassgate.cli.server import ROLES
from tests.support.source_tree import ROOT

DEPLOY = ROOT / "deploy"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(DEPLOY / "systemd" / name)
    return parsed


@pytest.mark.parametrize("name", ["glassgate@.service", "glassgate-migrate.service"])
def test_units_run_commands_that_exist_without_privileges(name):
    service = unit(name)["Service"]
    command = service["ExecStart"].split()
    assert command[1] in COMMANDS
    assert service["User"] == "glassgate"
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"


def test_the_documents_roles_exist():
    named = set(re.findall(r"glassgate@(\w+)", (DEPLOY / "README.md").read_text() + unit_text()))
    assert named <= set(ROLES)
    assert set(re.findall(r"--role (\w+)", (DEPLOY / "README.md").read_text())) <= set(ROLES)


def unit_text() -> str:
    return (DEPLOY / "systemd" / "glassgate@.service").read_text()


def test_the_slack_manifest_asks_for_no_more_than_is_used():
    manifest = json.loads((DEPLOY / "slack" / "manifest.json").read_text())
    assert manifest["features"]["slash_commands"][0]["command"] == "/access"
    assert manifest["oauth_config"]["scopes"] == {"bot": ["chat:write", "commands", "im:write"]}
    # What each is for: the calls that approvals/notify/slack/client.py makes.
    client = (ROOT / "approvals" / "notify" / "slack" / "client.py").read_text()
    called = set(re.findall(r"\.((?:chat|conversations|views|users|files|auth)_\w+)\(", client))
    assert called == {"views_open", "chat_postEphemeral", "chat_postMessage", "chat_update", "conversations_open"}


def test_the_containerfile_says_that_it_is_untested_and_copies_every_package():
    text = (DEPLOY / "Containerfile").read_text()
    assert text.startswith("# UNTESTED")
    for package in ("ledger", "approvals", "proxy", "overseer", "glassgate", "migrations"):
        assert f"COPY {package} {package}\n" in text
