"""The console's HTTP API: the same as the pages, for programs, under ``/api/v1``; described by ``/api/v1/openapi.json``."""

from __future__ import annotations

import functools
from importlib.metadata import version
from typing import Any

from pydantic import JsonValue, RootModel

from guardrails.console.api import approvals, ledger, policy, records
from guardrails.console.api.document import openapi_document
from guardrails.console.api.operations import Call, Nothing, Operation, operation
from guardrails.console.api.serving import PREFIX, routes_of
from guardrails.console.sessions import cookie_name

__all__ = ["OPERATIONS", "ROUTES"]


class Document(RootModel[dict[str, JsonValue]]):
    """An OpenAPI 3.1 document."""


@operation("GET", "/openapi.json", Document)
def get_document(call: Call[Nothing, Nothing]) -> Document:
    """Returns the description of these operations."""
    return Document(_document(cookie_name(call.console.settings)))


@functools.cache
def _document(cookie: str) -> dict[str, Any]:
    return openapi_document(OPERATIONS, prefix=PREFIX, version=version("guardrails-sql"), cookie=cookie)


OPERATIONS: tuple[Operation, ...] = (
    get_document,
    *policy.OPERATIONS,
    *approvals.OPERATIONS,
    *records.OPERATIONS,
    *ledger.OPERATIONS,
)
ROUTES = routes_of(OPERATIONS)
