"""A principal from a workload's JWT-SVID, verified as SPIFFE's JWT-SVID specification asks, with the keys of its trust domain's bundle.

The SPIFFE ID becomes the principal's id; it has no groups, so that a policy names it by id. Recorded as verified by ``spiffe``.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.claims import audiences, claims_invalid, require_times
from guardrails.identity.delegation import actors_of
from guardrails.identity.jwks import FixedKeys, JwksClient, KeySource, RefreshedKeys, VerificationKey, parse_jwks
from guardrails.identity.jws import token_invalid, verify_token
from guardrails.identity.static import static_principal
from guardrails.model import Principal

__all__ = ["SpiffeVerifier", "require_spiffe_id"]

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"})
_TYPES = frozenset({"", "jwt", "jose"})
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_SCHEME = "spiffe://"


class SpiffeVerifier:
    """Turns JWT-SVIDs of one trust domain into principals. Safe to share between threads.

    Args:
        trust_domain: Such as ``prod.example.com``.
        audience: The ``aud`` that must be among theirs.
        bundle: The trust domain's bundle: as parsed JSON, the path of a file that is read again when it changes keys, or a URL
            (``https://``, or ``http://`` on this machine).
        leeway_s: Seconds by which clocks may differ.
        clock_s: Unix time in seconds.

    Raises:
        UsageError: The trust domain is not written as one, or there is no audience (usage.input_invalid).
        IdentityError: The bundle that is given is not one (identity.key_unknown).
    """

    def __init__(
        self,
        trust_domain: str,
        audience: str,
        *,
        bundle: Mapping[str, object] | str | Path,
        leeway_s: float = 30,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        if not _TRUST_DOMAIN.fullmatch(trust_domain) or not audience:
            raise UsageError(
                "usage.input_invalid", "A trust domain is written like prod.example.com, and an audience is needed."
            )
        self._trust_domain = trust_domain
        self._audience = audience
        self._keys = _keys_of(bundle)
        self._leeway_s = leeway_s
        self._clock_s = clock_s

    def principal(self, token: str) -> Principal:
        """Returns the principal of a JWT-SVID.

        Raises:
            IdentityError: It is malformed, or its signature, algorithm, type or time is not accepted (identity.token_invalid); it
                has expired (identity.token_expired); its key is not in the bundle (identity.key_unknown); subject or audience are
                not as they have to be (identity.claims_invalid, identity.principal_invalid).
        """
        signed = verify_token(token, self._keys, _ALGORITHMS, types=_TYPES)
        claims = signed.claims
        if not isinstance(signed.header.get("kid"), str):
            raise token_invalid("A JWT-SVID names its key.")
        subject = claims.get("sub")
        if require_spiffe_id(subject) != self._trust_domain:
            raise claims_invalid("The workload is of another trust domain.")
        if self._audience not in audiences(claims):
            raise claims_invalid("The JWT-SVID is not for this audience.")
        expires_at = require_times(claims, self._clock_s(), self._leeway_s)
        named = static_principal(str(subject))
        digest = hashlib.sha256(token.encode()).hexdigest()
        issuer = f"{_SCHEME}{self._trust_domain}"
        return Principal(named.id, frozenset(), {}, issuer, "spiffe", digest, expires_at, actors_of(claims))


def require_spiffe_id(text: object) -> str:
    """Returns the trust domain of a workload's SPIFFE ID (SPIFFE-ID, section 2).

    Raises:
        IdentityError: It is not written as one (identity.claims_invalid).

    Example:
        >>> require_spiffe_id("spiffe://prod.example.com/agents/refund-bot")
        'prod.example.com'
    """
    if isinstance(text, str) and text.startswith(_SCHEME):
        trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
        segments = path.split("/")
        is_path = all(_SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments)
        if slash and is_path and _TRUST_DOMAIN.fullmatch(trust_domain):
            return trust_domain
    raise claims_invalid("The subject is no SPIFFE ID of a workload.")


def _keys_of(bundle: Mapping[str, object] | str | Path) -> KeySource:
    if isinstance(bundle, Mapping):
        return FixedKeys(parse_jwks(bundle, use="jwt-svid"))
    if isinstance(bundle, str) and "://" in bundle:
        return JwksClient(bundle, use="jwt-svid", max_age_s=300)
    path = Path(bundle)
    return RefreshedKeys(lambda: _read(path), max_age_s=300, min_refetch_s=1)


def _read(path: Path) -> tuple[VerificationKey, ...]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise IdentityError("identity.key_unknown", f"The bundle {path.name} cannot be read.") from error
    return parse_jwks(document, use="jwt-svid")
