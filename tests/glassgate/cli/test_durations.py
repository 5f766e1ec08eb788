"""Durations as people type them."""

import pytest

from glassgate.cli.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("1h0m1s", 3601), ("90m", 5400)]
)
def test_read(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1", "1d", "h", "-1h", "1.5h", "1h 30m", "30m1h", "0s", "0h0m", "1H", "٣h", "1h\n", "99999999h"]
)
def test_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)
