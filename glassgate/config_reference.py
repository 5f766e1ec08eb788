"""docs/configuration.md: every setting, its meaning, its default, and who may change it."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from approvals.store_definition import StoreDefinition
from glassgate.settings import CREDENTIAL, SECTIONS, Setting, settings_of

__all__ = ["STORE", "configuration_page"]

STORE: Final = {
    "name": "its key in `[stores.<name>]`; the audience of tokens, and the database name in PostgreSQL logins",
    "protocol": '`"http"` or `"postgres"`',
    "upstream": '`"https://host:port"`, or `"host:port/database"`',
    "tls": '`"verify-full"`, or `"off"` towards loopback only',
    "tls_ca": "SHA-256 (hex) of the CA bundle that vouches for the upstream",
    "credential": "the name under which the proxy's configuration holds the secret",
    "data_class": '`"personal"`, `"internal"` or `"public"`',
    "regions": "where the data is",
    "actions": "what can be asked for at all",
    "hosts": "host names that lead to this store (http)",
    "classifier": 'how an operation is told: `"rest"` or `"sql"`',
    "reads": 'patterns of requests that read, such as `"GET /orders/*"`',
    "writes": "patterns of requests that write",
    "recording": "where entries become durable before anything is disclosed",
    "outcome": '`"held"`: the last message of an answer waits for its outcome entry',
    "overlap_reads": "a read may be forwarded while its intent is being committed; its answer waits",
    "max_body_bytes": "larger request bodies are refused",
    "max_text_bytes": "larger SQL texts and inspected bodies are refused, never cut",
}
"""The store definition's fields; whoever adds one says here what it does."""

_HEAD: Final = """\
<!-- Written by `python -m glassgate.config_reference`. Edit glassgate/settings.py, not this. -->

# Configuration

`glassgate init DIR` writes a `glassgate.toml` to begin with. `glassgate config check` names everything that is
wrong with one, at once. Paths are meant from the file's own directory.

- **Environment.** `GLASSGATE_PROXY__HTTP__LISTEN=127.0.0.1:9000` overrides `listen` of `[proxy.http]`: the
  section and the key in capitals, two underscores for each dot. `GLASSGATE_DSN` is `database.dsn_owner`;
  `GLASSGATE_PG_BIN` names a directory with PostgreSQL's `initdb` and `postgres` for the embedded one;
  `GLASSGATE_CONFIG` names the file.
- **Secrets.** A setting marked *secret* can be given as `<name>_file`: a file that holds it. One that everybody
  on the machine can read is refused. No secret is ever logged.
- **Who may change a setting.** *local*: this installation's own business; it weakens no promise. *fixed*: chosen
  by `glassgate init`, for good. What could weaken a promise is *policy*: it lies in the policy in force, its
  digest stands in every entry of the log, and `glassgate.toml` has no say in it. A test holds this page complete.
"""

_POLICY: Final = """\
## Policy

`policy.toml` is a proposal. In force is the version in the log: a trial adopts the file at its first start, a
real installation by `glassgate policy adopt`; a file that differs later is reported and changes nothing. All of
it is *policy*: organisations, people, reasons, rules, and every field of a store's definition.

### [stores.<name>]

| setting | meaning | default | scope |
|---|---|---|---|
"""


def configuration_page() -> str:
    parts = [_HEAD]
    for section, shape in SECTIONS.items():
        rows = "\n".join(_row(setting) for setting in settings_of(shape))
        parts.append(f"## [{section}]\n\n| setting | meaning | default | scope |\n|---|---|---|---|\n{rows}\n")
    rows = "\n".join(f"| `{name}` | {_cell(meaning)} | – | local |" for name, meaning in CREDENTIAL.items())
    parts.append(
        "## [credentials.<name>]\n\nThe stores' real credentials, on proxies only, under the names that the policy's "
        "store definitions use.\nExactly one secret per name.\n\n"
        f"| setting | meaning | default | scope |\n|---|---|---|---|\n{rows}\n"
    )
    parts.append(_POLICY + "\n".join(_store_rows()) + "\n")
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    default = "*required*" if setting.required else f"`{_toml(setting.default)}`"
    meaning = setting.meaning + (" (*secret*)" if setting.secret else "")
    return f"| `{setting.name}` | {_cell(meaning)} | {default} | {setting.scope} |"


def _store_rows() -> list[str]:
    rows = []
    for field in msgspec.structs.fields(StoreDefinition):
        required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        default = "*required*" if required else f"`{_toml(field.default)}`"
        rows.append(f"| `{field.name}` | {_cell(STORE[field.name])} | {default} | policy |")
    return rows


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(argv: list[str]) -> int:
    """`python -m glassgate.config_reference [FILE]`."""
    page = configuration_page()
    if len(argv) > 1:
        Path(argv[1]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
