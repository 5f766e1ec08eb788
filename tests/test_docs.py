"""The documents against the code: generated parts, links, promises, commands, settings, dependencies."""

import re
import tomllib
from pathlib import Path
from typing import Final

import click
import pytest

from approvals.kinds import FACTS
from docs.generate import GENERATED, MEANING
from glassgate.cli.main import COMMANDS, main
from glassgate.settings import CREDENTIAL, SECTIONS, settings_of
from tests.support.source_tree import ROOT

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
PROMISES: Final = ROOT / "docs" / "promises.md"
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND: Final = re.compile(
    r"(?:^\$ |^|`)glassgate ((?:--profile \w+ )?[a-z][a-z -]*?[a-z])(?=[ `\n]|$)", re.MULTILINE
)


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_pages_are_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == GENERATED[name](), f"docs/{name} is not what the code says: run `make docs`"


def test_every_kind_of_entry_is_explained() -> None:
    assert set(MEANING) == {kind for kind, _ in FACTS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and found.suffix == ".md":
            assert anchor in _anchors(found), f"{page.name} links to {target}, and there is no such heading"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_promise_says_what_tries_to_break_it() -> None:
    parts = re.split(r"^## (P\d+) · ", PROMISES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    promises = dict(zip(parts[::2], parts[1::2], strict=True))
    assert list(promises) == [f"P{number}" for number in range(1, 12)]
    for name, text in promises.items():
        assert "\n> " in text, f"{name} has no wording"
        assert "**Today:**" in text, f"{name} does not say how far it holds"
        tried = text.partition("**Tried by:**")[2]
        assert tried, f"{name} does not say what tries to break it"
        for test in re.findall(r"`(tests/[^`]+)`", tried):
            assert (ROOT / test).exists(), f"{name} names {test}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documents_exist(page: Path) -> None:
    for line in _COMMAND.findall(page.read_text(encoding="utf-8")):
        words = re.sub(r"^--profile \w+ ", "", line).split()
        if words[0] in COMMANDS:
            _resolve(words)


def _resolve(words: list[str]) -> None:
    """The words as far as they name commands; an unknown word below a group is a command that does not exist."""
    command: click.Command = main
    with click.Context(main) as context:
        for word in words:
            if not isinstance(command, click.Group):
                return
            found = command.get_command(context, word)
            assert found is not None, f"`glassgate {' '.join(words)}`: there is no {word!r}"
            command = found


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for section, shape in SECTIONS.items():
        assert f"[{section}]" in page, f"docs/configuration.md does not name [{section}]"
        for setting in settings_of(shape):
            assert f"`{setting.name}`" in page, f"docs/configuration.md does not name {section}.{setting.name}"
    for name in CREDENTIAL:
        assert f"`{name}`" in page, f"docs/configuration.md does not name credentials.*.{name}"


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text(encoding="utf-8").lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [
        *project["project"]["dependencies"],
        *(name for extra in project["project"]["optional-dependencies"].values() for name in extra),
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in asked:
        name = re.split(r"[<>=;\[ ]", requirement, maxsplit=1)[0].lower()
        assert re.search(rf"[|,;] {re.escape(name)}[ ,]", page), f"{name} has no line in 0001-dependencies.md"


def test_locks_pin_by_hash_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        pins = re.findall(r"^([a-z0-9][^\s=]*)==.*$", text, re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)
    runtime, development = (_pins(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert runtime.items() <= development.items(), "the development lock must contain the other, version by version"


def _pins(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9][^\s=]*)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def test_decisions_are_listed() -> None:
    directory = ROOT / "docs" / "decisions"
    index = (directory / "README.md").read_text(encoding="utf-8")
    numbers = []
    for page in sorted(directory.glob("[0-9]*.md")):
        assert f"({page.name})" in index, f"{page.name} is not in decisions/README.md"
        numbers.append(page.name[:4])
    assert len(numbers) == len(set(numbers))
