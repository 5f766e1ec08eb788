"""config check: everything that is wrong with a configuration, at once."""

import os
from pathlib import Path

import click

from glassgate.cli.output import visible
from glassgate.cli.server import CONFIG
from glassgate.cli.session import Session, command


@click.group()
def config() -> None:
    """Check a configuration file."""


@command(config)
@CONFIG
def check(session: Session, config_path: Path) -> None:
    """Say what is wrong with the configuration, and the policy file it names; exit status 1 if anything is."""
    from glassgate.config import ConfigFaults, load

    faults: tuple[str, ...] = ()
    try:
        load(config_path, os.environ)
    except ConfigFaults as cause:
        faults = cause.faults
    session.answer(
        {"file": str(config_path), "faults": list(faults)},
        "\n".join(map(visible, faults)) or f"{visible(config_path)} is in order.",
    )
    if faults:
        raise SystemExit(1)
