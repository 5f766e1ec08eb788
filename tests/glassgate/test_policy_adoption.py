"""Which policy is in force: the one in the log, and the file only where that is allowed."""

import pytest

from approvals.errors import Refusal
from approvals.reasons import Reason
from glassgate.config import ConfigFaults
from glassgate.policy_adoption import adopt, read_policy
from tests.support.gate import installation


def changed(gate) -> None:
    policy = gate.directory / "policy.toml"
    policy.write_text(policy.read_text().replace("Ada Example", "Ada Changed"))


def adopted(gate) -> list[str]:
    return adopt(gate.config)


def test_a_real_installation_adopts_its_first_policy_and_no_second():
    with installation(trial=False) as gate:
        assert gate.run("migrate").returncode == 0
        (said,) = adopted(gate)
        assert said.endswith("is in force")
        assert adopted(gate)[0].endswith("is in force already")
        changed(gate)
        with pytest.raises(Refusal, match="takes the approval of those whom the policy in force names") as refused:
            adopted(gate)
        assert refused.value.reason is Reason.CONFLICT


def test_a_trial_may_adopt_again():
    with installation() as gate:
        assert gate.run("migrate").returncode == 0
        first = adopted(gate)
        changed(gate)
        assert adopted(gate) != first


def test_a_real_installation_serves_nothing_before_a_policy():
    with installation(trial=False) as gate:
        assert gate.run("migrate").returncode == 0
        process = gate.serve().wait_ready()
        assert "policy.none_in_force" in process.events()
        assert process.terminate() == 0


def test_faults_of_the_file_name_file_line_and_key(tmp_path):
    policy = tmp_path / "policy.toml"
    with pytest.raises(ConfigFaults, match="cannot be read: No such file"):
        read_policy(policy)
    policy.write_text('version = 1\nmember = "acme"\ntrial = "perhaps"\n')
    with pytest.raises(ConfigFaults, match=r"policy\.toml:3: trial:"):
        read_policy(policy)
    policy.write_bytes(b"\xff")
    with pytest.raises(ConfigFaults, match="cannot be read"):
        read_policy(policy)
