"""Putting a policy in force."""

from typing import Final

from approvals import store
from approvals.errors import Fault, Refusal
from approvals.holding import close_grant
from approvals.identity.subject import find
from approvals.kinds import PolicyChanged
from approvals.policy import Policy, digest_of, document_of
from approvals.reasons import Reason
from approvals.store_definition import definition_digest
from approvals.transaction import Step, Transactions
from ledger.entry import Draft

__all__ = ["adopt"]


async def adopt(transactions: Transactions, policy: Policy, by: str) -> None:
    """Make `policy` the one in force, as an entry that carries it whole. The one in force already changes nothing.

    No other step runs meanwhile. Grants of people whom the policy does not know any more end with it; grants
    whose store is defined differently are refused by the proxies themselves, by the definition's digest.
    """
    _check_fits(transactions, policy)
    document = document_of(policy)
    digest = digest_of(document)

    async def body(step: Step) -> None:
        previous = step.in_force.digest if step.in_force is not None else ""
        if digest == previous:
            return
        version = await step.next_version()
        await step.connection.execute(_ADOPT, digest, document.decode(), step.now, by, version)
        stores = {name: definition_digest(definition) for name, definition in policy.stores.items()}
        facts = PolicyChanged(digest=digest, previous=previous, stores=stores)
        step.record(Draft("policy.changed", facts, document))
        for grant in [store.grant_from(row) for row in await step.connection.fetch(_LIVE_GRANTS)]:
            if find(policy, grant.subject) is None:
                await close_grant(
                    step, grant, "revoke", by, "system", comment="The policy does not know them any more."
                )

    await transactions.run(body, adopting=True)


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
