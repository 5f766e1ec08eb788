"""How the gate is reached, for people's own programs: addresses, the CA that vouches, the log's key."""

import socket
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

from approvals.api.schema import ConnectionInfo, LogInfo
from approvals.policy import Policy
from approvals.store_definition import StoreDefinition
from glassgate.keys import KeyRefused, certificate_authority
from glassgate.settings import Config
from glassgate.values import Address
from ledger.note import parse_vkey

__all__ = ["ConfiguredDoors", "log_prefix", "public_api_url", "verifier_key"]


def log_prefix(config: Config) -> str:
    """Where the API listener serves the log's tiles: the origin's path, such as "/log/acme"."""
    _, slash, path = config.gate.origin.partition("/")
    return slash + path


def public_api_url(config: Config) -> str:
    """As people reach the API; without a setting, what it listens on."""
    return config.gate.public_url or _url(config.api.listen, config.api.tls_cert is not None)


def verifier_key(config: Config) -> str:
    """The log's key as text (c2sp.org/signed-note); raises KeyRefused for another log's or none."""
    path = config.keys.dir / "log.vkey"
    try:
        verifier = parse_vkey(path.read_text().strip())
    except (OSError, ValueError) as cause:
        raise KeyRefused(f"{path} is no verifier key: {cause}") from cause
    if verifier.name != config.gate.origin:
        raise KeyRefused(f"{path} is the key of the log {verifier.name}, not of {config.gate.origin}")
    return verifier.vkey


class ConfiguredDoors:
    """approvals.api.backend.Doors from the configuration and the policy in force. `policy` gives the latest that
    this process knows. `placement`: whether one process holds everything (L0) or the operator's roles are apart."""

    def __init__(
        self, config: Config, policy: Callable[[], Policy | None], verifier_key: str, placement: Literal["L0", "L1"]
    ) -> None:
        self._config = config
        self._placement: Literal["L0", "L1"] = placement
        self._policy = policy
        self._verifier_key = verifier_key

    def connections(self) -> Mapping[str, ConnectionInfo]:
        policy = self._policy()
        if policy is None:
            return {}
        made = {name: self._connection(definition) for name, definition in policy.stores.items()}
        return {name: info for name, info in made.items() if info is not None}

    def log(self) -> LogInfo:
        return LogInfo(
            origin=self._config.gate.origin,
            verifier_key=self._verifier_key,
            url=public_api_url(self._config) + log_prefix(self._config),
        )

    def _connection(self, store: StoreDefinition) -> ConnectionInfo | None:
        if store.protocol == "postgres":
            return self._postgres(store)
        return self._http(store)

    def _postgres(self, store: StoreDefinition) -> ConnectionInfo | None:
        proxy = self._config.postgres
        address = proxy.public_address or proxy.listen
        if address is None or proxy.tls_cert is None:
            return None
        return ConnectionInfo(
            store=store.name,
            protocol="postgres",
            host=_reachable(address.host),
            port=address.port,
            ca=certificate_authority(proxy.tls_cert),
            base_url="",
            database=store.name,
            placement=self._placement,
        )

    def _http(self, store: StoreDefinition) -> ConnectionInfo | None:
        proxy = self._config.http
        if proxy.listen is None:
            return None
        base = urlsplit(proxy.public_url or _url(proxy.listen, proxy.tls_cert is not None))
        # The gate tells stores apart by their own host names; the gate's own name leads to none.
        host = store.hosts[0] if store.hosts else base.hostname or ""
        port = base.port or (443 if base.scheme == "https" else 80)
        return ConnectionInfo(
            store=store.name,
            protocol="http",
            host=host,
            port=port,
            ca=certificate_authority(proxy.tls_cert) if proxy.tls_cert is not None else "",
            base_url=f"{base.scheme}://{Address(host, port)}",
            database="",
            placement=self._placement,
        )


def _url(address: Address, tls: bool) -> str:
    return f"{'https' if tls else 'http'}://{Address(_reachable(address.host), address.port)}"


def _reachable(host: str) -> str:
    """A name for others: "every address" is none that can be connected to."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not listened on
