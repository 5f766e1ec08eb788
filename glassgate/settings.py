"""Every setting of glassgate.toml: its section, meaning, kind of value and default. docs/configuration.md is
generated from this file.

`scope` says who may change a setting. *local*: this installation's own business; changing it weakens no
promise. *fixed*: chosen by `glassgate init`, for good. What could weaken a promise is no setting at all but
policy, and lies in the policy's store definitions and rules.
"""

# ruff: noqa: RUF009 (a dataclass field made by a function of our own is still a field)

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from glassgate.values import (
    Address,
    Read,
    Secret,
    address,
    choice,
    dsn,
    flag,
    log_origin,
    name,
    path,
    secret,
    text,
    url,
)

__all__ = [
    "CREDENTIAL",
    "SECTIONS",
    "Api",
    "Config",
    "Database",
    "Diagnostics",
    "Gate",
    "HttpProxy",
    "Keys",
    "Policy",
    "PostgresProxy",
    "Setting",
    "Slack",
    "settings_of",
]

REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    meaning: str
    read: Read
    default: Any  # as it would stand in the file; REQUIRED where there is none
    scope: Literal["local", "fixed"] = "local"

    @property
    def secret(self) -> bool:
        """A secret may also be given as `<name>_file`."""
        return self.read in (secret, dsn)

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


def _setting(meaning: str, read: Read, default: Any = REQUIRED, scope: Literal["local", "fixed"] = "local") -> Any:
    return field(metadata={"setting": (meaning, read, default, scope)})


def settings_of(section: type) -> tuple[Setting, ...]:
    return tuple(Setting(f.name, *f.metadata["setting"]) for f in fields(section))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    member: str = _setting("whose data is behind this gate; a gate serves exactly one member", name, scope="fixed")
    origin: str = _setting(
        "the log's name for good: a URL without scheme, whose path is where the API listener serves the tiles",
        log_origin,
        scope="fixed",
    )
    issuer: str = _setting("`iss` of every token, a URL; proxies accept no other", url, scope="fixed")
    trial: bool = _setting(
        "a trial: the policy file's first version is adopted as it is, and every entry carries the mark",
        flag,
        False,
        "fixed",
    )
    public_url: str = _setting('base URL of the API as people reach it; "" = derived from api.listen', url, "")
    data_dir: Path = _setting(
        "what this host remembers between starts: its predecessor writers. Several processes of one role on a host "
        "each need their own",
        path,
        "data",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    dsn_owner: Secret = _setting(
        "PostgreSQL 15 or newer, as the owner who migrates; GLASSGATE_DSN sets it too. "
        "With no DSN at all an embedded PostgreSQL is used. Roles without a DSN of their own take this one "
        "with their own name and the password in keys.dir",
        dsn,
        "",
    )
    dsn_approvals: Secret = _setting("as the role glassgate_approvals", dsn, "")
    dsn_proxy: Secret = _setting("as the role glassgate_proxy", dsn, "")
    dsn_sequencer: Secret = _setting("as the role glassgate_sequencer", dsn, "")
    dsn_reader: Secret = _setting("as the role glassgate_reader", dsn, "")
    embedded_dir: Path | None = _setting(
        'where the embedded PostgreSQL lives; "" = a short directory derived from the place of this file. '
        "For evaluation: no replica, no backup",
        path,
        "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    dir: Path = _setting(
        "log.key, issuer.key, host.key, the trial CA and the database roles' passwords; every file 0600", path, "keys"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    file: Path = _setting(
        "the proposed policy; in force is the version in the log, and a file that differs is only reported",
        path,
        "policy.toml",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    listen: Address = _setting(
        "API, log tiles and Slack over HTTP; plain HTTP only on loopback", address, "127.0.0.1:8470"
    )
    tls_cert: Path | None = _setting("PEM certificate chain", path, "")
    tls_key: Path | None = _setting("its private key", path, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProxy:
    listen: Address | None = _setting(
        'the gate for HTTP stores; plain HTTP only on loopback; "" = off', address, "127.0.0.1:8480"
    )
    tls_cert: Path | None = _setting("PEM certificate chain", path, "")
    tls_key: Path | None = _setting("its private key", path, "")
    public_url: str = _setting('base URL as engineers reach it; "" = derived from listen', url, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresProxy:
    listen: Address | None = _setting('the gate for PostgreSQL stores, always TLS; "" = off', address, "127.0.0.1:5480")
    tls_cert: Path | None = _setting("PEM certificate chain", path, "")
    tls_key: Path | None = _setting("its private key", path, "")
    public_address: Address | None = _setting('host:port as engineers reach it; "" = listen', address, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    mode: Literal["off", "socket", "http"] = _setting(
        "how Slack's events arrive: a socket that we open (one replica), or signed HTTP on the API listener",
        choice("off", "socket", "http"),
        "off",
    )
    bot_token: Secret = _setting("xoxb-…", secret, "")
    app_token: Secret = _setting('xapp-…, for mode = "socket"', secret, "")
    signing_secret: Secret = _setting('for mode = "http"', secret, "")
    channel: str = _setting("the overseers' channel: its id, C…", text, "")
    api_url: str = _setting("Slack's Web API", url, "https://slack.com/api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    listen: Address | None = _setting(
        '/healthz, /readyz and /metrics; no secrets, but not for the public either; "" = off', address, "127.0.0.1:8490"
    )


SECTIONS: Final[dict[str, type]] = {
    "gate": Gate,
    "database": Database,
    "keys": Keys,
    "policy": Policy,
    "api": Api,
    "proxy.http": HttpProxy,
    "proxy.postgres": PostgresProxy,
    "slack": Slack,
    "diagnostics": Diagnostics,
}

CREDENTIAL: Final[dict[str, str]] = {
    "user": "login towards the store, with password",
    "password": "the password itself; better one of the next two",
    "password_file": "a file that holds it, read again when it changes",
    "password_env": "the environment variable that holds it",
    "bearer": "a token for `Authorization: Bearer`; likewise bearer_file, bearer_env",
    "bearer_file": "a file that holds it, read again when it changes",
    "bearer_env": "the environment variable that holds it",
    "header": "the name of any one header, with value",
    "value": "that header's value; likewise value_file, value_env",
    "value_file": "a file that holds it, read again when it changes",
    "value_env": "the environment variable that holds it",
    "upstream_ca_file": "PEM bundle that vouches for the store's certificate; the policy may pin its digest",
}
"""What a `[credentials.<name>]` table may hold; the policy's store definitions say which store uses which name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked. `directory` is that of the file."""

    directory: Path
    gate: Gate
    database: Database
    keys: Keys
    policy: Policy
    api: Api
    http: HttpProxy
    postgres: PostgresProxy
    slack: Slack
    diagnostics: Diagnostics
    credentials: dict[str, dict[str, str]]
    warnings: tuple[str, ...] = ()
