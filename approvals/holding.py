"""The steps in the life of a grant: activate, mint, register a key, end, revoke.

Everything that opens something asks again whether the policy in force would still give the grant.
"""

import re
from typing import Final

import msgspec

from approvals import store
from approvals.access_key import KeyRefused, is_key_id, login_name, parse_verifier
from approvals.errors import Fault, Refusal
from approvals.grants import Grant, check_open, check_standing, window
from approvals.identity.subject import Person
from approvals.kinds import (
    AccessKeyRegistered,
    CommentContent,
    GrantActivated,
    GrantClosed,
    GrantRevoked,
    TokenMinted,
    Via,
)
from approvals.plain_text import check_text
from approvals.policy import MEMBER, Policy, overseers_of, slot_of
from approvals.reasons import Reason
from approvals.requests import MAX_TEXT_CHARS
from approvals.timestamps import rfc3339
from approvals.tokens import Issuer, mint
from approvals.transaction import Stale, Step, Transactions
from approvals.views import KeyView, MintedToken
from ledger.entry import Draft

__all__ = ["activate", "check_would_give", "close_grant", "end", "mint_token", "register_key", "revoke"]

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def activate(transactions: Transactions, person: str, grant_id: str, via: Via, cnf: str) -> None:
    """Start the clock, once."""
    if cnf:
        raise Refusal(Reason.UNSUPPORTED, "Binding a grant to a key is not supported by this version.")

    async def body(step: Step) -> None:
        grant = await _held(step, person, grant_id)
        check_open(grant, step.now, active=False)
        if grant.state == "active":
            return  # asked twice: the window stays where it is
        await check_would_give(step, step.policy, grant)
        version = await step.next_version()
        starts_at, ends_at = window(grant, step.now)
        await store.change_grant(
            step.connection, grant, "activate", version, step.now, person, via, window=(starts_at, ends_at)
        )
        facts = GrantActivated(
            grant=grant.id, subject=grant.subject, starts_at=rfc3339(starts_at), ends_at=rfc3339(ends_at), via=via
        )
        step.record(_draft("grant.activated", facts, grant))
        step.tell("grant.activated", grant.request, grant.id, grant.subject)

    await transactions.run(body)


async def mint_token(transactions: Transactions, issuer: Issuer, person: str, grant_id: str) -> MintedToken:
    """A token for a grant that is active and would still be given."""

    async def body(step: Step) -> MintedToken:
        grant = await _held(step, person, grant_id, hold=True)
        check_open(grant, step.now, active=True)
        await check_would_give(step, step.policy, grant)
        assert grant.ends_at is not None
        jti = step.new_id("jti")
        try:
            token, expires_at = mint(
                issuer,
                subject=grant.subject,
                scope=grant.scope,
                grant=grant.id,
                decision=grant.decision,
                jti=jti,
                now=step.now,
                not_after=grant.ends_at,
                cnf=grant.cnf,
            )
        except ValueError:
            raise Refusal(Reason.GRANT_EXPIRED) from None
        facts = TokenMinted(
            grant=grant.id,
            subject=grant.subject,
            store=grant.scope.store,
            jti=jti,
            expires_at=rfc3339(expires_at),
            cnf=grant.cnf,
        )
        step.record(_draft("token.minted", facts, grant))
        return MintedToken(token, jti, expires_at)

    return await transactions.run(body)


async def register_key(
    transactions: Transactions, person: str, grant_id: str, key_id: str, sha256: str, scram: str
) -> KeyView:
    """Keep the verifiers of a key that the holder's own program made. A new key ends the grant's earlier one."""
    _check_key(key_id, sha256, scram)

    async def body(step: Step) -> KeyView:
        grant = await _held(step, person, grant_id)
        check_open(grant, step.now, active=True)
        await check_would_give(step, step.policy, grant)
        version = await step.next_version()
        # Others may have ended it while we waited for the version: what we saw must still hold.
        if await store.load_grant(step.connection, grant.id, hold=True) != grant:
            raise Stale
        replaced = await store.end_keys(step.connection, grant.id, version)
        if not await store.add_key(step.connection, key_id, grant, sha256, scram, step.now, version):
            raise Refusal(Reason.CONFLICT, "This access key cannot be used. Make another one.")
        assert grant.ends_at is not None
        login = login_name(person, key_id)
        facts = AccessKeyRegistered(
            grant=grant.id,
            subject=person,
            store=grant.scope.store,
            key=key_id,
            login=login,
            replaces=replaced[0] if replaced else "",
        )
        step.record(_draft("accesskey.registered", facts, grant))
        return KeyView(key_id, login, grant.id, grant.scope.store, step.now, grant.ends_at)

    return await transactions.run(body)


