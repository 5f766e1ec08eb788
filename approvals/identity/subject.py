"""A person as the policy in force describes them, and nothing that a client claims about itself."""

from dataclasses import dataclass

from approvals.policy import OrganisationKind, Policy, Role

__all__ = ["Person", "by_slack", "find"]


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled, active person. `id` is the login name (`ada`); `slack` is "TEAM:USER" or ""."""

    id: str
    name: str
    organisation: str
    organisation_name: str
    organisation_kind: OrganisationKind
    roles: tuple[Role, ...]
    email: str = ""
    country: str = ""
    slack: str = ""


def find(policy: Policy, person: str) -> Person | None:
    """That person, exactly as spelled; None for strangers and for people who are switched off."""
    entry = policy.people.get(person)
    organisation = policy.organisations.get(entry.organisation) if entry is not None else None
    if entry is None or organisation is None or not entry.active:
        return None
    return Person(
        id=person,
        name=entry.name,
        organisation=entry.organisation,
        organisation_name=organisation.name,
        organisation_kind=organisation.kind,
        roles=entry.roles,
        email=entry.email,
        country=entry.country,
        slack=entry.slack,
    )


def by_slack(policy: Policy, team: str, user: str) -> Person | None:
    """Whose Slack account that is; accounts are keyed by team and user, since a user id alone is not unique."""
    account = f"{team}:{user}"
    if not team or not user:
        return None
    for person, entry in policy.people.items():
        if entry.slack == account:
            return find(policy, person)
    return None
