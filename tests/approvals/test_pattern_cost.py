"""A ticket pattern that passed cannot stop the gate, whatever the ticket."""

import re
import time

import pytest

from approvals.pattern_cost import LONGEST, TOO_DEAR, ways


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "^INC-[0-9]+$",
        "INC-[0-9]+|CHG-[0-9]{4,8}|REQ[0-9]*",
        "[A-Z][A-Z0-9]{1,9}-[0-9]+",
        r"(?:INC|CHG|PRB)-\d{1,7}(-[a-z]{1,3})?",
        r"\(\+\)[)(*+?]{3}",
        "(?i)inc-[0-9]+",
        r"[]\]a-]+x",
        "a{,3}b{2}c{1,}",
        "INC-{[0-9]+}",
    ],
)
def test_what_people_write_passes(pattern: str) -> None:
    re.compile(pattern)
    assert ways(pattern) < TOO_DEAR


@pytest.mark.parametrize(
    "pattern",
    [
        "([A-Z]+-?)+[0-9]+",
        "(a+)+",
        "(a*)*b",
        "(a|a)*b",
        "(?:a|aa)+b",
        "((ab)*)*c",
        "(a?){30}",
        "a?" * 30 + "a{30}",
        "(a|a)" * 30 + "b",
        ".*" * 12 + "x",
        "([a-z]+)*?x",
        r"(\w+\s?){1,}x",
        "((a{1,9}){1,9}){1,9}x",
    ],
)
def test_what_could_search_for_ever_does_not(pattern: str) -> None:
    re.compile(pattern)
    assert ways(pattern) == TOO_DEAR


@pytest.mark.parametrize("pattern", ["[a-z]*[a-z]*[a-z]*x", "(?:a|a)(?:a|a){12}b", "(a?){12}b", ".{0,63}.{0,63}.+x"])
def test_the_dearest_that_pass_are_quick_enough(pattern: str) -> None:
    assert ways(pattern) < TOO_DEAR
    started = time.perf_counter()
    assert re.fullmatch(pattern, "a" * LONGEST) is None
    assert time.perf_counter() - started < 2.0
