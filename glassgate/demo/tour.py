"""The guided tour: the whole story once, unattended, on a running trial. Every act in it is real and is checked.

Each step raises TourFailed, in a plain sentence, when what it shows did not happen.
"""

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from glassgate.demo.dataset import LOST_ORDER
from glassgate.demo.narrator import Narrator
from glassgate.demo.people import ENGINEER, OVERSEER, Somebody
from glassgate.demo.stores import CRM_DATABASE
from glassgate.demo.streaming import Stream
from glassgate.demo.tampering import Tampering, tampered
from glassgate.demo.trial import Trial

__all__ = ["Tour", "TourFailed", "play"]

ASKED: Final = "1h"
APPROVED: Final = "30 min"
STORE: Final = "customers-db"
CRM: Final = "crm-api"
# Order 1881 is dataset.LOST_ORDER.
LOOK: Final = (
    "SELECT o.id, c.name, o.state, o.total_cents FROM orders o JOIN customers c ON c.id = o.customer_id "
    "WHERE o.id = 1881"
)
WRITE: Final = "UPDATE orders SET state = 'sent' WHERE id = 1881"
COPY: Final = "COPY (SELECT id, name, email, phone, street, town, pg_sleep(0.03) FROM customers ORDER BY id) TO STDOUT"
CUT_WITHIN_MS: Final = 2_000  # one second is the promise; a machine that is busy with other things may need more
_SETTLE_S: Final = 10.0


class TourFailed(Exception):
    """What a step was to show did not happen; the text says so to a person."""


@dataclass
class Tour:
    """What the tour has got hold of so far."""

    trial: Trial
    tell: Narrator
    request: str = ""
    grant: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    # --- what people do ------------------------------------------------------------------------------------------

    def types(self, somebody: Somebody, *words: str, status: int = 0) -> str:
        """Somebody types a `glassgate` command, and everybody sees it; it must end with that status."""
        self.tell.typed(somebody.person, shell_line("glassgate", *words))
        done = self.trial.terminal.run(somebody, *words, together=True)
        self.tell.shown(done.out)
        self.expect(
            f"`glassgate {words[0]}` ended with status {done.status}, expected {status}.", done.status == status
        )
        return done.out

    def unseen(self, somebody: Somebody, *words: str) -> str:
        """The same, unseen, for what the tour itself needs to know."""
        done = self.trial.terminal.run(somebody, *words)
        self.expect(f"`glassgate {' '.join(words[:2])}` failed: {done.err or done.out}", done.status == 0)
        return done.out

    def unseen_json(self, somebody: Somebody, *words: str) -> Any:
        return json.loads(self.unseen(somebody, *words, "--json"))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.unseen_json(OVERSEER, "log", "search", "--kind", kind, "--limit", "200")[
            "entries"
        ]
        return found

    def expect(self, what: str, condition: bool) -> None:
        if not condition:
            raise TourFailed(what)

    def eventually(self, what: str, found: Callable[[], Any]) -> Any:
        """What `found` gives as soon as it is something; entries are numbered within moments of being written."""
        deadline = time.monotonic() + _SETTLE_S
        while not (got := found()):
            if time.monotonic() > deadline:
                raise TourFailed(what)
            time.sleep(0.1)
        return got


def play(tour: Tour) -> dict[str, Any]:
    """All steps; returns the last line's object."""
    for step in (nobody_without_asking, ada_asks, olga_decides, ada_works, a_write_is_refused, olga_revokes):
        step(tour)
    verified = the_log_holds(tour)
    accesses, refused = len(tour.entries("access.intent")), len(tour.entries("access.refused"))
    one_byte_is_changed(tour)
    return {
        "tour": "ok",
        "request": tour.request,
        "grant": tour.grant,
        "accesses": accesses,
        "refused": refused,
        "checkpoint_size": verified,
        "verified": True,
    }


def nobody_without_asking(tour: Tour) -> None:
    tell, ports = tour.tell, tour.trial.ports
    tell.step("Nobody gets in without asking")
    tell.say("Ada is an engineer. She can reach the gate, and through it two stores. First she just tries.")
    tell.typed("ada", f"curl http://{CRM}.localhost:{ports['http']}/{CRM_DATABASE}/customers.json")
    status, body = http_get(tour, f"/{CRM_DATABASE}/customers.json")
    tell.shown(f"HTTP {status}\n{body}")
    tour.expect(f"The gate answered {status} to a request without a token, expected 401.", status == 401)
    address = f"host=localhost port={ports['postgres']} dbname={STORE} user=ada sslmode=require"
    statement = "SELECT * FROM customers"
    tell.typed("ada", f'PGPASSWORD=a-guess psql "{address}" -c "{statement}"')
    guessed = Stream.psql(tour.trial, address, statement, password="a-guess")  # noqa: S106
    status_of_psql, said = guessed.finish()
    tell.shown(said)
    tour.expect("psql got in with a guessed password.", status_of_psql != 0 and not guessed.lines)
    tell.say("Neither reached a store. Both are in the log already, as fully as if they had been let through:")
    tour.eventually("The refused attempts did not appear in the log.", lambda: len(tour.entries("access.refused")) >= 2)
    tour.types(OVERSEER, "log", "tail", "--kind", "access.refused")


