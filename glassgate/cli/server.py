"""serve, migrate, init, demo: thin calls into the modules that do it. They run on the gate's own host."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import click

from glassgate.cli.output import visible
from glassgate.cli.session import No, Session, command

__all__ = ["CONFIG", "demo", "init", "migrate", "refusing", "serve"]

CONFIG: Final = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GLASSGATE_CONFIG",
    default="glassgate.toml",
    show_default=True,
    help="The gate's configuration file.",
)
Role = Literal["all", "approvals", "proxy", "sequencer"]
NOT_CONNECTED: Final = frozenset({"08", "28", "3D", "53", "57"})
"""SQLSTATE classes of a database that lets nobody in: connection, login, no such database, full, shutting down."""
ROLES: Final[tuple[Role, ...]] = ("all", "approvals", "proxy", "sequencer")


@contextmanager
def refusing() -> Iterator[None]:
    """Turns what these modules refuse with into one plain sentence and exit status 1. A bug stays a traceback."""
    import asyncpg

    from approvals.errors import Refusal
    from glassgate.config import ConfigFaults
    from glassgate.embedded_postgres import PostgresFailed
    from glassgate.init import InitRefused
    from glassgate.keys import KeyRefused
    from glassgate.migrate import MigrationRefused
    from glassgate.postgres_binaries import BinariesNotFound

    try:
        yield
    except Refusal as refusal:
        raise No(visible(refusal.public)) from refusal
    except ConfigFaults as cause:
        raise No("this configuration cannot be used:\n  " + "\n  ".join(map(visible, cause.faults))) from cause
    except (InitRefused, MigrationRefused, KeyRefused, PostgresFailed, BinariesNotFound) as cause:
        raise No(visible(cause, lines=True)) from cause
    except (OSError, TimeoutError) as cause:
        raise No(f"{visible(cause) or type(cause).__name__}. Is the database up, and its DSN right?") from cause
    except asyncpg.PostgresError as cause:
        if (cause.sqlstate or "08")[:2] not in NOT_CONNECTED:
            raise
        raise No(f"the database refuses: {visible(cause)}. Is its DSN right?") from cause


@click.command()
@CONFIG
@click.option("--role", type=click.Choice(ROLES), default="all", show_default=True, help="What this process does.")
def serve(config_path: Path, role: Role) -> None:
    """Run the gate, until it is stopped with SIGTERM or Ctrl-C."""
    with refusing():
        from glassgate.serve import main

        raise SystemExit(main(config_path, role))


@click.command()
@CONFIG
def migrate(config_path: Path) -> None:
    """Bring the database up to date: roles, then the migrations that are missing."""
    with refusing():
        from glassgate.migrate import main

        for line in main(config_path):
            print(visible(line))


@command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--member", default="acme", show_default=True, help="Whose gate this is.")
@click.option("--host", default="gate.acme.example", show_default=True, help="The name this gate has for good.")
@click.option("--trial", is_flag=True, help="Mark every entry of the log as a trial's.")
def init(session: Session, directory: Path, member: str, host: str, trial: bool) -> None:
    """Make a new installation in DIRECTORY: configuration, keys, trial CA, the log's origin.

    The origin cannot be changed later: it names the log for ever.
    """
    with refusing():
        from glassgate.init import Options, create

        steps = create(directory, Options(member=member, host=host, trial=trial), datetime.now(UTC))
    session.answer({"directory": str(directory), "next": list(steps)}, visible("\n".join(steps), lines=True))


@click.command()
@click.option("--tour", is_flag=True, help="Tell the story unattended, then stop; the last line is JSON.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where the demo keeps its state.")
def demo(tour: bool, directory: Path | None) -> None:
    """Run everything on this machine: two real stores, people, and a gate in front of them."""
    with refusing():
        from glassgate.demo.main import main

        raise SystemExit(main(tour=tour, directory=directory))
