"""What a grant covers (RFC 9396 `authorization_details`), and the order on it: covers, narrower.

Empty means nothing, never everything: a scope without actions or resources covers no operation. An absent
limit means "no limit", so leaving one out widens, and `narrower` says so.
"""

from typing import Any, Final, Literal

import msgspec

__all__ = [
    "ACTIONS",
    "Action",
    "Limits",
    "Operation",
    "Scope",
    "covers",
    "details",
    "narrower",
    "resource_covers",
]

Action = Literal["read", "write", "ddl", "admin", "path", "stream", "unparsed"]
"""`path` = whatever opens another way to the data (credentials, replication, foreign servers, signed URLs);
`stream` = an open two-way channel; `unparsed` = what the classifier could not understand. None implies another."""

ACTIONS: Final[tuple[Action, ...]] = ("read", "write", "ddl", "admin", "path", "stream", "unparsed")
DETAIL_TYPE: Final = "glassgate-access/v1"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Upper bounds over the grant's whole life; None = not limited."""

    rows: int | None = None
    bytes: int | None = None
    requests: int | None = None


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One store, some actions, some resources. `resources` are names (`public.orders`, `/crm/people`), names
    with a final `*`, or `*` alone."""

    store: str
    actions: tuple[Action, ...]
    resources: tuple[str, ...] = ("*",)
    limits: Limits = Limits()


class Operation(msgspec.Struct, frozen=True):
    """What one request or statement does, as its classifier says. Every action and resource must be covered."""

    actions: tuple[Action, ...]
    resources: tuple[str, ...] = ()


def resource_covers(pattern: str, name: str) -> bool:
    """Whether `pattern` (a name, or a prefix followed by `*`) covers `name` (which may be a pattern itself)."""
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return pattern == name


def covers(scope: Scope, operation: Operation) -> Literal["yes", "action", "resource"]:
    """Whether the scope covers the operation; if not, what is missing. An operation without actions is no read."""
    if not operation.actions or not set(operation.actions) <= set(scope.actions):
        return "action"
    if not scope.resources:
        return "resource"
    for name in operation.resources:
        if not any(resource_covers(pattern, name) for pattern in scope.resources):
            return "resource"
    if not operation.resources and "*" not in scope.resources:
        # Nothing is named, so nothing shows that it stays inside a narrow scope.
        return "resource"
    return "yes"


def narrower(inner: Scope, outer: Scope) -> bool:
    """Whether `inner` allows nothing that `outer` does not (equal scopes are narrower than each other)."""
    if inner.store != outer.store or not set(inner.actions) <= set(outer.actions):
        return False
    for name in inner.resources:
        if not any(resource_covers(pattern, name) for pattern in outer.resources):
            return False
    return all(
        _limit_narrower(getattr(inner.limits, name), getattr(outer.limits, name))
        for name in ("rows", "bytes", "requests")
    )


def _limit_narrower(inner: int | None, outer: int | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def details(scope: Scope) -> list[dict[str, Any]]:
    """The scope as RFC 9396 `authorization_details`, for tokens and records."""
    detail: dict[str, Any] = {
        "type": DETAIL_TYPE,
        "locations": [scope.store],
        "actions": list(scope.actions),
        "datatypes": list(scope.resources),
    }
    limits = msgspec.to_builtins(scope.limits)
    if limits:
        detail["limits"] = limits
    return [detail]
