"""The house's rules about itself, as tests: what may import what and why, which files are pure, how large they are."""

import ast
import re
from fnmatch import fnmatchcase
from typing import Final

import pytest

from approvals.api.routes import PERMISSIONS, ROUTES
from approvals.reasons import TEXT, Reason
from tests.support.source_tree import (
    PACKAGES,
    ROOT,
    committed_files,
    imports,
    modules,
    python_files,
    reaches,
    tree,
)

# No IO, no clock, no chance: time, entropy and bytes are arguments. What is listed here can be tested by calling
# it, and is what an auditor must read. A name may end in `*`.
PURE: Final = (
    "ledger.batch",
    "ledger.certificate",
    "ledger.checkpoint",
    "ledger.cosignature",
    "ledger.encoding",
    "ledger.entry",
    "ledger.framing",
    "ledger.intake",
    "ledger.journal_format",
    "ledger.journal_window",
    "ledger.merkle",
    "ledger.note",
    "ledger.pack.*",
    "ledger.proof",
    "ledger.storage",
    "ledger.stub",
    "ledger.tiles",
    "ledger.trust",
    "ledger.uuid7",
    "ledger.verify",
    "ledger.witness",
    "ledger.writers",
    "approvals.access_key",
    "approvals.api.decoding",
    "approvals.api.problems",
    "approvals.api.schema",
    "approvals.base32",
    "approvals.decisions",
    "approvals.errors",
    "approvals.evidence",
    "approvals.grants",
    "approvals.identity.subject",
    "approvals.ids",
    "approvals.kinds",
    "approvals.lifecycle",
    "approvals.notify.slack.blocks",
    "approvals.notify.slack.direct",
    "approvals.notify.slack.elements",
    "approvals.notify.slack.forms",
    "approvals.notify.slack.outcome",
    "approvals.notify.slack.payloads",
    "approvals.notify.slack.prefill",
    "approvals.notify.slack.signature",
    "approvals.notify.slack.words",
    "approvals.pattern_cost",
    "approvals.plain_text",
    "approvals.policy",
    "approvals.policy_checks",
    "approvals.policy_file",
    "approvals.reasons",
    "approvals.requests",
    "approvals.revocation",
    "approvals.scope",
    "approvals.store_definition",
    "approvals.story",
    "approvals.timestamps",
    "approvals.tokens",
    "approvals.toml_lines",
    "approvals.views",
    "proxy.barrier",
    "proxy.classify.*",
    "proxy.clock",
    "proxy.enforce",
    "proxy.http.authenticate",
    "proxy.http.cross_check",
    "proxy.http.entries",
    "proxy.http.faults",
    "proxy.http.fields",
    "proxy.http.head",
    "proxy.http.pages",
    "proxy.http.redact",
    "proxy.http.routing",
    "proxy.http.target",
    "proxy.live_grants",
    "proxy.postgres.access",
    "proxy.postgres.asking",
    "proxy.postgres.client_login",
    "proxy.postgres.commands",
    "proxy.postgres.errors",
    "proxy.postgres.framing",
    "proxy.postgres.guards",
    "proxy.postgres.judging",
    "proxy.postgres.messages",
    "proxy.postgres.outbound",
    "proxy.postgres.release",
    "proxy.postgres.replies",
    "proxy.postgres.scram",
    "proxy.postgres.session",
    "proxy.postgres.startup",
    "proxy.postgres.statements",
    "proxy.postgres.store_login",
    "proxy.postgres.wording",
    "proxy.refusals",
    "proxy.stores",
    "glassgate.release.errors",
    "glassgate.release.lock",
    "glassgate.release.manifest",
    "glassgate.release.record",
    "glassgate.release.sbom",
    "glassgate.release.source_digest",
    "proxy.token_cache",
    "glassgate.certificates",
    "glassgate.cli.durations",
    "glassgate.demo.dataset",
)

_IMPURE: Final = """
    aiohttp asyncio asyncpg http.client io multiprocessing os pathlib random secrets select selectors shutil signal
    slack_bolt slack_sdk socket ssl subprocess sys tempfile threading time urllib.request uvloop
"""
IMPURE: Final = frozenset(_IMPURE.split())
IMPURE_CALLS: Final = re.compile(
    r"\b(datetime\.(now|utcnow|today)|date\.today|uuid\.uuid[14]|open|input|print|os\.urandom)$"
)

# Package -> what it may import of ours, and why nothing else.
MAY_IMPORT: Final = {
    "ledger": ((), "the log must be usable, and checkable, without the rest"),
    "approvals": (("ledger",), "who may have what must not depend on how the bytes are let through"),
    "proxy": (("ledger", "approvals: pure"), "a proxy decides by pushed facts, never by calling the services"),
    "overseer": (("ledger", "approvals: pure"), "the station trusts nothing that it has not checked itself"),
    "migrations": ((), "plain SQL, read as data"),
    "glassgate": (("ledger", "approvals", "proxy", "overseer", "migrations"), "the program wires all of it"),
}

# Routes without a session, and what holds there instead.
PUBLIC_ROUTES: Final = {
    ("POST", "/login"): "how a session begins; a one-time code stands in its place, and attempts are throttled",
}

# Who else may answer HTTP, and who may ask there.
OTHER_ROUTES: Final = {
    "approvals/api/app.py": "mounts the route table, and /openapi.json, which only describes it",
    "approvals/notify/slack/http_door.py": "Slack: every request is signed, and the signature is checked first",
    "glassgate/diagnostics.py": "health and numbers on an address of their own; no secrets, no personal data",
    "glassgate/wiring/approvals.py": "mounts the three beside it",
    "ledger/server.py": "checkpoint and tiles are public by design; bodies only for whom may_read lets in",
}
_ADDS_ROUTES: Final = {
    *("add_get", "add_post", "add_put", "add_delete", "add_patch", "add_head", "add_route", "add_routes"),
    *("add_subapp", "add_static", "add_view", "web.get", "web.post", "web.put", "web.delete", "web.route", "web.view"),
}

