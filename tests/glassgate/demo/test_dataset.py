"""The trial's people: always the same, obviously invented, and whole."""

import hashlib
from datetime import date

from glassgate.demo.dataset import LOST_ORDER, TABLES, generate


def test_the_same_rows_everywhere() -> None:
    digest = hashlib.sha256(repr(generate().rows).encode()).hexdigest()
    assert generate() == generate()
    assert digest == "d2d1b79870278ce57293df80de9f78c958b7ac7a62c838a9d49c28c80af88a16", (
        "the data set changed: the tour and the README quote rows of it"
    )


def test_a_few_thousand_rows_and_no_real_person() -> None:
    data = generate()
    assert 5_000 < data.total() < 20_000
    for _, name, email, phone, *_ in data.rows["customers"]:
        assert str(email).endswith(".example")
        assert str(phone).startswith("+00 555 01 ")
        assert len(str(name).split()) == 2


def test_rows_fit_their_tables_and_each_other() -> None:
    data = generate()
    for table in TABLES:
        rows = data.rows[table.name]
        assert all(len(row) == len(table.columns) for row in rows)
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    customers, orders = len(data.rows["customers"]), len(data.rows["orders"])
    assert all(1 <= int(str(row[1])) <= customers for row in data.rows["orders"] + data.rows["support_notes"])
    assert all(1 <= int(str(row[1])) <= orders for row in data.rows["order_items"])
    for *_, born, since in data.rows["customers"]:
        assert isinstance(born, date) and isinstance(since, date)
        assert born < since


def test_totals_add_up() -> None:
    data = generate()
    sums: dict[object, int] = {}
    for _, order, _, quantity, price in data.rows["order_items"]:
        sums[order] = sums.get(order, 0) + int(str(quantity)) * int(str(price))
    assert all(row[4] == sums[row[0]] for row in data.rows["orders"])


def test_the_order_of_the_story_is_paid_and_not_sent() -> None:
    order = generate().rows["orders"][LOST_ORDER - 1]
    assert order[0] == LOST_ORDER
    assert order[3] == "paid"
