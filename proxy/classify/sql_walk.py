"""One parsed statement to what it does: a walk over every node of it; pure.

The tree is libpg_query's JSON: a node is an object with one capitalised key; where PostgreSQL's structs hold
another by value, the inner one appears under a lower-case key without its name. Names that a WITH clause
defines are no tables, but only where that clause is in force.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from approvals.scope import Action
from proxy.classify.sql_functions import ACTIVITY, HARMLESS, OPAQUE, PATH, READING, READING_PREFIXES, WRITING
from proxy.classify.sql_nodes import COMMANDS, EXPRESSIONS, SETTINGS, SETTINGS_PINNED

__all__ = ["Effect", "Findings", "walk"]

EffectKind = Literal[
    "prepare", "execute", "deallocate", "deallocate_all", "declare", "fetch", "discard", "copy_in", "search_path"
]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a statement changes for the statements after it, or takes from those before it."""

    kind: EffectKind
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    command: str = ""
    actions: set[Action] = field(default_factory=set)
    tables: dict[tuple[str, str], None] = field(default_factory=dict)
    anything: bool = False
    forbidden: str = ""
    effect: Effect | None = None


Names = frozenset[str]
_NOTHING: Final[Names] = frozenset()

_COMMAND_NAMES: Final = {
    "CreateStmt": "CREATE TABLE",
    "CreateTableAsStmt": "CREATE TABLE AS",
    "CreatedbStmt": "CREATE DATABASE",
    "CreateSeqStmt": "CREATE SEQUENCE",
    "DropdbStmt": "DROP DATABASE",
    "IndexStmt": "CREATE INDEX",
    "ViewStmt": "CREATE VIEW",
    "RuleStmt": "CREATE RULE",
    "DefineStmt": "CREATE",
    "GrantStmt": "GRANT",
    "DeclareCursorStmt": "DECLARE CURSOR",
    "ClosePortalStmt": "CLOSE CURSOR",
    "RefreshMatViewStmt": "REFRESH MATERIALIZED VIEW",
    "VariableSetStmt": "SET",
    "VariableShowStmt": "SHOW",
}
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

# Commands whose relations all stand in the tree as such, so that a narrow scope can be held against them.
_FULLY_NAMED: Final = (
    "AlterTableStmt",
    "CreateSeqStmt",
    "CreateStmt",
    "CreateTableAsStmt",
    "IndexStmt",
    "LockStmt",
    "RefreshMatViewStmt",
    "TruncateStmt",
)
_PREPARED_TRANSACTIONS: Final = ("TRANS_STMT_PREPARE", "TRANS_STMT_COMMIT_PREPARED", "TRANS_STMT_ROLLBACK_PREPARED")
CURSOR_OPT_HOLD: Final = 0x20  # parsenodes.h
_READ_ONLY: Final = ("transaction_read_only", "default_transaction_read_only")
_TRUE: Final = frozenset({"on", "true", "yes", "1", "t", "y"})


def walk(node: dict[str, Any]) -> Findings:
    """What the statement does. A node that nobody has looked at makes it `unparsed`."""
    return _Walk().run(node)


