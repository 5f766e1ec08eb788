"""request create, ls, show, review, cancel: asking for access, and deciding on what others ask."""

import sys
import uuid
from typing import Any

import click

from glassgate.cli.durations import DURATION
from glassgate.cli.http import Api, ServerUnreachable
from glassgate.cli.output import ago, grouped, remark, span, visible, when
from glassgate.cli.session import No, Session, command, now

STATES = ("pending", "approved", "denied", "cancelled", "expired")


@click.group()
def request() -> None:
    """Ask for access, and decide on what others ask."""


@command(request)
@click.argument("store")
@click.option("--for", "duration_s", type=DURATION, default="1h", show_default=True, help="How long: 30m, 1h, 1h30m.")
@click.option("--action", "actions", multiple=True, default=("read",), show_default=True, help="What: read, write, …")
@click.option("--resource", "resources", multiple=True, default=("*",), help="Which part: public.orders, /people/*.")
@click.option("--reason", required=True, help="A reason code; `glassgate store ls` lists them.")
@click.option("--ticket", default="", help="The ticket this is about.")
@click.option("--purpose", required=True, help="What you need it for, in your own words.")
@click.option("--wait", is_flag=True, help="Wait for the decision; exit status 0 if approved, 1 if not.")
def create(session: Session, store: str, wait: bool, **asked: Any) -> None:
    """Ask for access to STORE."""
    made = _post_once(session.api, {"store": store, **asked})
    if not wait:
        session.answer(made, _asked(session, made))
        return
    if not session.as_json:
        remark(_asked(session, made))
    made = wait_for_decision(session, session.api, made["id"])
    session.answer(made, _decided(session, made))
    if made["state"] != "approved":
        raise SystemExit(1)


