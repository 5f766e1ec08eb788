"""What a text of SQL can be made to hide, cost or claim."""

import time

import pytest

from proxy.classify.redact import redact
from proxy.classify.sql import classify

HOSTILE = {
    "spaces": "password" + " " * 200_000,
    "comments to the line's end": "--password\n" * 20_000,
    "comments that never end": "password--" * 20_000,
    "block comments that never end": "password/*" * 20_000,
    "short block comments": "password/**/" * 20_000,
    "connection URLs": "postgres://:" * 20_000,
    "connection strings": "passw '" + "password=" * 20_000 + "'",
    "spaces in a connection string": "passw '" + "password" + " " * 200_000 + "'",
    "quotes": "password'" * 20_000,
    "dollars": "password$" * 20_000,
    "dollar tags": "passw" + "".join(f"$a{n}" for n in range(20_000)),
    "backslashes": "password E'" + "\\" * 200_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_redacting_costs_no_more_than_the_length_of_a_text(text: str) -> None:
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 1.5  # the square of the length would be minutes


def test_explaining_a_cursor_makes_none() -> None:
    for text in ("EXPLAIN DECLARE c CURSOR FOR SELECT 1", "EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT 1"):
        (statement,) = classify(text).statements
        assert statement.effect is None
    (executed,) = classify("EXPLAIN ANALYZE EXECUTE p").statements
    assert executed.effect is not None  # it runs, so it counts as what it runs


@pytest.mark.parametrize(
    "text",
    [
        "SELECT query FROM pg_stat_get_activity(NULL)",
        "SELECT pg_catalog.pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(1)",
    ],
)
def test_what_others_are_running_is_a_resource(text: str) -> None:
    (statement,) = classify(text).statements
    assert "pg_catalog.pg_stat_activity" in statement.resources()


def test_truncating_what_refers_to_a_table_touches_more_than_it_names() -> None:
    (cascading,) = classify("TRUNCATE orders CASCADE").statements
    (plain,) = classify("TRUNCATE orders").statements
    assert "*" in cascading.resources()
    assert plain.resources() == ("public.orders",)


@pytest.mark.parametrize("table", ["pg_settings", "pg_catalog.pg_settings"])
def test_settings_are_not_changed_by_the_back_door(table: str) -> None:
    """With standard_conforming_strings off, a pipelined next text is another text to the store than to the gate."""
    text = f"UPDATE {table} SET setting = 'off' WHERE name = 'standard_conforming_strings'"
    for each in (
        text,
        f"WITH x AS ({text} RETURNING 1) SELECT * FROM x",
        f"PREPARE p AS {text}",
        f"EXPLAIN ANALYZE {text}",
    ):
        (statement,) = classify(each).statements
        assert statement.forbidden
    (other,) = classify("UPDATE mine.pg_settings SET a = 1").statements
    assert not other.forbidden


def test_a_read_only_transaction_is_not_opened_by_a_default() -> None:
    for text in ("RESET transaction_read_only", "SET LOCAL transaction_read_only TO DEFAULT"):
        (statement,) = classify(text).statements
        assert "write" in statement.actions
