"""Finding entries: a table filled behind the sequencer, and the queries that people's tools ask.

The table proves nothing and may be dropped and refilled at any time; what is found is read from the log itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from ledger.stub import StubRefused, parse_stub

__all__ = ["Found", "Indexer", "Search", "entry_by_id", "entry_by_index", "search", "tail"]

STEP: Final = 1000
PAUSE_S: Final = 0.25
RETRY_S: Final = 1.0
MAX_FOUND: Final = 1000

_NEXT: Final = """
SELECT e.idx, e.leaf, b.facts FROM ledger.entry AS e LEFT JOIN ledger.body AS b USING (idx)
WHERE e.idx > (SELECT coalesce(max(idx), -1) FROM ledger.lookup) ORDER BY e.idx LIMIT $1
"""
_COLUMNS: Final = ("idx", "id", "kind", "at", "writer", "request", "grant", "store", "person", "session", "decision")
_GRANT, _DECISION = _COLUMNS.index("grant"), _COLUMNS.index("decision")
_ISSUED: Final = "grant.issued"
_OF_DECISIONS: Final = 'SELECT decision, "grant" FROM ledger.lookup WHERE decision = ANY($1::bytea[])'
_READ: Final = """
SELECT e.idx, e.leaf, b.facts, b.content, b.form FROM ledger.entry AS e LEFT JOIN ledger.body AS b USING (idx)
"""

_log = structlog.get_logger(__name__)


class _Names(msgspec.Struct, frozen=True):
    """Whatever facts may call the things that people search by; every other field is passed over."""

    request: Any = None
    grant: Any = None
    store: Any = None
    session: Any = None
    subject: Any = None
    person: Any = None
    requester: Any = None
    reviewer: Any = None
    by: Any = None


class Indexer:
    """Fills the lookup table, some steps a second, on a connection of its own with the sequencer's rights."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connect = connect
        self._pause = pause

    async def run(self) -> None:
        """Until cancelled. A failure costs a pause: searching lags, nothing else."""
        while True:
            connection = None
            try:
                connection = await self._connect()
                while True:
                    indexed = await index_step(connection)
                    await self._pause(PAUSE_S if indexed < STEP else PAUSE_S / 5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
                _log.warning("lookup.lagging", cause=type(cause).__name__)
            finally:
                if connection is not None:
                    connection.terminate()
            await self._pause(RETRY_S)


async def index_step(connection: Any, limit: int = STEP) -> int:
    """Index the next entries; returns how many. Two at once collide on the key and one of them fails."""
    rows = await connection.fetch(_NEXT, limit)
    if rows:
        records = [_record(row) for row in rows]
        await _name_grants(connection, records)
        await connection.copy_records_to_table("lookup", schema_name="ledger", columns=_COLUMNS, records=records)
    return len(rows)


async def _name_grants(connection: Any, records: list[list[Any]]) -> None:
    """What names its grant only by the decision's digest (progress, outcomes) is found by the grant's id as well."""
    known = {record[_DECISION]: record[_GRANT] for record in records if record[2] == _ISSUED}
    wanted = {record[_DECISION] for record in records if record[_GRANT] is None} - known.keys() - {None}
    if wanted:
        known |= {row["decision"]: row["grant"] for row in await connection.fetch(_OF_DECISIONS, list(wanted))}
    for record in records:
        if record[_GRANT] is None:
            record[_GRANT] = known.get(record[_DECISION])
        if record[2] != _ISSUED:
            record[_DECISION] = None  # kept once per decision, where it is issued


def _record(row: Any) -> list[Any]:
    try:
        stub = parse_stub(row["leaf"])
        names = msgspec.json.decode(row["facts"] or b"{}", type=_Names)
    except (StubRefused, msgspec.DecodeError, UnicodeDecodeError):
        # Somebody changed the row: searching goes on, verification will name it.
        return [row["idx"], "00000000-0000-0000-0000-000000000000", "", "", "", *[None] * 6]
    person = names.subject or names.person or names.requester or names.reviewer or names.by
    found = (names.request, names.grant, names.store, person, names.session)
    decision = bytes.fromhex(stub.grant) or None
    return [row["idx"], stub.id, stub.kind, stub.time, stub.writer, *map(_text, found), decision]


def _text(value: Any) -> str | None:
    """A searchable name; PostgreSQL's text has no NUL."""
    return value.replace("\0", "")[:255] if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; an empty field is no condition. `kind` ending in a dot means every kind below it."""

    kind: str = ""
    request: str = ""
    grant: str = ""
    store: str = ""
    person: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """One entry for people: its place, its stub, its facts and, where readable, its content. All canonical JSON."""

    index: int
    leaf: bytes
    facts: bytes
    content: bytes | None
    content_form: str  # "", "clear", "sealed" or "erased"


async def search(database: Any, what: Search, *, after: int = -1, limit: int = 100) -> list[Found]:
    """Entries behind index `after`, oldest first, at most `limit` (and 1000)."""
    conditions = ["l.idx > $1"]
    values: list[Any] = [after]
    for column in ("request", "grant", "store", "person", "session"):
        if value := getattr(what, column):
            values.append(value)
            conditions.append(f'l."{column}" = ${len(values)}')
    if what.kind.endswith("."):
        values += [what.kind, what.kind[:-1] + "/"]  # "/" is the character after "."
        conditions.append(f'l.kind COLLATE "C" >= ${len(values) - 1} AND l.kind COLLATE "C" < ${len(values)}')
    elif what.kind:
        values.append(what.kind)
        conditions.append(f"l.kind = ${len(values)}")
    values.append(_bounded(limit))
    # Only names of columns and numbers of parameters are put together here.
    where = " AND ".join(conditions)
    sql = f"{_READ} JOIN ledger.lookup AS l USING (idx) WHERE {where} ORDER BY l.idx LIMIT ${len(values)}"
    return _found(await database.fetch(sql, *values))


async def tail(database: Any, *, after: int | None = None, limit: int = 20) -> list[Found]:
    """The newest entries, or those behind `after`, oldest first. Does not wait for the lookup table."""
    if after is None:
        rows = await database.fetch(f"{_READ} ORDER BY e.idx DESC LIMIT $1", _bounded(limit))
        return _found(rows)[::-1]
    return _found(await database.fetch(f"{_READ} WHERE e.idx > $1 ORDER BY e.idx LIMIT $2", after, _bounded(limit)))


async def entry_by_index(database: Any, index: int) -> Found | None:
    """The entry at `index`."""
    found = _found(await database.fetch(f"{_READ} WHERE e.idx = $1", index))
    return found[0] if found else None


async def entry_by_id(database: Any, entry_id: str) -> Found | None:
    """The first entry with this id, once the lookup table has it. Raises ValueError for what is no UUID."""
    index = await database.fetchval("SELECT min(idx) FROM ledger.lookup WHERE id = $1::text::uuid", _uuid(entry_id))
    return None if index is None else await entry_by_index(database, index)


def _uuid(text: str) -> str:
    return str(UUID(text))


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_FOUND))


def _found(rows: Sequence[Any]) -> list[Found]:
    return [
        Found(
            row["idx"],
            row["leaf"],
            row["facts"] or b"",
            row["content"] if (row["form"] or 0) & 15 == 1 else None,
            ("", "clear", "sealed", "erased")[(row["form"] or 0) & 3],
        )
        for row in rows
    ]
