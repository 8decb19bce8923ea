"""How programs say who they are: by a token of the provider that people sign in at."""

from __future__ import annotations

from typing import Protocol

from guardrails.model import Principal

__all__ = ["TokenVerifier"]


class TokenVerifier(Protocol):
    """Says whom a token is about, as `guardrails.identity.JwtVerifier` does."""

    def principal(self, token: str) -> Principal:
        """Returns who the token is about.

        Raises:
            IdentityError: It is not good.
        """
        ...
