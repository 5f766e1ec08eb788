"""Generic REST: what patterns name, and that nothing else is a read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.store_definition import StoreDefinition
from proxy.classify.rest import PatternRefused, RestClassifier


def classifier(reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> RestClassifier:
    return RestClassifier(StoreDefinition(name="s", protocol="http", upstream="u", reads=reads, writes=writes))


CRM = classifier(
    reads=("GET /crm/*", "GET /people", "POST /search", "GET /a/*/notes", "GET /b/*/c/*", "GET /files*"),
    writes=("POST /crm/*", "DELETE /crm/people/*", "GET /crm/purge"),
)


@pytest.mark.parametrize(
    ("method", "path", "actions", "patterns"),
    [
        ("GET", "/crm/x", ("read",), ("/crm/*",)),
        ("HEAD", "/crm/x/y", ("read",), ("/crm/*",)),
        ("GET", "/crm/", ("read",), ("/crm/*",)),
        ("GET", "/crm", ("unparsed",), ()),
        ("GET", "/CRM/x", ("unparsed",), ()),
        ("GET", "/crmx", ("unparsed",), ()),
        ("GET", "/people", ("read",), ("/people",)),
        ("GET", "/people/", ("unparsed",), ()),
        ("POST", "/search", ("read",), ("/search",)),
        ("HEAD", "/search", ("unparsed",), ()),
        ("POST", "/crm/x", ("write",), ("/crm/*",)),
        ("DELETE", "/crm/people/7", ("write",), ("/crm/people/*",)),
        ("DELETE", "/crm/x", ("unparsed",), ()),
        ("OPTIONS", "/crm/x", ("unparsed",), ()),
        ("GET", "/crm/purge", ("read", "write"), ("/crm/*", "/crm/purge")),
        ("HEAD", "/crm/purge", ("read", "write"), ("/crm/*", "/crm/purge")),
        ("GET", "/a/7/notes", ("read",), ("/a/*/notes",)),
        ("GET", "/a/7/8/notes", ("unparsed",), ()),
        ("GET", "/a//notes", ("unparsed",), ()),
        ("GET", "/b/1/c/2/3", ("read",), ("/b/*/c/*",)),
        ("GET", "/files", ("read",), ("/files*",)),
        ("GET", "/files.json", ("read",), ("/files*",)),
        ("GET", "*", ("unparsed",), ()),
    ],
)
def test_what_a_request_does(method: str, path: str, actions: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    classified = CRM.classify(method, path)
    assert classified.operation.actions == actions
    assert classified.operation.resources == (path,)
    assert classified.patterns == patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "/crm/*",
        "GET",
        "GET ",
        "GET crm",
        "get /crm",
        "FETCH /crm",
        "GET  /crm",
        "GET /crm?x",
        "GET /a b",
        "GET /a*b/c",
        "GET /a**",
        "* /a",
    ],
)
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(PatternRefused):
        classifier(reads=(pattern,))


@given(st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH"]), st.text(max_size=30))
def test_without_patterns_nothing_is_a_read(method: str, path: str) -> None:
    assert classifier().classify(method, path).operation.actions == ("unparsed",)
    assert "read" not in CRM.classify("PATCH", path).operation.actions
