"""glassgate.toml and the environment -> a frozen Config; every fault at once, in words for a person.

GLASSGATE_PROXY__HTTP__LISTEN=127.0.0.1:8443     overrides `listen` of [proxy.http]
GLASSGATE_DSN=postgresql://…                     is database.dsn_owner
bot_token_file = "slack.token"                   reads a secret from a file that only its owner can read
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from glassgate.clock import SystemClock
from glassgate.settings import (
    CREDENTIAL,
    SECTIONS,
    Config,
    Setting,
    settings_of,
)
from glassgate.values import Address, Expected, Secret

__all__ = ["ConfigFaults", "load", "parse"]

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_SECRET_BYTES: Final = 64 * 1024
_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_MEMBER_OF: Final = {"proxy.http": "http", "proxy.postgres": "postgres"}

Tables = dict[str, dict[str, Any]]


class ConfigFaults(Exception):
    """Everything that is wrong, one line each: `glassgate.toml: section.key: expected ..., got ...`."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def load(file: Path, environ: Mapping[str, str]) -> Config:
    """Read the file and what the environment overrides; raises ConfigFaults."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as cause:
        raise ConfigFaults([f"{file}: cannot be read: {cause.strerror}"]) from cause
    if len(data) > MAX_FILE_BYTES:
        raise ConfigFaults([f"{file}: larger than {MAX_FILE_BYTES} bytes"])
    return parse(data, file.name, file.absolute().parent, environ)


def parse(data: bytes, file: str, directory: Path, environ: Mapping[str, str]) -> Config:
    """As `load`, from bytes; `directory` is where relative paths begin. Secret files are read here."""
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as cause:
        raise ConfigFaults([f"{file}: not TOML: {cause}"]) from cause
    reader = _Reader(file, directory)
    tables = reader.sections(document)
    reader.override(tables, environ)
    values = {name: reader.section(name, tables.get(name, {})) for name in SECTIONS}
    credentials = reader.credentials(tables)
    if not reader.faults:
        reader.cross_check(values)
        reader.usable(credentials, environ)
    if reader.faults:
        raise ConfigFaults(reader.faults)
    built = {_MEMBER_OF.get(name, name): SECTIONS[name](**value) for name, value in values.items()}
    return Config(directory=directory, credentials=credentials, **built)


class _Reader:
    """One reading: collects the faults."""

    def __init__(self, file: str, directory: Path) -> None:
        self.faults: list[str] = []
        self._file = file
        self._directory = directory

    def fault(self, where: str, text: str) -> None:
        self.faults.append(f"{self._file}: {where}: {text}")

    def sections(self, document: dict[str, Any]) -> Tables:
        """The tables by dotted name, as far as they are known."""
        parents = {name.rpartition(".")[0] for name in SECTIONS} - {""} | {"credentials"}
        tables: Tables = {}
        for key, value in document.items():
            if key in parents and isinstance(value, dict):
                for inner, table in value.items():
                    self._table(f"{key}.{inner}", table, tables)
            else:
                self._table(key, value, tables)
        return tables

    def _table(self, name: str, table: Any, tables: Tables) -> None:
        if name not in SECTIONS and not name.startswith("credentials."):
            known = [*SECTIONS, "credentials"]
            self.fault(name, f"no such {'section' if isinstance(table, dict) else 'setting'}{_nearest(name, known)}")
        elif not isinstance(table, dict):
            self.fault(name, f"expected a section [{name}], got {_shown(table)}")
        else:
            tables[name] = dict(table)

    def override(self, tables: Tables, environ: Mapping[str, str]) -> None:
        """GLASSGATE_SECTION__KEY; names of credentials match with `-` and `_` taken as one."""
        if environ.get("GLASSGATE_DSN"):
            database = tables.setdefault("database", {})
            # "Use this database": no line of the file has to be removed for it.
            for key in ("dsn_owner_file", "embedded_dir"):
                database.pop(key, None)
            database["dsn_owner"] = environ["GLASSGATE_DSN"]
        for variable, value in sorted(environ.items()):
            if not variable.startswith("GLASSGATE_") or "__" not in variable:
                continue
            section, _, key = variable.removeprefix("GLASSGATE_").lower().replace("__", ".").rpartition(".")
            if section.startswith("credentials."):
                section = next((t for t in tables if t.replace("-", "_") == section.replace("-", "_")), section)
            elif section not in SECTIONS:
                self.faults.append(f"{variable}: no such section: {section}{_nearest(section, SECTIONS)}")
                continue
            table = tables.setdefault(section, {})
            # A secret may stand in the file in one of its two forms and in the environment in the other.
            table.pop(key.removesuffix("_file") if key.endswith("_file") else f"{key}_file", None)
            table[key] = value

    def section(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        known = settings_of(SECTIONS[name])
        names = {s.name for s in known} | {f"{s.name}_file" for s in known if s.secret}
        for key in table:
            if key not in names:
                self.fault(f"{name}.{key}", f"no such setting{_nearest(key, names)}")
        for setting in known:
            self._read(name, setting, table, values)
        return values

    def _read(self, section: str, setting: Setting, table: dict[str, Any], values: dict[str, Any]) -> None:
        where = f"{section}.{setting.name}"
        value = table.get(setting.name, setting.default)
        if setting.secret and f"{setting.name}_file" in table:
            if setting.name in table:
                self.fault(where, f"given twice, also as {setting.name}_file")
                return
            where += "_file"
            value = self._secret_file(where, table[f"{setting.name}_file"])
            if value is None:
                return
        elif setting.name not in table and setting.required:
            self.fault(where, "is required")
            return
        try:
            values[setting.name] = setting.read(value, self._directory)
        except Expected as cause:
            got = "something else" if setting.secret else _shown(value)
            self.fault(where, f"expected {cause}, got {got}")

    def _secret_file(self, where: str, value: Any) -> str | None:
        if not isinstance(value, str) or not value:
            self.fault(where, f"expected a path in quotes, got {_shown(value)}")
            return None
        path = self._directory / Path(value).expanduser()
        if not self._private(where, path):
            return None
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        try:
            found = data.decode().strip()
        except UnicodeDecodeError:
            found = ""
        if not found or len(data) > MAX_SECRET_BYTES:
            self.fault(where, f"{path} holds no secret of a usable size")
            return None
        return found

    def _private(self, where: str, path: Path) -> bool:
        try:
            status = path.stat()
            readable = os.access(path, os.R_OK)
        except OSError as cause:
            self.fault(where, f"{path} cannot be read: {cause.strerror}")
            return False
        if not stat.S_ISREG(status.st_mode) or not readable:
            self.fault(where, f"{path} cannot be read")
            return False
        if status.st_mode & 0o007:
            mode = stat.S_IMODE(status.st_mode)
            self.fault(where, f"{path} is open to everybody on this machine (mode {mode:04o}); run: chmod 600 {path}")
            return False
        return True

    def credentials(self, tables: Tables) -> dict[str, dict[str, str]]:
        """What proxy/credentials.py takes, paths made absolute; which combination is usable is its own check."""
        found: dict[str, dict[str, str]] = {}
        for section, table in tables.items():
            if not section.startswith("credentials."):
                continue
            credential = section.removeprefix("credentials.")
            if not _CREDENTIAL_NAME.fullmatch(credential):
                self.fault(section, "expected a name of letters, digits, hyphens and underscores")
            settings: dict[str, str] = {}
            for key, value in table.items():
                where = f"{section}.{key}"
                if key not in CREDENTIAL:
                    self.fault(where, f"no such setting{_nearest(key, CREDENTIAL)}")
                elif not isinstance(value, str) or not value:
                    self.fault(where, "expected a text in quotes, got something else")
                elif key.endswith("_file"):
                    path = self._directory / Path(value).expanduser()
                    if key == "upstream_ca_file" and not path.is_file():
                        self.fault(where, f"{path} is no file")
                    elif key != "upstream_ca_file":
                        self._private(where, path)
                    settings[key] = str(path)
                else:
                    settings[key] = value
            found[credential] = settings
        return found

    def usable(self, credentials: dict[str, dict[str, str]], environ: Mapping[str, str]) -> None:
        """Whether each credential is given in exactly one way, by the rules of the code that will use it."""
        from proxy.credentials import Credentials  # imported when there is one: it brings the proxy's libraries

        for name, settings in credentials.items():
            try:
                Credentials({name: settings}, SystemClock(), environ)
            except ValueError as cause:
                self.faults.append(f"{self._file}: {cause}")

    def cross_check(self, values: dict[str, dict[str, Any]]) -> None:
        for section in ("api", "proxy.http", "proxy.postgres"):
            self._tls(section, values[section])
        self._slack(values["slack"])
        database = values["database"]
        given = [name for name, value in database.items() if isinstance(value, Secret) and value]
        if given and database["embedded_dir"] is not None:
            self.fault("database.embedded_dir", f"means nothing beside {given[0]}: remove one of them")
        for name in given:
            if not database[name].reveal().startswith(("postgresql://", "postgres://")):
                self.fault(f"database.{name}", "expected a DSN like postgresql://user:password@host/database")

    def _tls(self, section: str, values: dict[str, Any]) -> None:
        listen: Address | None = values["listen"]
        if (values["tls_cert"] is None) != (values["tls_key"] is None):
            missing = "tls_key" if values["tls_key"] is None else "tls_cert"
            self.fault(f"{section}.{missing}", "is required beside the other half of the pair")
        for half in ("tls_cert", "tls_key"):
            if values[half] is not None and not values[half].is_file():
                self.fault(f"{section}.{half}", f"{values[half]} is no file")
        if values["tls_key"] is not None and values["tls_key"].is_file():
            self._private(f"{section}.tls_key", values["tls_key"])
        if listen is None or values["tls_cert"] is not None:
            return
        if section == "proxy.postgres":
            self.fault(f"{section}.tls_cert", "is required: this listener speaks TLS only")
        elif not listen.loopback:
            self.fault(f"{section}.tls_cert", f"is required: plain HTTP is for loopback only, and listen is {listen}")

    def _slack(self, values: dict[str, Any]) -> None:
        needed = {"off": (), "socket": ("bot_token", "app_token"), "http": ("bot_token", "signing_secret")}
        for name in needed[values["mode"]]:
            if not values[name]:
                self.fault(f"slack.{name}", f'is required for mode = "{values["mode"]}"')
        if values["mode"] != "off" and not values["channel"]:
            self.fault("slack.channel", f'is required for mode = "{values["mode"]}"')


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _shown(value: Any) -> str:
    """As it stood in the file, cut: a whole certificate pasted into the wrong place is no help."""
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    shown = shown or (f'"{value}"' if isinstance(value, str) else str(value))
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
