"""A principal from a JSON Web Token (RFC 7519) of an OpenID Connect issuer, verified as RFC 8725 asks.

Only signatures with public keys are accepted, with the algorithms and from the issuer and for the audience that were configured.
Access tokens (RFC 9068) and ID tokens (OpenID Connect Core, section 3.1.3.7) can be told apart by what each has to say.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast, get_args

from guardrails.errors import UsageError
from guardrails.identity.claims import audiences, claim_at, claims_invalid, groups_at, is_verified, require_times
from guardrails.identity.delegation import MOST_ACTORS, actors_of
from guardrails.identity.discovery import discover_provider
from guardrails.identity.jwks import ALGORITHMS, FixedKeys, JwksClient, KeySource, PublicKey, parse_jwks, parse_keys
from guardrails.identity.jws import TOKEN_TYPES, SignedClaims, token_invalid, verify_token
from guardrails.identity.static import check_id, static_principal
from guardrails.model import Principal, Value

__all__ = ["JwtVerifier", "TokenKind"]

TokenKind: TypeAlias = Literal["any", "access", "id"]

_DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_TYPES = {"any": TOKEN_TYPES, "access": frozenset({"at+jwt"}), "id": frozenset({"", "jwt"})}
_REQUIRED = {"any": (), "access": ("sub", "client_id", "iat", "jti"), "id": ("sub", "iat")}


class JwtVerifier:
    """Turns tokens into principals. Safe to share between threads.

    Args:
        issuer: The ``iss`` that tokens must have, exactly.
        audience: The ``aud`` that must be among theirs.
        keys: Public keys by key id, as PEM or objects of `cryptography`; or a source of keys, such as a `JwksClient`.
        jwks: A JSON Web Key Set, as parsed JSON.
        jwks_url: Where the key set is read, over HTTPS or from this machine. Exactly one of the three is given.
        kind: ``access`` takes only access tokens that say so (``typ: at+jwt``), ``id`` only ID tokens, whose authorized party is
            the audience; ``any`` takes both, since many issuers do not mark their tokens.
        clients: The clients (``azp`` or ``client_id``) whose tokens are accepted; all of the issuer's when empty.
        algorithms: Those accepted, of `guardrails.identity.jwks.ALGORITHMS`.
        leeway_s: Seconds by which clocks may differ.
        groups_claim: The claim with the groups; dots lead into objects (``realm_access.roles``).
        groups_separator: What stands between the groups where the claim is one text; None: it is one group.
        subject_claim: The claim that becomes the principal's id. ``email`` counts only with ``email_verified``.
        attributes: Claims that become attributes: names, or attribute name to claim.
        most_actors: Longest chain of delegation (``act``) accepted.
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
        keys: Mapping[str, str | bytes | PublicKey] | KeySource | None = None,
        jwks: Mapping[str, object] | None = None,
        jwks_url: str | None = None,
        kind: TokenKind = "any",
        clients: Collection[str] = (),
        algorithms: Collection[str] = _DEFAULT_ALGORITHMS,
        leeway_s: float = 30,
        groups_claim: str = "groups",
        groups_separator: str | None = None,
        subject_claim: str = "sub",
        attributes: Sequence[str] | Mapping[str, str] = (),
        most_actors: int = MOST_ACTORS,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if not issuer or not audience:
            raise UsageError("usage.input_invalid", "A token verifier needs an issuer and an audience.")
        if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= ALGORITHMS:
            raise UsageError("usage.input_invalid", f"Tokens are verified with some of {', '.join(sorted(ALGORITHMS))}.")
        if not 0 <= leeway_s <= 300:
            raise UsageError("usage.input_invalid", "The leeway is from 0 to 300 seconds.")
        if kind not in get_args(TokenKind) or isinstance(clients, str) or most_actors < 0 or groups_separator == "":
            raise UsageError(
                "usage.input_invalid", "The kind, the clients, the separator or the number of actors is not sound."
            )
        self._issuer = issuer
        self._audience = audience
        self._keys = _key_source(keys, jwks, jwks_url)
        self._kind = kind
        self._clients = frozenset(clients)
        self._algorithms = frozenset(algorithms)
        self._leeway_s = leeway_s
        self._groups = groups_claim, groups_separator
        self._subject_claim = subject_claim
        self._attributes = dict(attributes) if isinstance(attributes, Mapping) else {name: name for name in attributes}
        self._most_actors = most_actors
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
        return cls(issuer, audience, jwks_url=discover_provider(issuer, timeout_s).jwks_url, **options)

    def principal(self, token: str, *, nonce: str | None = None, thumbprint: str | None = None) -> Principal:
        """Returns the principal of a token.

        Args:
            token: In compact form, without ``Bearer``.
            nonce: What its ``nonce`` has to be; None: it is not looked at.
            thumbprint: Of the key that the bearer has shown to hold (RFC 7638), for tokens that are bound to one (``cnf``).

        Raises:
            IdentityError: It is malformed, or its signature, algorithm, type or time is not accepted (identity.token_invalid); it
                has expired (identity.token_expired); its key is not known (identity.key_unknown); issuer, audience, subject,
                client, nonce or groups are missing or not as they have to be (identity.claims_invalid,
                identity.principal_invalid); its chain of actors is no chain (identity.delegation_invalid).
        """
        claims = self.claims(token, nonce=nonce, thumbprint=thumbprint)
        named = static_principal(
            check_id(claim_at(claims, self._subject_claim)),
            groups_at(claims, *self._groups),
            attributes={name: _attribute(claims, claim) for name, claim in self._attributes.items() if _has(claims, claim)},
        )
        return Principal(
            named.id,
            named.groups,
            named.attributes,
            self._issuer,
            "jwt",
            hashlib.sha256(token.encode()).hexdigest(),
            require_times(claims, self._clock_s(), self._leeway_s),
            actors_of(claims, most=self._most_actors),
        )

    def claims(self, token: str, *, nonce: str | None = None, thumbprint: str | None = None) -> Mapping[str, object]:
        """Returns what a token says, verified as `principal` does except for the names of subject, groups and actors.

        Raises:
            IdentityError: As `principal`.
        """
        signed = verify_token(token, self._keys, self._algorithms, types=_TYPES[self._kind])
        claims = signed.claims
        if claims.get("iss") != self._issuer or self._audience not in audiences(claims):
            raise claims_invalid("The token is not from this issuer for this audience.")
        require_times(claims, self._clock_s(), self._leeway_s)
        self._require_kind(signed)
        self._require_client(claims)
        _require_verified_email(claims, self._subject_claim)
        _require_bound(claims, thumbprint)
        if nonce is not None and not _same(claims.get("nonce"), nonce):
            raise claims_invalid("The token is not the answer to this request.")
        return claims

    def _require_kind(self, signed: SignedClaims) -> None:
        claims = signed.claims
        if any(claims.get(name) is None for name in _REQUIRED[self._kind]):
            raise claims_invalid(f"The token lacks what every {self._kind} token says.")
        if self._kind != "id":
            return
        party = claims.get("azp")
        if party not in (None, self._audience) or (party is None and len(set(audiences(claims))) > 1):
            raise claims_invalid("The token was made for another client.")

    def _require_client(self, claims: Mapping[str, object]) -> None:
        if not self._clients:
            return
        named = {str(claims[name]) for name in ("azp", "client_id") if claims.get(name) is not None}
        if not named or not named <= self._clients:
            raise claims_invalid("The token was made for a client that is not accepted.")