def ada_asks(tour: Tour) -> None:
    tour.tell.step("Ada asks, and says why")
    why = ("--reason", "incident", "--ticket", "INC-42")
    asked = tour.types(
        ENGINEER, "request", "create", STORE, "--for", ASKED, "--action", "read", *why,
        "--purpose", f"order {LOST_ORDER} was paid and never sent",
    )  # fmt: skip
    tour.request = found_id("req", asked)
    tour.tell.say("And for the CRM's HTTP API, for the same incident:")
    second = tour.types(
        ENGINEER, "request", "create", CRM, "--for", ASKED, "--action", "read", *why,
        "--purpose", f"notes about the customer of order {LOST_ORDER}",
    )  # fmt: skip
    tour.seen["second"] = found_id("req", second)


def olga_decides(tour: Tour) -> None:
    tell, slack = tour.tell, tour.trial.slack
    tell.step("Olga, who works for somebody else, decides")
    tell.say(
        "Olga is an overseer at Zurich Data Oversight, not at Acme. The request is in the Slack channel that both "
        "share. (Slack is the one stand-in here: an emulator on this machine. The gate talks to it as to Slack.)"
    )
    message = slack.sees(OVERSEER.slack, tour.request)
    tell.boxed("#access-requests, as Olga sees it", message.text)
    tell.say(f"She presses Approve. A form shows everything once more; she leaves {APPROVED} of the hour.")
    slack.click(OVERSEER.slack, message, "Approve")
    form = slack.modal(OVERSEER.slack)
    slack.submit(OVERSEER.slack, form["id"], {"How long": APPROVED, "Comment": "Half an hour is plenty for one order."})
    decided = slack.sees(OVERSEER.slack, f"for {APPROVED}, asked 1 h")
    headline = next(line for line in decided.text.splitlines() if "Approved" in line)
    tell.boxed("the message now says, for everybody", headline)
    tell.boxed("Slack, direct message to Ada", slack.told(ENGINEER.slack, tour.request).text)
    tell.say("The second request she decides at her terminal, the same way:")
    tour.types(
        OVERSEER,
        "request",
        "review",
        tour.seen["second"],
        "--approve",
        "--for",
        "20m",
        "--yes",
        "--comment",
        "As above.",
    )
    story = tour.unseen_json(ENGINEER, "request", "show", tour.request)["request"]
    tour.expect("The approved request has no grant.", bool(story["grant"]))
    tour.grant = story["grant"]["id"]
    tour.expect("The grant is not for the 30 minutes that Olga left.", story["grant"]["duration_s"] == 1800)


def ada_works(tour: Tour) -> None:
    tell = tour.tell
    tell.step("Ada works with her usual tools")
    tell.say(
        "Her own psql, through the gate. The password is a key that her program just made; the store's real one "
        "she never sees."
    )
    read = tour.types(ENGINEER, "connect", STORE, "--", "psql", "-c", LOOK)
    tour.expect(f"psql did not show order {LOST_ORDER}.", str(LOST_ORDER) in read and "paid" in read)
    path = f"/{CRM_DATABASE}/orders/{LOST_ORDER}.json?_shape=array"
    tell.say(
        "And HTTP. `glassgate curl` runs curl with a token that lives for minutes and never stands in a process list:"
    )
    tell.typed("ada", shell_line("glassgate", "curl", CRM, path))
    token = tour.unseen(ENGINEER, "token", CRM, "--format", "bearer")
    status, body = http_get(tour, path, token)
    tell.shown(body)
    tour.expect(f"The gate answered {status} to a request with a valid token.", status == 200 and '"paid"' in body)
    tour.eventually("The accesses did not appear in the log.", lambda: len(tour.entries("access.outcome")) >= 2)
    intent = next(entry for entry in tour.entries("access.intent") if entry["facts"]["store"] == STORE)
    tell.say("What she ran was in the log before she saw a row of it. What she saw is not: rows and bytes are counted.")
    tour.types(OVERSEER, "log", "show", str(intent["idx"]))


