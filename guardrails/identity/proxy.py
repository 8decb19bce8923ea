"""A principal from the signed header of a proxy that has signed the person in: a JSON Web Token that the proxy itself made.

A header without a signature, such as ``X-Forwarded-User``, proves nothing to whoever can be reached around the proxy, and is not
supported. The principal is recorded as verified by ``proxy``.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.claims import claim_at, claims_invalid, is_verified, require_times
from guardrails.identity.fetching import fetch_text, require_private_url
from guardrails.identity.jwks import FixedKeys, KeySource, VerificationKey, parse_keys
from guardrails.identity.jws import verify_token
from guardrails.identity.jwt import JwtVerifier
from guardrails.identity.static import check_id, static_principal
from guardrails.model import Principal

__all__ = ["AmazonKeys", "AmazonVerifier", "ProxyHeaderVerifier", "TokenVerifier"]

_GOOGLE = "https://cloud.google.com/iap", "https://www.gstatic.com/iap/verify/public_key-jwk"
_KEY_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_MOST_KEYS = 10


class TokenVerifier(Protocol):
    """What makes principals of tokens."""

    def principal(self, token: str) -> Principal: ...


class ProxyHeaderVerifier:
    """Turns a request's headers into a principal. Safe to share between threads.

    Args:
        header: The header that the proxy sets, and takes away when a client sends it.
        verifier: Verifies the token in it, with the proxy's keys, issuer and audience.

    Example:
        >>> import jwt
        >>> from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
        >>> key = generate_private_key(SECP256R1())
        >>> proxy = ProxyHeaderVerifier("X-Assertion", JwtVerifier("https://proxy", "shop", keys={"k": key.public_key()}))
        >>> claims = {"iss": "https://proxy", "aud": "shop", "sub": "ana", "exp": 4_000_000_000}
        >>> proxy.principal({"x-assertion": jwt.encode(claims, key, "ES256", headers={"kid": "k"})}).verified
        'proxy'
    """

    def __init__(self, header: str, verifier: TokenVerifier) -> None:
        if not header.strip():
            raise UsageError("usage.input_invalid", "A proxy's header needs a name.")
        self._header = header.strip().lower()
        self._verifier = verifier

    @classmethod
    def google_iap(cls, audience: str, **options: Any) -> ProxyHeaderVerifier:
        """Returns a verifier for Google's Identity-Aware Proxy.

        Args:
            audience: ``/projects/NUMBER/global/backendServices/ID`` or ``/projects/NUMBER/apps/PROJECT``.
            options: Further arguments of `JwtVerifier`.
        """
        issuer, jwks_url = _GOOGLE
        choices = {"jwks_url": jwks_url, "algorithms": ("ES256",)} | options
        return cls("X-Goog-IAP-JWT-Assertion", JwtVerifier(issuer, audience, **choices))

    @classmethod
    def cloudflare_access(cls, team: str, audience: str, **options: Any) -> ProxyHeaderVerifier:
        """Returns a verifier for Cloudflare Access.

        Args:
            team: The team's address, such as ``https://example.cloudflareaccess.com``.
            audience: The application's audience tag.
            options: Further arguments of `JwtVerifier`.
        """
        issuer = team.rstrip("/")
        choices = {"jwks_url": f"{issuer}/cdn-cgi/access/certs", "algorithms": ("RS256",)} | options
        return cls("Cf-Access-Jwt-Assertion", JwtVerifier(issuer, audience, **choices))

    @classmethod
    def amazon(cls, signer: str, client: str, issuer: str, **options: Any) -> ProxyHeaderVerifier:
        """Returns a verifier for Amazon's Application Load Balancer; the arguments are those of `AmazonVerifier`."""
        return cls("X-Amzn-Oidc-Data", AmazonVerifier(signer, client, issuer, **options))

    def principal(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Principal:
        """Returns the principal of a request.

        Args:
            headers: By name, or as pairs, where repeats show. Names in any case.

        Raises:
            IdentityError: The header is missing (identity.header_missing) or there twice (identity.header_invalid), or its token is
                not accepted (as `JwtVerifier.principal`).
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        found = [value for name, value in pairs if name.lower() == self._header]
        if not found:
            raise IdentityError("identity.header_missing", "The request has not come through the trusted proxy.")
        if len(found) > 1:
            raise IdentityError("identity.header_invalid", "The trusted proxy's header is there more than once.")
        return replace(self._verifier.principal(found[0]), verified="proxy")


class AmazonKeys:
    """A `KeySource` of a region's load balancers: one PEM file a key, fetched by its id, which never changes. A few are kept.

    Args:
        url: Where they are: ``https://public-keys.auth.elb.REGION.amazonaws.com``.
        timeout_s: Seconds for one reading.
        min_refetch_s: Fewest seconds between two readings, so that invented ids do not flood the place.
        clock_s: Monotonic seconds.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 5, min_refetch_s: float = 1, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        require_private_url(url)
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._min_refetch_s = min_refetch_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._known: OrderedDict[str, FixedKeys] = OrderedDict()
        self._tried_at: float | None = None

    def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        if kid is None or not _KEY_ID.fullmatch(kid):
            raise IdentityError("identity.key_unknown", "The token names no key of the load balancer.")
        with self._lock:
            source = self._known.get(kid) or self._fetched(kid)
        return source.find(kid, algorithm)

    def _fetched(self, kid: str) -> FixedKeys:
        now = self._clock_s()
        if self._tried_at is not None and now - self._tried_at < self._min_refetch_s:
            raise IdentityError("identity.key_unknown", "The load balancer's keys cannot be read at the moment.")
        self._tried_at = now
        try:
            self._known[kid] = FixedKeys(parse_keys({kid: fetch_text(f"{self._url}/{kid}", self._timeout_s)}))
        except UsageError as error:
            raise IdentityError("identity.key_unknown", "The load balancer's key is not a public key.") from error
        while len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)
        return self._known[kid]


