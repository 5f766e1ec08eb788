"""What the trial installs is what a real gate reads: its configuration and its policy have no fault."""

from pathlib import Path

import pytest

from approvals import policy_file
from approvals.policy import evaluate, slot_of
from glassgate.config import load
from glassgate.demo.children import Child
from glassgate.demo.installation import _replaced, install
from glassgate.demo.people import ENGINEER, OVERSEER, PROFILES, STEWARD, policy_text
from glassgate.demo.place import PORTS, Place
from glassgate.demo.slack import Slack
from glassgate.demo.stores import CrmApi, CustomersDb, private_text


@pytest.fixture
def shop(tmp_path: Path) -> tuple[CustomersDb, CrmApi]:
    customers, crm = CustomersDb(tmp_path / "customers", 5481), CrmApi(tmp_path / "crm", 8481)
    for directory in (customers.directory, crm.directory):
        directory.mkdir()
    customers.ca_file.write_text("a CA\n")
    private_text(customers.password_file, "secret\n")
    private_text(crm.token_file, "secret\n")
    return customers, crm


@pytest.fixture
def slack(tmp_path: Path) -> Slack:
    child = Child("nothing", ["true"], log=tmp_path / "log", env={"PATH": "/usr/bin:/bin"})
    child.stop()
    address = "http://127.0.0.1:8460"
    return Slack(child, f"{address}/api/", f"{address}/admin/", "xoxb-1", "xapp-1", "shh", "C0ACCESS")


def test_the_configuration_has_no_fault(tmp_path: Path, shop: tuple[CustomersDb, CrmApi], slack: Slack) -> None:
    place = Place(tmp_path / "trial")
    with place.take():
        place.renew()
        config = load(install(place, dict(PORTS), *shop, slack), {})
    assert config.gate.trial
    assert config.slack.mode == "socket"
    assert config.slack.api_url == "http://127.0.0.1:8460/api"
    assert config.database.embedded_dir == place.postgres
    assert set(config.credentials) == {"customers-db", "crm-api"}
    assert str(config.api.listen) == f"127.0.0.1:{PORTS['api']}"


def test_the_policy_says_what_the_tour_tells(shop: tuple[CustomersDb, CrmApi]) -> None:
    policy = policy_file.parse(policy_text(*shop), "policy.toml")
    assert policy.trial
    assert {somebody.person for somebody in PROFILES} <= set(policy.people)
    for store in ("customers-db", "crm-api"):
        verdict = evaluate(policy, ENGINEER.person, store, ("read",), "incident", 3600)
        assert verdict.outcome == "allow"
        assert verdict.rule is not None and verdict.rule.assurance == "click"
        assert [slot.source for slot in verdict.rule.approvals] == [slot_of(policy, OVERSEER.person)]
    assert evaluate(policy, STEWARD.person, "customers-db", ("read",), "incident", 3600).outcome == "deny"
    assert evaluate(policy, ENGINEER.person, "customers-db", ("read",), "incident", 3601).outcome == "deny"
    assert policy.stores["customers-db"].tls == "verify-full"
    assert policy.stores["customers-db"].tls_ca == shop[0].ca_digest()


def test_a_line_that_is_not_there_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="0 lines"):
        _replaced('mode = "off"\n', r"^embedded_dir = .*$", "x")
    assert _replaced('a\nmode = "off"\nb\n', r'^mode = "off"$', r"\1") == "a\n\\1\nb\n"
