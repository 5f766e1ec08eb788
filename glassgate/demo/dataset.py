"""The trial's customers: a small shop's data about people who do not exist.

The same rows on every machine, from a counter and SHA-256 alone. Names are put together from invented words,
addresses end in `.example` (RFC 2606), telephone numbers in a block that nobody is given.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

__all__ = ["DDL", "TABLES", "Dataset", "Row", "Table", "generate"]

Row = tuple[object, ...]
_T = TypeVar("_T")

CUSTOMERS: Final = 600
ORDERS: Final = 2_000
NOTES: Final = 900
LOST_ORDER: Final = 1881
"""The order that the guided story is about: paid, and never sent."""

_EPOCH: Final = datetime(2026, 1, 5, 7, 0, tzinfo=UTC)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GIVEN: Final = _words(
    "Ambrel Bixane Corvel Dorsine Elquin Fennovar Gilmira Hesperin Iolande Jorvik Kessaly Lumiro Mirabex Nolwyn "
    "Ombrine Perrix Quillon Rosamel Sevrin Tavira Ulmond Vexanne Wendelor Xymera Yoltan Zefira"
)
_FAMILY: Final = _words(
    "Appelbogen Brambleton Cinderfell Dunkelmoor Ebbersee Fernhollow Gravelwood Hinterglas Inkwater Jadebrook "
    "Kieselstein Lanternfold Mossgrove Nebelhorn Oatmarsh Pebblecote Quarzberg Rookmere Silberdorn Tannenfels "
    "Umberley Veilchenau Wickerstone Yarrowdale Zimtwald"
)
_TOWN: Final = _words("Nebelwil Tannbrugg Glaswangen Silbersee Mooshalden Kieselingen Fernau Lampertsegg")
_STREET: Final = _words("Laternengasse Uhrmacherweg Am-Glasmarkt Pilzsteig Brunnenhof Zimtstrasse Eulenrain")
_ARTICLE: Final = (
    ("brass lantern", 4_900), ("moth-proof cloak", 12_900), ("pocket barometer", 7_450), ("tin of star tea", 1_280),
    ("folding telescope", 18_900), ("glass paperweight", 2_350), ("map of an invented island", 3_600),
    ("weatherproof notebook", 1_590), ("clockwork beetle", 5_200), ("set of six quills", 990),
)  # fmt: skip
_STATE: Final = ("delivered", "delivered", "delivered", "sent", "packed", "returned")
_NOTE: Final = (
    "Asked when the {article} will arrive. Told: two days.",
    "The {article} came with a scratch. Replacement promised.",
    "Wants the invoice for order {order} sent again.",
    "Moved house. New address noted on order {order}.",
    "Thanked us for the {article}. No action.",
    "Could not log in. Reset link sent to the address on file.",
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table's name and columns, in an order in which foreign keys can be filled."""

    name: str
    columns: tuple[str, ...]


TABLES: Final = (
    Table("customers", ("id", "name", "email", "phone", "street", "town", "born", "since")),
    Table("orders", ("id", "customer_id", "ordered_at", "state", "total_cents")),
    Table("order_items", ("id", "order_id", "article", "quantity", "price_cents")),
    Table("support_notes", ("id", "customer_id", "written_at", "author", "note")),
)

# Read by PostgreSQL and by SQLite alike, so that both stores hold the same thing.
DDL: Final = """
CREATE TABLE customers (
  id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, phone text NOT NULL, street text NOT NULL,
  town text NOT NULL, born date NOT NULL, since date NOT NULL);
CREATE TABLE orders (
  id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers (id), ordered_at timestamp NOT NULL,
  state text NOT NULL, total_cents integer NOT NULL);
CREATE TABLE order_items (
  id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES orders (id), article text NOT NULL,
  quantity integer NOT NULL, price_cents integer NOT NULL);
CREATE TABLE support_notes (
  id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers (id), written_at timestamp NOT NULL,
  author text NOT NULL, note text NOT NULL);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE INDEX order_items_by_order ON order_items (order_id);
CREATE INDEX support_notes_by_customer ON support_notes (customer_id);
"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of every table, by table name. Times are naive UTC datetimes, days are dates, money is cents."""

    rows: dict[str, tuple[Row, ...]]

    def total(self) -> int:
        return sum(len(rows) for rows in self.rows.values())


class _Dice:
    """Numbers that fall the same way everywhere: SHA-256 over a label and a counter."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._count = 0

    def roll(self, sides: int) -> int:
        self._count += 1
        digest = hashlib.sha256(f"{self._label}/{self._count}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % sides

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[self.roll(len(choices))]


def generate() -> Dataset:
    """The whole data set, always the same: about eight thousand rows."""
    customers = _customers()
    orders, items = _orders()
    notes = _notes(orders)
    return Dataset({"customers": customers, "orders": orders, "order_items": items, "support_notes": notes})


def _customers() -> tuple[Row, ...]:
    dice = _Dice("customers")
    rows: list[Row] = []
    for number in range(1, CUSTOMERS + 1):
        given, family = dice.pick(_GIVEN), dice.pick(_FAMILY)
        born = (datetime(1948, 1, 1, tzinfo=UTC) + timedelta(days=dice.roll(21_000))).date()
        since = (_EPOCH - timedelta(days=dice.roll(3_000))).date()
        rows.append((
            number, f"{given} {family}", f"{given}.{family}.{number}@post.example".lower(), f"+00 555 01 {number:04d}",
            f"{dice.pick(_STREET)} {dice.roll(88) + 1}", dice.pick(_TOWN), born, since,
        ))  # fmt: skip
    return tuple(rows)


def _orders() -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    dice = _Dice("orders")
    orders: list[Row] = []
    items: list[Row] = []
    for number in range(1, ORDERS + 1):
        ordered_at = (_EPOCH + timedelta(minutes=number * 197 + dice.roll(180))).replace(tzinfo=None)
        state = "paid" if number == LOST_ORDER else dice.pick(_STATE)
        customer = dice.roll(CUSTOMERS) + 1
        total = 0
        for _ in range(dice.roll(4) + 1):
            article, price = dice.pick(_ARTICLE)
            quantity = dice.roll(3) + 1
            items.append((len(items) + 1, number, article, quantity, price))
            total += quantity * price
        orders.append((number, customer, ordered_at, state, total))
    return tuple(orders), tuple(items)


def _notes(orders: Sequence[Row]) -> tuple[Row, ...]:
    dice = _Dice("notes")
    rows: list[Row] = []
    for number in range(1, NOTES + 1):
        order, customer, ordered_at, *_ = dice.pick(orders)
        assert isinstance(ordered_at, datetime)
        written_at = ordered_at + timedelta(minutes=dice.roll(9_000))
        text = dice.pick(_NOTE).format(article=dice.pick(_ARTICLE)[0], order=order)
        rows.append((number, customer, written_at, dice.pick(("desk-1", "desk-2", "night-desk")), text))
    return tuple(rows)
