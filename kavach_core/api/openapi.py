"""The table as OpenAPI 3.1: a fragment per operation, with its schemas in place, and the document made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, cast

from pydantic import BaseModel

from kavach_core.api.operation import Caller, Operation

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

_PARAMETER: Final = re.compile(r"{(\w+)}")
_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "examples": ["NOT_FOUND"]},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        }
    },
}

#: How callers say who they are.
SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "kavachBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An agent's token, a session's, an API key, or a token the app's own auth understands.",
    }
}


def fragment(operation: Operation) -> dict[str, Any]:
    """What OpenAPI says about one operation, without its path and method."""
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [f"kavach {operation.tag}"],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": _responses(operation),
        "security": [] if Caller.ANYONE in operation.callers else [{"kavachBearer": []}],
        "description": _description(operation),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of(operation.body)}}
        said["requestBody"] = {"required": not operation.body_optional, "content": content}
    return said


def document(table: Sequence[Operation], *, server: str, version: str) -> dict[str, Any]:
    """The whole document for one mount, whose URL is `server`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = fragment(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kavach", "version": version},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"securitySchemes": SECURITY_SCHEMES},
    }


@cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model, with all it refers to in its place. It is shared, and not to be changed."""
    schema = model.model_json_schema(by_alias=True)
    return cast("dict[str, Any]", _without_refs(schema, schema.pop("$defs", {})))


def _without_refs(node: Json, definitions: dict[str, Json]) -> Json:
    if isinstance(node, list):
        return [_without_refs(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _without_refs(definitions[str(node["$ref"]).rpartition("/")[2]], definitions)
    return {key: _without_refs(value, definitions) for key, value in node.items()}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    properties = schema_of(operation.query).get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    if operation.output is not None:
        schema = schema_of(operation.output)
        if operation.output_is_list:
            schema = {"type": "array", "items": schema}
            done["headers"] = {"X-Total-Count": {"schema": {"type": "string"}}}
        done["content"] = {"application/json": {"schema": schema}}
    failed = {"description": "An error.", "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
    said = {str(operation.status): done, "default": failed}
    if operation.accepted is not None:
        content = {"application/json": {"schema": schema_of(operation.accepted)}}
        said["202"] = {"description": "Asked for.", "content": content}
    return said


def _description(operation: Operation) -> str:
    callers = ", ".join(sorted(operation.callers))
    scope = "" if operation.scope is None else f" An API key needs the scope `{operation.scope}`."
    return f"Callers: {callers}.{scope}"
