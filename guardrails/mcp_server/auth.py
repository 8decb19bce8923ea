"""Who makes a request: the bearer token of that request, as a principal. An MCP server is an OAuth 2.1 resource server.

The token is looked at anew with every request, so nothing is remembered of an earlier one, and a session cannot be taken over: the
SDK compares who opened it (client, issuer, subject with its actors) with who sends each further request.

Sources: RFC 6750 (bearer tokens), RFC 8707 (audience), RFC 9068 (access tokens), RFC 8693 section 4.1 (actors), the MCP authorization
specification of 2025-11-25.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import PrivateAttr

from guardrails.errors import GuardrailsError, IdentityError, UsageError
from guardrails.identity.jwt import JwtVerifier
from guardrails.model import Principal

try:
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken
    from mcp.server.context import ServerRequestContext
    from starlette.requests import Request
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["BearerVerifier", "VerifiedToken", "principal_of"]

logger = logging.getLogger(__name__)


class VerifiedToken(AccessToken):
    """A token that was verified, with the principal that it establishes."""

    _principal: Principal = PrivateAttr()

    @classmethod
    def of(cls, token: str, claims: Mapping[str, object], principal: Principal) -> VerifiedToken:
        """Returns it with what the SDK compares: `subject` names the actors too, so that another agent is another owner."""
        made = cls(
            token=token,
            client_id=str(claims.get("client_id") or claims.get("azp") or ""),
            scopes=_scopes(claims),
            expires_at=principal.expires_at,
            subject=json.dumps([principal.id, *(actor.id for actor in principal.actors)]),
            claims={"iss": principal.issuer},
        )
        made._principal = principal
        return made

    @property
    def principal(self) -> Principal:
        return self._principal


class BearerVerifier:
    """The SDK's `TokenVerifier` over one of ours.

    Args:
        verifier: Whose audience is the URL of this server, as clients ask for it (RFC 8707).
    """

    def __init__(self, verifier: JwtVerifier) -> None:
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns the token when it is accepted; None, which the SDK answers with 401, when it is not."""
        try:
            return await asyncio.to_thread(self._verified, token)
        except GuardrailsError as error:
            logger.warning("A bearer token was not accepted: %s", error.code)
            return None

    def _verified(self, token: str) -> VerifiedToken:
        principal = self._verifier.principal(token)
        return VerifiedToken.of(token, self._verifier.claims(token), principal)


def principal_of(context: ServerRequestContext[Any, Any]) -> Principal:
    """Returns the principal of the HTTP request that a message came with.

    Raises:
        IdentityError: The request has no verified token (identity.token_invalid).
    """
    request = context.request
    user = request.scope.get("user") if isinstance(request, Request) else None
    token = user.access_token if isinstance(user, AuthenticatedUser) else None
    if not isinstance(token, VerifiedToken):
        raise IdentityError("identity.token_invalid", "The request has no verified token.")
    return token.principal


def _scopes(claims: Mapping[str, object]) -> list[str]:
    """Reads ``scope`` (RFC 9068 section 2.2.3: one text), or ``scp``, as some issuers name it."""
    stated = claims.get("scope", claims.get("scp"))
    listed: Collection[object] = stated.split() if isinstance(stated, str) else stated if isinstance(stated, list) else ()
    return [scope for scope in listed if isinstance(scope, str)]
