"""What people read: nothing that others wrote may command the terminal or reorder a line."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgate.cli.output import ago, fields, grouped, span, table, visible, when


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Zoë 東京 🔑", "Zoë 東京 🔑"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\tb\r\nc", r"a\tb\r\nc"),
        ("approve \u202eyned\u202c", r"approve \u202eyned\u202c"),
        ("\u2066isolate\u2069", r"\u2066isolate\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("half \ud800 pair", r"half \ud800 pair"),
        ("\x7f\x00", r"\x7f\x00"),
        # An escape that somebody typed must not look like one that was made here.
        (r"\x1b", r"\\x1b"),
    ],
)
def test_every_character_shows_itself(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_let_line_feeds_through_and_nothing_else() -> None:
    assert visible("a\nb\r\x1b", lines=True) == "a\nb\\r\\x1b"


@given(st.text(st.characters()))
def test_no_text_gets_a_control_character_through(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for letter in shown)


@given(st.text(), st.text())
def test_two_texts_never_look_the_same(one: str, other: str) -> None:
    assert (visible(one) == visible(other)) == (one == other)


def test_a_table_is_aligned_by_what_the_terminal_shows() -> None:
    shown = table(["WHO", "WHY"], [["東京", "x"], ["ada", "\x1b[1m"], ["e\u0301", "y"]])
    assert shown == "WHO   WHY\n東京  x\nada   \\x1b[1m\ne\u0301     y"


def test_a_cell_cannot_forge_a_row() -> None:
    assert len(table(["A"], [["one\ntwo"]]).splitlines()) == 2


def test_plain_output_has_no_escape_sequences() -> None:
    assert "\x1b" not in table(["A"], [["b"]])
    assert table(["A"], [["b"]], styled=True).startswith("\x1b[1mA\x1b[0m")


def test_fields_leave_out_what_is_empty() -> None:
    assert fields({"state": "pending", "ticket": "", "grant": None, "id": "x"}) == "state  pending\nid     x"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45, "45s"), (1800, "30m"), (3600, "1h"), (5400, "1h30m"), (3661, "1h1m1s")]
)
def test_spans_read_as_they_are_typed(seconds: int, text: str) -> None:
    assert span(seconds) == text


def test_times() -> None:
    now = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
    assert when("2026-01-02T04:00:00.123456+01:00") == "2026-01-02 03:00:00Z"
    assert when("yesterday") == "yesterday"
    assert ago("2026-01-02T03:42:30Z", now) == "in 42m"
    assert ago("2026-01-02T02:59:30Z", now) == "30s ago"
    assert ago("soon", now) == ""
    assert ago("2026-01-02T03:42:30", now) == "", "a time without a zone names no instant"


def test_a_digest_is_shown_in_groups() -> None:
    assert grouped("0123456789abcdef" * 4) == "0123 4567 89ab cdef"
