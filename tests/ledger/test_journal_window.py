"""How much may stand on one disk only."""

from ledger.journal_window import Window


def test_the_bounds_of_the_promise() -> None:
    window = Window()
    assert (window.max_age_s, window.max_entries) == (2.0, 10_000)


def test_age_of_the_oldest() -> None:
    window = Window(max_age_s=2.0, patience_s=1.0)
    window.written(1, 100, 10.0)
    window.written(1, 100, 11.0)
    assert window.ask(1, 1, 11.99) == "room"
    assert window.ask(1, 1, 12.0) == "wait"
    window.shipped(1, 12.5)
    assert window.ask(1, 1, 12.9) == "room"
    assert window.ask(1, 1, 13.0) == "wait"
    window.shipped(1, 13.0)
    assert window.ask(1, 1, 99.0) == "room"
    assert (window.entries, window.size_bytes) == (0, 0)


def test_entries_and_bytes() -> None:
    window = Window(max_entries=10, max_bytes=100)
    assert window.ask(11, 101, 0.0) == "room", "one alone always has room"
    window.written(6, 50, 0.0)
    assert window.ask(4, 50, 0.0) == "room"
    assert window.ask(5, 1, 0.0) == "wait"
    assert window.ask(1, 51, 0.0) == "wait"


def test_patience_ends_and_begins_again_with_room() -> None:
    window = Window(max_entries=1, patience_s=2.0, max_age_s=100.0)
    window.written(1, 1, 0.0)
    assert window.ask(1, 1, 1.0) == "wait"
    assert window.ask(1, 1, 2.9) == "wait"
    assert window.ask(1, 1, 3.0) == "refuse"
    assert window.ask(1, 1, 50.0) == "refuse", "while it stays full, nobody waits again"
    window.shipped(1, 51.0)
    window.written(1, 1, 51.0)
    assert window.ask(1, 1, 52.0) == "wait", "it was free in between"


def test_a_limping_database_does_not_make_appends_wait_for_ever() -> None:
    window = Window(max_age_s=2.0, patience_s=2.0)
    for _ in range(10):
        window.written(1, 1, 0.0)
    assert window.ask(1, 1, 2.0) == "wait"
    window.shipped(1, 3.0)
    assert window.ask(1, 1, 4.0) == "refuse"
