"""What must hold between the parts of a policy, beyond the shape of each: names that exist, quorums that people
can fill, stores that lead to one place each. Every fault is a path and a sentence."""

import re
import warnings
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from approvals.pattern_cost import TOO_DEAR, ways
from approvals.policy import MEMBER, Policy, Rule, slot_of
from approvals.store_definition import StoreDefinition

__all__ = ["check_policy"]

MAX_PATTERN_CHARS: Final = 200
MAX_COUNT: Final = 10
MAX_TEXT_CAP: Final = 16 * 1024 * 1024

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SLACK: Final = re.compile(r"[TE][A-Z0-9]{1,31}:[UW][A-Z0-9]{1,31}")
_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_POSTGRES: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+):([0-9]{1,5})/([^/\s?#]{1,63})")

Found = Iterator[tuple[tuple[str, ...], str]]


def check_policy(policy: Policy) -> Found:
    """Everything that is wrong with a policy whose parts are well-formed."""
    yield from _organisations(policy)
    yield from _people(policy)
    yield from _reasons(policy)
    for name, definition in policy.stores.items():
        for key, said in _store(definition):
            yield ("stores", name, key), said
    yield from _store_pairs(policy)
    yield from _rules(policy)


def _organisations(policy: Policy) -> Found:
    members = [name for name, organisation in policy.organisations.items() if organisation.kind == "member"]
    if policy.member not in members:
        yield ("member",), f"expected an organisation of kind member, got {policy.member!r}"
    for name in members:
        if name != policy.member:
            yield ("organisations", name), f"a gate serves one member, which is {policy.member}"
    for name, organisation in policy.organisations.items():
        if not organisation.name:
            yield ("organisations", name, "name"), "must not be empty"


def _people(policy: Policy) -> Found:
    emails: dict[str, str] = {}
    accounts: dict[str, str] = {}
    for name, person in policy.people.items():
        path = ("people", name)
        if not person.name:
            yield (*path, "name"), "must not be empty"
        organisation = policy.organisations.get(person.organisation)
        if organisation is None:
            yield (*path, "organisation"), f"there is no organisation {person.organisation!r}"
        else:
            for role in person.roles:
                if (role == "overseer") != (organisation.kind == "overseer"):
                    yield (*path, "roles"), f"nobody of a {organisation.kind} organisation is {role}"
        if person.email and not _EMAIL.fullmatch(person.email):
            yield (*path, "email"), f"expected an address, got {person.email!r}"
        if person.country and not _COUNTRY.fullmatch(person.country):
            yield (*path, "country"), f"expected two capital letters (ISO 3166-1), got {person.country!r}"
        if person.slack and not _SLACK.fullmatch(person.slack):
            yield (*path, "slack"), f'expected "TEAM:USER", got {person.slack!r}'
        # Two people with one address or account would be one person who approves twice.
        for key, value, seen in (("email", person.email.casefold(), emails), ("slack", person.slack, accounts)):
            if value and seen.setdefault(value, name) != name:
                yield (*path, key), f"is {seen[value]}'s already: one person, one entry"


def _reasons(policy: Policy) -> Found:
    for name, reason in policy.reasons.items():
        if not reason.text:
            yield ("reasons", name, "text"), "must not be empty"
        if len(reason.ticket) > MAX_PATTERN_CHARS:
            yield ("reasons", name, "ticket"), f"at most {MAX_PATTERN_CHARS} characters"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # what re only warns of today means something else tomorrow
                re.compile(reason.ticket)
        except (re.error, RecursionError, OverflowError, Warning) as cause:
            yield ("reasons", name, "ticket"), f"not a regular expression: {cause}"
            continue
        if ways(reason.ticket) >= TOO_DEAR:
            yield (
                ("reasons", name, "ticket"),
                "could search for ever on a ticket made for it: repeat no group that repeats or chooses by itself, "
                "and let less be repeated",
            )


def _store(definition: StoreDefinition) -> Iterator[tuple[str, str]]:
    yield from _upstream(definition)
    if not definition.actions:
        yield "actions", "name at least one action: an empty list means nothing, not everything"
    if definition.tls_ca and not _SHA256.fullmatch(definition.tls_ca):
        yield "tls_ca", "expected the SHA-256 of the CA bundle, 64 hexadecimal digits"
    for host in definition.hosts:
        if len(host) > 253 or not _HOST.fullmatch(host):
            yield "hosts", f"expected host names in lower case and without port, got {host!r}"
    for key in ("hosts", "reads", "writes"):
        if getattr(definition, key) and definition.protocol != "http":
            yield key, "is for http stores only"
    if not 1 <= definition.max_body_bytes <= 2**40:
        yield "max_body_bytes", f"expected 1 to {2**40}, got {definition.max_body_bytes}"
    if not 1 <= definition.max_text_bytes <= MAX_TEXT_CAP:
        yield "max_text_bytes", f"expected 1 to {MAX_TEXT_CAP}, got {definition.max_text_bytes}"


def _upstream(definition: StoreDefinition) -> Iterator[tuple[str, str]]:
    host = None
    if definition.protocol == "postgres":
        match = _POSTGRES.fullmatch(definition.upstream)
        if match is not None and 1 <= int(match[2]) <= 65535:
            host = match[1].strip("[]")
        else:
            yield "upstream", f"expected host:port/database, got {definition.upstream!r}"
    else:
        scheme = "https" if definition.tls != "off" else "http"
        host = _http_host(definition.upstream, scheme)
        if host is None:
            yield "upstream", f'expected {scheme}://host:port (tls = "{definition.tls}"), got {definition.upstream!r}'
    if host is not None and definition.tls == "off" and not _is_loopback(host):
        yield "tls", f"may be off towards this machine itself only, not towards {host}"


def _http_host(upstream: str, scheme: str) -> str | None:
    try:
        url = urlsplit(upstream)
        port = url.port
    except ValueError:
        return None
    plain = url.path in ("", "/") and not url.query and not url.fragment and url.username is None
    return url.hostname if url.scheme == scheme and plain and port != 0 else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _store_pairs(policy: Policy) -> Found:
    """One upstream, one name: under a second one the same data could be asked for by a weaker rule."""
    upstreams: dict[str, str] = {}
    hosts: dict[str, str] = {}
    for name, definition in policy.stores.items():
        upstream = _place(definition)
        if upstreams.setdefault(upstream, name) != name:
            yield ("stores", name, "upstream"), f"is {upstreams[upstream]}'s already: one store, one name"
        for host in definition.hosts:
            if hosts.setdefault(host, name) != name:
                yield ("stores", name, "hosts"), f"{host} leads to {hosts[host]} already"


def _place(definition: StoreDefinition) -> str:
    """Where the store is, in one spelling: `localhost:05432`, `LOCALHOST.:5432` and `[::1]:5432` are one place. What
    names resolve to is nothing that a policy can know."""
    match = _POSTGRES.fullmatch(definition.upstream)
    if match is not None:
        return f"{_host(match[1])}:{int(match[2])}/{match[3]}".casefold()
    try:
        url = urlsplit(definition.upstream)
        port = url.port or (80 if url.scheme == "http" else 443)
    except ValueError:
        return definition.upstream  # said to be none already
    return f"{_host(url.hostname or '')}:{port}".casefold()


def _host(text: str) -> str:
    host = text.strip("[]").rstrip(".").casefold()
    try:
        address = ip_address(host)
        host = str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        pass  # a name
    return "localhost" if _is_loopback(host) else host


def _rules(policy: Policy) -> Found:
    names: dict[str, int] = {}
    for index, rule in enumerate(policy.rules):
        path = ("rules", str(index))
        if not rule.name or len(rule.name) > 100:
            yield (*path, "name"), "expected a name of 1 to 100 characters"
        if names.setdefault(rule.name, index) != index:
            yield (*path, "name"), f"{rule.name!r} is the name of another rule"
        for key, said in _rule(policy, rule):
            yield (*path, key), said


def _rule(policy: Policy, rule: Rule) -> Iterator[tuple[str, str]]:
    for key, given in (("stores", rule.stores), ("actions", rule.actions), ("reasons", rule.reasons)):
        if given is not None and not given:
            yield key, "an empty list means nothing, not everything"
    for store in rule.stores:
        if store not in policy.stores:
            yield "stores", f"there is no store {store!r}"
    for action in rule.actions:
        if not any(store in policy.stores and action in policy.stores[store].actions for store in rule.stores):
            yield "actions", f"none of the stores offers {action}"
    for reason in rule.reasons or ():
        if reason not in policy.reasons:
            yield "reasons", f"there is no reason code {reason!r}"
    if rule.requesters.organisation != policy.member:
        yield "requesters", f"those who ask are people of {policy.member}, got {rule.requesters.organisation!r}"
    if not rule.requesters.roles or "overseer" in rule.requesters.roles:
        yield "requesters", "expected roles out of engineer and steward"
    yield from _approvals(policy, rule)


def _approvals(policy: Policy, rule: Rule) -> Iterator[tuple[str, str]]:
    seen = set()
    for slot in rule.approvals:
        if slot.source in seen:
            yield "approvals", f"{slot.source} is named twice: one slot with a higher count says it"
        seen.add(slot.source)
        kind, _, organisation = slot.source.partition(":")
        known = policy.organisations.get(organisation)
        if slot.source != MEMBER and (kind != "overseer" or known is None or known.kind != "overseer"):
            yield "approvals", f'expected from = "member" or "overseer:<organisation>", got {slot.source!r}'
        elif not 1 <= slot.count <= MAX_COUNT:
            yield "approvals", f"expected a count of 1 to {MAX_COUNT}, got {slot.count}"
        else:
            able = sum(1 for person in policy.people if slot_of(policy, person) == slot.source)
            if able < slot.count:
                yield "approvals", f"{slot.source} needs {slot.count}, and only {able} could: nobody could ever say yes"
