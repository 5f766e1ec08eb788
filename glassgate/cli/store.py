"""store ls: what is behind this gate, and what you may ask of it."""

import click

from glassgate.cli.output import span
from glassgate.cli.session import Session, command


@click.group()
def store() -> None:
    """The protected stores."""


@command(store, "ls")
def ls(session: Session) -> None:
    """List the stores, and what the rules let you ask for."""
    found = session.api.get("/stores")
    rows: list[list[object]] = [
        [
            one["name"],
            one["protocol"],
            one["data_class"],
            ",".join(one["actions"]),
            ",".join(one["askable"]) or "nothing",
            span(one["max_duration_s"]) if one["max_duration_s"] else "-",
            ",".join(reason["code"] for reason in one["reasons"]) or "-",
        ]
        for one in found["stores"]
    ]
    headers = ["STORE", "PROTOCOL", "DATA", "OFFERS", "YOU MAY ASK", "AT MOST", "REASONS"]
    session.answer(found, session.table(headers, rows, "This gate protects no stores yet."))
