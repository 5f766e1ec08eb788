"""Text of people: what passes can be shown to anybody."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.errors import Fault
from approvals.plain_text import check_line, check_text, quoted


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  order 1881\r\nis missing \n", "order 1881\nis missing"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u0928\u094d\u200d\u0930", "\u0928\u094d\u200d\u0930"),  # a joiner inside a word
        ("<!channel> *bold* `x`", "<!channel> *bold* `x`"),  # channels escape what is special to them
    ],
)
def test_what_passes(text: str, clean: str) -> None:
    faults: list[Fault] = []
    assert check_text("purpose", text, 100, faults) == clean
    assert faults == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200bb", "U+200B"),
        ("a\u200fb", "U+200F"),
        ("a\x1b[31mb", "U+001B"),
        ("a\x00b", "U+0000"),
        ("a\rb", "U+000D"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\ud800b", "U+D800"),
        ("a\ue000b", "U+E000"),
        ("a\U000e0041b", "U+E0041"),
        ("a" * 101, "at most 100"),
        ("a" * 10**6, "at most 100"),
        (None, "expected text"),
        (7, "expected text"),
    ],
)
def test_what_does_not(text: object, says: str) -> None:
    faults: list[Fault] = []
    assert check_text("purpose", text, 100, faults) == ""
    assert [says in fault.text for fault in faults] == [True]


def test_empty_is_a_fault_only_where_something_is_needed() -> None:
    faults: list[Fault] = []
    assert check_text("comment", " \n ", 100, faults) == ""
    assert faults == []
    check_text("purpose", " \n ", 100, faults, required=True)
    assert faults == [Fault("purpose", "must not be empty")]


@pytest.mark.parametrize("text", ["", " a", "a ", "a\nb", "a\tb", "e\u0301", "\u00a0a", None, "x" * 9])
def test_a_line_is_taken_as_it_is_or_not_at_all(text: object) -> None:
    faults: list[Fault] = []
    assert check_line("ticket", text, 8, faults) == ""
    assert len(faults) == 1


@given(st.text(max_size=80))
def test_what_comes_out_is_clean_and_stays_so(text: str) -> None:
    faults: list[Fault] = []
    clean = check_text("purpose", text, 40, faults)
    assert len(clean) <= 40
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Co", "Cn") for letter in clean if letter not in "\n\t")
    again: list[Fault] = []
    assert check_text("purpose", clean, 40, again) == clean
    assert again == []


@given(st.text())
def test_quoted_text_can_stand_anywhere(text: str) -> None:
    shown = quoted(text)
    assert shown.isascii()
    assert shown.isprintable()
