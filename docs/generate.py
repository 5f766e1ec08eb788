"""Writes the parts of docs/ that code already knows: `make docs`. tests/test_docs.py holds them to it."""

from pathlib import Path
from typing import Final, get_type_hints

from approvals.kinds import CONTENT, FACTS
from approvals.lifecycle import GRANT, REQUEST

__all__ = ["GENERATED", "MEANING", "entries_page", "lifecycle_page"]

DOCS: Final = Path(__file__).resolve().parent

MEANING: Final = {
    "log.created": "The first entry of a log: its origin, its key, and the host key that may certify writers.",
    "process.started": "A process that writes entries came up, with a key of its own that its host's key certifies.",
    "process.stopped": "It went down in good order. A writer that never closed is a finding.",
    "policy.changed": "Another policy is in force from here on. Its content is the whole document.",
    "entry.rejected": "The sequencer put something into quarantine that a writer handed in, and why.",
    "person.code_issued": "Whoever runs the gate made a one-time login code for a person.",
    "person.logged_in": "A person began a session at the approvals service.",
    "request.created": "Somebody asked for access. Purpose and ticket are content.",
    "review.recorded": "One person said yes or no to exactly what `shown_digest` names. A yes may be to less.",
    "request.denied": "The request was turned down.",
    "request.cancelled": "The requester took it back.",
    "request.expired": "Nobody answered in time, and that is a denial.",
    "grant.issued": "The quorum was met: a time-bound right exists, not yet in use.",
    "grant.activated": "The engineer started its clock.",
    "grant.revoked": "Somebody ended it before its time.",
    "grant.closed": "The grant is over, and how.",
    "grant.summed": "What a closed grant's accesses add up to, and which they are, counted once they are in the log.",
    "token.minted": "A short-lived token was issued under a grant. The token itself is nowhere in the log.",
    "accesskey.registered": "An access key was registered under a grant. Its secret never left the engineer's machine.",
    "session.started": "A PostgreSQL session passed login. Covers what the greeting discloses.",
    "session.setup": "The gate's own statements on a session, so that the store's own log can be matched in full.",
    "session.ended": "A session is over, with its totals.",
    "access.intent": "Before an access: what is about to happen. Its entry id is the id of the access.",
    "access.progress": "Accounts for what a long answer has disclosed so far, before more of it leaves.",
    "access.outcome": "After an access: how it ended, with counts. Never the answer itself.",
    "access.refused": "An access that was turned away, recorded as fully as one that was let through.",
    "refusals.counted": "Refusals without a valid credential, beyond the first 20 of a source and minute.",
    "log.read": "A person looked at the log through the gate.",
}

_HEAD: Final = "<!-- Written by `make docs` from {source}. Edit that, not this. -->\n\n"

_ENTRIES: Final = """# What the log says: every kind of entry

The list is closed: the sequencer puts anything else into quarantine. An entry has two parts with separate
salted commitments. *Facts* say who, what, when and how much. *Content* holds what people and programs wrote:
purposes, SQL text, request targets, inspected bodies. Fields are only ever added, in a new version. Times are
RFC 3339 in UTC, names ending in `_s` are seconds, in `_us` microseconds; sizes are bytes, digests are
SHA-256 in hex.
"""

_LIFECYCLE: Final = """# The life of a request and of a grant

The same pairs stand in the database, where a foreign key holds every change to them. What has no arrow does
not happen: nothing leads out of `denied`, `cancelled`, `ended`, `expired` or `revoked`.
"""


def entries_page() -> str:
    """docs/entries.md: one row per kind of entry, and what each says."""
    rows = ["| kind | says | content |", "|---|---|---|"]
    parts = []
    for (kind, version), facts in sorted(FACTS.items()):
        names = [shape.__name__ for shape in CONTENT.get((kind, version), ())]
        content = ", ".join(names) or ("the policy" if kind == "policy.changed" else "none")
        rows.append(f"| [`{kind}`](#{_anchor(kind)}) v{version} | {MEANING[kind]} | {content} |")
        parts.append(f"### {kind}\n\n{MEANING[kind]}\n\n{_fields(facts)}\n")
    shapes = {shape.__name__: shape for several in CONTENT.values() for shape in several}
    contents = [f"### {name}\n\n{_fields(shape)}\n" for name, shape in sorted(shapes.items())]
    body = [_ENTRIES, "\n".join(rows), "\n## Facts\n", "\n".join(parts), "## Content\n", "\n".join(contents)]
    return _HEAD.format(source="approvals/kinds.py") + "\n".join(body)


def lifecycle_page() -> str:
    """docs/lifecycle.md: the two state tables as diagrams and as tables."""
    body = [_LIFECYCLE, "## Request\n", _diagram(REQUEST), "## Grant\n", _diagram(GRANT)]
    return _HEAD.format(source="approvals/lifecycle.py") + "\n".join(body)


def _anchor(kind: str) -> str:
    return kind.replace(".", "")


def _fields(shape: type) -> str:
    lines = ["| field | type |", "|---|---|"]
    for name, hint in get_type_hints(shape).items():
        if not name.startswith("__"):
            lines.append(f"| `{name}` | {_type(hint)} |")
    return "\n".join(lines)


def _type(hint: object) -> str:
    plain = isinstance(hint, type) and not hasattr(hint, "__args__")
    text = hint.__name__ if plain else str(hint)  # type: ignore[attr-defined]
    for module in ("typing.", "approvals.scope."):
        text = text.replace(module, "")
    return "`" + text.replace("|", "\\|") + "`"


def _diagram(table: dict) -> str:  # type: ignore[type-arg]
    arrows = "\n".join(f"    {before} --> {after}: {event}" for (before, event), after in table.items())
    starts = next(iter(table))[0]
    plain = "\n".join(f"| {before} | {event} | {after} |" for (before, event), after in table.items())
    return (
        f"```mermaid\nstateDiagram-v2\n    [*] --> {starts}\n{arrows}\n```\n\n"
        f"| in state | on | becomes |\n|---|---|---|\n{plain}\n"
    )


GENERATED: Final = {"entries.md": entries_page, "lifecycle.md": lifecycle_page}


def main() -> None:
    for name, page in GENERATED.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
