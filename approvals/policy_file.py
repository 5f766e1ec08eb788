"""policy.toml -> Policy; every fault with its line, all of them at once.

The file is a proposal in a person's spelling. What is adopted, hashed and handed to proxies is the canonical
document that `policy.document_of` makes of the parsed policy, defaults written out.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar

import msgspec

from approvals.errors import Fault
from approvals.plain_text import check_line, quoted
from approvals.policy import (
    DEFAULT_DURATION_S,
    POLICY_CAP_S,
    Enrolled,
    Organisation,
    Policy,
    ReasonCode,
    Requesters,
    Rule,
    Slot,
)
from approvals.policy_checks import check_policy
from approvals.scope import Action
from approvals.store_definition import StoreDefinition
from approvals.toml_lines import Lines

__all__ = ["MAX_FILE_CHARS", "PolicyFault", "PolicyFileRefused", "parse"]

MAX_FILE_CHARS: Final = 1024 * 1024
MAX_FAULTS: Final = 100

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_REASON: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smh])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}
_MISSING: Final = object()

Path = tuple[str, ...]
S = TypeVar("S", bound=msgspec.Struct)


class PolicyFault(msgspec.Struct, frozen=True):
    """One thing wrong: its line, its key (`stores.customers-db.protocol`), what was expected and got."""

    line: int
    key: str
    text: str


class PolicyFileRefused(ValueError):
    """The file is no policy. `faults` is everything that is wrong with it, by line."""

    def __init__(self, name: str, faults: list[PolicyFault]) -> None:
        self.name = name
        # Keys and messages quote the file, which may hold what a terminal obeys.
        printable = [PolicyFault(fault.line, _printable(fault.key), _printable(fault.text)) for fault in faults]
        self.faults = tuple(sorted(printable, key=lambda fault: fault.line))
        super().__init__(
            "\n".join(
                f"{name}:{fault.line}: {f'{fault.key}: ' if fault.key else ''}{fault.text}" for fault in self.faults
            )
        )


def parse(text: str, name: str = "policy.toml") -> Policy:
    """The policy that the file describes. Raises PolicyFileRefused, and nothing else, whatever the text."""
    if len(text) > MAX_FILE_CHARS:
        raise PolicyFileRefused(name, [PolicyFault(1, "", f"larger than {MAX_FILE_CHARS} characters")])
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise PolicyFileRefused(name, [PolicyFault(_line_in(str(cause)), "", f"not TOML: {cause}")]) from cause
    except (ValueError, RecursionError, OverflowError) as cause:
        # tomllib lets through what int() says of 5,000 digits and what brackets do when nested 10,000 deep.
        raise PolicyFileRefused(name, [PolicyFault(1, "", f"not TOML that can be read: {cause}")]) from cause
    reader = _Reader(Lines(text))
    policy = reader.policy(tree)
    if policy is not None and not reader.faults:
        for path, said in check_policy(policy):
            reader.fault(path, said)
    if policy is None or reader.faults:
        raise PolicyFileRefused(name, reader.faults[:MAX_FAULTS])
    return policy


def _line_in(message: str) -> int:
    found = re.search(r"at line ([0-9]+)", message)
    return int(found[1]) if found is not None else 1


class _Reader:
    """Takes the tree apart and collects what does not fit. A part with a fault is None, and its whole too."""

    def __init__(self, lines: Lines) -> None:
        self.faults: list[PolicyFault] = []
        self._lines = lines

    def fault(self, path: Path, text: str) -> None:
        self.faults.append(PolicyFault(self._lines.of(path), ".".join(path), text))

    def policy(self, tree: dict[str, Any]) -> Policy | None:
        known = {"version", "member", "trial", "organisations", "people", "reasons", "stores", "rules"}
        self._known_keys(tree, (), known)
        version = self._value(tree, (), "version", int)
        if version is not None and version != 1:
            self.fault(("version",), f"this program reads version 1, got {version}")
        member = self._value(tree, (), "member", str)
        trial = self._value(tree, (), "trial", bool, False)
        organisations = self._tables(tree, "organisations", Organisation, _NAME)
        people = self._tables(tree, "people", Enrolled, _NAME)
        reasons = self._tables(tree, "reasons", ReasonCode, _REASON)
        stores = self._tables(tree, "stores", StoreDefinition, _NAME, named=True)
        rules = self._rules(tree, stores or {})
        if (
            version is None
            or member is None
            or trial is None
            or organisations is None
            or people is None
            or reasons is None
            or stores is None
            or rules is None
        ):
            return None
        return Policy(
            version=version,
            member=member,
            trial=trial,
            organisations=organisations,
            people=people,
            reasons=reasons,
            stores=stores,
            rules=tuple(rules),
        )

    # --- parts ---------------------------------------------------------------------------------------------------

    def _tables(
        self, tree: dict[str, Any], key: str, shape: type[S], names: re.Pattern[str], *, named: bool = False
    ) -> dict[str, S] | None:
        """[key.<name>] tables, each of that shape; with `named` the name is a field of it too."""
        tables = tree.get(key, {})
        if not isinstance(tables, dict):
            self.fault((key,), f"expected tables [{key}.<name>]")
            return None
        found: dict[str, S] = {}
        for name, table in tables.items():
            path = (key, name)
            if not names.fullmatch(name):
                self.fault(path, f"a name is {names.pattern}, got {quoted(name)}")
            value = self._struct(table, path, shape, {"name": name} if named else {})
            if value is not None:
                found[name] = value
        return found if len(found) == len(tables) else None

    def _struct(self, table: object, path: Path, shape: type[S], given: Mapping[str, Any]) -> S | None:
        """A table as `shape`: every field checked by itself, so that all faults are found."""
        if not isinstance(table, dict):
            self.fault(path, "expected a table")
            return None
        fields = {field.encode_name: field for field in msgspec.structs.fields(shape) if field.name not in given}
        before = len(self.faults)
        self._known_keys(table, path, set(fields))
        values: dict[str, Any] = dict(given)
        for key, field in fields.items():
            default = field.default if field.default is not msgspec.NODEFAULT else _MISSING
            value = self._value(table, path, key, field.type, default)
            if value is not None:
                values[field.name] = value
        return shape(**values) if len(self.faults) == before else None

    def _value(self, table: dict[str, Any], path: Path, key: str, kind: Any, default: Any = _MISSING) -> Any:
        """One value of that type; None after a fault. Texts must be plain, lists must not repeat themselves."""
        if key not in table:
            if default is _MISSING:
                self.fault((*path, key), "is missing")
                return None
            return default
        try:
            value = msgspec.convert(table[key], kind)
        except msgspec.ValidationError as cause:
            self.fault((*path, key), f"{_lower(str(cause))}, got {_shown(table[key])}")
            return None
        faults: list[Fault] = []
        for word in value if isinstance(value, tuple) else (value,):
            if isinstance(word, str) and word:
                check_line(key, word, 1000, faults)
        if isinstance(value, tuple) and len(set(value)) != len(value):
            faults.append(Fault(key, "names something twice"))
        for fault in faults:
            self.fault((*path, key), fault.text)
        return None if faults else value

    def _known_keys(self, table: dict[str, Any], path: Path, known: set[str]) -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(key[:100], known, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
                self.fault((*path, key), f"is not a setting{hint}")

    # --- rules ---------------------------------------------------------------------------------------------------

    def _rules(self, tree: dict[str, Any], stores: dict[str, StoreDefinition]) -> list[Rule] | None:
        tables = tree.get("rules", [])
        if not isinstance(tables, list):
            self.fault(("rules",), "expected [[rules]] tables")
            return None
        rules = [self._rule(table, ("rules", str(index)), stores) for index, table in enumerate(tables)]
        sound = [rule for rule in rules if rule is not None]
        return sound if len(sound) == len(rules) else None

    def _rule(self, table: object, path: Path, stores: dict[str, StoreDefinition]) -> Rule | None:
        if not isinstance(table, dict):
            self.fault(path, "expected a table")
            return None
        before = len(self.faults)
        self._known_keys(
            table,
            path,
            {"name", "stores", "requesters", "actions", "reasons", "max_duration", "approvals", "assurance"},
        )
        name = self._value(table, path, "name", str)
        of_stores = self._value(table, path, "stores", tuple[str, ...])
        requesters = self._struct(table.get("requesters"), (*path, "requesters"), Requesters, {})
        actions = self._value(table, path, "actions", tuple[Action, ...])
        reasons = self._value(table, path, "reasons", tuple[str, ...], None)
        max_duration_s = self._duration(table, path)
        approvals = self._approvals(table, path)
        assurance = self._value(table, path, "assurance", Literal["click", "signed"], _default(of_stores, stores))
        if len(self.faults) != before:
            return None
        assert requesters is not None
        assert max_duration_s is not None
        return Rule(
            name=name,
            stores=of_stores,
            requesters=requesters,
            actions=actions,
            reasons=reasons,
            max_duration_s=max_duration_s,
            approvals=approvals,
            assurance=assurance,
        )

    def _duration(self, table: dict[str, Any], path: Path) -> int | None:
        text = self._value(table, path, "max_duration", str, f"{DEFAULT_DURATION_S}s")
        if text is None:
            return None
        match = _DURATION.fullmatch(text)
        if match is None:
            self.fault((*path, "max_duration"), f"expected a duration such as 90s, 30m or 8h, got {quoted(text)}")
            return None
        seconds = int(match[1]) * _UNIT_S[match[2]]
        if seconds > POLICY_CAP_S:
            self.fault((*path, "max_duration"), f"a rule allows at most {POLICY_CAP_S // 3600}h, got {text}")
            return None
        return seconds

    def _approvals(self, table: dict[str, Any], path: Path) -> tuple[Slot, ...]:
        path = (*path, "approvals")
        slots = table.get("approvals")
        if not isinstance(slots, list) or not slots:
            self.fault(path, 'expected who has to approve, such as [{ from = "overseer:zurich", count = 1 }]')
            return ()
        found = []
        for index, slot in enumerate(slots):
            counted = {"count": 1} | slot if isinstance(slot, dict) else slot
            value = self._struct(counted, (*path, str(index)), Slot, {})
            if value is not None:
                found.append(value)
        return tuple(found)


def _default(of_stores: tuple[str, ...] | None, stores: dict[str, StoreDefinition]) -> str:
    """Personal data is opened by signed approvals only, unless the rule says `assurance = "click"` in so many words."""
    personal = any(name not in stores or stores[name].data_class == "personal" for name in of_stores or ())
    return "signed" if personal else "click"


def _printable(text: str) -> str:
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in escaped)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else type(value).__name__
