"""The order on scopes: what is covered by the narrower is covered by the wider, and empty means nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.scope import ACTIONS, Action, Limits, Operation, Scope, covers, details, narrower

NAMES = ("*", "public.*", "public.orders", "public.customers", "crm.*", "crm.people", "public.orders_archive")
ACTION_SETS = st.lists(st.sampled_from(ACTIONS), unique=True, max_size=4).map(tuple)
RESOURCES = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
LIMITS = st.builds(Limits, rows=st.none() | st.integers(0, 3), bytes=st.none() | st.integers(0, 3))
SCOPES = st.builds(Scope, store=st.sampled_from(("a", "b")), actions=ACTION_SETS, resources=RESOURCES, limits=LIMITS)
OPERATIONS = st.builds(Operation, actions=ACTION_SETS, resources=RESOURCES)


@given(SCOPES, SCOPES, OPERATIONS)
def test_a_narrower_scope_covers_nothing_more(inner: Scope, outer: Scope, operation: Operation) -> None:
    if narrower(inner, outer) and covers(inner, operation) == "yes":
        assert covers(outer, operation) == "yes"


@given(SCOPES)
def test_narrower_is_reflexive(scope: Scope) -> None:
    assert narrower(scope, scope)


@given(SCOPES, SCOPES, SCOPES)
def test_narrower_is_transitive(a: Scope, b: Scope, c: Scope) -> None:
    if narrower(a, b) and narrower(b, c):
        assert narrower(a, c)


@given(OPERATIONS)
def test_empty_means_nothing(operation: Operation) -> None:
    assert covers(Scope("a", ()), operation) == "action"
    if operation.actions:
        assert covers(Scope("a", tuple(ACTIONS), ()), operation) == "resource"


@pytest.mark.parametrize(
    ("actions", "resources", "operation", "verdict"),
    [
        (("read",), ("*",), Operation(("read",), ("public.orders",)), "yes"),
        (("read",), ("*",), Operation(("read",)), "yes"),
        (("read",), ("public.*",), Operation(("read",)), "resource"),  # nothing named: cannot be shown to be inside
        (("read",), ("public.orders",), Operation(("read",), ("public.orders", "public.customers")), "resource"),
        (("read",), ("public.orders",), Operation(("read",), ("public.orders_archive",)), "resource"),
        (("read",), ("*",), Operation(("read", "write"), ("public.orders",)), "action"),
        (("read", "write"), ("*",), Operation(("path",), ("public.orders",)), "action"),  # path is never implied
        (("read",), ("*",), Operation(()), "action"),  # an operation of unknown kind is no read
    ],
)
def test_what_is_covered(
    actions: tuple[Action, ...], resources: tuple[str, ...], operation: Operation, verdict: str
) -> None:
    assert covers(Scope("a", actions, resources), operation) == verdict


def test_leaving_out_a_limit_widens() -> None:
    limited = Scope("a", ("read",), limits=Limits(rows=10))
    assert narrower(limited, Scope("a", ("read",)))
    assert not narrower(Scope("a", ("read",)), limited)
    assert not narrower(Scope("a", ("read",), limits=Limits(rows=11)), limited)


def test_the_rar_form() -> None:
    assert details(Scope("crm", ("read",), ("/people/*",), Limits(rows=5))) == [
        {
            "type": "glassgate-access/v1",
            "locations": ["crm"],
            "actions": ["read"],
            "datatypes": ["/people/*"],
            "limits": {"rows": 5},
        }
    ]
