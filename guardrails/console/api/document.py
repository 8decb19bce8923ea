"""The API's description as an OpenAPI 3.1 document, made from the operations themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from guardrails.console.api.models import Problem
from guardrails.console.api.operations import Nothing, Operation
from guardrails.console.security import CSRF_HEADER

__all__ = ["openapi_document"]

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM = "application/problem+json"
_ALWAYS = {401: "It is not known who calls; nothing is told.", 403: "The caller may not do this."}
_STATUSES = _ALWAYS | {
    400: "What is asked for cannot be done as it is.",
    404: "There is no such thing.",
    409: "It is decided already, or the ledger contradicts itself.",
    410: "It is not there any more, or its time is over.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The request is not of this form, or lacks a reason.",
    502: "The guarded database cannot be asked.",
    503: "The approvals or the ledger cannot be read or written now.",
}


def openapi_document(operations: Sequence[Operation], *, prefix: str, version: str, cookie: str) -> dict[str, Any]:
    """Returns the document.

    Args:
        operations: All of them.
        prefix: Of every path.
        version: Of the library.
        cookie: Name of the cookie of a signed-in browser.
    """
    bodies = [(operation.body, "validation") for operation in operations if operation.body is not Nothing]
    answers = [(operation.answer, "serialization") for operation in operations]
    models: Any = list(dict.fromkeys([*bodies, *answers, (Problem, "serialization")]))
    names, schemas = models_json_schema(models, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, names)
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "guardrails console",
            "version": version,
            "description": "What the console shows and does, for programs; under the same rules about who may see what.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of the provider that people sign in at."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie, "description": "Of a signed-in browser."},
                "form": {
                    "type": "apiKey",
                    "in": "header",
                    "name": CSRF_HEADER,
                    "description": "With the cookie, the token that the console's forms carry; needed for what changes something.",
                },
            },
        },
    }


def _operation(operation: Operation, names: Any) -> dict[str, Any]:
    roles = " or ".join(operation.roles)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"For the role {roles}.",
        "parameters": list(_parameters(operation)),
        "security": [{"token": []}, {"cookie": []} if operation.method == "GET" else {"cookie": [], "form": []}],
        "responses": {"200": {"description": "Done.", "content": _content(names[operation.answer, "serialization"])}},
    }
    has_input = operation.body is not Nothing
    statuses = {*_ALWAYS, 422, *operation.statuses, *((413, 415) if has_input else ())}
    problem = {_PROBLEM: {"schema": names[Problem, "serialization"]}}
    described["responses"] |= {
        str(status): {"description": _STATUSES[status], "content": problem} for status in sorted(statuses)
    }
    if has_input:
        described["requestBody"] = {"required": True, "content": _content(names[operation.body, "validation"])}
    return described


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    schema = operation.parameters.model_json_schema(ref_template=_REFERENCE)
    for name, described in schema["properties"].items():
        shown = {key: value for key, value in described.items() if key not in ("title", "description")}
        is_path = "{" + name + "}" in operation.path
        yield {
            "name": name,
            "in": "path" if is_path else "query",
            "required": is_path or name in schema.get("required", ()),
            "description": described.get("description", ""),
            "schema": shown,
        }


def _content(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
