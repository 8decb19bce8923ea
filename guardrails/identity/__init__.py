"""Who acts: principals from verified tokens, principals that code merely names, and agents that prove themselves by their keys."""

from guardrails.identity.agents import AgentKey
from guardrails.identity.jwt import JwtVerifier
from guardrails.identity.proxy import ProxyHeaderVerifier
from guardrails.identity.registry import AgentRegistry
from guardrails.identity.signed_headers import SignedHeadersVerifier
from guardrails.identity.signin import OidcSignIn
from guardrails.identity.spiffe import SpiffeVerifier
from guardrails.identity.static import static_principal

__all__ = [
    "AgentKey",
    "AgentRegistry",
    "JwtVerifier",
    "OidcSignIn",
    "ProxyHeaderVerifier",
    "SignedHeadersVerifier",
    "SpiffeVerifier",
    "static_principal",
]
