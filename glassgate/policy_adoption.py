"""The policy file is a proposal; in force is the version in the log. What happens when the two differ.

none in force, a trial        the file is adopted as it is; the log says by whom and that it is a trial
none in force otherwise       nothing can be asked until `glassgate policy adopt` has been run
equal                         nothing
different                     the version in force stays, and a warning says what to do
"""

import os
from pathlib import Path

import structlog

from approvals.errors import Refusal
from approvals.policies import InForce
from approvals.policy import Policy, digest_of, document_of
from approvals.policy_file import PolicyFileRefused, parse
from approvals.reasons import Reason
from approvals.service import Approvals
from glassgate.config import ConfigFaults, load
from glassgate.settings import Config

__all__ = ["adopt", "read_policy", "settle"]

MAX_BYTES = 1024 * 1024
BY_TRIAL = "trial"  # nobody's name: the first start of a trial adopts the file it finds
BY_OPERATOR = "operator"

_log = structlog.get_logger(__name__)


def read_policy(file: Path) -> Policy:
    """The proposal. Raises ConfigFaults with every fault in it."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigFaults([f"{file}: cannot be read: {getattr(cause, 'strerror', None) or cause}"]) from cause
    if len(text) > MAX_BYTES:
        raise ConfigFaults([f"{file}: larger than {MAX_BYTES} bytes"])
    try:
        return parse(text, file.name)
    except PolicyFileRefused as cause:
        raise ConfigFaults(
            [f"{file.name}:{fault.line}: {fault.key}: {fault.text}" for fault in cause.faults]
        ) from cause


async def settle(service: Approvals, config: Config) -> InForce | None:
    """At the start of approvals: compare, adopt where that is allowed, and say what is in force."""
    in_force = await service.policy_in_force()
    _check_same_gate(in_force, config)
    try:
        proposed = read_policy(config.policy.file)
    except ConfigFaults as cause:
        if in_force is None and config.gate.trial:
            raise
        _log.warning("policy.file_unusable", faults=list(cause.faults), in_force=in_force.digest if in_force else "")
        return in_force
    digest = digest_of(document_of(proposed))
    if in_force is None and config.gate.trial:
        in_force = await service.adopt_policy(proposed, BY_TRIAL)
        _log.info("policy.adopted", digest=digest, by=BY_TRIAL)
    elif in_force is None:
        _log.warning("policy.none_in_force", do="run `glassgate policy adopt`; until then nothing can be asked")
    elif in_force.digest != digest:
        _log.warning(
            "policy.file_differs", in_force=in_force.digest, file=digest, note="the version in force stays in force"
        )
    return in_force


def _check_same_gate(in_force: InForce | None, config: Config) -> None:
    """A log is one member's and a trial's or not a trial's, for good; the configuration cannot say otherwise."""
    if in_force is None:
        return
    faults = []
    for name, ours, logged in (
        ("member", config.gate.member, in_force.policy.member),
        ("trial", str(config.gate.trial).lower(), str(in_force.policy.trial).lower()),
    ):
        if ours != logged:
            faults.append(f"glassgate.toml: gate.{name}: expected {logged}, as this log has it for good, got {ours}")
    if faults:
        raise ConfigFaults(faults)


def adopt(config_file: Path) -> list[str]:
    """`glassgate policy adopt`, on the gate's own host: put the file in force. Later versions only in a trial.

    Raises ConfigFaults, Refusal(CONFLICT) where the quorum in force would have to decide.
    """
    from glassgate.wiring.command import run

    config = load(config_file, os.environ)
    proposed = read_policy(config.policy.file)

    async def act(service: Approvals) -> list[str]:
        in_force = await service.policy_in_force()
        digest = digest_of(document_of(proposed))
        if in_force is not None and in_force.digest == digest:
            return [f"policy {digest} is in force already"]
        if in_force is not None and not config.gate.trial:
            raise Refusal(
                Reason.CONFLICT,
                "A policy is in force already. Outside a trial another one takes the approval of those whom the "
                "policy in force names, and cannot be adopted from here.",
            )
        await service.adopt_policy(proposed, BY_OPERATOR, only_first=not config.gate.trial)
        return [f"policy {digest} is in force"]

    return run(config, act)
