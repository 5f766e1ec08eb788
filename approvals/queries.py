"""Reads shared by API, CLI and channels: whole views, each only for people who may see it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from approvals.assembly import assemble_grants, assemble_requests
from approvals.errors import Refusal
from approvals.identity.subject import Person, find
from approvals.policies import InForce, Policies
from approvals.policy import Policy, overseers_of, rules_for, slot_of
from approvals.reasons import Reason
from approvals.scope import ACTIONS
from approvals.store import GRANT_COLUMNS, REQUEST_COLUMNS
from approvals.story import tell
from approvals.transaction import Pool, database_errors
from approvals.views import GrantView, Page, ReasonView, RequestStory, RequestView, StoreView

__all__ = ["MAX_PAGE", "Queries"]

MAX_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a viewer may see: everything, their own, and what concerns some stores."""

    everything: bool
    person: str
    stores: tuple[str, ...]


class Queries:
    """`viewer` is a person's id: engineers see their own, overseers what concerns stores they oversee, stewards
    everything of their member. None is the program itself (channels, which know whom they show it to). What a
    viewer may not see is not there: REQUEST_UNKNOWN, GRANT_UNKNOWN. PERSON_UNKNOWN for a stranger."""

    def __init__(self, pool: Pool, policies: Policies) -> None:
        self._pool = pool
        self._policies = policies

    async def policy(self) -> InForce | None:
        """The policy in force; None before the first."""
        async with self._reading() as connection:
            return await self._policies.in_force(connection)

    async def request(self, request_id: str, viewer: str | None = None) -> RequestView:
        """One request with its quorum, reviews and grant. REQUEST_UNKNOWN."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
            return (await self._request(connection, policy, request_id, viewer))[0]

    async def requests(
        self,
        viewer: str | None = None,
        *,
        state: str = "",
        store: str = "",
        mine: bool = False,
        limit: int = 50,
        after: str = "",
    ) -> Page[RequestView]:
        """Newest first, at most 200 a page; `after` is what the page before said."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
            sight = _sight(policy, viewer)
            limit = max(1, min(limit, MAX_PAGE))
            rows = await connection.fetch(
                _REQUESTS, sight.everything, sight.person, sight.stores, state, store, mine, after, limit + 1
            )
            views = await assemble_requests(connection, policy, rows[:limit])
            return Page(tuple(views), views[-1].id if len(rows) > limit else "")

    async def request_story(self, request_id: str, viewer: str | None = None) -> RequestStory:
        """One request and everything that happened to it and to its grant, oldest first. REQUEST_UNKNOWN."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
            view, changes = await self._request(connection, policy, request_id, viewer)
            return RequestStory(view, tell(view, changes))

    async def grant(self, grant_id: str, viewer: str | None = None) -> GrantView:
        """One grant with its key and, once it is over, how far that has reached the proxies. GRANT_UNKNOWN."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
            rows = await connection.fetch(_GRANT, grant_id)
            if not rows or not _seen(_sight(policy, viewer), rows[0]["subject"], rows[0]["store"]):
                raise Refusal(Reason.GRANT_UNKNOWN)
            return (await assemble_grants(connection, policy, rows))[0]

    async def grants(
        self,
        viewer: str | None = None,
        *,
        state: str = "",
        store: str = "",
        mine: bool = False,
        limit: int = 50,
        after: str = "",
    ) -> Page[GrantView]:
        """Newest first, at most 200 a page; `after` is what the page before said."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
            sight = _sight(policy, viewer)
            limit = max(1, min(limit, MAX_PAGE))
            rows = await connection.fetch(
                _GRANTS, sight.everything, sight.person, sight.stores, state, store, mine, after, limit + 1
            )
            views = await assemble_grants(connection, policy, rows[:limit])
            return Page(tuple(views), views[-1].id if len(rows) > limit else "")

    async def stores(self, person: str) -> tuple[StoreView, ...]:
        """Every store of the policy, with what its rules let that person ask for. PERSON_UNKNOWN."""
        async with self._reading() as connection:
            policy = await self._policy(connection)
        if find(policy, person) is None:
            raise Refusal(Reason.PERSON_UNKNOWN)
        return tuple(_store(policy, person, name) for name in sorted(policy.stores))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Any]:
        """One snapshot for a whole view: no grant without its approval, no approval without its state."""
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def _policy(self, connection: Any) -> Policy:
        in_force = await self._policies.in_force(connection)
        if in_force is None:
            raise Refusal(Reason.NO_RULE, "No policy has been adopted here yet.")
        return in_force.policy

    async def _request(
        self, connection: Any, policy: Policy, request_id: str, viewer: str | None
    ) -> tuple[RequestView, list[Any]]:
        rows = await connection.fetch(_REQUEST, request_id)
        if not rows or not _seen(_sight(policy, viewer), rows[0]["requester"], rows[0]["store"]):
            raise Refusal(Reason.REQUEST_UNKNOWN)
        changes = await connection.fetch(_CHANGES, request_id)
        return (await assemble_requests(connection, policy, rows))[0], changes


def _sight(policy: Policy, viewer: str | None) -> _Sight:
    if viewer is None:
        return _Sight(True, "", ())
    person: Person | None = find(policy, viewer)
    if person is None:
        raise Refusal(Reason.PERSON_UNKNOWN)
    slot = slot_of(policy, person.id)
    stores = tuple(name for name in policy.stores if slot and slot in overseers_of(policy, name))
    return _Sight("steward" in person.roles, person.id, stores)


def _seen(sight: _Sight, person: str, store: str) -> bool:
    return sight.everything or person == sight.person or store in sight.stores


def _store(policy: Policy, person: str, name: str) -> StoreView:
    definition = policy.stores[name]
    rules = list(rules_for(policy, person, name))
    offered = {action for rule in rules for action in rule.actions} & set(definition.actions)
    codes = {
        code
        for rule in rules
        for code in (policy.reasons if rule.reasons is None else rule.reasons)
        if code in policy.reasons
    }
    return StoreView(
        name=name,
        protocol=definition.protocol,
        data_class=definition.data_class,
        regions=definition.regions,
        actions=definition.actions,
        askable=tuple(action for action in ACTIONS if action in offered),
        reasons=tuple(
            ReasonView(code, policy.reasons[code].text, policy.reasons[code].ticket) for code in sorted(codes)
        ),
        max_duration_s=max((rule.max_duration_s for rule in rules), default=0),
        assurance="signed" if any(rule.assurance == "signed" for rule in rules) else "click",
    )


_REQUEST: Final = f"SELECT {REQUEST_COLUMNS} FROM approvals.request r WHERE r.id = $1"  # noqa: S608
_REQUESTS: Final = f"""
SELECT {REQUEST_COLUMNS} FROM approvals.request r
WHERE ($1 OR r.requester = $2 OR r.store = ANY ($3::text[]))
  AND ($4 = '' OR r.state = $4) AND ($5 = '' OR r.store = $5) AND (NOT $6 OR r.requester = $2)
  AND ($7 = '' OR r.id < $7)
ORDER BY r.id DESC LIMIT $8
"""  # noqa: S608
_GRANT: Final = f"SELECT {GRANT_COLUMNS} FROM approvals.access_grant g WHERE g.id = $1"  # noqa: S608
_GRANTS: Final = f"""
SELECT {GRANT_COLUMNS} FROM approvals.access_grant g
WHERE ($1 OR g.subject = $2 OR g.store = ANY ($3::text[]))
  AND ($4 = '' OR g.state = $4) AND ($5 = '' OR g.store = $5) AND (NOT $6 OR g.subject = $2)
  AND ($7 = '' OR g.id < $7)
ORDER BY g.id DESC LIMIT $8
"""  # noqa: S608
_CHANGES: Final = """
SELECT 'request' AS machine, c.event, c.to_state, c.at, c.by_person, c.via, c.comment, c.step
FROM approvals.request_change c WHERE c.request = $1
UNION ALL
SELECT 'grant', c.event, c.to_state, c.at, c.by_person, c.via, c.comment, c.step
FROM approvals.grant_change c JOIN approvals.access_grant g ON g.id = c.access_grant WHERE g.request = $1
ORDER BY at, step
"""
