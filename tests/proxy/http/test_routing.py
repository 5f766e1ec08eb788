"""Host and port to store; and the definitions that lead nowhere."""

import pytest

from approvals.store_definition import StoreDefinition
from proxy.http.routing import RouteRefused, Routes, host_name, is_loopback
from proxy.stores import Stores


def store(**settings: object) -> StoreDefinition:
    values: dict[str, object] = {
        "name": "crm-api",
        "protocol": "http",
        "upstream": "https://crm.internal:8443",
        "hosts": ("crm-api.example", "::1"),
        **settings,
    }
    return StoreDefinition(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", [b"crm-api.example", b"CRM-API.example:8480", b"crm-api.example.", b"[::1]:80"])
def test_a_host_leads_to_its_store(host: bytes) -> None:
    route = Routes().find(Stores((store(),)), host)
    assert route is not None
    assert route.store.name == "crm-api"
    assert route.upstream.authority == b"crm.internal:8443"
    assert route.upstream.origin == b"https://crm.internal:8443"


@pytest.mark.parametrize("host", [b"crm-api.example.evil", b"evil-crm-api.example", b"", b"crm-api"])
def test_another_host_leads_nowhere(host: bytes) -> None:
    assert Routes().find(Stores((store(),)), host) is None


def test_a_dedicated_port_asks_no_host() -> None:
    stores = Stores((store(),))
    assert Routes().find(stores, b"whatever", "crm-api") is not None
    assert Routes().find(stores, b"crm-api.example", "other") is None


def test_a_postgres_store_speaks_no_http() -> None:
    definition = StoreDefinition(name="crm-api", protocol="postgres", upstream="h:1/d", hosts=("h",))
    assert Routes().find(Stores((definition,)), b"h") is None


def test_a_changed_definition_is_compiled_anew() -> None:
    routes = Routes()
    first = routes.find(Stores((store(),)), b"crm-api.example")
    second = routes.find(Stores((store(reads=("GET /*",)),)), b"crm-api.example")
    assert first is not None
    assert second is not None
    assert first.digest != second.digest
    assert routes.find(Stores((store(),)), b"crm-api.example") is first


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"upstream": "http://crm.internal"}, "upstream is http, but tls is 'verify-full'"),
        ({"upstream": "http://crm.internal", "tls": "off"}, "plain http only towards this machine"),
        ({"upstream": "https://crm.internal", "tls": "off"}, "upstream is https, but tls is 'off'"),
        ({"upstream": "crm.internal:1"}, "expected http(s)://host:port"),
        ({"upstream": "https://u:p@crm.internal"}, "expected http(s)://host:port"),
        ({"upstream": "https://crm.internal/base"}, "expected http(s)://host:port"),
        ({"upstream": "https://crm.internal:99999"}, "upstream"),
        ({"classifier": "elasticsearch"}, "no classifier 'elasticsearch'"),
        ({"reads": ("FETCH /x",)}, "expected one of"),
    ],
)
def test_a_definition_that_cannot_be_followed(settings: dict[str, object], said: str) -> None:
    with pytest.raises(RouteRefused) as refused:
        Routes().find(Stores((store(**settings),)), b"crm-api.example")
    assert said in str(refused.value)


def test_the_default_port_is_not_named() -> None:
    route = Routes().find(Stores((store(upstream="https://crm.internal"),)), b"crm-api.example")
    assert route is not None
    assert route.upstream.authority == b"crm.internal"
    assert route.upstream.port == 443


def test_names_and_loopback() -> None:
    assert host_name(b"[::1]:80") == "::1"
    assert host_name(b"A.B:80") == "a.b"
    assert [is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "10.0.0.1", "localhost.evil", "", "2130706433")] == [False] * 5
