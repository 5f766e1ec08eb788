"""grant ls, show, revoke, end: what was granted, and how it stops."""

from typing import Any

import click

from glassgate.cli.output import ago, remark, span, when
from glassgate.cli.request import path_part
from glassgate.cli.session import Session, command, now

STATES = ("issued", "active", "ended", "expired", "revoked")


@click.group()
def grant() -> None:
    """What was granted: list, show, revoke, end."""


@command(grant, "ls")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--store", help="Only those for this store.")
@click.option("--mine", is_flag=True, help="Only your own.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--after", default="", help="Go on after this id.")
def ls(session: Session, **query: Any) -> None:
    """List grants you may see, newest first."""
    found = session.api.get("/grants", query)
    rows: list[list[object]] = [
        [
            one["id"],
            one["state"],
            one["store"],
            ",".join(one["actions"]),
            span(one["duration_s"]),
            one["subject"],
            _time_left(one),
        ]
        for one in found["items"]
    ]
    headers = ["GRANT", "STATE", "STORE", "ACTIONS", "FOR", "WHO", "TIME"]
    session.answer(found, session.table(headers, rows, "No grants."))
    if found["after"]:
        remark(f"There are more: {session.command_line('grant', 'ls', '--after', found['after'])}")


def _time_left(one: dict[str, Any]) -> str:
    if one["state"] == "issued":
        return f"to be used {ago(one['use_by'], now())}"
    if one["state"] == "active":
        return f"ends {ago(one['ends_at'], now())}"
    return ago(one["closed_at"] or "", now())


@command(grant)
@click.argument("grant_id", metavar="ID")
def show(session: Session, grant_id: str) -> None:
    """Show one grant, and how far its end has reached the proxies."""
    seen = session.api.get(f"/grants/{path_part(grant_id)}")
    session.answer(seen, _shown(session, seen))


def _shown(session: Session, seen: dict[str, Any]) -> str:
    return session.fields(
        {
            "grant": seen["id"],
            "state": seen["state"],
            "request": seen["request"],
            "who": f"{seen['subject_name']} ({seen['subject']})",
            "store": seen["store"],
            "actions": ", ".join(seen["actions"]),
            "resources": ", ".join(seen["resources"]),
            "for": span(seen["duration_s"]),
            "approved by": ", ".join(seen["approvers"]),
            "use by": when(seen["use_by"]) if seen["state"] == "issued" else "",
            "active": f"{when(seen['starts_at'])} to {when(seen['ends_at'])}" if seen["starts_at"] else "",
            "closed": f"{when(seen['closed_at'])} by {seen['closed_by'] or 'the clock'}" if seen["closed_at"] else "",
            "comment": seen["comment"],
            "logins": ", ".join(key["login"] for key in seen["keys"]),
            "proxies": _reached(seen["revocation"]),
        }
    )


def _reached(revocation: dict[str, Any] | None) -> str:
    """Whether every proxy has applied the end of this grant, in words."""
    if revocation is None:
        return ""
    if revocation["state"] == "REVOKE_DONE":
        return "REVOKE_DONE: every proxy has applied it"
    waiting = ", ".join(revocation["waiting_for"]) or "a proxy"
    return f"{revocation['state']}: not yet applied by {waiting}"


@command(grant)
@click.argument("grant_id", metavar="ID")
@click.option("--comment", default="", help="Why; everybody involved reads it.")
def revoke(session: Session, grant_id: str, comment: str) -> None:
    """End somebody's grant now."""
    made = session.api.post(f"/grants/{path_part(grant_id)}/revoke", {"comment": comment})
    session.answer(made, _closed(made))


@command(grant)
@click.argument("grant_id", metavar="ID")
def end(session: Session, grant_id: str) -> None:
    """Give your own grant back early."""
    made = session.api.post(f"/grants/{path_part(grant_id)}/end")
    session.answer(made, _closed(made))


def _closed(made: dict[str, Any]) -> str:
    reached = _reached(made["revocation"])
    return f"{made['id']} is {made['state']}." + (f" {reached}." if reached else "")
