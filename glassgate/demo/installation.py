"""A real installation for the trial: what `glassgate init` makes, with the trial's stores, Slack and policy in it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from glassgate.demo.people import policy_text
from glassgate.demo.place import Place
from glassgate.demo.slack import Slack
from glassgate.demo.stores import CrmApi, CustomersDb
from glassgate.init import CONFIG_FILE, Options, create

__all__ = ["HOST", "MEMBER", "install"]

MEMBER: Final = "acme"
HOST: Final = "demo.glassgate.example"


def install(place: Place, ports: dict[str, int], customers: CustomersDb, crm: CrmApi, slack: Slack) -> Path:
    """Make the installation in `place.gate`; returns its configuration file."""
    options = Options(
        member=MEMBER,
        host=HOST,
        trial=True,
        policy=policy_text(customers, crm),
        api=f"127.0.0.1:{ports['api']}",
        http=f"127.0.0.1:{ports['http']}",
        postgres=f"127.0.0.1:{ports['postgres']}",
        diagnostics=f"127.0.0.1:{ports['diagnostics']}",
        extra=_credentials(customers, crm),
    )
    create(place.gate, options, datetime.now(UTC))
    file = place.gate / CONFIG_FILE
    text = _replaced(file.read_text(), r"^embedded_dir = .*$", f'embedded_dir = "{place.postgres}"')
    file.write_text(_replaced(text, r'^mode = "off"$', _slack(slack)))
    return file


def _credentials(customers: CustomersDb, crm: CrmApi) -> str:
    return f"""
[credentials.customers-db]
user = "gate"
password_file = "{customers.password_file}"
upstream_ca_file = "{customers.ca_file}"

[credentials.crm-api]
bearer_file = "{crm.token_file}"
"""


def _slack(slack: Slack) -> str:
    return f"""\
# The one stand-in of the trial: an emulator on this machine in the place of Slack.
mode = "socket"
bot_token = "{slack.bot_token}"
app_token = "{slack.app_token}"
signing_secret = "{slack.signing_secret}"
channel = "{slack.channel}"
api_url = "{slack.api_url.rstrip("/")}\""""


def _replaced(text: str, line: str, by: str) -> str:
    """Exactly one line of the configuration that init wrote."""
    made, count = re.subn(line, lambda _: by, text, flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"init's configuration has {count} lines like {line}, expected one")
    return made
