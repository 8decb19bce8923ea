"""A principal from a JSON Web Token (RFC 7519) of an OpenID Connect issuer, verified as RFC 8725 asks.

Only signatures with public keys are accepted, with the algorithms and from the issuer and for the audience that were configured;
whatever else a token says about how to verify it (``jku``, ``x5u``, ``jwk``, ``crit``) is not followed.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import jwt

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.jwks import (
    ALGORITHMS,
    FixedKeys,
    JwksClient,
    KeySource,
    PublicKey,
    fetch_json,
    parse_jwks,
    parse_keys,
)
from guardrails.identity.static import check_id, static_principal
from guardrails.model import Principal, Value

__all__ = ["JwtVerifier"]

_MOST_TOKEN_BYTES = 16 * 1024
_DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_DISCOVERY = "/.well-known/openid-configuration"


class JwtVerifier:
    """Turns tokens into principals. Safe to share between threads.

    Args:
        issuer: The ``iss`` that tokens must have, exactly.
        audience: The ``aud`` that must be among theirs.
        keys: Public keys by key id, as PEM or objects of `cryptography`.
        jwks: A JSON Web Key Set, as parsed JSON.
        jwks_url: Where the key set is read, over HTTPS or from this machine. Exactly one of the three is given.
        algorithms: Those accepted, of `guardrails.identity.jwks.ALGORITHMS`.
        leeway_s: Seconds by which clocks may differ.
        groups_claim: The claim with the groups; dots lead into objects (``realm_access.roles``).
        subject_claim: The claim that becomes the principal's id.
        attributes: Claims that become attributes: names, or attribute name to claim.
        clock_s: Unix time in seconds.

    Raises:
        UsageError: The configuration is not sound (usage.input_invalid).

    Example:
        >>> import jwt
        >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        >>> key = Ed25519PrivateKey.generate()
        >>> verifier = JwtVerifier("https://id.example.com", "shop", keys={"k1": key.public_key()})
        >>> claims = {"iss": "https://id.example.com", "aud": "shop", "sub": "ana", "exp": 4_000_000_000, "groups": ["support"]}
        >>> verifier.principal(jwt.encode(claims, key, "EdDSA", headers={"kid": "k1"})).id
        'ana'
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: Mapping[str, str | bytes | PublicKey] | None = None,
        jwks: Mapping[str, object] | None = None,
        jwks_url: str | None = None,
        algorithms: Collection[str] = _DEFAULT_ALGORITHMS,
        leeway_s: float = 30,
        groups_claim: str = "groups",
        subject_claim: str = "sub",
        attributes: Sequence[str] | Mapping[str, str] = (),
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise UsageError("usage.input_invalid", "A token verifier needs an issuer and an audience.")
        if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= ALGORITHMS:
            raise UsageError("usage.input_invalid", f"Tokens are verified with some of {', '.join(sorted(ALGORITHMS))}.")
        if not 0 <= leeway_s <= 300:
            raise UsageError("usage.input_invalid", "The leeway is from 0 to 300 seconds.")
        self._issuer = issuer
        self._audience = audience
        self._keys = _key_source(keys, jwks, jwks_url)
        self._algorithms = frozenset(algorithms)
        self._leeway_s = leeway_s
        self._groups_claim = groups_claim
        self._subject_claim = subject_claim
        self._attributes = dict(attributes) if isinstance(attributes, Mapping) else {name: name for name in attributes}
        self._clock_s = clock_s

    @classmethod
    def discover(cls, issuer: str, audience: str, *, timeout_s: float = 5, **options: Any) -> JwtVerifier:
        """Returns a verifier for what an issuer publishes about itself (OpenID Connect Discovery 1.0, section 4).

        Args:
            issuer: The issuer's URL.
            audience: As in the constructor.
            timeout_s: Seconds for reading.
            options: Further arguments of the constructor.

        Raises:
            IdentityError: The document could not be read or is another issuer's (identity.key_unknown).
            UsageError: A URL is neither HTTPS nor loopback HTTP (usage.input_invalid).
        """
        document = fetch_json(issuer.rstrip("/") + _DISCOVERY, timeout_s)
        found = cast("dict[str, object]", document) if isinstance(document, dict) else {}
        jwks_url = found.get("jwks_uri")
        if found.get("issuer") != issuer or not isinstance(jwks_url, str):
            raise IdentityError("identity.key_unknown", "The issuer's configuration is not its own or names no keys.")
        return cls(issuer, audience, jwks_url=jwks_url, **options)

    def principal(self, token: str) -> Principal:
        """Returns the principal of a token.

        Args:
            token: In compact form, without ``Bearer``.

        Raises:
            IdentityError: It is malformed, or its signature, algorithm or time is not accepted (identity.token_invalid); it
                has expired (identity.token_expired); its key is not known (identity.key_unknown); issuer, audience, subject
                or groups are missing or not as they have to be (identity.claims_invalid, identity.principal_invalid).
        """
        if not isinstance(token, str) or len(token) > _MOST_TOKEN_BYTES or not token.isascii():
            raise _invalid("The token is no text, too long or not in ASCII.")
        claims = self._verified_claims(token)
        expires_at = self._check_times(claims)
        named = static_principal(
            check_id(_claim(claims, self._subject_claim)),
            self._groups(claims),
            attributes={name: _attribute(claims, claim) for name, claim in self._attributes.items() if _has(claims, claim)},
        )
        digest = hashlib.sha256(token.encode()).hexdigest()
        return Principal(named.id, named.groups, named.attributes, self._issuer, "jwt", digest, expires_at)

    def _verified_claims(self, token: str) -> dict[str, object]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _invalid("The token is malformed.") from error
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _invalid("The token's algorithm is not accepted.")
        if "crit" in header or header.get("b64", True) is not True:
            raise _invalid("The token has critical header parameters that are not understood.")
        if not isinstance(kid, (str, type(None))):
            raise _invalid("The token's key id is no text.")
        key = self._keys.find(kid, algorithm).key
        try:
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # Times are compared below, with a clock that can be given.
                options={"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.MissingRequiredClaimError, jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
            raise IdentityError("identity.claims_invalid", "The token is not from this issuer for this audience.") from error
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _invalid("The token's signature or form is not valid.") from error
        return claims

    def _check_times(self, claims: Mapping[str, object]) -> int:
        now = self._clock_s()
        expires_at = _time(claims, "exp")
        if expires_at is None:
            raise IdentityError("identity.claims_invalid", "The token does not say when it expires.")
        if now >= expires_at + self._leeway_s:
            raise IdentityError("identity.token_expired", "The token has expired.")
        for name in ("nbf", "iat"):
            begins_at = _time(claims, name)
            if begins_at is not None and begins_at > now + self._leeway_s:
                raise _invalid("The token is not valid yet.")
        return int(expires_at)

    def _groups(self, claims: Mapping[str, object]) -> list[str]:
        groups = _claim(claims, self._groups_claim)
        if groups is None:
            return []
        listed = [groups] if isinstance(groups, str) else groups
        if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
            raise IdentityError("identity.claims_invalid", "The token's groups are not a list of names.")
        return listed


def _key_source(
    keys: Mapping[str, str | bytes | PublicKey] | None, jwks: Mapping[str, object] | None, jwks_url: str | None
) -> KeySource:
    if sum(given is not None for given in (keys, jwks, jwks_url)) != 1:
        raise UsageError("usage.input_invalid", "A token verifier takes exactly one of keys, jwks and jwks_url.")
    if jwks_url is not None:
        return JwksClient(jwks_url)
    return FixedKeys(parse_keys(keys) if keys is not None else parse_jwks(jwks))


def _claim(claims: Mapping[str, object], name: str) -> object:
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _has(claims: Mapping[str, object], name: str) -> bool:
    return _claim(claims, name) is not None


def _attribute(claims: Mapping[str, object], name: str) -> Value:
    # What JSON can hold is a Value.
    return cast("Value", _claim(claims, name))


def _time(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 2**53:
        raise IdentityError("identity.claims_invalid", f"The token's {name} is not a time.")
    return value


def _invalid(message: str) -> IdentityError:
    return IdentityError("identity.token_invalid", message)
