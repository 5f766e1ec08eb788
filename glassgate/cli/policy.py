"""policy check, explain, adopt: what a policy file says, and how the first one comes into force."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glassgate.cli.durations import DURATION
from glassgate.cli.output import span, visible
from glassgate.cli.server import CONFIG, refusing
from glassgate.cli.session import No, Session, command

if TYPE_CHECKING:
    from approvals.policy import Policy

MAX_FILE_BYTES = 1024 * 1024


@click.group()
def policy() -> None:
    """Check a policy file, or ask it."""


_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@command(policy)
@_FILE
def check(session: Session, file: Path) -> None:
    """Say everything that is wrong with FILE; exit status 1 if anything is."""
    from approvals.policy import digest_of, document_of
    from approvals.policy_file import PolicyFileRefused

    try:
        read = _read(file)
    except PolicyFileRefused as cause:
        faults = [f"{file}:{fault.line}: {fault.key}: {fault.text}" for fault in cause.faults]
        session.answer({"file": str(file), "faults": faults}, "\n".join(map(visible, faults)))
        raise SystemExit(1) from cause
    digest = digest_of(document_of(read))
    counted = {"people": len(read.people), "stores": len(read.stores), "rules": len(read.rules)}
    said = ", ".join(f"{number} {what}" for what, number in counted.items())
    session.answer(
        {"file": str(file), "faults": [], "digest": digest, **counted},
        f"{visible(file)} is in order: {said}; digest {digest}.",
    )


@command(policy)
@_FILE
@click.option("--who", required=True, help="The person who would ask.")
@click.option("--store", required=True)
@click.option("--action", "actions", multiple=True, default=("read",), show_default=True)
@click.option("--reason", required=True, help="A reason code.")
@click.option("--for", "duration_s", type=DURATION, default="1h", show_default=True)
def explain(session: Session, file: Path, **asked: Any) -> None:
    """Say what FILE would answer to a request, and why; exit status 1 if it would say no."""
    from approvals.policy import evaluate
    from approvals.policy_file import PolicyFileRefused

    try:
        read = _read(file)
    except PolicyFileRefused as cause:
        raise No(
            f"{visible(file)} has mistakes. Run:\n  {session.command_line('policy', 'check', str(file))}"
        ) from cause
    verdict = evaluate(read, asked["who"], asked["store"], asked["actions"], asked["reason"], asked["duration_s"])
    rule = verdict.rule
    told = {
        "outcome": verdict.outcome,
        "rule": rule.name if rule else None,
        "reasons": list(verdict.reasons),
        "approvals": [{"from": slot.source, "count": slot.count} for slot in rule.approvals] if rule else [],
    }
    lines = [visible(reason) for reason in verdict.reasons]
    if rule is not None:
        needs = ", ".join(f"{slot.count} from {slot.source}" for slot in rule.approvals)
        lines.append(visible(f"it needs: {needs}; at most {span(rule.max_duration_s)}; assurance {rule.assurance}"))
    session.answer(told, "\n".join([f"{verdict.outcome}:", *(f"  {one}" for one in lines)]))
    if verdict.outcome != "allow":
        raise SystemExit(1)


@command(policy)
@CONFIG
def adopt(session: Session, config_path: Path) -> None:
    """Put the configured policy file in force (on the gate's host).

    The first policy, or any in a trial. Afterwards a change takes the approval of those whom the policy in force names.
    """
    with refusing():
        from glassgate.policy_adoption import adopt as put_in_force

        lines = put_in_force(config_path)
    session.answer({"said": lines}, visible("\n".join(lines), lines=True))


def _read(file: Path) -> "Policy":
    from approvals.policy_file import parse

    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise No(f"{visible(file)} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise No(f"{visible(file)} is not UTF-8 text.") from cause
    return parse(text, file.name)