def _post_once(api: Api, body: dict[str, Any]) -> Any:
    """Ask, and once more when the answer got lost on the way: under one key that is still one request."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    try:
        return api.post("/requests", body, key)
    except ServerUnreachable:
        return api.post("/requests", body, key)


def wait_for_decision(session: Session, api: Api, request_id: str) -> Any:
    """The request once it is no longer pending."""

    def look() -> Any | None:
        seen = api.get(f"/requests/{request_id}")["request"]
        return None if seen["state"] == "pending" else seen

    return session.poll(look, f"a decision on {request_id}")


def _asked(session: Session, made: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"{made['id']} is {made['state']}.",
            session.fields(
                {
                    "digest": grouped(made["digest"]),
                    "must approve": ", ".join(_slot(slot) for slot in made["quorum"]),
                    "expires": _until(made["expires_at"]),
                    "next": session.command_line("request", "show", made["id"]),
                }
            ),
        ]
    )


def _slot(slot: dict[str, Any]) -> str:
    people = "person" if slot["needed"] == 1 else "people"
    return f"{slot['needed']} {people} from {slot['label']} ({len(slot['approved_by'])} so far)"


def _until(text: str) -> str:
    return f"{when(text)} ({ago(text, now())})"


def _decided(session: Session, seen: dict[str, Any]) -> str:
    if seen["state"] != "approved":
        return f"{seen['id']} was {seen['state']}." + _last_comment(seen)
    grant = seen["grant"]
    return f"{seen['id']} was approved for {span(grant['duration_s'])}.{_last_comment(seen)}\n{_next(session, seen)}"


def _last_comment(seen: dict[str, Any]) -> str:
    said = [f"{one['reviewer_name']}: {one['comment']}" for one in seen["reviews"] if one["comment"]]
    return visible(f" {said[-1]}") if said else ""


def _next(session: Session, seen: dict[str, Any]) -> str:
    tool = ("curl", seen["store"], "/") if seen["protocol"] == "http" else ("connect", seen["store"])
    return f"next: {session.command_line(*tool)}"


@command(request, "ls")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--store", help="Only those for this store.")
@click.option("--mine", is_flag=True, help="Only your own.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--after", default="", help="Go on after this id.")
def ls(session: Session, **query: Any) -> None:
    """List requests you may see, newest first."""
    found = session.api.get("/requests", query)
    rows: list[list[object]] = [
        [
            one["id"],
            one["state"],
            one["store"],
            ",".join(one["actions"]),
            span(one["duration_s"]),
            one["reason"],
            one["ticket"] or "-",
            one["requester"],
            ago(one["created_at"], now()),
        ]
        for one in found["items"]
    ]
    headers = ["REQUEST", "STATE", "STORE", "ACTIONS", "FOR", "REASON", "TICKET", "BY", "ASKED"]
    session.answer(found, session.table(headers, rows, "No requests."))
    _more(session, found, "request")


def _more(session: Session, found: dict[str, Any], noun: str) -> None:
    if found["after"]:
        remark(f"There are more: {session.command_line(noun, 'ls', '--after', found['after'])}")


@command(request)
@click.argument("request_id", metavar="ID")
def show(session: Session, request_id: str) -> None:
    """Show one request with its whole story."""
    story = session.api.get(f"/requests/{path_part(request_id)}")
    seen = story["request"]
    session.answer(story, "\n".join([_shown(session, seen), "", *_events(story["events"]), *_hint(session, seen)]))


def path_part(text: str) -> str:
    """An id or name as one part of an address. Raises No for text that cannot be one."""
    if not text.strip(".") or not all(letter.isascii() and (letter.isalnum() or letter in "-_.+") for letter in text):
        raise No(f'"{visible(text)}" is not an id or a name.')
    return text


def _shown(session: Session, seen: dict[str, Any]) -> str:
    return session.fields(
        {
            "request": seen["id"],
            "state": seen["state"],
            "digest": grouped(seen["digest"]),
            "who": f"{seen['requester_name']} ({seen['requester']}, {seen['organisation_name']})",
            "store": f"{seen['store']} ({seen['protocol']}, {seen['data_class']})",
            "actions": ", ".join(seen["actions"]),
            "resources": ", ".join(seen["resources"]),
            "for": span(seen["duration_s"]),
            "reason": f"{seen['reason']} ({seen['reason_text']})",
            "ticket": seen["ticket"],
            "purpose": seen["purpose"],
            "assurance": seen["assurance"],
            "must approve": ", ".join(_slot(slot) for slot in seen["quorum"]),
            "expires": _until(seen["expires_at"]) if seen["state"] == "pending" else "",
            "grant": _granted(seen["grant"]) if seen["grant"] else "",
        }
    )


def _granted(grant: dict[str, Any]) -> str:
    """The grant with what it covers, which may be less than what was asked."""
    return f"{grant['id']} ({grant['state']}): {', '.join(grant['actions'])} for {span(grant['duration_s'])}"


def _events(events: list[dict[str, Any]]) -> list[str]:
    return [visible(f"{when(one['at'])}  {one['by'] or 'the clock'}  {one['text']}") for one in events]


def _hint(session: Session, seen: dict[str, Any]) -> list[str]:
    if seen["state"] == "pending":
        return [
            "",
            f"to decide: {session.command_line('request', 'review', seen['id'], '--approve', '--comment', '…')}",
        ]
    if seen["grant"] and seen["grant"]["state"] in ("issued", "active"):
        return ["", _next(session, seen)]
    return []


@command(request)
@click.argument("request_id", metavar="ID")
@click.option("--approve/--deny", "approve", default=None, help="Your word on it.")
@click.option("--comment", default="", help="Why; everybody involved reads it.")
@click.option("--for", "duration_s", type=DURATION, help="Approve for less time than asked.")
@click.option("--action", "actions", multiple=True, help="Approve only this action (repeatable).")
@click.option("--resource", "resources", multiple=True, help="Approve only this part (repeatable).")
@click.option("--digest", help="The digest you decided on (hex), when you saw the request elsewhere.")
@click.option("--yes", is_flag=True, help="Do not show the request and ask first.")
def review(session: Session, request_id: str, approve: bool | None, comment: str, yes: bool, **narrow: Any) -> None:
    """Approve or deny a request; an approval may narrow what was asked."""
    digest = narrow.pop("digest")
    narrowed = {name: value for name, value in narrow.items() if value}
    if approve is None:
        raise click.UsageError("say --approve or --deny")
    if narrowed and not approve:
        raise click.UsageError("--for, --action and --resource narrow an approval; a denial takes none of them")
    api = session.api
    path = f"/requests/{path_part(request_id)}"
    if digest is None:
        seen = api.get(path)["request"]
        digest = seen["digest"]
        remark(_shown(session, seen))
        if not yes and not _confirmed(approve):
            raise No("nothing was decided.")
    verdict = "approve" if approve else "deny"
    body = {"verdict": verdict, "comment": comment, "shown_digest": digest, **narrowed}
    made = api.post(f"{path}/reviews", body)
    session.answer(made, f"{made['id']} is {made['state']}." + _still_missing(made))


def _confirmed(approve: bool) -> bool:
    if not sys.stdin.isatty():
        # A script decides by what it passed; the digest it was shown still binds the decision.
        return True
    return click.confirm("Approve this?" if approve else "Deny this?", err=True)


def _still_missing(made: dict[str, Any]) -> str:
    if made["state"] != "pending":
        return ""
    missing = [slot for slot in made["quorum"] if len(slot["approved_by"]) < slot["needed"]]
    return " Still needed: " + ", ".join(_slot(slot) for slot in missing) + "."


@command(request)
@click.argument("request_id", metavar="ID")
@click.option("--comment", default="")
def cancel(session: Session, request_id: str, comment: str) -> None:
    """Take back a request of your own that is pending."""
    made = session.api.post(f"/requests/{path_part(request_id)}/cancel", {"comment": comment})
    session.answer(made, f"{made['id']} is {made['state']}.")
