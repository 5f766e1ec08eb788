"""The tables of the lifecycle: one in code, one in the database, one truth; and what the database refuses by itself."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from approvals.lifecycle import GRANT, REQUEST, TransitionRefused, grant_step, request_step
from tests.approvals.world import World

EVENTS = ("approve", "deny", "cancel", "expire", "activate", "revoke", "end", "revive", "")


async def test_the_database_has_the_same_table(world: World) -> None:
    rows = await world.owner.fetch("SELECT machine, from_state, event, to_state FROM approvals.transition")
    in_code = {("request", state, event, to) for (state, event), to in REQUEST.items()}
    in_code |= {("grant", state, event, to) for (state, event), to in GRANT.items()}
    assert {tuple(row) for row in rows} == in_code


async def _in_one_transaction(world: World, *statements: str) -> None:
    async with world.owner.transaction():
        for statement in statements:
            await world.owner.execute(statement)


_CHANGE = (
    "INSERT INTO approvals.grant_change (access_grant, step, from_state, event, to_state, at, by_person, via, comment)"
)
_MOVE = "UPDATE approvals.access_grant SET version = version + 1, step = {step}, state = '{state}' WHERE id = '{grant}'"


_SET = "UPDATE approvals.access_grant SET version = version + 1, "


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        # a state without a change that made it
        (_SET + "step = step + 1, state = 'ended'", "is_its_last_change"),
        # a write that does not count, a step without a change of state, a change of state without a step, a way back
        ("UPDATE approvals.access_grant SET sync_version = 9", "only forward"),
        (_SET + "step = step + 1", "only forward"),
        (_SET + "state = 'ended'", "only forward"),
        (_SET + "state = 'issued', step = 0", "only forward"),
        ("UPDATE approvals.request SET version = version + 1, state = 'pending', step = 0", "only forward"),
        # a change that the table does not have
        (_CHANGE + " VALUES ('{grant}', 2, 'active', 'revive', 'issued', now(), '', 'cli', '')", "is_in_the_table"),
        (_CHANGE + " VALUES ('{grant}', 2, 'active', 'end', 'revoked', now(), '', 'cli', '')", "is_in_the_table"),
        # a change that starts where the one before did not end
        (_CHANGE + " VALUES ('{grant}', 2, 'issued', 'end', 'ended', now(), '', 'cli', '')", "follows_the_one_before"),
        (_CHANGE + " VALUES ('{grant}', 3, 'active', 'end', 'ended', now(), '', 'cli', '')", "follows_the_one_before"),
        # a window that began is the window
        (_SET + "ends_at = ends_at - interval '1 s'", "settled once"),
        (_SET + "starts_at = issued_at, ends_at = issued_at + interval '1 s'", "settled once"),
        (_SET + "duration_s = 86401", "a_day_at_most"),
        (_SET + "approvers = '{{ada}}'", "not_its_subject"),
        (_SET + "approvers = '{{}}'", "not_its_subject"),
        (_SET + "subject = 'ben'", "is_the_requesters"),
        (_SET + "actions = '{{}}'", "covers_something"),
        ("UPDATE approvals.review SET reviewer = 'ada'", "never_by_the_requester"),
        ("UPDATE approvals.review SET requester = 'ben'", "is_of_that_request"),
        (
            "UPDATE approvals.request SET version = version + 1, expires_at = expires_at + interval '1 s'",
            "within_12_hours",
        ),
        ("UPDATE approvals.policy_version SET document = '{{}}'", "has_its_digest"),
    ],
)
async def test_what_the_database_refuses_even_its_owner(world: World, statement: str, constraint: str) -> None:
    grant = await world.active()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=constraint):
        await _in_one_transaction(world, statement.format(grant=grant.id))


@pytest.mark.parametrize(
    ("window", "constraint"),
    [
        ("starts_at = issued_at, ends_at = issued_at + interval '3601 s'", "as_granted"),
        ("starts_at = issued_at - interval '1 s', ends_at = issued_at + interval '1 s'", "as_granted"),
        ("starts_at = use_by, ends_at = use_by + interval '1 s'", "as_granted"),
        ("starts_at = issued_at", "window_is_whole"),
    ],
)
async def test_a_window_that_the_decision_does_not_allow_is_refused(world: World, window: str, constraint: str) -> None:
    await world.granted()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=constraint):
        await _in_one_transaction(world, _SET + window)


async def test_a_change_needs_no_trust_in_the_service(world: World) -> None:
    """An ended grant cannot be made active again, whatever is inserted beside it."""
    grant = await world.active()
    await world.service.end("ada", grant.id, "cli")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await _in_one_transaction(
            world,
            f"{_CHANGE} VALUES ('{grant.id}', 3, 'ended', 'activate', 'active', now(), '', 'cli', '')",
            _MOVE.format(step=3, state="active", grant=grant.id),
        )


class Naive:
    """The lifecycle as a person would say it, without a table."""

    def __init__(self) -> None:
        self.request = "pending"
        self.grant = ""

    def happen(self, event: str) -> bool:
        """Whether the event happens."""
        if self.request == "pending":
            if event in ("approve", "deny", "cancel", "expire"):
                self.request = {"approve": "approved", "deny": "denied", "cancel": "cancelled", "expire": "expired"}[
                    event
                ]
                if event == "approve":
                    self.grant = "issued"
                return True
            return False
        over = {"expire": "expired", "revoke": "revoked", "end": "ended"}
        if self.grant == "issued" and event == "activate":
            self.grant = "active"
            return True
        if self.grant in ("issued", "active") and event in over:
            self.grant = over[event]
            return True
        return False


class Tables(RuleBasedStateMachine):
    """The tables against the naive machine: the same events happen, the same states come out, over is over."""

    def __init__(self) -> None:
        super().__init__()
        self.naive = Naive()
        self.request: Any = "pending"
        self.grant: Any = ""
        self.over = ""

    @rule(event=st.sampled_from(EVENTS))
    def event(self, event: str) -> None:
        step: Callable[[Any, str], str] = request_step if self.request == "pending" else grant_step
        before = self.request if self.request == "pending" else self.grant
        try:
            after = step(before, event)
        except TransitionRefused:
            assert not self.naive.happen(event)
            return
        assert self.naive.happen(event)
        if before == "pending":
            self.request = after
            self.grant = "issued" if after == "approved" else ""
        else:
            self.grant = after
        if after in ("denied", "cancelled", "expired", "ended", "revoked"):
            assert not self.over
            self.over = after

    @invariant()
    def agree(self) -> None:
        assert (self.request, self.grant) == (self.naive.request, self.naive.grant)
        assert not self.over or self.over in (self.request, self.grant)


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=200, stateful_step_count=12, deadline=None)
