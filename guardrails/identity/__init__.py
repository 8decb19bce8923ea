"""Who acts: principals from verified tokens, and principals that code merely names."""

from guardrails.identity.jwt import JwtVerifier
from guardrails.identity.signin import OidcSignIn
from guardrails.identity.static import static_principal

__all__ = ["JwtVerifier", "OidcSignIn", "static_principal"]
