"""The tour's voice: wrapped, numbered, and plain where nobody looks at colours."""

import io

from glassgate.demo.narrator import WIDTH, Narrator
from glassgate.demo.tour import shell_line


def test_paragraphs_are_wrapped_and_steps_numbered() -> None:
    out = io.StringIO()
    tell = Narrator(out)
    tell.step("One")
    tell.say("word " * 60)
    tell.step("Two")
    lines = out.getvalue().splitlines()
    assert "1  One" in lines and "2  Two" in lines
    assert max(map(len, lines)) <= WIDTH
    assert "\x1b" not in out.getvalue()


def test_long_output_is_cut_and_says_so() -> None:
    out = io.StringIO()
    Narrator(out).shown("\n".join(map(str, range(100))), lines=5)
    assert out.getvalue().splitlines()[-1].strip() == "… (96 more lines)"


def test_a_terminal_without_boxes_gets_question_marks() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Narrator(out).boxed("Slack", "Zürich")
    out.flush()
    assert b"Z?rich" in raw.getvalue()


def test_lines_are_as_one_would_type_them() -> None:
    words = ("glassgate", "connect", "customers-db", "--", "psql", "-c", "SELECT 'a'")
    assert shell_line(*words) == "glassgate connect customers-db -- psql -c \"SELECT 'a'\""