def _require_verified_email(claims: Mapping[str, object], subject_claim: str) -> None:
    """An address that nobody has checked is whatever its owner typed."""
    if subject_claim == "email" and not is_verified(claims.get("email_verified")):
        raise claims_invalid("The token's e-mail address is not verified by its issuer.")


def _require_bound(claims: Mapping[str, object], thumbprint: str | None) -> None:
    """A token that is bound to a key (RFC 7800) counts only with that key."""
    if "cnf" not in claims:
        return
    bound = claims["cnf"]
    if not isinstance(bound, dict) or set(bound) != {"jkt"} or thumbprint is None or not _same(bound["jkt"], thumbprint):
        raise token_invalid("The token is bound to a key that its bearer has not shown.")


def _same(found: object, wanted: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode(), wanted.encode())


def _key_source(
    keys: Mapping[str, str | bytes | PublicKey] | KeySource | None, jwks: Mapping[str, object] | None, jwks_url: str | None
) -> KeySource:
    if sum(given is not None for given in (keys, jwks, jwks_url)) != 1:
        raise UsageError("usage.input_invalid", "A token verifier takes exactly one of keys, jwks and jwks_url.")
    if jwks_url is not None:
        return JwksClient(jwks_url)
    if keys is not None and not isinstance(keys, Mapping):
        return keys
    return FixedKeys(parse_keys(keys) if keys is not None else parse_jwks(jwks))


def _has(claims: Mapping[str, object], name: str) -> bool:
    return claim_at(claims, name) is not None


def _attribute(claims: Mapping[str, object], name: str) -> Value:
    # What JSON can hold is a Value.
    return cast("Value", claim_at(claims, name))
