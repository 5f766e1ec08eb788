"""Text that people typed stays text; durations are said and read without rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.notify.slack import words


def test_mentions_links_and_broadcasts_are_disarmed() -> None:
    assert words.escaped("<!channel> <@U0OLGA> <https://evil.example|Approve> & co") == (
        "&lt;!channel&gt; &lt;@U0OLGA&gt; &lt;https://evil.example|Approve&gt; &amp; co"
    )


def test_what_reorders_or_hides_is_shown() -> None:
    assert words.plain("read \u202eetirw\u202c a\u200bb\x07") == "read \\u202eetirw\\u202c a\\u200bb\\u0007"
    assert words.plain("line\nnext\ttab") == "line\nnext\ttab"


@given(st.text())
def test_escaped_text_has_no_control_sequence(text: str) -> None:
    assert "<" not in words.escaped(text)
    assert ">" not in words.escaped(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (900, "15 min"), (3600, "1 h"), (5400, "1 h 30 min"), (3661, "1 h 1 min 1 s")],
)
def test_durations_said(seconds: int, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1h", 3600), ("30m", 1800), ("90min", 5400), ("1h30m", 5400), ("2H", 7200), ("0h", None), ("h", None)),
        *(("", None), ("1d", None), ("-1h", None), ("1h ", 3600), ("9999h", None), ("1 h", None), ("INC-42", None)),
    ],
)
def test_durations_read(text: str, seconds: int | None) -> None:
    assert words.duration_s(text) == seconds


def test_lists() -> None:
    assert [words.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
