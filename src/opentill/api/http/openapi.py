"""OpenAPI 3.1, made from the route table and the structs that decode and encode (served at /openapi.json)."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from opentill import __version__
from opentill.api.http.call import Auth, Call, Operation
from opentill.api.http.routing import SANDBOX_ALIAS, offered, parameter_names
from opentill.api.wire import Reply

_REFERENCE: Final = "#/components/schemas/{name}"

_ERRORS: Final = {
    400: "The request can not be understood, or is refused by the state of its record",
    401: "The token is missing, wrong, expired or revoked",
    403: "accountId is not the token's parent account",
    404: "No such record of this merchant",
    409: "The idempotency key, or session id, belongs to another request, or its first is still running",
    429: "Too many requests in this window",
    500: "A fault of the server",
    503: "The server is too busy or stopping, or can not tell yet; try again",
}

_HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {"schema": {"type": "string"}},
    "X-Rate-Limit-Limit": {"schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "X-Rate-Limit-Remaining": {"schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "X-Rate-Limit-Window": {"schema": {"type": "string", "pattern": "^[0-9]+s$"}},
}
"""On every answer."""

_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code", "description", "data"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "not": {"const": "00"}},
        "description": {"type": "string"},
        "data": {"type": ["object", "null"]},
    },
}


_SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "adviceTimestamp": {"type": "apiKey", "in": "header", "name": "X-Timestamp"},
    "adviceSignature": {"type": "apiKey", "in": "header", "name": "X-Signature"},
}


async def get_openapi(call: Call) -> Reply:
    """Return the description of this server's API."""
    return _rendered(call.route.table, call.deps.settings.public_url, sandbox=call.deps.sandbox)


@cache
def _rendered(operations: tuple[Operation, ...], public_url: str, *, sandbox: bool) -> Reply:
    return Reply(200, "", msgspec.json.encode(document(operations, public_url, sandbox=sandbox)))


def document(operations: Iterable[Operation], public_url: str, *, sandbox: bool) -> dict[str, Any]:
    """Return the OpenAPI document of these operations, for a server in sandbox or live mode."""
    operations = offered(operations, sandbox=sandbox, advised=True)
    types = {kind for each in operations for kind in (each.body, each.data) if kind is not None}
    _, components = msgspec.json.schema_components(
        sorted(types, key=lambda kind: kind.__name__), ref_template=_REFERENCE
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        described = _operation(each, sandbox=sandbox)
        paths.setdefault(each.path, {})[each.method.lower()] = described
        if sandbox and each.path.startswith(SANDBOX_ALIAS[0]):
            alias = paths.setdefault(each.path.replace(*SANDBOX_ALIAS, 1), {})
            alias[each.method.lower()] = described | {"operationId": f"{each.name}InSandbox"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "opentill",
            "version": __version__,
            "summary": "A self-hosted checkout-order server that speaks Nomba's Online Checkout API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": components | {"Error": _ERROR_SCHEMA},
            "headers": _HEADERS,
            "responses": {f"Error{status}": _error(text) for status, text in _ERRORS.items()},
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _operation(operation: Operation, *, sandbox: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation, sandbox=sandbox),
        "responses": _responses(operation),
        "security": _security(operation, sandbox=sandbox),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": _schema_of(operation.body)}},
        }
    return described


def _security(operation: Operation, *, sandbox: bool) -> list[dict[str, Any]]:
    """Return whose word is taken: the open sandbox needs no token, but checks one that is sent (ruling 6)."""
    if operation.auth is Auth.OPEN:
        return []
    if operation.auth is Auth.SIGNED:
        return [{"adviceSignature": [], "adviceTimestamp": []}]
    return [{"accessToken": []}, {}] if sandbox else [{"accessToken": []}]


def _schema_of(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _parameters(operation: Operation, *, sandbox: bool) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 255}
    found = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in parameter_names(operation)
    ]
    if operation.query is not None:
        found += _query_parameters(operation.query)
    if operation.auth in {Auth.TOKEN, Auth.OLD_TOKEN} or operation.account_required:
        required = operation.account_required and (not sandbox or operation.auth is Auth.OPEN)
        found.append({"name": "accountId", "in": "header", "required": required, "schema": text})
    if operation.mutating:
        key = {"type": "string", "pattern": "^[ -~]{1,255}$"}
        found.append({"name": "X-Idempotent-key", "in": "header", "required": False, "schema": key})
    return found


def _query_parameters(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Describe the query; JSON null has no form in it, so only the other half of an optional is told.

    There a text may be empty, for a blank parameter counts as absent.
    """
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    schema = components.pop(query.__name__)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _in_place(_without_null(member), components),
        }
        for name, member in schema["properties"].items()
    ]


def _in_place(member: dict[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an enumeration where it is used: only bodies have their parts described by name."""
    reference = member.get("$ref")
    return member if reference is None else components[reference.rpartition("/")[2]]


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in member.get("anyOf", ()) if choice != {"type": "null"}]
    if not choices:
        return member
    return {name: value for name, value in choices[0].items() if name != "minLength"}


def _responses(operation: Operation) -> dict[str, Any]:
    errors = {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in _ERRORS
        if _can_answer(operation, status)
    }
    media_type = "text/event-stream" if operation.streams else "application/json"
    return {"200": _response("Success", _success_schema(operation), media_type)} | errors


def _can_answer(operation: Operation, status: int) -> bool:
    takes_input = operation.auth is not Auth.OPEN or operation.body is not None
    when = {
        409: operation.mutating or operation.auth is Auth.SIGNED,
        429: operation.rate_limited,
        500: True,
        503: operation.enveloped or operation.streams,
    }
    return when.get(status, takes_input)


def _error(description: str) -> dict[str, Any]:
    return _response(description, {"$ref": _REFERENCE.format(name="Error")})


def _response(
    description: str, schema: dict[str, Any], media_type: str = "application/json"
) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS},
        "content": {media_type: {"schema": schema}},
    }


def _success_schema(operation: Operation) -> dict[str, Any]:
    if not operation.enveloped:
        return {"type": "string" if operation.streams else "object"}
    data: dict[str, Any] = {"type": "null"} if operation.data is None else _schema_of(operation.data)
    return {
        "type": "object",
        "required": ["code", "description", "data"],
        "additionalProperties": False,
        "properties": {
            "code": {"const": operation.success_code},
            "description": {"const": operation.description},
            "data": data,
        },
    }