def _check_key(key_id: str, sha256: str, scram: str) -> None:
    faults = []
    if not is_key_id(key_id):
        faults.append(Fault("key", "expected four characters of 0-9 and a-z without i, l, o, u"))
    if not _SHA256.fullmatch(sha256):
        faults.append(Fault("sha256", "expected 64 hexadecimal digits, lower case"))
    try:
        parse_verifier(scram)
    except KeyRefused as cause:
        faults.append(Fault("scram", str(cause)))
    if faults:
        raise Refusal(Reason.REQUEST_INVALID, "The access key's verifiers have mistakes.", faults=faults)


async def revoke(transactions: Transactions, person: str, grant_id: str, comment: str, via: Via) -> None:
    """End somebody's grant; ends one's own as `end` does."""

    async def body(step: Step) -> None:
        by = step.person(person)
        grant = await _grant(step, grant_id)
        if not _may_revoke(step.policy, by, grant):
            if grant.subject == by.id:
                await _end(step, grant, by, via)
                return
            raise Refusal(Reason.NOT_PERMITTED, "Only an overseer of the store or a steward can revoke a grant.")
        faults: list[Fault] = []
        clean = check_text("comment", comment, MAX_TEXT_CHARS, faults)
        if faults:
            raise Refusal(Reason.REQUEST_INVALID, "The comment has mistakes.", faults=faults)
        check_open(grant, step.now, active=False)
        await close_grant(step, grant, "revoke", by.id, via, organisation=by.organisation, comment=clean)

    await transactions.run(body)


def _may_revoke(policy: Policy, by: Person, grant: Grant) -> bool:
    slot = slot_of(policy, by.id)
    return slot == MEMBER or (slot != "" and slot in overseers_of(policy, grant.scope.store))


async def end(transactions: Transactions, person: str, grant_id: str, via: Via) -> None:
    """The holder gives a grant back."""

    async def body(step: Step) -> None:
        grant = await _held(step, person, grant_id)
        await _end(step, grant, step.person(person), via)

    await transactions.run(body)


async def _end(step: Step, grant: Grant, by: Person, via: Via) -> None:
    check_open(grant, step.now, active=False)
    await close_grant(step, grant, "end", by.id, via)


async def close_grant(
    step: Step, grant: Grant, event: str, by: str, via: Via, *, organisation: str = "", comment: str = ""
) -> None:
    """The one way a grant comes to its end, whoever ends it: state, keys, entries, outbox. `by` "" is the clock."""
    version = await step.next_version()
    await store.change_grant(step.connection, grant, event, version, step.now, by, via, comment=comment)
    await store.end_keys(step.connection, grant.id, version)
    if event == "revoke":
        revoked = GrantRevoked(grant=grant.id, by=by, organisation=organisation, via=via)
        step.record(_draft("grant.revoked", revoked, grant, CommentContent(comment=comment)))
        step.record(_draft("grant.closed", GrantClosed(grant=grant.id, how="revoked"), grant))
        step.tell("grant.revoked", grant.request, grant.id, grant.subject)
    elif event == "end":
        step.record(_draft("grant.closed", GrantClosed(grant=grant.id, how="ended"), grant))
        step.tell("grant.ended", grant.request, grant.id, grant.subject)
    else:
        step.record(_draft("grant.closed", GrantClosed(grant=grant.id, how="expired"), grant))
        step.tell("grant.expired", grant.request, grant.id, grant.subject)


async def _grant(step: Step, grant_id: str, *, hold: bool = False) -> Grant:
    grant = await store.load_grant(step.connection, grant_id, hold=hold)
    if grant is None:
        raise Refusal(Reason.GRANT_UNKNOWN)
    return grant


async def _held(step: Step, person: str, grant_id: str, *, hold: bool = False) -> Grant:
    """That person's own grant."""
    holder = step.person(person)
    grant = await _grant(step, grant_id, hold=hold)
    if grant.subject != holder.id:
        raise Refusal(Reason.GRANT_OTHER_PERSON)
    return grant


async def check_would_give(step: Step, policy: Policy, grant: Grant) -> None:
    """Refuse a grant that `policy` would not give on the same approvals: GRANT_POLICY_CHANGED."""
    request = await store.load_request(step.connection, grant.request)
    assert request is not None, "a grant's request is a foreign key"
    reviews = await store.load_reviews(step.connection, grant.request)
    check_standing(policy, request, reviews, grant)


def _draft(kind: str, facts: msgspec.Struct, grant: Grant, content: CommentContent | None = None) -> Draft:
    return Draft(kind, facts, content, grant=grant.decision, store_def=grant.store_def)