class _Walk:
    def __init__(self) -> None:
        self.found = Findings()
        self._by_function: set[Action] = set()
        self._lenient = False  # inside a command whose own action covers whatever it is made of

    def run(self, node: dict[str, Any]) -> Findings:
        (name, body), *_ = node.items()
        self.found.command = _command(name, body)
        planned_only = name == "ExplainStmt" and not _analyzes(body)
        self._visit(node)
        if name == "ExplainStmt" and self.found.effect is not None and self.found.effect.kind == "declare":
            # No cursor is made: a FETCH would go on record with this text and run an older cursor's.
            self.found.effect = None
        if planned_only:
            # Planning runs no statement, but it may run functions.
            understood = "unparsed" not in self.found.actions
            self.found.actions = {"read"} if understood else {"read", "unparsed"}
        self.found.actions |= self._by_function
        if name in ("SelectStmt", "CopyStmt", "ExplainStmt") and not self.found.actions:
            self.found.actions.add("read")
        return self.found

    def _visit(self, node: dict[str, Any]) -> None:
        # A stack of our own: texts within the caps can nest deeper than Python recurses.
        stack: list[tuple[Any, Names]] = [(node, _NOTHING)]
        while stack:
            value, ctes = stack.pop()
            if isinstance(value, list):
                stack += [(item, ctes) for item in value]
            elif isinstance(value, dict):
                self._object(value, ctes, stack)

    def _object(self, value: dict[str, Any], ctes: Names, stack: list[tuple[Any, Names]]) -> None:
        if "withClause" in value:
            ctes = _with(value["withClause"], ctes, stack)
        if "relname" in value:  # by value: the target of a command, which no WITH clause can be
            self._table(value, _NOTHING)
        if "intoClause" in value:
            self.found.actions.add("ddl")
        if value.get("behavior") == "DROP_CASCADE":
            self.found.anything = True  # also what refers to that which is named
        for key, child in value.items():
            if key == "withClause":
                continue
            if key[0].isupper():
                self._node(key, child, ctes, stack)
            elif isinstance(child, dict | list):
                if key in ("name", "operName", "useOp"):
                    self._operator(child)
                stack.append((child, ctes))

    def _node(self, name: str, body: dict[str, Any], ctes: Names, stack: list[tuple[Any, Names]]) -> None:
        if name.endswith("Stmt"):
            self._statement(name, body)
        elif name == "RangeVar":
            self._table(body, ctes)
            return
        elif name == "FuncCall":
            self._function(_strings(body.get("funcname", [])), body.get("args", []))
        elif name == "LockingClause":
            self.found.actions.add("write")  # row locks need the right to update, and hold others up
        elif name not in EXPRESSIONS and not self._lenient:
            self.found.actions.add("unparsed")
        stack.append((body, ctes))

    def _table(self, body: dict[str, Any], ctes: Names) -> None:
        schema, name = body.get("schemaname", ""), body["relname"]
        if not schema and name in ctes:
            return
        self.found.tables[schema, name] = None

    def _operator(self, names: Any) -> None:
        parts = _strings(names)
        if len(parts) > 1 and parts[0] != "pg_catalog":
            self._any_code()

    def _function(self, parts: list[str], args: list[dict[str, Any]]) -> None:
        if not parts:
            self.found.actions.add("unparsed")
            return
        schema, name = ".".join(parts[:-1]), parts[-1]
        if schema == "information_schema" and name.startswith("_pg_"):
            return
        if name.startswith(OPAQUE):
            self._by_function.add("unparsed")
        elif name.startswith(PATH):
            self._by_function.add("path")
        elif schema not in ("", "pg_catalog"):
            self._any_code()
        elif name in ACTIVITY:
            self.found.tables["pg_catalog", "pg_stat_activity"] = None
        elif name in READING or name in HARMLESS or name.startswith(READING_PREFIXES):
            return
        elif name.startswith(WRITING):
            self._by_function.add("write")
        elif name == "set_config":
            self._set_config(args)
        elif name.startswith("pg_"):
            self._by_function.add("admin")
        else:
            self._any_code()

    def _set_config(self, args: list[dict[str, Any]]) -> None:
        """SET in the form of a function: drivers use it for harmless settings."""
        name = _constant(args[0]).lower() if args else ""
        if name in SETTINGS_PINNED:
            if len(args) < 2 or _constant(args[1]).lower() not in SETTINGS_PINNED[name]:
                self.found.forbidden = _pinned(name)
        elif not _harmless(name):
            self._by_function.add("admin")

    def _any_code(self) -> None:
        """A function of the store's own: it may read and write whatever the store's role may."""
        self._by_function.add("write")
        self.found.anything = True

    def _statement(self, name: str, body: dict[str, Any]) -> None:
        found = self.found
        special = _SPECIAL.get(name)
        if name in COMMANDS:
            found.actions |= set(COMMANDS[name])
            self._lenient = True
            if COMMANDS[name] and name not in _FULLY_NAMED:
                found.anything = True
        elif special is not None:
            special(found, body)
        else:
            found.actions.add("unparsed")


def _with(clause: dict[str, Any], outer: Names, stack: list[tuple[Any, Names]]) -> Names:
    """Queue the queries of a WITH clause, each with the names it can see; returns what the statement can see."""
    tables = [each["CommonTableExpr"] for each in clause.get("ctes", [])]
    names = outer | {table["ctename"] for table in tables}
    visible = names if clause.get("recursive") else outer
    for table in tables:
        stack.append((table, visible))
        if not clause.get("recursive"):
            visible = visible | {table["ctename"]}
    return names


def _select(found: Findings, body: dict[str, Any]) -> None:
    if "valuesLists" not in body:
        found.actions.add("read")


def _insert(found: Findings, body: dict[str, Any]) -> None:
    found.actions |= {"write", "read"} if "returningList" in body else {"write"}


def _change(found: Findings, body: dict[str, Any]) -> None:
    target = body.get("relation", {})
    if target.get("relname") == "pg_settings" and target.get("schemaname", "pg_catalog") == "pg_catalog":
        # The store rewrites it to set_config(), for whatever names the rows hold: nothing here would see which.
        found.forbidden = "settings are changed with SET, not by updating pg_settings"
    found.actions |= {"write", "read"}  # a row count answers what the condition asks


def _copy(found: Findings, body: dict[str, Any]) -> None:
    if body.get("is_program") or body.get("filename"):
        found.actions.add("path")  # a file or a program on the store's host
    found.actions.add("write" if body.get("is_from") else "read")
    if body.get("is_from"):
        found.effect = Effect("copy_in")


def _prepare(found: Findings, body: dict[str, Any]) -> None:
    found.effect = Effect("prepare", (body["name"],))