def a_write_is_refused(tour: Tour) -> None:
    tour.tell.step("What was not granted is refused")
    tour.tell.say("The gate's own account at the store may write. Ada's grant says read.")
    refused = tour.types(ENGINEER, "connect", STORE, "--", "psql", "-v", "VERBOSITY=verbose", "-c", WRITE, status=1)
    tour.expect("The write was not refused as insufficient privilege (42501).", "42501" in refused)
    tour.eventually(
        "The refused write did not appear in the log.",
        lambda: [e for e in tour.entries("access.refused") if e["facts"]["reason"] == "action_not_granted"],
    )


def olga_revokes(tour: Tour) -> None:
    tell = tour.tell
    tell.step("Olga ends it, while data is flowing")
    tell.say("Ada begins to copy the customers out, about thirty a second. That is a read, and she may read.")
    tell.typed("ada", shell_line("glassgate", "connect", STORE, "--", "psql", "-c", COPY))
    stream = Stream.connect(tour.trial, STORE, COPY)
    try:
        tour.expect(f"The stream did not begin: {stream.said()}", stream.wait_for_lines(10))
        tell.shown("\n".join([*("  ".join(line.split("\t")[:3]) + "  …" for line in stream.lines[:3]), "…"]))
        tell.say("Olga is watching.")
        tour.types(
            OVERSEER, "grant", "revoke", tour.grant, "--comment", "That is the whole customer list, not one order."
        )
        status, said = stream.finish()
    finally:
        stream.kill()
    revoked_at = datetime.fromisoformat(tour.unseen_json(OVERSEER, "grant", "show", tour.grant)["closed_at"])
    cut_ms = round((stream.ended_at - revoked_at.timestamp()) * 1000)
    tell.say(f"Ada's psql, after {len(stream.lines)} of 600 customers:")
    tell.shown(said)
    tour.expect("The stream went on after its grant was revoked.", status != 0 and len(stream.lines) < 600)
    tour.expect(f"The stream was cut after {cut_ms} ms, which is too late.", cut_ms <= CUT_WITHIN_MS)
    tell.say(f"From the revocation to the end of Ada's stream: {cut_ms} ms.")
    tour.eventually(
        "The gate did not acknowledge the revocation.",
        lambda: tour.unseen_json(OVERSEER, "grant", "show", tour.grant)["revocation"]["state"] == "REVOKE_DONE",
    )
    tell.say("The gate has acknowledged it (REVOKE_DONE), and it stays shut:")
    tour.types(ENGINEER, "connect", STORE, "--grant", tour.grant, status=1)


def the_log_holds(tour: Tour) -> int:
    """Returns the size of the tree that was verified."""
    tour.tell.step("Anybody can check the log")
    tour.tell.say(
        "`log verify` takes the tiles as anyone could fetch them, recomputes every entry, the tree over them and the "
        "signatures, and compares with the checkpoint. It believes the log's key, and nothing else."
    )
    tour.types(OVERSEER, "log", "verify")
    verdict = tour.unseen_json(OVERSEER, "log", "verify")
    return int(verdict["size"])


def one_byte_is_changed(tour: Tour) -> None:
    tell = tour.tell
    tell.step("Somebody with all the power changes one byte")
    tell.say(
        "Now somebody is superuser of the gate's own database, whom no permission stops. They take one recorded access "
        "of Ada's and change a single byte of what it says."
    )
    intent = next(e for e in tour.entries("access.intent") if e["facts"]["store"] == STORE)
    index = int(intent["idx"])
    with tampered(tour.trial.place.postgres, index, "ada") as done:
        _shows(tour, done)
        found = tour.types(OVERSEER, "log", "verify", status=1)
    named = re.search(rf"\b{index}\b", found)
    tour.expect(f"Verification did not name entry {index}.", named is not None)
    tell.say(f"Verification names entry {index}. The byte is put back, and the log is whole again:")
    tour.types(OVERSEER, "log", "verify")


def _shows(tour: Tour, done: Tampering) -> None:
    tour.tell.typed("root", done.statement)
    tour.tell.shown(f"before  {done.before}\nafter   {done.after}")


def http_get(tour: Tour, path: str, token: str = "") -> tuple[int, str]:
    """What curl would do, for machines without one: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", tour.trial.ports["http"], timeout=10)
    headers = {"Host": f"{CRM}.localhost:{tour.trial.ports['http']}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as cause:
        raise TourFailed(f"The gate's HTTP port does not answer: {cause}") from cause
    finally:
        connection.close()


def found_id(prefix: str, text: str) -> str:
    found = re.search(rf"\b{prefix}_[0-9a-z]{{26}}\b", text)
    if found is None:
        raise TourFailed(f"No id of a {prefix} in the answer.")
    return found[0]


def shell_line(*words: str) -> str:
    """As a person would type it: quotes only where they are needed, and double ones where those do."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else f'"{word}"' for word in words)
