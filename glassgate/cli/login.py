"""login, logout, whoami: a one-time code becomes a session that stays in a private file."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from glassgate.cli import profile
from glassgate.cli.http import Api, ApiRefused, ServerUnreachable, check_server
from glassgate.cli.output import remark, visible
from glassgate.cli.profile import Profile
from glassgate.cli.session import No, Session, command


@command()
@click.option("--server", help="The gate's address, e.g. https://gate.example. Remembered in the profile.")
@click.option("--code", help="The one-time code. Left out, it is asked for: what is typed here others may see in ps.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of the gate's CA.")
def login(session: Session, server: str | None, code: str | None, ca: Path | None) -> None:
    """Log in with a one-time code.

    Whoever runs the gate gives you the code (`glassgate person code NAME`); it works once, within ten minutes.
    """
    known = profile.load(session.directory, session.name) or Profile()
    chosen = check_server(server or known.server or "http://127.0.0.1:8470")
    bundle = ca.read_text() if ca else (known.ca if chosen == known.server else "")
    opened = Api(chosen, ca=bundle).post("/login", {"code": (code or _asked()).strip()})
    api = Api(chosen, opened["session"], bundle)
    pinned = known.log_key if chosen == known.server else ""
    shown = api.get("/log")["verifier_key"]
    made = Profile(chosen, opened["session"], opened["person"]["id"], bundle, pinned or shown)
    path = profile.save(session.directory, session.name, made)
    if made.log_key != shown:
        remark(
            "WARNING: this gate shows another log key than the one first seen. Its history may have been replaced; "
            "ask the overseer before you go on. The first key stays pinned."
        )
    person = opened["person"]
    remark(f"The session is kept in {path}.")
    session.answer(person, f"Logged in to {chosen} as {_person(person)}.")


def _asked() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("One-time code", hide_input=True, err=True))
    line = sys.stdin.readline()
    if not line.strip():
        raise click.UsageError("a code is needed: give --code, or write it to standard input")
    return line


@command()
def logout(session: Session) -> None:
    """End the session on this machine."""
    known = profile.load(session.directory, session.name)
    if known is None or not known.session:
        session.answer({"logged_out": False}, "You were not logged in.")
        return
    # The file first: whatever the gate says, this machine must not keep a session that was meant to go.
    profile.save(session.directory, session.name, replace(known, session=""))
    try:
        Api(known.server, known.session, known.ca).post("/logout")
    except ServerUnreachable as cause:
        raise No(
            f"forgotten here, but {visible(cause)}. The session ends by itself within 12 hours of its start."
        ) from cause
    except ApiRefused as refused:
        if refused.code != "session_unknown":
            raise
    session.answer({"logged_out": True}, "Logged out.")


@command()
def whoami(session: Session) -> None:
    """Show who you are to the gate."""
    person = session.api.get("/whoami")
    session.answer(person, f"{_person(person)} at {session.profile.server}")


def _person(person: dict[str, Any]) -> str:
    roles = ", ".join(person["roles"])
    return visible(f"{person['name']} ({person['id']}, {person['organisation_name']}; {roles})")
