"""log tail, show, search, verify: read what was recorded, and check that nobody edited it."""

import json
from functools import partial
from typing import Any, Final

import click

from glassgate.cli.http import Api
from glassgate.cli.log_export import check, export, prove
from glassgate.cli.output import remark, visible, when
from glassgate.cli.request import path_part
from glassgate.cli.session import Session, command
from glassgate.cli.verify import verify

NAMED: Final = (
    "verdict",
    "how",
    "store",
    "operation",
    "resources",
    "reason",
    "result",
    "rows",
    "what",
    "request",
    "grant",
    "role",
)
"""Facts that say most about an entry in one line, in this order, where it has them."""
PEOPLE: Final = ("subject", "requester", "reviewer", "person", "by")


@click.group()
def log() -> None:
    """Read and verify the log."""


for one in (verify, prove, export, check):
    log.add_command(one)

_FILTERS = [
    click.option("--kind", help="Only entries of this kind, e.g. access.intent."),
    click.option("--grant", help="Only entries about this grant."),
    click.option("--request", help="Only entries about this request."),
    click.option("--store", help="Only entries about this store."),
]


def filters(function: Any) -> Any:
    """The options by which entries are chosen."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@command(log)
@click.option(
    "-n", "--last", type=click.IntRange(1, 200), default=20, show_default=True, help="How many to begin with."
)
@click.option("--follow", is_flag=True, help="Go on printing new entries until interrupted.")
@filters
def tail(session: Session, last: int, follow: bool, **chosen: Any) -> None:
    """Print the newest entries. That you looked is recorded."""
    api = session.api
    found = api.get("/log/entries", {"last": last, "watch": follow, **chosen})
    _print(session, found, follow)
    try:
        while follow:
            found = session.poll(partial(_newer, api, {"after": found["next"], "watch": True, **chosen}), "entries")
            _print(session, found, follow)
    except KeyboardInterrupt:
        return  # how following ends


def _newer(api: Api, query: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = api.get("/log/entries", query)
    return found if found["entries"] else None


@command(log)
@click.option("--after", type=click.IntRange(min=-1), default=-1, show_default=True, help="Begin after this index.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@filters
def search(session: Session, **query: Any) -> None:
    """Find entries, oldest first. That you looked is recorded."""
    found = session.api.get("/log/entries", query)
    _print(session, found, False)
    if len(found["entries"]) == query["limit"]:
        remark(f"There may be more: add --after {found['next']}")


def _print(session: Session, found: dict[str, Any], follow: bool) -> None:
    if follow and session.as_json:
        # A stream of documents, not one: one line each is what tools can read as it comes.
        for entry in found["entries"]:
            print(json.dumps(entry), flush=True)
        return
    lines = [line(entry) for entry in found["entries"]]
    session.answer(found, "\n".join(lines) or "No entries.")


def line(entry: dict[str, Any]) -> str:
    """One entry on one line: index, time, kind, who, and the facts that say most."""
    facts = entry["facts"]
    who = next((str(facts[name]) for name in PEOPLE if facts.get(name)), "-")
    said = [f"{name}={_short(facts[name])}" for name in NAMED if facts.get(name)]
    return visible(
        f"{entry['idx']:>6}  {when(entry['time'])}  {entry['kind']:<20}  {who:<12}  {' '.join(said)}"
    ).rstrip()


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@command(log)
@click.argument("index", type=click.IntRange(min=0))
def show(session: Session, index: int) -> None:
    """Show one entry whole. That you looked is recorded."""
    entry = session.api.get(f"/log/entries/{path_part(str(index))}")
    head = {
        "index": entry["idx"],
        "id": entry["id"],
        "kind": f"{entry['kind']} (version {entry['version']})",
        "time": when(entry["time"]),
        "writer": f"{entry['writer']}, its entry {entry['counter']}",
    }
    parts = [session.fields(head), "", "facts", _indented(session, entry["facts"])]
    if entry["content_form"] == "clear":
        parts += ["", "content", _indented(session, entry["content"])]
    elif entry["content_form"] != "none":
        parts += ["", f"content is {entry['content_form']}"]
    session.answer(entry, "\n".join(parts))


def _indented(session: Session, part: Any) -> str:
    shown = session.fields(part) if isinstance(part, dict) else visible(part)
    return "\n".join(f"  {one}" for one in shown.splitlines())
