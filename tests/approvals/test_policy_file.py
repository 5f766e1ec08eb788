"""policy.toml: what it means, every fault with its line, and nothing but its own error whatever the text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.policy import Slot, digest_of, document_of, from_document
from approvals.policy_file import MAX_FILE_CHARS, PolicyFileRefused, parse
from tests.approvals.world import POLICY


def faults(text: str) -> list[str]:
    """What the refusal says, one fault a line."""
    with pytest.raises(PolicyFileRefused) as caught:
        parse(text)
    return str(caught.value).splitlines()


def changed(*changes: tuple[str, str]) -> str:
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_what_the_file_means() -> None:
    policy = parse(POLICY)
    assert (policy.member, policy.trial) == ("acme", True)
    assert policy.people["ada"].slack == "T0ACME:U0ADA"
    assert not policy.people["gone"].active
    assert policy.stores["customers-db"].name == "customers-db"
    assert policy.stores["customers-db"].actions == ("read", "write")
    first, second, third = policy.rules
    assert (first.max_duration_s, first.reasons, first.approvals) == (
        7200,
        ("incident",),
        (Slot(source="overseer:zurich", count=1),),
    )
    assert second.reasons is None
    assert second.approvals[1] == Slot(source="member", count=1)
    assert third.max_duration_s == 3600


def test_personal_data_is_for_signatures_unless_the_rule_says_click() -> None:
    assert parse(POLICY).rules[2].assurance == "signed"
    internal = changed(
        ('upstream = "127.0.0.1:5435/ledgers"', 'upstream = "127.0.0.1:5435/l"\ndata_class = "internal"')
    )
    assert parse(internal).rules[2].assurance == "click"


def test_the_document_comes_back_as_the_same_policy() -> None:
    policy = parse(POLICY)
    document = document_of(policy)
    assert from_document(document, digest_of(document)) == policy
    assert document_of(parse(POLICY + "\n# a comment more\n")) == document


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("version = 1", "version = 2"), "policy.toml:2: version: this program reads version 1, got 2"),
        (("version = 1", ""), "version: is missing"),
        (("version = 1", "version = true"), "version: expected `int`, got `bool`"),
        (('member = "acme"', 'member = "zurich"'), "policy.toml:3: member: expected an organisation of kind member"),
        (("trial = true", "trial = 1"), "policy.toml:4: trial: expected `bool`"),
        (("trial = true", "trail = true"), "policy.toml:4: trail: is not a setting; did you mean trial?"),
        (("[organisations.bern]", '[organisations."Bern "]'), "organisations.Bern : a name is"),
        (('name = "Acme AG"', 'name = ""'), "organisations.acme.name: must not be empty"),
        (('name = "Acme AG"', r'name = "Acme\u202egA"'), "organisations.acme.name: contains U+202E"),
        (('kind = "overseer"', 'kind = "member"'), "organisations.zurich: a gate serves one member"),
        (('kind = "overseer"', 'kind = "friend"'), "organisations.zurich.kind: invalid enum value 'friend'"),
        (('roles = ["engineer"]', 'roles = ["overseer"]'), "people.ada.roles: nobody of a member organisation is"),
        (('roles = ["engineer"]', 'roles = ["king"]'), "people.ada.roles: invalid enum value 'king'"),
        (('roles = ["engineer"]', 'roles = ["engineer", "engineer"]'), "people.ada.roles: names something twice"),
        (('email = "ada@acme.example"', 'email = "ada"'), "people.ada.email: expected an address"),
        (('country = "CH"', 'country = "ch"'), "people.ada.country: expected two capital letters"),
        (('slack = "T0ACME:U0ADA"', 'slack = "U0ADA"'), 'people.ada.slack: expected "TEAM:USER"'),
        (('slack = "T0ZH:U0OLGA"', 'slack = "T0ACME:U0ADA"'), "people.olga.slack: is ada's already: one person"),
        (('name = "Ben Example"', 'name = "Ben"\nemail = "ADA@Acme.example"'), "people.ben.email: is ada's already"),
        (('organisation = "bern"', 'organisation = "basel"'), "people.bea.organisation: there is no organisation"),
        (('ticket = "INC-[0-9]+"', 'ticket = "INC-["'), "reasons.incident.ticket: not a regular expression"),
        (('ticket = "INC-[0-9]+"', 'ticket = "[[a]"'), "reasons.incident.ticket: not a regular expression"),
        (('ticket = "INC-[0-9]+"', 'ticket = "([A-Z]+-?)+[0-9]+"'), "reasons.incident.ticket: could search for ever"),
        (
            ('upstream = "127.0.0.1:5433/customers"', 'upstream = "customers"'),
            "customers-db.upstream: expected host:port",
        ),
        (('"127.0.0.1:5433/customers"', '"127.0.0.1:5434/vault"'), "stores.vault.upstream: is customers-db's already"),
        (('"127.0.0.1:5433/customers"', '"127.0.0.1:0/c"'), "customers-db.upstream: expected host:port/database"),
        (('upstream = "http://127.0.0.1:8001"', 'upstream = "https://127.0.0.1:8001"'), "upstream: expected http://"),
        (('upstream = "http://127.0.0.1:8001"', 'upstream = "http://10.0.0.1:8001"'), "tls: may be off towards this"),
        (('upstream = "http://127.0.0.1:8001"', 'upstream = "http://127.0.0.1:8001/x"'), "upstream: expected http://"),
        (('hosts = ["crm-api.localhost"]', 'hosts = ["CRM"]'), "stores.crm-api.hosts: expected host names"),
        (('protocol = "postgres"', 'protocol = "oracle"'), "stores.customers-db.protocol: invalid enum value"),
        (('protocol = "postgres"', "port = 3"), "stores.customers-db.protocol: is missing"),
        (('actions = ["read", "write"]', "actions = []"), "stores.customers-db.actions: name at least one action"),
        (('protocol = "postgres"', 'protocol = "postgres"\nhosts = ["h"]'), "hosts: is for http stores only"),
        (('protocol = "postgres"', 'protocol = "postgres"\nmax_text_bytes = 0'), "max_text_bytes: expected 1 to"),
        (('name = "vault needs many"', 'name = "customer data for incidents"'), "is the name of another rule"),
        (('stores = ["vault"]', 'stores = ["volt"]'), "rules.1.stores: there is no store 'volt'"),
        (('stores = ["vault"]', "stores = []"), "rules.1.stores: an empty list means nothing"),
        (('reasons = ["incident"]', "reasons = []"), "rules.0.reasons: an empty list means nothing"),
        (('reasons = ["incident"]', 'reasons = ["fun"]'), "rules.0.reasons: there is no reason code 'fun'"),
        (('max_duration = "2h"', 'max_duration = "9h"'), "rules.0.max_duration: a rule allows at most 8h, got 9h"),
        (('max_duration = "2h"', 'max_duration = "0h"'), "rules.0.max_duration: expected a duration"),
        (('max_duration = "2h"', "max_duration = 7200"), "rules.0.max_duration: expected `str`"),
        (('max_duration = "2h"', 'max_duration = "-1h"'), "rules.0.max_duration: expected a duration"),
        (('roles = ["engineer"] }', 'roles = ["overseer"] }'), "rules.0.requesters: expected roles out of"),
        (('organisation = "acme", roles', 'organisation = "bern", roles'), "rules.0.requesters: those who ask"),
        (('[{ from = "overseer:zurich", count = 1 }]', "[]"), "rules.0.approvals: expected who has to approve"),
        (('from = "overseer:zurich", count = 1', 'from = "acme"'), "rules.0.approvals: expected from ="),
        (('from = "overseer:zurich", count = 1', 'from = "overseer:acme"'), "rules.0.approvals: expected from ="),
        (('from = "overseer:zurich", count = 1', 'from = "overseer:zurich", count = 0'), "expected a count of 1 to 10"),
        (('from = "overseer:bern", count = 1', 'from = "overseer:bern", count = 2'), "needs 2, and only 1 could"),
        (('{ from = "member" }', '{ from = "overseer:zurich" }'), "is named twice"),
        (('assurance = "click"', 'assurance = "wink"'), "rules.0.assurance: invalid enum value 'wink'"),
    ],
)
def test_a_fault_says_where_and_what(change: tuple[str, str], says: str) -> None:
    assert any(says in line for line in faults(changed(change))), faults(changed(change))


def test_all_faults_of_one_kind_at_once_each_with_its_line() -> None:
    text = changed(("trial = true", 'trial = "yes"'), ('kind = "overseer"', 'kind = "x"'), ('"2h"', '"2 hours"'))
    lines = faults(text)
    assert [line.split(":")[1] for line in lines] == [
        str(number)
        for number, line in enumerate(text.splitlines(), 1)
        if line in ('trial = "yes"', 'kind = "x"', 'max_duration = "2 hours"')
    ]
    assert len(lines) == 3


def test_all_faults_between_parts_at_once() -> None:
    text = changed(('country = "CH"', 'country = "x"'), ('stores = ["vault"]', 'stores = ["v"]'), ('"bern"', '"b"'))
    assert len(faults(text)) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = ",
        "version = 1\nversion = 1",
        "a = " + "[" * 20_000,
        "a = " + "9" * 5000,
        "a = 9999-99-99",
        "\x00",
        "rules = 3",
        "rules = [1]",
        "stores = 3",
        "stores.a = 3",
        "people = [[]]",
        "[[rules]]\nrequesters = 3\napprovals = [3]",
        "[[rules]]\n" * 300,
        "x" * (MAX_FILE_CHARS + 1),
        "\ud800",
        'member = "\ud800"',
    ],
)
def test_what_is_no_policy(text: str) -> None:
    assert faults(text)


def test_a_fault_can_be_printed_whatever_the_file_holds() -> None:
    text = changed(
        ("trial = true", '"\\u202e\\u0007" = 1\nfoo = "\ud800"'), ('roles = ["engineer"]', 'roles = ["\u202e"]')
    )
    for line in faults(text):
        assert line.isascii()
        assert line.isprintable()


@given(st.text(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    assert faults(text)


@given(st.integers(0, len(POLICY) - 1), st.integers(0, 40), st.text(max_size=12))
def test_a_policy_with_a_piece_replaced_is_a_policy_or_is_refused(start: int, length: int, piece: str) -> None:
    text = POLICY[:start] + piece + POLICY[start + length :]
    try:
        policy = parse(text)
    except PolicyFileRefused as refusal:
        assert refusal.faults
    else:
        document = document_of(policy)
        assert from_document(document, digest_of(document)) == policy


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_a_tree_with_any_value_anywhere_is_refused_in_its_own_words(data: st.DataObject) -> None:
    """Types of every kind in every place, without the detour through TOML's spelling."""
    tree = tomllib.loads(POLICY)
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner and data.draw(st.booleans())):
            break
        place = inner
    place[key] = data.draw(_values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("approvals.policy_file.tomllib.loads", lambda _: tree)
        try:
            policy = parse(POLICY)
        except PolicyFileRefused:
            return
    document_of(policy)


@pytest.mark.parametrize(
    ("store", "upstream"),
    [
        ("vault", "127.0.0.1:05433/customers"),
        ("vault", "localhost:5433/customers"),
        ("vault", "LOCALHOST.:5433/Customers"),
        ("vault", "[::1]:5433/customers"),
        ("vault", "[::ffff:127.0.0.1]:5433/customers"),
        ("vault", "127.0.0.2:5433/customers"),
        ("crm-api", "http://localhost:8001/"),
        ("crm-api", "http://127.0.0.1:08001"),
    ],
)
def test_an_upstream_in_another_spelling_is_the_same_store(store: str, upstream: str) -> None:
    """Else the same data could be asked for under a second name, by a weaker rule."""
    if store == "vault":
        text = changed(("127.0.0.1:5434/vault", upstream))
    else:
        more = f'[stores.crm-two]\nprotocol = "http"\nupstream = "{upstream}"\ntls = "off"\n'
        text = changed(("[stores.vault]", f"{more}[stores.vault]"))
    assert any("already: one store, one name" in fault for fault in faults(text))


def test_upstreams_that_differ_are_different_stores() -> None:
    parse(changed(("127.0.0.1:5434/vault", "127.0.0.1:5433/vault")))
    parse(changed(("127.0.0.1:5434/vault", "db.acme.example:5433/customers")))
