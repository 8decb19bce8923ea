"""What a message of an MCP client tells of itself: its conversation, and what program its client claims to be. Neither is an identity."""

from __future__ import annotations

from typing import Any

from guardrails.errors import UsageError
from guardrails.model import Runtime

try:
    from mcp.server.context import ServerRequestContext
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
    from starlette.requests import Request
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["client_of", "conversation_of", "runtime_of"]

_SESSION_HEADER = "mcp-session-id"


def runtime_of(
    context: ServerRequestContext[Any, Any],
    *,
    agent: str | None = None,
    purpose: str | None = None,
    connection: str | None = None,
) -> Runtime:
    """Returns what is recorded of a message beside its principal.

    Args:
        context: Of the message.
        agent: The agent, where the server knows it; the client's own name never is one.
        purpose: The declared purpose.
        connection: Names the connection where it is the conversation: over standard input and output.
    """
    return Runtime(
        "mcp", agent=agent, conversation_id=conversation_of(context, connection), purpose=purpose, client=client_of(context)
    )


def conversation_of(context: ServerRequestContext[Any, Any], connection: str | None) -> str | None:
    """Returns the MCP session, which the SDK has looked up; over HTTP there is none since 2026-07-28."""
    request = context.request
    if not isinstance(request, Request):
        return connection
    if context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return None
    return request.headers.get(_SESSION_HEADER)


def client_of(context: ServerRequestContext[Any, Any]) -> str | None:
    """Returns what the program at the other end claims to be, None when it says nothing."""
    params = context.session.client_params
    if params is None:
        return None
    told = f"{params.client_info.name} {params.client_info.version}"
    return "".join(character if character.isprintable() else " " for character in told).strip() or None
