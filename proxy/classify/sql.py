"""What a text of SQL does: the whole statement decides, not its top node; pure.

Parsed with PostgreSQL's own grammar. This labels and refuses early; it cannot prove that a statement only
reads, because views, operators, casts and row-security policies may call anything. What really holds a reader
is the store's role. What it does promise: whatever it does not know is never called a read.

    read   ddl   write   admin     as far as the nodes and functions say
    path                           opens another way to the data, now or later
    unparsed                       not understood: syntax, nodes, or code hidden in a string
    ()                             control: BEGIN, SET of a harmless setting, and the like; any live grant may
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import pgparse

from approvals.scope import ACTIONS, Action
from proxy.classify.sql_walk import Effect, Findings, walk

__all__ = ["DEFAULT_SCHEMA", "EMPTY", "Classified", "Effect", "Statement", "classify"]

PARSE_BYTES: Final = 16 * 1024  # parsed in place: at most some 15 ms under the two caps below
COMMENT_DEPTH: Final = 32  # PostgreSQL's scanner is quadratic in the nesting of comments
OPERATOR_RUN: Final = 512  # ... and in the length of an operator
STATEMENTS: Final = 64  # of one text that are told apart
CACHED_TEXTS: Final = 2048  # by exact text, never by fingerprint: READ ONLY and READ WRITE have the same one
DEFAULT_SCHEMA: Final = "public"

_COMMENT: Final = re.compile(r"/\*|\*/")
_OPERATORS: Final = re.compile(r"[-+*/<>=~!@#%^&|`?]{" + str(OPERATOR_RUN) + ",}")

Fault = Literal["", "too_long", "too_deep", "syntax", "unknown"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `start` and `end` are byte offsets; together the statements cover the text without a gap.

    `tables` are (schema or "", name) as written. `anything`: it may touch more than it names. `forbidden`: why
    it is never let through, whatever the grant says.
    """

    command: str
    actions: tuple[Action, ...]
    tables: tuple[tuple[str, str], ...] = ()
    anything: bool = False
    forbidden: str = ""
    effect: Effect | None = None
    start: int = 0
    end: int = 0

    def resources(self, search_path: tuple[str, ...] = (DEFAULT_SCHEMA,)) -> tuple[str, ...]:
        """What it touches, for the scope. An unqualified name may stand in any schema of the search path; the
        catalog is always searched first. "*" is what no narrow scope covers."""
        names: dict[str, None] = {}
        for schema, name in self.tables:
            if schema:
                names[f"{schema}.{name}"] = None
            elif name.startswith("pg_"):
                names[f"pg_catalog.{name}"] = None
            else:
                names |= dict.fromkeys(f"{place}.{name}" for place in search_path)
        if self.effect is not None and self.effect.kind == "search_path":
            names |= dict.fromkeys(f"{schema}.*" for schema in self.effect.names)
        if self.anything:
            names["*"] = None
        return tuple(names)


@dataclass(frozen=True, slots=True)
class Classified:
    """A whole text. With a `fault` there is one statement, `unparsed`; `message` is the parser's own text."""

    statements: tuple[Statement, ...]
    fingerprint: str = ""
    fault: Fault = ""
    message: str = ""


EMPTY: Final = Statement("EMPTY", ())
"""What an empty text runs."""


def classify(text: str) -> Classified:
    """What `text` (what one Query or Parse holds) does. Never raises; an empty text has no statements."""
    size = len(text.encode())
    if size > PARSE_BYTES:
        return _unparsed(size, "too_long", f"longer than the {PARSE_BYTES} bytes that are parsed")
    return _classify(text)


@lru_cache(CACHED_TEXTS)
def _classify(text: str) -> Classified:
    data = text.encode()
    if _comment_depth(text) > COMMENT_DEPTH or _OPERATORS.search(text):
        return _unparsed(len(data), "too_deep", "nested comments or operators beyond what is parsed")
    try:
        parsed = pgparse.parse(text)
        fingerprint = str(pgparse.fingerprint(text))
    except pgparse.PGQueryError as cause:
        return _unparsed(len(data), "syntax", str(cause.args[0]) if cause.args else "syntax error")
    except (RecursionError, MemoryError):
        return _unparsed(len(data), "too_deep", "nested deeper than what is parsed")
    if len(parsed) > STATEMENTS:
        return _unparsed(len(data), "too_long", f"more than {STATEMENTS} statements in one text")
    statements = []
    for index, raw in enumerate(parsed):
        # What stands between two statements belongs to the one behind it, so that no byte is left out.
        start = raw.get("stmt_location", 0) if index else 0
        end = parsed[index + 1].get("stmt_location", 0) if index + 1 < len(parsed) else len(data)
        statements.append(_statement(walk(raw["stmt"]), start, end))
    unknown = next((s for s in statements if "unparsed" in s.actions), None)
    return Classified(tuple(statements), fingerprint, "unknown" if unknown else "", "")


def _statement(found: Findings, start: int, end: int) -> Statement:
    return Statement(
        command=found.command,
        actions=tuple(action for action in ACTIONS if action in found.actions),
        tables=tuple(found.tables),
        anything=found.anything,
        forbidden=found.forbidden,
        effect=found.effect,
        start=start,
        end=end,
    )


def _unparsed(size: int, fault: Fault, message: str) -> Classified:
    return Classified((Statement("UNPARSED", ("unparsed",), anything=True, end=size),), "", fault, message)


def _comment_depth(text: str) -> int:
    """At least how deep comments nest. May say too much (inside strings), never too little."""
    depth = deepest = 0
    for match in _COMMENT.finditer(text):
        depth = depth + 1 if match.group() == "/*" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