class AmazonVerifier:
    """Turns ``X-Amzn-Oidc-Data`` into principals: a token with padded base64, no audience, and its signer in the header.

    Args:
        signer: ARN of the load balancer, exactly: the keys are those of all load balancers of the region.
        client: The client id that the load balancer has at the issuer.
        issuer: The identity provider's ``iss``.
        keys: Where keys come from; those of the region in the ARN if left out.
        subject_claim: The claim that becomes the principal's id.
        leeway_s: Seconds by which clocks may differ.
        clock_s: Unix time in seconds.

    Raises:
        UsageError: The ARN is not a load balancer's (usage.input_invalid).
    """

    def __init__(
        self,
        signer: str,
        client: str,
        issuer: str,
        *,
        keys: KeySource | None = None,
        subject_claim: str = "sub",
        leeway_s: float = 30,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        parts = signer.split(":")
        if len(parts) != 6 or parts[0] != "arn" or parts[2] != "elasticloadbalancing" or not client or not issuer:
            raise UsageError("usage.input_invalid", "The signer is the ARN of a load balancer; client and issuer are needed.")
        self._signer = signer
        self._client = client
        self._issuer = issuer
        self._keys = keys or AmazonKeys(f"https://public-keys.auth.elb.{parts[3]}.amazonaws.com")
        self._subject_claim = subject_claim
        self._leeway_s = leeway_s
        self._clock_s = clock_s

    def principal(self, token: str) -> Principal:
        """Returns the principal of a header's token; it has no groups.

        Raises:
            IdentityError: As `JwtVerifier.principal`.
        """
        signed = verify_token(token, self._keys, ("ES256",), types=("", "jwt"), is_padded=True)
        header, claims = signed.header, signed.claims
        if header.get("signer") != self._signer or header.get("client") != self._client:
            raise claims_invalid("The header was made by another load balancer or for another client.")
        if header.get("iss") != self._issuer or claims.get("iss", self._issuer) != self._issuer:
            raise claims_invalid("The header is about another issuer's person.")
        now = self._clock_s()
        ends = [require_times(part, now, self._leeway_s) for part in (header, claims) if part is header or "exp" in part]
        if self._subject_claim == "email" and not is_verified(claims.get("email_verified")):
            raise claims_invalid("The person's e-mail address is not verified by its issuer.")
        named = static_principal(check_id(claim_at(claims, self._subject_claim)))
        digest = hashlib.sha256(token.encode()).hexdigest()
        return replace(named, issuer=self._issuer, verified="jwt", token_digest=digest, expires_at=min(ends))
