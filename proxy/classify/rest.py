"""What a request does at a generic REST store: patterns of its definition over method and path.

A pattern is `METHOD /path`: one method (`GET` speaks for `HEAD` too, RFC 9110 §9.3.2) and a path in which a
whole segment `*` stands for any one segment, and a final `*` for any rest, deeper segments included:

    GET /crm/people.json    that path          GET /crm/*          everything below /crm/
    GET /crm/*/notes        one segment        GET /crm/people*    /crm/people, /crm/people.json, /crm/people/7

A request that read patterns name reads, one that write patterns name writes, one that both name does both.
What no pattern names is not understood, and the verb alone says nothing: it gets the action "unparsed". The
query takes no part: a pattern that a query string could satisfy would be a way past.
"""

import re
from typing import Final, Literal

import msgspec

from approvals.scope import Action, Operation
from approvals.store_definition import StoreDefinition

__all__ = ["METHODS", "Classified", "PatternRefused", "RestClassifier"]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_UNPARSED: Final[tuple[Action, ...]] = ("unparsed",)


class PatternRefused(ValueError):
    """A pattern that is not of the form above; the text says which."""


class Classified(msgspec.Struct, frozen=True):
    """The operation, and the path patterns that named it. The record's facts carry the patterns: the path itself
    may hold a customer's name, so it stands in the content."""

    operation: Operation
    patterns: tuple[str, ...]


class _Patterns:
    """One list of patterns, by method."""

    __slots__ = ("_exact", "_globs", "_prefixes")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._exact: dict[tuple[str, str], str] = {}
        self._prefixes: dict[str, tuple[str, ...]] = {}
        self._globs: dict[str, list[tuple[re.Pattern[str], str]]] = {}
        for pattern in patterns:
            method, path = _parsed(pattern)
            for each in (method, "HEAD") if method == "GET" else (method,):
                self._add(each, path)

    def _add(self, method: str, path: str) -> None:
        body = path.removesuffix("*")
        if "*" in body:
            parts = ["[^/]+" if part == "*" else re.escape(part) for part in body.split("/")]
            rest = ".*" if path.endswith("*") else ""
            self._globs.setdefault(method, []).append((re.compile("/".join(parts) + rest, re.DOTALL), path))
        elif path.endswith("*"):
            self._prefixes[method] = (*self._prefixes.get(method, ()), body)
        else:
            self._exact[method, path] = path

    def match(self, method: str, path: str) -> str | None:
        """The first path pattern that names this request."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for prefix in self._prefixes.get(method, ()):
            if path.startswith(prefix):
                return prefix + "*"
        for glob, pattern in self._globs.get(method, ()):
            if glob.fullmatch(path):
                return pattern
        return None


class RestClassifier:
    """One store's patterns, compiled. Raises PatternRefused."""

    __slots__ = ("_reads", "_writes")

    body: Literal["none"] = "none"
    """This classifier never looks at a body: it streams, and its length and digest stand in the outcome."""

    def __init__(self, definition: StoreDefinition) -> None:
        self._reads = _Patterns(definition.reads)
        self._writes = _Patterns(definition.writes)

    def classify(self, method: str, path: str) -> Classified:
        """`path` is the decoded path of the target, without query (proxy/http/target.py)."""
        read = self._reads.match(method, path)
        write = self._writes.match(method, path)
        if read is not None and write is None:
            return Classified(Operation(("read",), (path,)), (read,))
        if write is not None and read is None:
            return Classified(Operation(("write",), (path,)), (write,))
        if read is not None and write is not None:
            return Classified(Operation(("read", "write"), (path,)), (read, write))
        return Classified(Operation(_UNPARSED, (path,)), ())


def _parsed(pattern: str) -> tuple[str, str]:
    method, space, path = pattern.partition(" ")
    if not space or method not in METHODS:
        raise PatternRefused(f"{pattern!r}: expected one of {', '.join(sorted(METHODS))}, a space and a path")
    if not path.startswith("/") or any(c.isspace() or c in "?#" for c in path):
        raise PatternRefused(f"{pattern!r}: expected a path that begins with / and has no query")
    body = path.removesuffix("*")
    if "*" in body and not all(part == "*" or "*" not in part for part in body.split("/")):
        raise PatternRefused(f"{pattern!r}: * stands for a whole segment, or for the rest at the end")
    return method, path
