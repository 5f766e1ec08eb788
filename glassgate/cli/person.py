"""person code: let somebody in. Runs on the gate's host, with the gate's own configuration."""

from pathlib import Path

import click

from glassgate.cli.output import remark, visible
from glassgate.cli.server import CONFIG, refusing
from glassgate.cli.session import Session, command


@click.group()
def person() -> None:
    """Let people in (on the gate's host)."""


@command(person)
@click.argument("name")
@CONFIG
def code(session: Session, name: str, config_path: Path) -> None:
    """Print a one-time login code for NAME, a person in the policy in force.

    It works once, within ten minutes. Hand it over by a way on which you know them.
    """
    with refusing():
        from glassgate.person import login_code

        made = login_code(config_path, name)
    session.answer({"person": name, "code": made}, made)
    remark(f"For {visible(name)}: glassgate login --server URL, then this code. It works once, within ten minutes.")
