"""The trial's people and rules: a policy as one would write it, with what weakens it in lines of its own."""

from dataclasses import dataclass
from typing import Final

from glassgate.demo.stores import CRM_DATABASE, CrmApi, CustomersDb

__all__ = ["ENGINEER", "OVERSEER", "PROFILES", "STEWARD", "Somebody", "policy_text"]


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person of the trial: id in the policy, profile of the command line, name at the emulated Slack."""

    person: str
    profile: str
    slack: str


ENGINEER: Final = Somebody("ada", "engineer", "ada")
OVERSEER: Final = Somebody("olga", "overseer", "olga")
STEWARD: Final = Somebody("sten", "steward", "sten")
PROFILES: Final = (ENGINEER, OVERSEER, STEWARD)


def policy_text(customers: CustomersDb, crm: CrmApi) -> str:
    """policy.toml of the trial."""
    return f"""\
# The trial's policy: who may ask for what, and whose approval it takes.
version = 1
member = "acme"
trial = true

[organisations.acme]
kind = "member"
name = "Acme AG"

[organisations.zurich]
kind = "overseer"
name = "Zurich Data Oversight"

[people.ada]
name = "Ada Example"
organisation = "acme"
roles = ["engineer"]
email = "ada@acme.example"
country = "CH"
slack = "T0ACME:U0ADA"

[people.sten]
name = "Sten Example"
organisation = "acme"
roles = ["steward"]
email = "sten@acme.example"
country = "CH"
slack = "T0ACME:U0STEN"

[people.olga]
name = "Olga Example"
organisation = "zurich"
roles = ["overseer"]
email = "olga@zurich-oversight.example"
country = "CH"
slack = "T0ZURICH:U0OLGA"

[reasons.incident]
text = "Incident"
ticket = "^INC-[0-9]+$"

[reasons.customer-request]
text = "A customer asked for it"
ticket = "^CASE-[0-9]+$"

[stores.customers-db]
protocol = "postgres"
upstream = "{customers.upstream}"
tls = "verify-full"
tls_ca = "{customers.ca_digest()}"
credential = "customers-db"
data_class = "personal"
regions = ["CH"]
actions = ["read", "write"]

[stores.crm-api]
protocol = "http"
upstream = "{crm.upstream}"
tls = "off"                       # towards loopback only
credential = "crm-api"
data_class = "personal"
regions = ["CH"]
actions = ["read"]
hosts = ["crm-api.localhost"]
reads = ["GET /{CRM_DATABASE}/*", "GET /{CRM_DATABASE}.json", "HEAD /{CRM_DATABASE}/*"]

[[rules]]
name = "customer data for incidents"
stores = ["customers-db", "crm-api"]
requesters = {{ organisation = "acme", roles = ["engineer"] }}
actions = ["read", "write"]
reasons = ["incident", "customer-request"]
max_duration = "1h"
approvals = [{{ from = "overseer:zurich", count = 1 }}]
# Personal data wants "signed": a decision that the overseer signs and the gate verifies by itself. A trial on one
# machine has no overseer's station, so its approvals are clicks, and only as good as whoever runs the machine.
assurance = "click"
"""
