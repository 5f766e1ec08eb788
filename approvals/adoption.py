"""Putting a policy in force."""

from typing import Final

from approvals import store
from approvals.errors import Fault, Refusal
from approvals.grants import Grant
from approvals.holding import check_would_give, close_grant
from approvals.identity.subject import find
from approvals.kinds import PolicyChanged
from approvals.policy import Policy, digest_of, document_of
from approvals.reasons import Reason
from approvals.store_definition import definition_digest
from approvals.transaction import Step, Transactions
from ledger.entry import Draft

__all__ = ["adopt"]


async def adopt(transactions: Transactions, policy: Policy, by: str, *, only_first: bool = False) -> None:
    """Make `policy` the one in force, as an entry that carries it whole. The one in force already changes nothing;
    with `only_first`, CONFLICT where another is in force.

    No other step runs meanwhile. What the policy would not give any more ends with it: grants that no rule carries
    (an access key would go on opening them without asking us again), sessions and login codes of people whom it
    does not know (who comes back under that name may be somebody else).
    """
    _check_fits(transactions, policy)
    document = document_of(policy)
    digest = digest_of(document)

    async def body(step: Step) -> None:
        previous = step.in_force.digest if step.in_force is not None else ""
        if digest == previous:
            return
        if previous and only_first:
            # Looked at here and not only by the caller: of two who found none, the second would replace the first's.
            raise Refusal(Reason.CONFLICT, "A policy is in force already.")
        version = await step.next_version()
        await step.connection.execute(_ADOPT, digest, document.decode(), step.now, by, version)
        stores = {name: definition_digest(definition) for name, definition in policy.stores.items()}
        facts = PolicyChanged(digest=digest, previous=previous, stores=stores)
        step.record(Draft("policy.changed", facts, document))
        for grant in [store.grant_from(row) for row in await step.connection.fetch(_LIVE_GRANTS)]:
            why = await _ended_by(step, policy, grant)
            if why:
                await close_grant(step, grant, "revoke", by, "system", comment=why)
        known = [person for person in policy.people if find(policy, person) is not None]
        await step.connection.execute(_END_SESSIONS, known)
        await step.connection.execute(_VOID_CODES, known)

    await transactions.run(body, adopting=True)


async def _ended_by(step: Step, policy: Policy, grant: Grant) -> str:
    """Why that policy would not give this grant; "" where it would."""
    if find(policy, grant.subject) is None:
        return "The policy does not know them any more."
    try:
        await check_would_give(step, policy, grant)
    except Refusal as refusal:
        return refusal.public
    return ""


def _check_fits(transactions: Transactions, policy: Policy) -> None:
    """A gate serves one member, and a trial's log is a trial's for good."""
    writer = transactions.writer
    faults = []
    if policy.member != writer.member:
        faults.append(Fault("member", f"this gate serves {writer.member}, not {policy.member}"))
    if policy.trial != writer.trial:
        kind = "a trial" if writer.trial else "no trial"
        faults.append(Fault("trial", f"this gate was set up as {kind}, and that does not change"))
    if faults:
        raise Refusal(Reason.REQUEST_INVALID, "This policy is not for this gate.", faults=faults)


_ADOPT: Final = """
INSERT INTO approvals.policy_version (digest, document, adopted_at, adopted_by, sync_version)
VALUES ($1, $2, $3, $4, $5)
"""
_LIVE_GRANTS: Final = f"""
SELECT {store.GRANT_COLUMNS} FROM approvals.access_grant g WHERE g.state IN ('issued', 'active')
ORDER BY g.id FOR UPDATE
"""  # noqa: S608
_END_SESSIONS: Final = "DELETE FROM approvals.session WHERE person <> ALL ($1::text[])"
_VOID_CODES: Final = "DELETE FROM approvals.login_code WHERE person <> ALL ($1::text[])"
