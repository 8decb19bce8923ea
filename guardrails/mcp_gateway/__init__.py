"""A gateway in front of other MCP servers: their tools listed as accepted, and every call through a guard."""

from guardrails.mcp_gateway.config import GatewayConfig, ToolRule, UpstreamConfig
from guardrails.mcp_gateway.definitions import Definition, DefinitionKey
from guardrails.mcp_gateway.described import DescribedDatabase
from guardrails.mcp_gateway.gateway import Gateway
from guardrails.mcp_gateway.lock import Acceptance, LockFile, accept
from guardrails.mcp_gateway.offers import Offer, Offers
from guardrails.mcp_gateway.upstream import Call, Upstream

__all__ = [
    "Acceptance",
    "Call",
    "Definition",
    "DefinitionKey",
    "DescribedDatabase",
    "Gateway",
    "GatewayConfig",
    "LockFile",
    "Offer",
    "Offers",
    "ToolRule",
    "Upstream",
    "UpstreamConfig",
    "accept",
]
