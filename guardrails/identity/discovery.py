"""What an OpenID provider says about itself (OpenID Connect Discovery 1.0, section 4), read from its well-known address."""

from __future__ import annotations

from dataclasses import dataclass

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.fetching import fetch_json, require_private_url

__all__ = ["ProviderMetadata", "discover_provider"]

_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The parts of a provider's configuration that are used here.

    Args:
        issuer: As it stands in the provider's tokens.
        jwks_url: Where its keys are.
        authorization_url: Where people sign in, None if nowhere.
        token_url: Where a code is exchanged for tokens, None if nowhere.
        token_methods: How a client may show who it is there.
        challenge_methods: The PKCE methods that it says it knows; empty when it says nothing.
        names_itself: Whether it sends its name along with every answer (RFC 9207).
    """

    issuer: str
    jwks_url: str
    authorization_url: str | None = None
    token_url: str | None = None
    token_methods: tuple[str, ...] = ("client_secret_basic",)
    challenge_methods: tuple[str, ...] = ()
    names_itself: bool = False


def discover_provider(issuer: str, timeout_s: float = 5) -> ProviderMetadata:
    """Reads and checks a provider's configuration.

    Args:
        issuer: Its URL, exactly as its tokens have it.
        timeout_s: Seconds for reading.

    Raises:
        IdentityError: It could not be read, is another issuer's or names no keys (identity.key_unknown).
        UsageError: A URL is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """
    document = fetch_json(issuer.rstrip("/") + _DISCOVERY, timeout_s)
    found: dict[str, object] = document if isinstance(document, dict) else {}
    jwks_url = _url(found, "jwks_uri", issuer)
    if found.get("issuer") != issuer or jwks_url is None:
        raise IdentityError("identity.key_unknown", "The issuer's configuration is not its own or names no keys.")
    return ProviderMetadata(
        issuer,
        jwks_url,
        _url(found, "authorization_endpoint", issuer),
        _url(found, "token_endpoint", issuer),
        _texts(found, "token_endpoint_auth_methods_supported") or ("client_secret_basic",),
        _texts(found, "code_challenge_methods_supported"),
        found.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(found: dict[str, object], name: str, issuer: str) -> str | None:
    url = found.get(name)
    if not isinstance(url, str):
        return None
    require_private_url(url)
    if issuer.startswith("https:") and not url.startswith("https:"):
        raise UsageError("usage.input_invalid", "An issuer over https names an address that is not.")
    return url


def _texts(found: dict[str, object], name: str) -> tuple[str, ...]:
    listed = found.get(name)
    return tuple(text for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()
