"""Who acts: principals from verified tokens, principals that code merely names, and agents that prove themselves by their keys.

The names are imported when they are first used: a guard needs agents' keys, but not every verifier there is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULE_OF = {
    "AgentKey": "agents",
    "AgentRegistry": "registry",
    "JwtVerifier": "jwt",
    "OidcSignIn": "signin",
    "ProxyHeaderVerifier": "proxy",
    "SignedHeadersVerifier": "signed_headers",
    "SpiffeVerifier": "spiffe",
    "static_principal": "static",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
