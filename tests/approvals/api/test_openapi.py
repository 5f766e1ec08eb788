"""The description is valid, complete, and the one that is published."""

import json
from pathlib import Path

from jsonschema import validate
from openapi_spec_validator import OpenAPIV31SpecValidator

from approvals.api.openapi import document, document_bytes
from approvals.api.problems import STATUS, TITLE, status_of
from approvals.api.routes import PERMISSIONS, PREFIX, ROUTES
from approvals.reasons import Reason
from tests.approvals.api.world import World, connection_to

PUBLISHED = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_it_is_valid() -> None:
    assert not [str(fault) for fault in OpenAPIV31SpecValidator(document()).iter_errors()]  # type: ignore[arg-type]


def test_the_published_one_does_not_drift() -> None:
    assert PUBLISHED.read_bytes() == document_bytes(), (
        "docs/openapi.json is old: python -m approvals.api.openapi > docs/openapi.json"
    )


def test_every_reference_leads_somewhere() -> None:
    text = document_bytes().decode()
    schemas = json.loads(text)["components"]["schemas"]
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in schemas


async def test_it_is_served_to_anybody(world: World) -> None:
    answer = await world.call("", "GET", "/openapi.json")
    assert (answer.status, answer.json) == (200, document())


async def test_answers_are_as_described(world: World) -> None:
    """Real answers against the published schemas, problems included."""
    made = await world.asked()
    await world.reviewed("olga", made, "approve")
    await world.asked()
    world.doors.found["crm-api"] = connection_to("crm-api", "http", 8480)
    described = document()
    asked = {
        "/whoami": "/whoami",
        "/stores": "/stores",
        "/connection/{store}": "/connection/crm-api",
        "/requests": "/requests?limit=1",
        "/requests/{id}": f"/requests/{made['id']}",
        "/grants": "/grants",
        "/log": "/log",
        "/log/entries": "/log/entries",
        "/log/entries/{idx}": "/log/entries/3",
    }
    for path, address in asked.items():
        answer = await world.call("sam", "GET", address)
        (content,) = described["paths"][path]["get"]["responses"]["200"]["content"].values()
        validate(answer.json, {**content["schema"], "components": described["components"]})
    refused = await world.call("sam", "POST", "/requests", {"stranger": 1})
    (content,) = described["paths"]["/requests"]["post"]["responses"]["422"]["content"].values()
    validate(refused.json, {**content["schema"], "components": described["components"]})


def test_every_route_declares_its_permission() -> None:
    assert {route.permission for route in ROUTES} <= set(PERMISSIONS)
    assert [(route.method, route.path) for route in ROUTES if route.permission == "public"] == [("POST", "/login")]
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert document()["servers"] == [{"url": PREFIX}]


def test_every_reason_has_a_status_with_a_title() -> None:
    assert {status_of(reason) for reason in Reason} <= set(TITLE)
    assert set(STATUS) <= set(Reason)
