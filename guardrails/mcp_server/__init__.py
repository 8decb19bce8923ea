"""A ready MCP server over a guarded database: its tools and resources, whose they are, and how they are served."""

from guardrails.mcp_server.app import make_server
from guardrails.mcp_server.auth import BearerVerifier, principal_of
from guardrails.mcp_server.calls import Calls, ServerSettings
from guardrails.mcp_server.serving import HttpSettings, serve_http, serve_stdio

__all__ = [
    "BearerVerifier",
    "Calls",
    "HttpSettings",
    "ServerSettings",
    "make_server",
    "principal_of",
    "serve_http",
    "serve_stdio",
]
