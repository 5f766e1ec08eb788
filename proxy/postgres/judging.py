"""A classified text against the grant: what each statement is called in the log, or why it is refused; pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from approvals.reasons import Reason
from approvals.scope import Operation, Scope
from proxy.classify.sql import DEFAULT_SCHEMA, EMPTY, Classified, Statement
from proxy.enforce import Allow, Deny, Wait
from proxy.postgres.access import Named
from proxy.postgres.statements import Names, Portal, Prepared

__all__ = ["Decide", "Judge", "Judged"]

Decide = Callable[[Operation], Allow | Deny | Wait]


MAX_SCHEMAS: Final = 64  # that one session may search over its life
MAX_RESOURCES: Final = 1000  # of one statement: every name in every schema would make an entry of megabytes


@dataclass(frozen=True, slots=True)
class Judged:
    """One statement that may run. `continues`: the entry that holds the text it runs (EXECUTE, FETCH)."""

    statement: Statement
    named: Named
    continues: str = ""


class Judge:
    """Decides for one session; knows its prepared statements, its cursors and where names are looked up."""

    def __init__(self, scope: Scope, decide: Decide, statements: Names[Prepared], portals: Names[Portal]) -> None:
        self._scope = scope
        self._decide = decide
        self._statements = statements
        self._portals = portals
        # Every schema that was ever set: whether a SET was rolled back cannot be seen from here, so an
        # unqualified name counts as being in all of them.
        self._search_path: tuple[str, ...] = (DEFAULT_SCHEMA,)

    def judge(self, classified: Classified, segment: int, parameters: int = 0) -> list[Judged] | Deny | Wait:
        """Every statement of a text, or the first verdict that is no Allow. Raises statements.Unsettled."""
        judged = []
        for written in classified.statements or (EMPTY,):
            statement, continues = self._resolved(written, segment)
            if statement.forbidden:
                return Deny(Reason.STATEMENT_FORBIDDEN, statement.forbidden)
            if statement.effect is not None and statement.effect.kind == "search_path":
                self._search_path += tuple(n for n in statement.effect.names if n not in self._search_path)
                if len(self._search_path) > MAX_SCHEMAS:
                    return Deny(Reason.STATEMENT_FORBIDDEN, "too many schemas in the search paths of one session")
            resources = self._resources(statement)
            if len(statement.tables) * len(self._search_path) > MAX_RESOURCES:
                return Deny(Reason.RECORD_TOO_LARGE, "it names more tables, in more schemas, than an entry holds")
            verdict = self._decide(self._operation(statement, resources))
            if isinstance(verdict, Wait):
                return verdict
            if isinstance(verdict, Deny):
                return _explained(verdict, statement, classified)
            named = Named(statement.command, statement.actions, resources, classified.fingerprint, parameters)
            judged.append(Judged(statement, named, continues))
        return judged

    def named(self, classified: Classified, parameters: int = 0) -> Named:
        """The whole text in the log's words, for a refusal."""
        statements = classified.statements or (EMPTY,)
        return Named(
            "; ".join(s.command for s in statements),
            tuple(dict.fromkeys(a for s in statements for a in s.actions)),
            tuple(islice(dict.fromkeys(r for s in statements for r in self._resources(s)), MAX_RESOURCES)),
            classified.fingerprint,
            parameters,
        )

    def _resources(self, statement: Statement) -> tuple[str, ...]:
        if len(statement.tables) * len(self._search_path) > MAX_RESOURCES:
            return ("*",)
        return statement.resources(self._search_path)

    def _operation(self, statement: Statement, resources: tuple[str, ...]) -> Operation:
        if statement.actions:
            return Operation(statement.actions, resources)
        # Control (BEGIN, SET of a harmless setting): what any live grant may do.
        return Operation(self._scope.actions, resources or self._scope.resources)

    def _resolved(self, statement: Statement, segment: int) -> tuple[Statement, str]:
        """EXECUTE and FETCH do what the text does that they name."""
        effect = statement.effect
        if effect is None or effect.kind not in ("execute", "fetch"):
            return statement, ""
        name = effect.names[0].encode()
        if effect.kind == "execute":
            prepared = self._statements.get(name, segment)
        else:
            portal = self._portals.get(name, segment)
            prepared = portal.prepared if portal is not None else None
        if prepared is None:
            # A cursor may come from a function; a statement that nobody prepared here cannot be judged.
            actions = statement.actions if effect.kind == "fetch" else ("unparsed",)
            return replace(statement, actions=actions, anything=True), ""
        inner = prepared.statement
        merged = replace(
            statement,
            actions=tuple(dict.fromkeys(statement.actions + inner.actions)),
            tables=tuple(dict.fromkeys(statement.tables + inner.tables)),
            anything=statement.anything or inner.anything,
        )
        return merged, prepared.entry


def _explained(deny: Deny, statement: Statement, classified: Classified) -> Deny:
    """ "Not understood" is another thing to be told than "not granted".

    The parser's own message quotes the text, perhaps a misplaced password: it goes to the client, never into facts.
    """
    if deny.reason is Reason.ACTION_NOT_GRANTED and "unparsed" in statement.actions:
        why = "syntax error" if classified.fault == "syntax" else classified.message
        return Deny(Reason.STATEMENT_UNPARSED, why or "its code cannot be looked into")
    return deny
