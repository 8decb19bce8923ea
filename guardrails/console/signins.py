"""The ways to sign in: at an OpenID Connect provider, and with one-time links; and how a principal is kept for the while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from guardrails.model import Actor, Principal

__all__ = ["SignInFlow", "SignIns", "principal_fields", "principal_from"]


class SignInFlow(Protocol):
    """Signing in at a provider by redirects, as `guardrails.identity.OidcSignIn` does."""

    def begin(self) -> tuple[str, dict[str, str]]:
        """Returns the address to send the browser to, and what has to be kept until it comes back."""
        ...

    def finish(self, transaction: Mapping[str, str], query: str) -> Principal:
        """Returns who signed in, from what was kept and the query string that the provider sent along.

        Raises:
            IdentityError: It does not fit together, or the provider vouches for nobody.
        """
        ...


@dataclass(frozen=True, slots=True)
class SignIns:
    """What the sign-in page offers; one-time links are always good.

    Args:
        provider: Where people sign in; None where there are only links.
        provider_name: How the page calls it.
    """

    provider: SignInFlow | None = None
    provider_name: str = "your identity provider"


def principal_fields(principal: Principal) -> dict[str, Any]:
    """Returns a principal as JSON fields; attributes that JSON cannot hold are left out."""
    plain = {
        name: value for name, value in principal.attributes.items() if isinstance(value, (str, int, float, bool, type(None)))
    }
    return {
        "id": principal.id,
        "groups": sorted(principal.groups),
        "attributes": plain,
        "issuer": principal.issuer,
        "verified": principal.verified,
        "token_digest": principal.token_digest,
        "expires_at": principal.expires_at,
        "actors": [asdict(actor) for actor in principal.actors],
    }


def principal_from(fields: Mapping[str, Any]) -> Principal:
    """Returns the principal of `principal_fields`."""
    return Principal(
        fields["id"],
        frozenset(fields["groups"]),
        fields["attributes"],
        fields["issuer"],
        fields["verified"],
        fields["token_digest"],
        fields["expires_at"],
        tuple(Actor(**actor) for actor in fields["actors"]),
    )
