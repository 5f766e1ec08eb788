"""connect: psql through the gate, with an access key that exists only in that program's environment."""

import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from glassgate.cli import access
from glassgate.cli.access import Key
from glassgate.cli.output import ago, remark, visible
from glassgate.cli.session import No, Session, command, now

__all__ = ["connect", "dsn", "environment"]

STEERING: Final = (
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGREQUIREAUTH",
    "PGTARGETSESSIONATTRS",
    "PGGSSENCMODE",
)
"""libpq settings in somebody's environment that would lead the connection elsewhere, or not to it at all."""


@command()
@click.argument("store")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--grant", "grant_id", help="Use this grant instead of the one that lives longest.")
@click.option("--wait", is_flag=True, help="If the request is still pending, wait for the decision.")
@click.option("--print-dsn", is_flag=True, help="Print a DSN with a fresh access key instead of running a program.")
def connect(
    session: Session, store: str, program: tuple[str, ...], grant_id: str | None, wait: bool, print_dsn: bool
) -> None:
    """Open psql through the gate to STORE, or run COMMAND with libpq's environment set for it.

    Activates your grant if it was not active yet.
    """
    api = session.api
    info = access.connection(api, store)
    if info["protocol"] != "postgres":
        raise No(f"{visible(store)} is an HTTP store. Use:\n  {session.command_line('curl', store, '/')}")
    grant = access.live_grant(session, api, store, grant_id, wait=wait)
    key = access.make_key(api, grant)
    root = access.ca_file(session, info)
    if print_dsn or session.as_json:
        text = dsn(info, key, root)
        session.answer({"dsn": text, "grant": grant["id"], "ends_at": grant["ends_at"]}, text)
        remark(f"This contains the key. It ends with {grant['id']}, {ago(grant['ends_at'], now())}.")
        return
    remark(
        f"{visible(store)} through the gate under {visible(grant['id'])}, which ends {ago(grant['ends_at'], now())}."
    )
    run(program or ("psql",), environment(os.environ, info, key, root))


def environment(given: Mapping[str, str], info: dict[str, Any], key: Key, root: str) -> dict[str, str]:
    """`given` with libpq's variables pointing at the gate. The password is here and not in argv, which everybody
    on this machine can read."""
    kept = {name: value for name, value in given.items() if name not in STEERING}
    return kept | {
        "PGHOST": info["host"],
        "PGPORT": str(info["port"]),
        "PGDATABASE": info["database"],
        "PGUSER": key.login,
        "PGPASSWORD": key.secret,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": root,
    }


def dsn(info: dict[str, Any], key: Key, root: str) -> str:
    """A libpq connection URI with the key in it."""
    host = f"[{info['host']}]" if ":" in info["host"] else info["host"]
    return (
        f"postgresql://{quote(key.login, safe='')}:{quote(key.secret, safe='')}@{host}:{info['port']}"
        f"/{quote(info['database'], safe='')}?sslmode=verify-full&sslrootcert={quote(root, safe='')}"
    )


def run(program: tuple[str, ...], variables: dict[str, str]) -> None:
    """Become that program. Its exit status is ours."""
    try:
        os.execvpe(program[0], program, variables)  # noqa: S606 (no shell on purpose)
    except FileNotFoundError as cause:
        raise No(
            f"{visible(program[0])} is not on this machine's PATH. Install it, or use --print-dsn with another tool."
        ) from cause
    except OSError as cause:
        raise No(f"{visible(program[0])} cannot be run: {cause.strerror}.") from cause
