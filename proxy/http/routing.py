"""Host and port to store, and everything about a store that a request needs ready made."""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from approvals.store_definition import StoreDefinition
from proxy.classify.rest import PatternRefused, RestClassifier
from proxy.stores import Stores

__all__ = ["Route", "RouteRefused", "Routes", "Upstream", "host_name", "is_loopback"]

_PORTS: Final = {"http": 80, "https": 443}


class RouteRefused(ValueError):
    """A store's definition that requests cannot be sent by; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a store's answers come from. `authority` is its Host field, `origin` what its own URLs begin with."""

    host: str
    port: int
    tls: bool
    authority: bytes
    origin: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """One store as requests meet it."""

    store: StoreDefinition
    digest: str
    upstream: Upstream
    classifier: RestClassifier


class Routes:
    """Routes compiled from store definitions, by their digest; a changed definition is another digest."""

    __slots__ = ("_compiled", "_found", "_stores")

    MAX: Final = 256

    def __init__(self) -> None:
        self._compiled: dict[str, Route] = {}
        self._stores: Stores | None = None
        self._found: dict[tuple[bytes, str], Route] = {}  # by Host as sent, for the stores of now

    def find(self, stores: Stores, host: bytes, dedicated: str = "") -> Route | None:
        """The store that a connection's dedicated port, else the request's Host leads to. None for an unknown host
        and for a store that speaks no HTTP. Raises RouteRefused."""
        if stores is not self._stores or len(self._found) >= self.MAX:
            self._found.clear()
            self._stores = stores
        route = self._found.get((host, dedicated))
        if route is None:
            route = self._search(stores, host, dedicated)
            if route is not None:
                self._found[host, dedicated] = route
        return route

    def _search(self, stores: Stores, host: bytes, dedicated: str) -> Route | None:
        found = stores.by_name(dedicated) if dedicated else stores.by_host(host_name(host))
        if found is None:
            return None
        definition, digest = found
        route = self._compiled.get(digest)
        if route is None:
            if definition.protocol != "http":
                return None
            route = Route(definition, digest, _upstream(definition), _classifier(definition))
            if len(self._compiled) >= self.MAX:
                self._compiled.clear()
            self._compiled[digest] = route
        return route


def host_name(host: bytes) -> str:
    """The name of a Host field without port; the grammar has been checked. A final dot names the same host."""
    text = host.decode("ascii").lower()
    if text.startswith("["):
        return text[1 : text.index("]")]
    return text.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _upstream(definition: StoreDefinition) -> Upstream:
    try:
        url = urlsplit(definition.upstream)
        scheme, host, port = url.scheme, url.hostname or "", url.port
    except ValueError as cause:
        raise RouteRefused(f"{definition.name}: upstream {definition.upstream!r}: {cause}") from cause
    if scheme not in _PORTS or not host or url.path not in ("", "/") or url.query or url.fragment or url.username:
        raise RouteRefused(f"{definition.name}: expected http(s)://host:port, got {definition.upstream!r}")
    if (scheme == "https") != (definition.tls != "off"):
        raise RouteRefused(f"{definition.name}: upstream is {scheme}, but tls is {definition.tls!r}")
    if scheme == "http" and not is_loopback(host):
        raise RouteRefused(f"{definition.name}: plain http only towards this machine itself, got {host!r}")
    shown = f"[{host}]" if ":" in host else host
    default = _PORTS[scheme]
    authority = shown if port in (None, default) else f"{shown}:{port}"
    origin = f"{scheme}://{authority}"
    return Upstream(
        host,
        port or default,
        scheme == "https",
        authority.encode("idna" if not authority.isascii() else "ascii"),
        origin.encode(),
    )


def _classifier(definition: StoreDefinition) -> RestClassifier:
    if definition.classifier not in ("", "rest"):
        raise RouteRefused(f"{definition.name}: no classifier {definition.classifier!r} for http stores")
    try:
        return RestClassifier(definition)
    except PatternRefused as cause:
        raise RouteRefused(f"{definition.name}: {cause}") from cause
