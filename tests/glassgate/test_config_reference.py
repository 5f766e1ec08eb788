"""docs/configuration.md is what the code says, and complete."""

import msgspec

from approvals.store_definition import StoreDefinition
from glassgate.config_reference import STORE, configuration_page
from glassgate.settings import SECTIONS, settings_of
from tests.support.source_tree import ROOT


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(), "run: python -m glassgate.config_reference docs/configuration.md"


def test_every_setting_says_who_may_change_it():
    page = configuration_page()
    for section in SECTIONS.values():
        for setting in settings_of(section):
            (row,) = {
                line for line in page.splitlines() if line.startswith(f"| `{setting.name}` | {setting.meaning[:30]}")
            }
            assert row.endswith(f"| {setting.scope} |"), row
    for field in msgspec.structs.fields(StoreDefinition):
        assert any(
            line.startswith(f"| `{field.name}` | {STORE[field.name][:20]}") and line.endswith("| policy |")
            for line in page.splitlines()
        ), field.name


def test_nothing_is_explained_that_does_not_exist():
    assert set(STORE) == {field.name for field in msgspec.structs.fields(StoreDefinition)}
