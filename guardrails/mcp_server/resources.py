"""The schema as resources: one for the list of relations, one for each, as far as the principal of the request may see them.

They say the same as the tools `list_tables` and `describe`, and are recorded as those are.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.mcp_server import schema
from guardrails.mcp_server.tools import NotSeen

try:
    from mcp_types import Resource, ResourceTemplate
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["JSON_TYPE", "listed_resources", "read", "templates"]

JSON_TYPE = "application/json"
_ROOT = "guardrails://schema"
_MOST_CHARACTERS = 2000


def listed_resources(guard: Guard, call: str | None) -> list[Resource]:
    """Returns the resources that the session's principal may read."""
    relations = schema.listed(guard, ("resources/list", call)).tables
    whole = Resource(uri=_ROOT, name="schema", title="Tables and views", mime_type=JSON_TYPE)
    each = [
        Resource(uri=f"{_ROOT}/{quote(r.name, safe='')}", name=r.name, title=f"{r.kind} {r.name}", mime_type=JSON_TYPE)
        for r in relations
    ]
    return [whole, *each]


def templates() -> list[ResourceTemplate]:
    """Returns how the resource of a relation is named."""
    return [
        ResourceTemplate(
            uri_template=f"{_ROOT}/{{relation}}",
            name="relation",
            title="A table or view",
            description="Columns and types of a table or view, and which columns are masked.",
            mime_type=JSON_TYPE,
        )
    ]


def read(guard: Guard, uri: str, call: str | None) -> str:
    """Returns a resource as JSON.

    Raises:
        NotSeen: There is none of that name, as far as the session's principal may see.
    """
    root, _, name = uri.partition(f"{_ROOT}/")
    if uri.rstrip("/") == _ROOT:
        return schema.listed(guard, ("resources/read", call)).model_dump_json()
    if root or not name or len(uri) > _MOST_CHARACTERS:
        raise NotSeen
    found = schema.find(guard, unquote(name), ("resources/read", call))
    if found is None:
        raise NotSeen
    return found.model_dump_json()
