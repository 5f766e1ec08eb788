"""Everything people do at the gate, one method an act, one transaction a method.

Each loads what is, takes a pure step, and writes the new state, its entries and its outbox rows together; a
failing entry undoes the step. People are named by their id and looked up in the policy in force every time:
nothing is believed because a caller once knew it. Refusals are raised as `Refusal`.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals import adoption, asking, expiry, holding
from approvals.decisions import Narrowing, ReviewVerdict
from approvals.identity.local import LocalLogin
from approvals.identity.subject import Person
from approvals.kinds import Via
from approvals.policies import InForce
from approvals.policy import Policy
from approvals.queries import Queries
from approvals.requests import RequestInput
from approvals.tokens import Issuer
from approvals.transaction import Append, Clock, Pool, Step, Transactions
from approvals.views import GrantView, KeyView, MintedToken, RequestView
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.postgres import append_in

__all__ = ["Approvals"]


class Approvals:
    """The service. `pool` connects as glassgate_approvals; `writer` is this process's own hand in the log."""

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        clock: Clock,
        *,
        issuer: str,
        issuer_key: Ed25519PrivateKey,
        issuer_kid: str,
        append: Append = append_in,
    ) -> None:
        self._clock = clock
        self._transactions = Transactions(pool, writer, clock, append)
        self._issuer = Issuer(issuer, issuer_key, issuer_kid)
        self._login = LocalLogin(self._transactions, pool)
        self.queries = Queries(pool, self._transactions.policies)

    # --- asking and deciding -------------------------------------------------------------------------------------

    async def create_request(
        self, person: str, asked: RequestInput, via: Via, idempotency_key: str = ""
    ) -> RequestView:
        """Ask for access. REQUEST_INVALID names every fault at once; NO_RULE says, rule by rule, what did not fit.

        The same `idempotency_key` (per person, for 24 h) with the same input gives the same request again, with
        another input CONFLICT.
        """
        request = await asking.create(self._transactions, person, asked, via, idempotency_key)
        return await self.queries.request(request)

    async def review(
        self,
        person: str,
        request_id: str,
        verdict: ReviewVerdict,
        comment: str,
        narrow: Narrowing | None,
        shown_digest: str,
        via: Via,
    ) -> RequestView:
        """One person's word. The last approval that the quorum needs issues the grant; a single deny denies.

        REQUEST_UNKNOWN, REQUEST_NOT_PENDING, SELF_REVIEW, NOT_AN_APPROVER, ALREADY_REVIEWED, SHOWN_OTHER,
        WIDER_THAN_ASKED, REQUEST_INVALID (comment, narrowing), POLICY_CHANGED.
        """
        await asking.review(self._transactions, person, request_id, verdict, comment, narrow, shown_digest, via)
        return await self.queries.request(request_id)

    async def cancel(self, person: str, request_id: str, comment: str, via: Via) -> RequestView:
        """The requester takes a pending request back. REQUEST_UNKNOWN, NOT_PERMITTED, REQUEST_NOT_PENDING."""
        await asking.cancel(self._transactions, person, request_id, comment, via)
        return await self.queries.request(request_id)

    # --- holding a grant -----------------------------------------------------------------------------------------

    async def activate(self, person: str, grant_id: str, via: Via, cnf: str = "") -> GrantView:
        """The holder starts the clock. A grant that is active already is returned as it is, its window unmoved.

        GRANT_UNKNOWN, GRANT_OTHER_PERSON, GRANT_EXPIRED, GRANT_ENDED, GRANT_REVOKED, GRANT_POLICY_CHANGED.
        """
        await holding.activate(self._transactions, person, grant_id, via, cnf)
        return await self.queries.grant(grant_id)

    async def mint_token(self, person: str, grant_id: str) -> MintedToken:
        """A token for an active grant: at most 15 minutes, never beyond the grant. Refused as `activate` is."""
        return await holding.mint_token(self._transactions, self._issuer, person, grant_id)

    async def register_key(self, person: str, grant_id: str, key_id: str, sha256: str, scram: str) -> KeyView:
        """Store the verifiers of an access key that the holder's own program made; ends the grant's earlier key.

        REQUEST_INVALID names what is malformed; CONFLICT: that key id or key is taken, make another.
        """
        return await holding.register_key(self._transactions, person, grant_id, key_id, sha256, scram)

    async def revoke(self, person: str, grant_id: str, comment: str, via: Via) -> GrantView:
        """An overseer of the store or a steward ends somebody's grant; for its holder this is `end`.

        GRANT_UNKNOWN, NOT_PERMITTED, GRANT_EXPIRED, GRANT_ENDED, GRANT_REVOKED.
        """
        await holding.revoke(self._transactions, person, grant_id, comment, via)
        return await self.queries.grant(grant_id)

    async def end(self, person: str, grant_id: str, via: Via) -> GrantView:
        """The holder gives a grant back early. Refused as `revoke` is, and GRANT_OTHER_PERSON."""
        await holding.end(self._transactions, person, grant_id, via)
        return await self.queries.grant(grant_id)

    # --- clock and policy ----------------------------------------------------------------------------------------

    async def expire_due(self) -> int:
        """Close everything whose time is over; returns how much that was. Safe in many processes at once."""
        return await expiry.expire_due(self._transactions)

    async def adopt_policy(self, policy: Policy, by: str, *, only_first: bool = False) -> InForce:
        """Put a policy in force; the same policy again changes nothing. Grants that it would not give end.

        With `only_first` CONFLICT where another is in force already.
        """
        await adoption.adopt(self._transactions, policy, by, only_first=only_first)
        adopted = await self.queries.policy()
        assert adopted is not None
        return adopted

    async def policy_in_force(self) -> InForce | None:
        """The latest adopted policy; None before the first."""
        return await self.queries.policy()

    async def record(self, drafts: Sequence[Draft]) -> None:
        """Entries of their own, such as log.read: durable when this returns. UNAVAILABLE."""

        async def body(step: Step) -> None:
            for draft in drafts:
                step.record(draft)

        await self._transactions.run(body)

    # --- logging in ----------------------------------------------------------------------------------------------

    async def login_code(self, person: str) -> str:
        """A one-time code for that person, good for 10 minutes: an act of whoever runs the gate. PERSON_UNKNOWN."""
        return await self._login.issue_code(person)

    async def login(self, code: str, client_address: str) -> str:
        """Change a code for a session token (12 h). CODE_UNKNOWN, TOO_MANY_ATTEMPTS."""
        return await self._login.login(code, client_address)

    async def whoami(self, session_token: str) -> Person:
        """Whose session that is. SESSION_UNKNOWN for any token that is not a live session of an active person."""
        return await self._login.whoami(session_token)

    async def logout(self, session_token: str) -> None:
        """End a session; a token that is none is not told apart."""
        await self._login.logout(session_token)

    async def person_by_slack(self, team: str, user: str) -> Person:
        """The person whose Slack account that is. PERSON_UNKNOWN."""
        return await self._login.person_by_slack(team, user)
