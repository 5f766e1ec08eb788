"""Skips are seen, and where everything must run they are failures.

`@pytest.mark.needs("curl")` skips where that program is not on PATH (or, for `needs("psql")`, where no wheel brings
one either). With GLASSGATE_REQUIRE=all, as in CI, every skip, whatever its cause, fails its test.
"""

import os
import shutil
from collections.abc import Generator
from typing import Any

import pytest

REQUIRE_ALL = "GLASSGATE_REQUIRE"


def everything_required() -> bool:
    return os.environ.get(REQUIRE_ALL, "") == "all"


def missing(tools: tuple[str, ...]) -> list[str]:
    """Those that are not on PATH."""
    return [tool for tool in tools if shutil.which(tool) is None]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        lacking = missing(mark.args)
        if lacking:
            pytest.skip(f"{' and '.join(lacking)} not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _strict((yield))


def _strict(report: Any) -> Any:
    if everything_required() and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_ALL}=all, so a skip is a failure. {where}"
    return report