# Longer than 500 lines, and the reason why one idea needs that.
LONG: Final[dict[str, str]] = {}
MAX_LINES: Final = 500


def is_pure(module: str) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in PURE)


def package_of(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down(module: str) -> None:
    allowed, reason = MAY_IMPORT[package_of(module)]
    for imported in imports(module):
        target = package_of(imported)
        assert target not in ("tests", "bench", "docs"), f"{module} imports {imported}: the product stands alone"
        if target not in PACKAGES or target == package_of(module):
            continue
        if f"{target}: pure" in allowed:
            names_module = imported in modules()
            assert not names_module or is_pure(imported) or imported == target, (
                f"{module} imports {imported}, which is not one of {target}'s pure modules: {reason}"
            )
        else:
            assert target in allowed, f"{module} imports {imported}: {reason}"


def test_every_pure_name_leads_somewhere() -> None:
    lost = [pattern for pattern in PURE if not any(fnmatchcase(module, pattern) for module in modules())]
    assert not lost, f"PURE names modules that do not exist: {lost}"


@pytest.mark.parametrize("module", sorted(filter(is_pure, modules())))
def test_pure_modules_have_no_way_to_the_world(module: str) -> None:
    for name, chain in reaches(module).items():
        outside = any(name == bad or name.startswith(bad + ".") for bad in IMPURE)
        assert not outside, f"{module} is pure, but imports {name} through {' -> '.join(chain)}"


@pytest.mark.parametrize("module", sorted(filter(is_pure, modules())))
def test_pure_modules_do_not_look_at_a_clock(module: str) -> None:
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.Call):
            assert not IMPURE_CALLS.search(ast.unparse(node.func)), (
                f"{module}:{node.lineno} calls {ast.unparse(node.func)}: time and IO are the caller's to bring"
            )


def test_only_enforce_makes_an_allow() -> None:
    makers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files("approvals", "proxy", "overseer", "glassgate")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Allow"
    ]
    assert makers
    assert all(place.startswith("proxy/enforce.py:") for place in makers), makers


def test_every_route_declares_who_may() -> None:
    seen = set()
    for route in ROUTES:
        assert (route.method, route.path) not in seen, f"{route.method} {route.path} stands twice in the table"
        seen.add((route.method, route.path))
        assert route.permission in PERMISSIONS, f"{route.method} {route.path}: {route.permission!r} is not defined"
        if route.permission == "public":
            assert (route.method, route.path) in PUBLIC_ROUTES, f"{route.method} {route.path} is public, and no reason"
    assert set(PUBLIC_ROUTES) <= seen, "PUBLIC_ROUTES names routes that do not exist"


def test_routes_are_added_in_known_places_only() -> None:
    adding = {
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and _adds_a_route(ast.unparse(node.func))
    }
    assert adding == set(OTHER_ROUTES), "whoever answers HTTP must say here who may ask"


def _adds_a_route(name: str) -> bool:
    return name in _ADDS_ROUTES or name.rpartition(".")[2] in _ADDS_ROUTES


def test_config_stays_in_the_program() -> None:
    for module in modules():
        if package_of(module) != "glassgate":
            assert "glassgate.config" not in imports(module), f"{module}: packages below take plain arguments"


def test_files_hold_one_idea() -> None:
    for path in python_files(*PACKAGES, "tests"):
        name = str(path.relative_to(ROOT))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if name in LONG:
            assert lines > MAX_LINES, f"{name} has shrunk to {lines} lines: take it off the list"
        else:
            assert lines <= MAX_LINES, f"{name} has {lines} lines: does one idea live here?"


def test_packages_hold_a_docstring_and_no_names() -> None:
    for module, path in modules().items():
        if path.name == "__init__.py":
            assert ast.get_docstring(tree(path)), f"{module} does not say what it is"


def test_every_file_says_what_it_is() -> None:
    for module, path in modules().items():
        assert ast.get_docstring(tree(path)), f"{module} has no first line that says what lives there"


def test_every_reason_has_a_text() -> None:
    assert set(TEXT) == set(Reason)
    for reason, text in TEXT.items():
        assert text.endswith((".", "?")), reason
        assert str(reason) == reason.name.lower(), "a code is its name in lower case, so that both can be searched for"


def test_nothing_is_left_unfinished() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    me = "tests/test_architecture.py"
    for path in python_files(*PACKAGES, "tests", "docs", "bench"):
        if str(path.relative_to(ROOT)) != me:
            found = marks.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_the_tree_names_no_machine() -> None:
    """A path of one machine or a package index's host in the tree would be wrong on every other machine."""
    here = re.escape(str(ROOT)).encode() if len(ROOT.parts) > 2 else rb"\Z."  # `/app` may well stand in a recipe
    somebody = re.compile(
        here + rb"[/\s\"']"
        rb"|/(home|Users)/[a-z][a-z0-9_-]+/|--(extra-)?index-url|files\.pythonhosted\.org|registry\s*=\s*.?http"
    )
    me = ROOT / "tests" / "test_architecture.py"
    for path in committed_files():
        if path != me and path.stat().st_size < 1_000_000:
            found = somebody.search(path.read_bytes())
            assert not found, f"{path.relative_to(ROOT)} names {found and found.group().decode()!r}"