def _execute(found: Findings, body: dict[str, Any]) -> None:
    found.effect = Effect("execute", (body["name"],))


def _deallocate(found: Findings, body: dict[str, Any]) -> None:
    name = body.get("name", "")
    found.effect = Effect("deallocate", (name,)) if name else Effect("deallocate_all")


def _declare(found: Findings, body: dict[str, Any]) -> None:
    held = ("hold",) if int(body.get("options", 0)) & CURSOR_OPT_HOLD else ()
    found.effect = Effect("declare", (body["portalname"], *held))


def _fetch(found: Findings, body: dict[str, Any]) -> None:
    found.actions.add("read")
    found.effect = Effect("fetch", (body["portalname"],))


def _discard(found: Findings, body: dict[str, Any]) -> None:
    if body.get("target") == "DISCARD_ALL":
        found.effect = Effect("discard")


def _transaction(found: Findings, body: dict[str, Any]) -> None:
    if body.get("kind") in _PREPARED_TRANSACTIONS:
        found.actions.add("write")
    _transaction_options(found, body.get("options", []))


def _transaction_options(found: Findings, options: list[dict[str, Any]]) -> None:
    for option in options:
        element = option.get("DefElem", {})
        if element.get("defname") in _READ_ONLY and _constant(element.get("arg", {})) not in _TRUE:
            found.actions.add("write")


def _set(found: Findings, body: dict[str, Any]) -> None:
    kind, name = body.get("kind", ""), body.get("name", "").lower()
    if kind == "VAR_RESET_ALL":
        return
    if kind == "VAR_SET_MULTI":
        if name != "transaction snapshot":
            _transaction_options(found, body.get("args", []))
        return
    values = [_constant(arg) for arg in body.get("args", [])] if kind == "VAR_SET_VALUE" else []
    if name in SETTINGS_PINNED:
        if values and not (len(values) == 1 and values[0].lower() in SETTINGS_PINNED[name]):
            found.forbidden = _pinned(name)
    elif name in _READ_ONLY:
        # The default of a transaction's own setting is "off", whatever the role's or BEGIN's is (PostgreSQL < 15).
        back = name == "transaction_read_only" and not values
        if back or (values and values[0].lower() not in _TRUE):
            found.actions.add("write")
    elif name == "search_path":
        found.effect = Effect("search_path", tuple(v for v in values if v)) if values else None
    elif not _harmless(name):
        found.actions.add("admin")


def _harmless(name: str) -> bool:
    return name in SETTINGS or name == "seed" or name.startswith(("enable_", "cpu_"))


def _pinned(name: str) -> str:
    return f"{name} is pinned: another value would change how a text is read"


def _unknown_code(found: Findings, body: dict[str, Any]) -> None:
    found.actions.add("unparsed")
    found.anything = True


def _nothing(found: Findings, body: dict[str, Any]) -> None:
    """Its parts say it all."""


_SPECIAL: Final = {
    "SelectStmt": _select,
    "InsertStmt": _insert,
    "UpdateStmt": _change,
    "DeleteStmt": _change,
    "MergeStmt": _change,
    "CopyStmt": _copy,
    "ExplainStmt": _nothing,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _fetch,
    "ClosePortalStmt": _nothing,
    "DiscardStmt": _discard,
    "TransactionStmt": _transaction,
    "VariableSetStmt": _set,
    "VariableShowStmt": _nothing,
    "ReturnStmt": _nothing,
    "DoStmt": _unknown_code,
}


def _analyzes(body: dict[str, Any]) -> bool:
    return any(option.get("DefElem", {}).get("defname") == "analyze" for option in body.get("options", []))


def _strings(parts: Any) -> list[str]:
    if not isinstance(parts, list):
        return []
    return [part["String"].get("sval", "") for part in parts if isinstance(part, dict) and "String" in part]


def _constant(node: dict[str, Any]) -> str:
    """A constant as text; "" for anything else. Zero and false are what the tree leaves out."""
    if "String" in node:
        return str(node["String"].get("sval", ""))
    if "TypeCast" in node:
        return _constant(node["TypeCast"].get("arg", {}))
    constant = node.get("A_Const", {})
    if "ival" in constant:
        return str(constant["ival"].get("ival", 0))
    if "boolval" in constant:
        return "true" if constant["boolval"].get("boolval") else "false"
    for kind, key in (("sval", "sval"), ("fval", "fval")):
        if kind in constant:
            return str(constant[kind].get(key, ""))
    return ""


def _command(name: str, body: dict[str, Any]) -> str:
    if name == "TransactionStmt":
        return str(body.get("kind", "")).removeprefix("TRANS_STMT_").replace("_", " ")
    if name == "CallStmt":
        return "CALL"
    if name in _COMMAND_NAMES:
        return _COMMAND_NAMES[name]
    return _CAMEL.sub(" ", name.removesuffix("Stmt")).upper()
