"""Where a key stands in a TOML text."""

from hypothesis import given
from hypothesis import strategies as st

from approvals.toml_lines import Lines

TEXT = """\
version = 1
a.b = 2
[people.ada]
name = "x" # = not a key
[stores."crm-api"]   # a comment
'quoted' = 1
[[rules]]
name = "first"
[[rules]]
  name = "second"
approvals = [
  { from = "x" },
]
"""


def test_lines() -> None:
    lines = Lines(TEXT)
    assert [
        lines.of(path)
        for path in (
            ("version",),
            ("a", "b"),
            ("people", "ada", "name"),
            ("stores", "crm-api", "quoted"),
            ("rules", "0", "name"),
            ("rules", "1", "name"),
            ("rules", "1", "approvals", "0", "from"),
        )
    ] == [1, 2, 4, 6, 8, 10, 11]
    assert lines.of(("people", "ada", "missing")) == 3
    assert lines.of(("nothing",)) == 1
    assert lines.of(()) == 1


@given(st.text(max_size=200))
def test_any_text_has_lines(text: str) -> None:
    assert Lines(text).of(("a", "b")) >= 1
