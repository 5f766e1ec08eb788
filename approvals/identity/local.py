"""Local accounts: people log in with a one-time code that whoever runs the gate gave them. No passwords.

A code is good once and for 10 minutes, a session for 12 hours. Only their hashes are kept.
"""

import hashlib
import os
import re
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from approvals.base32 import ALPHABET, crockford
from approvals.errors import Refusal
from approvals.identity.subject import Person, by_slack, find
from approvals.kinds import LoginCodeIssued, PersonLoggedIn
from approvals.reasons import Reason
from approvals.timestamps import rfc3339
from approvals.transaction import Pool, Step, Transactions, database_errors
from ledger.entry import Draft

__all__ = ["CODE_FOR", "MAX_FAILURES", "SESSION_FOR", "LocalLogin"]

CODE_FOR: Final = timedelta(minutes=10)
SESSION_FOR: Final = timedelta(hours=12)
MAX_FAILURES: Final = 10
"""Wrong codes per source and minute. A code has 80 random bits, so this is against noise more than against luck."""
CODE_BYTES: Final = 10
SESSION_BYTES: Final = 25
SESSION_PREFIX: Final = "ggs_"

_SESSION: Final = re.compile(rf"{SESSION_PREFIX}[{ALPHABET}]{{40}}")
_LOOKALIKES: Final = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})


class LocalLogin:
    """Codes in, sessions out."""

    def __init__(self, transactions: Transactions, pool: Pool) -> None:
        self._transactions = transactions
        self._pool = pool

    async def issue_code(self, person: str) -> str:
        """A fresh code such as `k7f3-9xq2-…`; earlier ones of that person are void. It is an entry: a code lets its
        bearer speak as that person, so that it was made must not stay unseen."""
        text = crockford(os.urandom(CODE_BYTES))
        code = "-".join(text[start : start + 4] for start in range(0, len(text), 4))

        async def body(step: Step) -> None:
            known = step.person(person)
            expires_at = step.now + CODE_FOR
            await step.connection.execute(_VOID_CODES, known.id, step.now)
            await step.connection.execute(_ADD_CODE, _hash_code(code), known.id, step.now, expires_at)
            facts = LoginCodeIssued(person=known.id, organisation=known.organisation, expires_at=rfc3339(expires_at))
            step.record(Draft("person.code_issued", facts))

        await self._transactions.run(body)
        return code

    async def login(self, code: str, client_address: str) -> str:
        """A session token for a code. Refused as CODE_UNKNOWN or TOO_MANY_ATTEMPTS, both after the same work."""
        token = SESSION_PREFIX + crockford(os.urandom(SESSION_BYTES))
        source = _source(client_address)

        async def body(step: Step) -> Reason | None:
            minute = step.now.replace(second=0, microsecond=0)
            if (await step.connection.fetchval(_FAILURES, source, minute) or 0) >= MAX_FAILURES:
                return Reason.TOO_MANY_ATTEMPTS
            name = await step.connection.fetchval(_USE_CODE, _hash_code(code), step.now)
            known = find(step.policy, name) if name else None
            if known is None:
                # Committed, not raised: a rollback would forget that somebody guesses.
                await step.connection.execute(_FAILED, source, minute)
                return Reason.CODE_UNKNOWN
            await step.connection.execute(_FORGET_SESSIONS, step.now)
            await step.connection.execute(_ADD_SESSION, _hash(token), known.id, step.now, step.now + SESSION_FOR)
            facts = PersonLoggedIn(
                person=known.id, organisation=known.organisation, method="code", client_address=client_address
            )
            step.record(Draft("person.logged_in", facts))
            return None

        refused = await self._transactions.run(body)
        if refused is not None:
            raise Refusal(refused)
        return token

    async def whoami(self, token: str) -> Person:
        """Whose session it is, if that person is active in the policy in force. SESSION_UNKNOWN otherwise."""
        if not _SESSION.fullmatch(token):
            raise Refusal(Reason.SESSION_UNKNOWN)
        async with database_errors(), self._pool.acquire() as connection:
            name = await connection.fetchval(_SESSION_OF, _hash(token), self._transactions.clock.now())
            in_force = await self._transactions.policies.in_force(connection)
        known = find(in_force.policy, name) if name and in_force is not None else None
        if known is None:
            raise Refusal(Reason.SESSION_UNKNOWN)
        return known

    async def logout(self, token: str) -> None:
        """Forget the session, if it is one."""
        async with database_errors():
            await self._pool.execute(_END_SESSION, _hash(token))

    async def person_by_slack(self, team: str, user: str) -> Person:
        """The person whose Slack account that is. PERSON_UNKNOWN."""
        async with database_errors(), self._pool.acquire() as connection:
            in_force = await self._transactions.policies.in_force(connection)
        known = by_slack(in_force.policy, team, user) if in_force is not None else None
        if known is None:
            raise Refusal(Reason.PERSON_UNKNOWN)
        return known


def _hash(text: str) -> str:
    # Looked up by hash: what a comparison's time could tell is of no use, and the table's reader learns no token.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_code(code: str) -> str:
    """Of a code as people type it: any case, with or without hyphens, o for 0, i and l for 1."""
    return _hash(code[:100].lower().translate(_LOOKALIKES))


def _source(client_address: str) -> str:
    """What failures are counted by: an IPv4 address, an IPv6 /64 (one customer has them all), or "unknown"."""
    try:
        address = ip_address(client_address)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), 64), strict=False))
    return str(address)


_VOID_CODES: Final = "DELETE FROM approvals.login_code WHERE person = $1 OR expires_at <= $2"
_ADD_CODE: Final = "INSERT INTO approvals.login_code (sha256, person, created_at, expires_at) VALUES ($1, $2, $3, $4)"
_USE_CODE: Final = """
UPDATE approvals.login_code SET used_at = $2
WHERE sha256 = $1 AND used_at IS NULL AND expires_at > $2 RETURNING person
"""
_FAILURES: Final = "SELECT failures FROM approvals.login_failure WHERE source = $1 AND minute = $2"
_FAILED: Final = """
WITH old AS (DELETE FROM approvals.login_failure WHERE minute < $2)
INSERT INTO approvals.login_failure (source, minute, failures) VALUES ($1, $2, 1)
ON CONFLICT (source, minute) DO UPDATE SET failures = approvals.login_failure.failures + 1
"""
_FORGET_SESSIONS: Final = "DELETE FROM approvals.session WHERE expires_at <= $1"
_ADD_SESSION: Final = "INSERT INTO approvals.session (sha256, person, created_at, expires_at) VALUES ($1, $2, $3, $4)"
_SESSION_OF: Final = "SELECT person FROM approvals.session WHERE sha256 = $1 AND expires_at > $2"
_END_SESSION: Final = "DELETE FROM approvals.session WHERE sha256 = $1"
