"""The API described as OpenAPI 3.1, from the route table and the structs. Pure; docs/openapi.json is its output.

python -m approvals.api.openapi > docs/openapi.json
"""

import json
import re
import sys
from typing import Any, Final

import msgspec

from approvals.api.problems import CONTENT_TYPE, status_of
from approvals.api.routes import PERMISSIONS, PREFIX, ROUTES, Route
from approvals.api.schema import Problem
from approvals.reasons import TEXT, Reason

__all__ = ["document", "document_bytes"]

API_VERSION: Final = "1"
_ALWAYS: Final = (Reason.INTERNAL,)
_WITH_SESSION: Final = (Reason.SESSION_UNKNOWN, Reason.SEVERAL_CREDENTIALS)
_WITH_INPUT: Final = (Reason.REQUEST_INVALID,)
_WITH_BODY: Final = (Reason.BODY_TOO_LARGE, Reason.MEDIA_TYPE)
_PART: Final = re.compile(r"\{(\w+)\}")


def document() -> dict[str, Any]:
    """The whole description."""
    shapes: list[Any] = [Problem]
    for route in ROUTES:
        shapes += [shape for shape in (route.body, route.answer) if shape is not None]
    _, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    paths["/openapi.json"] = {"get": _own_description()}
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "glassgate",
            "version": API_VERSION,
            "description": "Ask for access, decide on it, use it, and read what was recorded.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session token (`ggs_…`) from POST /login.",
                }
            },
        },
    }
    # Defaults are Python's values until here: a tuple is no JSON array.
    return dict(json.loads(json.dumps(described)))


def document_bytes() -> bytes:
    return json.dumps(document(), indent=2, ensure_ascii=False).encode() + b"\n"


def _operation(route: Route) -> dict[str, Any]:
    public = route.permission == "public"
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": f"Permission `{route.permission}`: {PERMISSIONS[route.permission]}",
        "security": [] if public else [{"session": []}],
        "x-permission": route.permission,
        "parameters": _parameters(route),
        "responses": _responses(route, public),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(route.body)}},
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PART.findall(route.path)
    ]
    if route.query is not None:
        components: dict[str, Any] = {}
        shape = _reference(route.query, components)
        fields = components[shape["$ref"].rpartition("/")[2]]
        found += [
            {"name": name, "in": "query", "required": name in fields.get("required", ()), "schema": schema}
            for name, schema in fields["properties"].items()
        ]
    if route.path == "/requests" and route.method == "POST":
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 128},
            }
        )
    return found


def _responses(route: Route, public: bool) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.summary}
    if route.answer is not None:
        good["content"] = {"application/json": {"schema": _reference(route.answer)}}
    responses = {str(route.status): good}
    reasons = [*route.refuses, *_ALWAYS, *_WITH_INPUT]
    reasons += [] if public else _WITH_SESSION
    reasons += _WITH_BODY if route.body is not None else ()
    by_status: dict[int, list[Reason]] = {}
    for reason in dict.fromkeys(reasons):
        by_status.setdefault(status_of(reason), []).append(reason)
    for status, codes in sorted(by_status.items()):
        said = "\n".join(f"- `{code.value}`: {TEXT[code]}" for code in codes)
        responses[str(status)] = {
            "description": said,
            "content": {CONTENT_TYPE: {"schema": _reference(Problem)}},
        }
    return responses


def _own_description() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "summary": "This description.",
        "security": [],
        "x-permission": "public",
        "responses": {
            "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
        },
    }


def _reference(shape: Any, components: dict[str, Any] | None = None) -> dict[str, Any]:
    (reference,), found = msgspec.json.schema_components([shape], ref_template="#/components/schemas/{name}")
    if components is not None:
        components.update(found)
    return dict(reference)


if __name__ == "__main__":
    sys.stdout.buffer.write(document_bytes())
