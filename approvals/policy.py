"""The rules as typed values, and the verdict they give: facts in, a verdict with its reasons out.

No rule that matches is a denial, and so is anything the policy does not know. Rules only allow; of several
that match, the first in the file is taken, so that a verdict can name it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from approvals.scope import Action
from approvals.store_definition import StoreDefinition
from ledger.encoding import NotCanonical, decode, encode

__all__ = [
    "DEFAULT_DURATION_S",
    "HARD_CAP_S",
    "MEMBER",
    "POLICY_CAP_S",
    "Enrolled",
    "Organisation",
    "OrganisationKind",
    "Policy",
    "PolicyUnreadable",
    "ReasonCode",
    "Requesters",
    "Role",
    "Rule",
    "Slot",
    "Verdict",
    "digest_of",
    "document_of",
    "evaluate",
    "fits",
    "from_document",
    "overseers_of",
    "rules_for",
    "slot_of",
]

DEFAULT_DURATION_S: Final = 3600  # P7: a grant lasts an hour unless the rule says otherwise
POLICY_CAP_S: Final = 8 * 3600  # P7: the most that a rule may allow
HARD_CAP_S: Final = 24 * 3600  # P7: the most that the database accepts, whatever a rule says

Role = Literal["engineer", "overseer", "steward"]
OrganisationKind = Literal["member", "overseer"]
MEMBER: Final = "member"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Organisation(_Part, frozen=True):
    kind: OrganisationKind
    name: str


class Enrolled(_Part, frozen=True):
    """A person as enrolled. `active = false` keeps the name readable in old records and opens nothing."""

    name: str
    organisation: str
    roles: tuple[Role, ...]
    email: str = ""
    country: str = ""
    slack: str = ""  # "TEAM:USER"
    active: bool = True


class ReasonCode(_Part, frozen=True):
    """Why somebody may ask. `ticket` is a pattern that the whole ticket must match; "" = no ticket needed."""

    text: str
    ticket: str = ""


class Requesters(_Part, frozen=True):
    """Whoever works for `organisation` and has one of `roles`."""

    organisation: str
    roles: tuple[Role, ...]


class Slot(_Part, frozen=True):
    """`count` distinct people from one side: "overseer:<organisation>" (its overseers) or "member" (its stewards)."""

    source: str = msgspec.field(name="from")
    count: int


class Rule(_Part, frozen=True):
    """Who may ask for what, for how long at most, and whose approvals (all slots) make it a grant."""

    name: str
    stores: tuple[str, ...]
    requesters: Requesters
    actions: tuple[Action, ...]
    reasons: tuple[str, ...] | None  # None = any reason code
    max_duration_s: int
    approvals: tuple[Slot, ...]
    assurance: Literal["click", "signed"]


class Policy(_Part, frozen=True):
    """Everything that policy.toml says. Made by policy_file.parse or from_document only."""

    version: int
    member: str
    trial: bool
    organisations: dict[str, Organisation]
    people: dict[str, Enrolled]
    reasons: dict[str, ReasonCode]
    stores: dict[str, StoreDefinition]
    rules: tuple[Rule, ...]


class PolicyUnreadable(ValueError):
    """A stored policy document is not what its digest says, or not a policy."""


def document_of(policy: Policy) -> bytes:
    """The canonical JSON of a policy: what is stored, hashed and handed to the proxies."""
    return encode(policy)


def digest_of(document: bytes) -> str:
    """SHA-256 of a policy document, hex."""
    return hashlib.sha256(document).hexdigest()


def from_document(document: bytes, digest: str) -> Policy:
    """Read a policy back; raises PolicyUnreadable unless the bytes have that digest and exactly that shape."""
    if digest_of(document) != digest:
        raise PolicyUnreadable("the policy document does not have the digest it came with")
    try:
        return msgspec.convert(decode(document), Policy)
    except (NotCanonical, msgspec.ValidationError) as cause:
        raise PolicyUnreadable(f"the policy document cannot be read: {cause}") from cause


@dataclass(frozen=True, slots=True)
class Verdict:
    """allow: `rule` lets it be asked. deny: no rule does. unknown: the policy does not know who or what, which
    counts as deny. `reasons` says, rule by rule, what did not fit; `max_duration_s` > 0 on a denial means that
    only the duration was too long."""

    outcome: Literal["allow", "deny", "unknown"]
    rule: Rule | None
    reasons: tuple[str, ...]
    max_duration_s: int = 0


def evaluate(
    policy: Policy, requester: str, store: str, actions: tuple[Action, ...], reason: str, duration_s: int
) -> Verdict:
    """Whether `requester` may ask for `actions` at `store` for `reason` and that long."""
    unknown = [
        f"{what} {name!r} is not in the policy"
        for what, name, known in (
            ("person", requester, _enrolled(policy, requester) is not None),
            ("store", store, store in policy.stores),
            ("reason code", reason, reason in policy.reasons),
        )
        if not known
    ]
    if unknown:
        return Verdict("unknown", None, tuple(unknown))
    said, longest = [], 0
    for rule in policy.rules:
        misfit = fits(policy, rule, requester, store, actions, reason)
        if misfit:
            said.append(f"rule {rule.name!r}: {misfit}")
        elif duration_s > rule.max_duration_s:
            longest = max(longest, rule.max_duration_s)
            said.append(f"rule {rule.name!r}: allows at most {rule.max_duration_s} s")
        else:
            return Verdict("allow", rule, (f"rule {rule.name!r} fits",))
    return Verdict("deny", None, tuple(said) or ("the policy has no rules",), longest)


def fits(policy: Policy, rule: Rule, requester: str, store: str, actions: tuple[Action, ...], reason: str) -> str:
    """The first condition of the rule that is not met, as a person reads it; "" when all are (but the duration)."""
    if store not in rule.stores:
        return f"is not about {store}"
    if not _may_ask(policy, rule, requester):
        return f"is for {' or '.join(rule.requesters.roles)} of {rule.requesters.organisation}"
    if not actions:
        return "needs at least one action"
    missing = [action for action in actions if action not in rule.actions]
    if missing:
        return f"does not cover {', '.join(missing)}"
    if rule.reasons is not None and reason not in rule.reasons:
        return f"needs the reason {' or '.join(rule.reasons)}"
    return ""


def _enrolled(policy: Policy, person: str) -> Enrolled | None:
    entry = policy.people.get(person)
    return entry if entry is not None and entry.active else None


def _may_ask(policy: Policy, rule: Rule, requester: str) -> bool:
    entry = _enrolled(policy, requester)
    return (
        entry is not None
        and entry.organisation == rule.requesters.organisation
        and not set(entry.roles).isdisjoint(rule.requesters.roles)
    )


def rules_for(policy: Policy, requester: str, store: str) -> Iterator[Rule]:
    """The rules under which that person may ask for something at that store."""
    return (rule for rule in policy.rules if store in rule.stores and _may_ask(policy, rule, requester))


def slot_of(policy: Policy, person: str) -> str:
    """The one slot that this person can fill: "overseer:<organisation>", "member", or "" for none.

    A person belongs to one organisation, so nobody fills two slots: that is what makes the AND of a quorum
    need as many people as it says.
    """
    entry = _enrolled(policy, person)
    if entry is None:
        return ""
    organisation = policy.organisations.get(entry.organisation)
    kind = organisation.kind if organisation is not None else ""
    if kind == "overseer" and "overseer" in entry.roles:
        return f"overseer:{entry.organisation}"
    if kind == "member" and "steward" in entry.roles:
        return MEMBER
    return ""


def overseers_of(policy: Policy, store: str) -> frozenset[str]:
    """The slots of overseer organisations that some rule about `store` asks: who may always say no there."""
    return frozenset(
        slot.source for rule in policy.rules if store in rule.stores for slot in rule.approvals if slot.source != MEMBER
    )
