"""`glassgate init DIR`: a new installation's files. Never overwrites; the origin is chosen here, for good.

DIR/glassgate.toml        the configuration, with every section that matters at first
DIR/policy.toml           an example policy to edit before the first start
DIR/keys/                 keys, the trial CA with a server certificate, the database roles' passwords
DIR/data/                 what this host remembers between starts
DIR/postgresql/           the embedded PostgreSQL's place, where no DSN is used (root: may lie elsewhere)
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from glassgate.embedded_postgres import MAX_SOCKET_PATH, default_directory
from glassgate.keys import create_keys
from glassgate.values import Expected, log_origin, name, url

__all__ = ["CONFIG_FILE", "InitRefused", "Options", "create"]

CONFIG_FILE: Final = "glassgate.toml"
POLICY_FILE: Final = "policy.toml"


class InitRefused(Exception):
    """Nothing was made; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """`host` is the name under which this gate will be known for good; it need not resolve to anything."""

    member: str = "acme"
    host: str = "gate.acme.example"
    trial: bool = False
    origin: str = ""  # "" = <host>/log/<member>
    issuer: str = ""  # "" = https://<host>
    policy: str = ""  # the policy file's text; "" = the example
    api: str = "127.0.0.1:8470"
    http: str = "127.0.0.1:8480"
    postgres: str = "127.0.0.1:5480"
    diagnostics: str = "127.0.0.1:8490"
    extra: str = ""  # further sections, as TOML


def create(directory: Path, options: Options, now: datetime) -> Sequence[str]:
    """Make the installation and return the next steps as lines. Raises InitRefused."""
    directory = directory.absolute()
    origin = options.origin or f"{options.host}/log/{options.member}"
    issuer = options.issuer or f"https://{options.host}"
    _check(directory, options.member, origin, issuer)
    embedded = _embedded_directory(directory)
    try:
        # Root's directory is passed through by the user `nobody`, as whom PostgreSQL runs; what is secret is 0700.
        directory.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        (directory / "data").mkdir(mode=0o700)
        create_keys(directory / "keys", origin, now)
        _new(directory / POLICY_FILE, options.policy or _example_policy(options))
        _new(directory / CONFIG_FILE, _config(options, origin, issuer, embedded))
    except OSError as cause:
        raise InitRefused(f"{cause.filename or directory}: {cause.strerror}") from cause
    return _next_steps(directory, origin, options)


def _check(directory: Path, member: str, origin: str, issuer: str) -> None:
    for what, read, value in (("member", name, member), ("origin", log_origin, origin), ("issuer", url, issuer)):
        try:
            read(value, directory)
        except Expected as cause:
            raise InitRefused(f'{what}: expected {cause}, got "{value}"') from cause
    for made in (CONFIG_FILE, POLICY_FILE, "keys", "data"):
        if (directory / made).exists():
            raise InitRefused(f"{directory / made} exists already; nothing was changed")


def _embedded_directory(directory: Path) -> Path:
    """Beside the rest if a socket's path stays short there and, for root, `nobody` can come in."""
    beside = directory / "postgresql"
    short = len(os.fsencode(beside / "sockets" / ".s.PGSQL.65535")) <= MAX_SOCKET_PATH
    parents = [parent for parent in directory.parents if parent.exists()]
    open_to_nobody = os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in parents)
    if directory.exists() and os.geteuid() == 0:
        open_to_nobody = open_to_nobody and bool(directory.stat().st_mode & 0o001)
    return beside if short and open_to_nobody else default_directory(directory)


def _new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _config(options: Options, origin: str, issuer: str, embedded: Path) -> str:
    tls = 'tls_cert = "keys/server.pem"\ntls_key = "keys/server.key"\n'
    return f"""\
# glassgate: this installation's own settings. What they mean: docs/configuration.md; check: glassgate config check
# Any of them can be overridden: GLASSGATE_PROXY__HTTP__LISTEN=127.0.0.1:9000

[gate]
member = "{options.member}"
# The log's name. Fixed for good: verifiers, mirrors and cosignatures know the log by it.
origin = "{origin}"
issuer = "{issuer}"
trial = {"true" if options.trial else "false"}
data_dir = "data"

[database]
# Any PostgreSQL 15 or newer: name the owner here for `glassgate migrate`, and give each process only its own DSN.
# dsn_owner_file = "keys/owner.dsn"
# Without a DSN an embedded PostgreSQL is used. For evaluation: no replica, no backup.
embedded_dir = "{embedded}"

[keys]
dir = "keys"

[policy]
file = "{POLICY_FILE}"

[api]
listen = "{options.api}"

[proxy.http]
listen = "{options.http}"
# Plain HTTP is for loopback only; elsewhere:
# tls_cert = "keys/server.pem"
# tls_key = "keys/server.key"

[proxy.postgres]
listen = "{options.postgres}"
{tls}
[slack]
mode = "off"

[diagnostics]
listen = "{options.diagnostics}"

# The stores' real credentials, under the names that the policy's store definitions use.
# [credentials.customers-db]
# user = "gate"
# password_file = "customers-db.password"
# upstream_ca_file = "customers-db-ca.pem"
{options.extra}"""


def _example_policy(options: Options) -> str:
    return f"""\
# Who may ask for what, and whose approval it takes. Edit before the first start; afterwards a change is a proposal.
version = 1
member = "{options.member}"
trial = {"true" if options.trial else "false"}

[organisations.{options.member}]
kind = "member"
name = "{options.member}"

[organisations.oversight]
kind = "overseer"
name = "Example Data Oversight"

[people.ada]
name = "Ada Example"
organisation = "{options.member}"
roles = ["engineer"]

[people.olga]
name = "Olga Example"
organisation = "oversight"
roles = ["overseer"]

[reasons.incident]
text = "Incident"
ticket = "^INC-[0-9]+$"

[stores.customers-db]
protocol = "postgres"
upstream = "127.0.0.1:5432/customers"
credential = "customers-db"
actions = ["read", "write"]

[[rules]]
name = "customer data for incidents"
stores = ["customers-db"]
requesters = {{ organisation = "{options.member}", roles = ["engineer"] }}
actions = ["read"]
reasons = ["incident"]
max_duration = "1h"
approvals = [{{ from = "overseer:oversight", count = 1 }}]
assurance = "click"
"""


def _next_steps(directory: Path, origin: str, options: Options) -> Sequence[str]:
    config = directory / CONFIG_FILE
    return [
        f"made {directory}: configuration, keys and an example policy",
        f"the log's origin is {origin}, for good; its verifier key is in {directory / 'keys' / 'log.vkey'}",
        "",
        "Next:",
        f"  1  edit {directory / POLICY_FILE}: people, stores, who approves",
        f"  2  put the stores' credentials into {config}",
        f"  3  glassgate config check --config {config}",
        f"  4  glassgate migrate --config {config}",
        f"  5  glassgate serve --config {config}",
        *(["", "This is a trial: every entry of the log will say so."] if options.trial else []),
    ]
