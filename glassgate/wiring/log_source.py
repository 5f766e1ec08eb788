"""The log as the API reads it for people (approvals.api.log_reading.LogSource), with the reader's rights."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from ledger.entry import Entry, Part, Stub
from ledger.lookup import Found, Search, entry_by_index, search, tail
from ledger.stub import StubRefused, parse_stub

__all__ = ["DatabaseLog"]

# One condition per filter, switched off by an empty value: the statement is one text, and so one prepared plan.
_NEWEST: Final = """
SELECT min(idx) FROM (
    SELECT idx FROM ledger.lookup
    WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR "grant" = $2) AND ($3 = '' OR request = $3) AND ($4 = '' OR store = $4)
    ORDER BY idx DESC LIMIT $5) AS newest
"""


class DatabaseLog:
    """`pool` connects as glassgate_reader."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def entry(self, idx: int) -> Entry | None:
        found = await entry_by_index(self._pool, idx)
        return None if found is None else _entry(found)

    async def entries(
        self, *, after: int, limit: int, kind: str, grant: str, request: str, store: str
    ) -> Sequence[tuple[int, Entry]]:
        if not (kind or grant or request or store):
            return _pairs(await tail(self._pool, after=after, limit=limit))
        what = Search(kind=kind, grant=grant, request=request, store=store)
        return _pairs(await search(self._pool, what, after=after, limit=limit))

    async def newest(
        self, *, limit: int, kind: str, grant: str, request: str, store: str
    ) -> Sequence[tuple[int, Entry]]:
        if not (kind or grant or request or store):
            return _pairs(await tail(self._pool, limit=limit))
        first = await self._pool.fetchval(_NEWEST, kind, grant, request, store, limit)
        if first is None:
            return []
        what = Search(kind=kind, grant=grant, request=request, store=store)
        return _pairs(await search(self._pool, what, after=first - 1, limit=limit))


def _pairs(found: Sequence[Found]) -> list[tuple[int, Entry]]:
    return [(one.index, _entry(one)) for one in found]


def _entry(found: Found) -> Entry:
    return Entry(found.leaf, _stub(found.leaf), Part(found.facts, b""), _content(found))


def _content(found: Found) -> Part | None:
    form: dict[str, Literal["clear", "sealed", "erased"]] = {"clear": "clear", "sealed": "sealed", "erased": "erased"}
    if found.content_form not in form:
        return None
    return Part(found.content or b"", b"", form[found.content_form])


def _stub(leaf: bytes) -> Stub:
    """A leaf that somebody spoiled is shown as that; verification is what names it."""
    try:
        return parse_stub(leaf)
    except StubRefused:
        return Stub(
            v=1,
            kind="unreadable",
            kv=0,
            id="",
            time="",
            member="",
            writer="",
            counter=-1,
            prev="",
            policy="",
            store_def="",
            release="",
            grant="",
            facts="",
            content="",
        )
