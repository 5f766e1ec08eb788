"""The clock's own steps: what nobody answered, used or ended in time is over (P7)."""

from typing import Final

from approvals import store
from approvals.holding import close_grant
from approvals.kinds import RequestClosed
from approvals.transaction import Step, Transactions
from ledger.entry import Draft

__all__ = ["expire_due"]

BATCH: Final = 100
"""Steps in one transaction: they hold the sync version and the writer's head until its commit."""


async def expire_due(transactions: Transactions) -> int:
    """Close everything that is due by the clock; returns how many requests and grants that were.

    Rows that another process has locked are left to it, so that any number of processes may do this at once.
    """
    closed = 0
    for batch in (_requests, _grants):
        while True:
            done = await transactions.run(batch)
            closed += done
            if done < BATCH:
                break
    return closed


async def _requests(step: Step) -> int:
    due = await store.due_requests(step.connection, step.now, BATCH)
    for request in due:
        await store.change_request(step.connection, request, "expire", step.now, "", "system")
        facts = RequestClosed(request=request.id, by="", via="system")
        step.record(Draft("request.expired", facts, store_def=request.store_def))
        step.tell("request.expired", request.id, None, request.requester)
    return len(due)


async def _grants(step: Step) -> int:
    if not await step.connection.fetchval(_ANY_DUE, step.now):
        return 0  # without taking the sync version, which every change of a grant waits for
    await step.next_version()
    due = await store.due_grants(step.connection, step.now, BATCH)
    for grant in due:
        await close_grant(step, grant, "expire", "", "system")
    return len(due)


_ANY_DUE: Final = """
SELECT EXISTS (SELECT FROM approvals.access_grant WHERE state = 'issued' AND use_by <= $1)
    OR EXISTS (SELECT FROM approvals.access_grant WHERE state = 'active' AND ends_at <= $1)
"""
