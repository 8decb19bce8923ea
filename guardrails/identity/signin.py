"""Signing a person in with an OpenID provider: the authorization code flow (OpenID Connect Core, section 3.1) with PKCE (RFC 7636).

The exchange is Authlib's; the ID token that comes of it is verified by `JwtVerifier`, bound to this sign-in by its nonce. Needs the
extra `console`.
"""

from __future__ import annotations

import hmac
import importlib
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256, sha384, sha512
from typing import Any
from urllib.parse import parse_qsl

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.discovery import ProviderMetadata, discover_provider
from guardrails.identity.jwt import JwtVerifier
from guardrails.model import Principal

__all__ = ["OidcSignIn"]

_KEPT_S = 600
"""Seconds for which what a provider says about itself is believed."""
_MOST_S = 600
"""Seconds that a person may take to sign in."""
_OURS = frozenset(
    {"client_id", "code_challenge", "code_challenge_method", "code_verifier", "nonce", "redirect_uri", "response_mode"}
    | {"response_type", "scope", "state", "url"}
)


class OidcSignIn:
    """Signs people in with one provider, as one client of it. Safe to share between threads.

    Args:
        issuer: The provider's URL, exactly as its tokens have it.
        client_id: The client's id there.
        client_secret: The client's secret; None for a public client.
        redirect_uri: Where the provider sends people back to, as registered there.
        scopes: Asked for; ``openid`` is always.
        groups_claim: As for `JwtVerifier`.
        subject_claim: As for `JwtVerifier`.
        attributes: As for `JwtVerifier`.
        algorithms: As for `JwtVerifier`; its default when None.
        timeout_s: Seconds for one exchange with the provider.
        clock_s: Unix time in seconds.

    Raises:
        UsageError: The extra `console` is not installed, or the configuration is not sound.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        redirect_uri: str,
        scopes: Sequence[str] = ("openid", "profile", "email"),
        groups_claim: str = "groups",
        subject_claim: str = "sub",
        attributes: Sequence[str] | Mapping[str, str] = (),
        algorithms: Collection[str] | None = None,
        timeout_s: float = 5,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not client_id or not redirect_uri:
            raise UsageError("usage.input_invalid", "Signing in needs an issuer, a client and an address to come back to.")
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._scope = " ".join(dict.fromkeys(("openid", *scopes)))
        self._options: dict[str, Any] = {
            "groups_claim": groups_claim,
            "subject_claim": subject_claim,
            "attributes": attributes,
            "clock_s": clock_s,
            **({"algorithms": algorithms} if algorithms is not None else {}),
        }
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._known: tuple[float, ProviderMetadata, JwtVerifier] | None = None
        _client_class()

    def begin(self, **hints: str) -> tuple[str, dict[str, str]]:
        """Starts one sign-in.

        Args:
            hints: Further parameters of the request, such as ``prompt``, ``login_hint`` or ``resource``.

        Returns:
            The address to send the person to, and what `finish` needs afterwards. Keep that where only this person's browser can
            bring it back (a signed, HttpOnly cookie), and forget it once it was used.

        Raises:
            IdentityError: The provider does not answer or does not do what is needed (identity.provider_failed).
            UsageError: A hint would replace a parameter on which the sign-in rests (usage.input_invalid).
        """
        if not _OURS.isdisjoint(hints):
            raise UsageError("usage.input_invalid", f"A sign-in sets {', '.join(sorted(_OURS))} itself.")
        provider, _ = self._provider()
        transaction = {
            "issuer": self._issuer,
            "state": secrets.token_urlsafe(32),
            "nonce": secrets.token_urlsafe(32),
            "verifier": secrets.token_urlsafe(48),
            "begun_at": str(int(self._clock_s())),
        }
        with self._client(provider) as client:
            url, _ = client.create_authorization_url(
                provider.authorization_url,
                **hints,
                state=transaction["state"],
                nonce=transaction["nonce"],
                code_verifier=transaction["verifier"],
            )
        return str(url), transaction

    def finish(self, transaction: Mapping[str, str], query: Mapping[str, str] | str) -> Principal:
        """Completes one sign-in.

        Args:
            transaction: What `begin` returned.
            query: The parameters with which the person came back, or the query string itself (where repeats show).

        Returns:
            The person. It is signed in until `expires_at`.

        Raises:
            IdentityError: The answer is not one to this sign-in, comes too late, or says no (identity.sign_in_failed); the provider
                cannot be used (identity.provider_failed); its token is not accepted (as `JwtVerifier.principal`).
        """
        answer = _parameters(query)
        self._require_answer(transaction, answer)
        provider, verifier = self._provider()
        _require_sender(answer, provider)
        tokens = self._exchanged(provider, answer["code"], transaction["verifier"])
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise IdentityError("identity.provider_failed", "The provider gave no ID token.")
        _require_hash(verifier.claims(id_token, nonce=transaction["nonce"]), tokens.get("access_token"))
        return verifier.principal(id_token, nonce=transaction["nonce"])

    def _require_answer(self, transaction: Mapping[str, str], answer: Mapping[str, str]) -> None:
        if not all(isinstance(transaction.get(name), str) for name in ("issuer", "state", "nonce", "verifier", "begun_at")):
            raise _failed("There is no sign-in that this could be the end of.")
        if transaction["issuer"] != self._issuer:
            raise _failed("The sign-in was begun with another provider.")
        if not hmac.compare_digest(transaction["state"].encode(), answer.get("state", "").encode("utf-8", "replace")):
            raise _failed("The answer belongs to another sign-in.")
        begun_at = transaction["begun_at"]
        if not begun_at.isdecimal() or not 0 <= self._clock_s() - int(begun_at) + 1 <= _MOST_S:
            raise _failed("The sign-in took too long.")
        if "error" in answer:
            raise _failed("The provider did not sign anybody in.", error=answer["error"][:100])
        if not answer.get("code"):
            raise _failed("The provider's answer has no code.")

    def _exchanged(self, provider: ProviderMetadata, code: str, verifier: str) -> Mapping[str, object]:
        from authlib.common.errors import AuthlibBaseError

        failures: tuple[type[Exception], ...] = (_http().HTTPError, ValueError)
        with self._client(provider) as client:
            try:
                tokens: Mapping[str, object] = client.fetch_token(
                    provider.token_url, grant_type="authorization_code", code=code, code_verifier=verifier
                )
            except AuthlibBaseError as error:
                raise _failed("The provider did not accept the code.", error=str(error.error)[:100]) from error
            except failures as error:
                evidence = {"url": provider.token_url, "error": type(error).__name__}
                raise IdentityError(
                    "identity.provider_failed", "The provider could not be asked.", evidence=evidence
                ) from error
        return tokens

    def _client(self, provider: ProviderMetadata) -> Any:
        return _client_class()(
            self._client_id,
            self._client_secret,
            token_endpoint_auth_method=_method(self._client_secret, provider),
            scope=self._scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=self._timeout_s,
            follow_redirects=False,
            trust_env=not self._issuer.startswith("http:"),
        )

    def _provider(self) -> tuple[ProviderMetadata, JwtVerifier]:
        with self._lock:
            now = self._clock_s()
            if self._known is None or not 0 <= now - self._known[0] < _KEPT_S:
                self._known = now, *self._discovered()
            return self._known[1:]

    def _discovered(self) -> tuple[ProviderMetadata, JwtVerifier]:
        try:
            found = discover_provider(self._issuer, self._timeout_s)
        except IdentityError as error:
            raise IdentityError("identity.provider_failed", error.message, evidence=error.evidence) from error
        if found.authorization_url is None or found.token_url is None:
            raise IdentityError("identity.provider_failed", "The provider signs nobody in.")
        if found.challenge_methods and "S256" not in found.challenge_methods:
            raise IdentityError("identity.provider_failed", "The provider does not know PKCE with S256.")
        verifier = JwtVerifier(self._issuer, self._client_id, jwks_url=found.jwks_url, kind="id", **self._options)
        return found, verifier


def _client_class() -> Any:
    try:
        from authlib.integrations.httpx_client import OAuth2Client
    except ImportError as error:
        message = "Signing in with a provider needs the extra `console`."
        raise UsageError("usage.extra_missing", message, hint="Install guardrails-sql[console].") from error
    return OAuth2Client


def _http() -> Any:
    """The HTTP client that Authlib has chosen."""
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")


def _method(secret: str | None, provider: ProviderMetadata) -> str:
    if secret is None:
        return "none"
    return next(
        (m for m in ("client_secret_basic", "client_secret_post") if m in provider.token_methods), "client_secret_basic"
    )


def _parameters(query: Mapping[str, str] | str) -> dict[str, str]:
    if not isinstance(query, str):
        return dict(query)
    pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        raise _failed("The provider's answer says something twice.")
    return dict(pairs)


def _require_sender(answer: Mapping[str, str], provider: ProviderMetadata) -> None:
    """The answer must come from this provider, where it says from whom (RFC 9207)."""
    sender = answer.get("iss")
    if sender != provider.issuer and (sender is not None or provider.names_itself):
        raise _failed("The answer is another provider's.")


def _require_hash(claims: Mapping[str, object], access_token: object) -> None:
    """The access token must be the one that the ID token was given with, where it says so (section 3.1.3.8)."""
    wanted = claims.get("at_hash")
    if wanted is None or not isinstance(access_token, str):
        return
    digests = (hashed(access_token.encode()).digest() for hashed in (sha256, sha384, sha512))
    if wanted not in {urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode() for digest in digests}:
        raise IdentityError("identity.claims_invalid", "The ID token belongs to another access token.")


def _failed(message: str, **evidence: object) -> IdentityError:
    return IdentityError("identity.sign_in_failed", message, evidence=evidence)
