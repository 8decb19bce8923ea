"""Public keys of an issuer: a fixed set, or a JSON Web Key Set (RFC 7517) that is fetched, cached and fetched again on rotation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.fetching import fetch_json, require_private_url

__all__ = [
    "ALGORITHMS",
    "FixedKeys",
    "JwksClient",
    "KeySource",
    "KeyUse",
    "PublicKey",
    "RefreshedKeys",
    "VerificationKey",
    "parse_jwks",
    "parse_keys",
]

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

KeyUse: TypeAlias = Literal["sig", "jwt-svid"]

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", *_CURVES})
"""What may be configured: signatures with public keys only (RFC 7518 section 3.1, RFC 8037)."""

_MIN_RSA_BITS = 2048
_MOST_KEYS = 100


class VerificationKey:
    """A public key, with the id and the algorithm that its issuer gave it (None: any that fits the key)."""

    __slots__ = ("algorithm", "id", "key")

    def __init__(self, id: str | None, key: PublicKey, algorithm: str | None = None) -> None:  # noqa: A002
        self.id = id
        self.key = key
        self.algorithm = algorithm

    def fits(self, algorithm: str) -> bool:
        """Tells whether a token of this algorithm may be verified with this key."""
        if self.algorithm not in (None, algorithm):
            return False
        match self.key:
            case rsa.RSAPublicKey():
                return algorithm[:2] in {"RS", "PS"} and self.key.key_size >= _MIN_RSA_BITS
            case ec.EllipticCurvePublicKey():
                return _CURVES.get(algorithm) == self.key.curve.name
        return algorithm == "EdDSA"


class KeySource(Protocol):
    """Where a verifier gets keys."""

    def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Returns the one key with this id; without an id, the only key that fits the algorithm.

        Raises:
            IdentityError: There is none, or several (identity.key_unknown).
        """
        ...


class FixedKeys:
    """A `KeySource` of keys that do not change."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)
        if not self._keys:
            raise UsageError("usage.input_invalid", "A token verifier needs at least one public key.")

    def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        return _select(self._keys, kid, algorithm)


class RefreshedKeys:
    """A `KeySource` that reads a key set from elsewhere, keeps it for a time and reads it again when a token names another key.

    Keys are kept for `max_age_s`. A key id that is not among them, as after a rotation, makes it read again, at most once in
    `min_refetch_s`, so that tokens with invented ids cannot make it flood the issuer. Keys that could not be renewed are not used.

    Args:
        read: Reads the keys; raises IdentityError when it cannot.
        max_age_s: Seconds for which keys are kept.
        min_refetch_s: Fewest seconds between two readings.
        clock_s: Monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[], tuple[VerificationKey, ...]],
        *,
        max_age_s: float = 600,
        min_refetch_s: float = 10,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_keys = read
        self._max_age_s = max_age_s
        self._min_refetch_s = min_refetch_s
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        with self._lock:
            now = self._clock_s()
            is_fresh = self._read_at is not None and now - self._read_at < self._max_age_s
            is_known = kid is None or any(key.id == kid for key in self._keys)
            if not is_fresh or (not is_known and self._may_read(now)):
                self._read(now)
            return _select(self._keys, kid, algorithm)

    def _may_read(self, now: float) -> bool:
        return self._tried_at is None or now - self._tried_at >= self._min_refetch_s

    def _read(self, now: float) -> None:
        if not self._may_read(now):
            raise IdentityError("identity.key_unknown", "The issuer's keys cannot be read at the moment.")
        self._tried_at = now
        self._keys = self._read_keys()
        self._read_at = now


class JwksClient:
    """A `KeySource` that reads a JWKS over HTTPS, or over HTTP from this machine; see `RefreshedKeys` for when.

    Args:
        url: Of the JWKS.
        use: The ``use`` that its keys must have, where they have one.
        max_age_s: Seconds for which keys are kept.
        min_refetch_s: Fewest seconds between two readings.
        timeout_s: Seconds for one reading.
        clock_s: Monotonic seconds.

    Raises:
        UsageError: The URL is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """

    def __init__(
        self,
        url: str,
        *,
        use: KeyUse = "sig",
        max_age_s: float = 600,
        min_refetch_s: float = 10,
        timeout_s: float = 5,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        require_private_url(url)
        self._kept = RefreshedKeys(
            lambda: parse_jwks(fetch_json(url, timeout_s), use=use),
            max_age_s=max_age_s,
            min_refetch_s=min_refetch_s,
            clock_s=clock_s,
        )

    def find(self, kid: str | None, algorithm: str) -> VerificationKey:
        return self._kept.find(kid, algorithm)


def parse_keys(keys: Mapping[str, str | bytes | PublicKey]) -> tuple[VerificationKey, ...]:
    """Reads public keys by id: PEM (RFC 7468), or keys of `cryptography`.

    Raises:
        UsageError: One is not a public key that tokens are verified with (usage.input_invalid).
    """
    parsed = []
    for kid, given in keys.items():
        key: object = given
        try:
            if isinstance(given, (str, bytes)):
                key = load_pem_public_key(given.encode() if isinstance(given, str) else given)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError("usage.input_invalid", f"The key {kid!r} is not a public key in PEM.") from error
        if not isinstance(key, PublicKey):
            raise UsageError("usage.input_invalid", f"The key {kid!r} is not an RSA, EC or Ed25519 public key.")
        parsed.append(VerificationKey(kid, key))
    return tuple(parsed)


def parse_jwks(document: object, *, use: KeyUse = "sig") -> tuple[VerificationKey, ...]:
    """Reads the signature keys of a JWKS; keys of other uses and kinds are passed over (RFC 7517 section 5).

    Args:
        document: As parsed JSON.
        use: ``sig``, also where a key does not say; ``jwt-svid`` for a SPIFFE bundle, whose keys have to say it.

    Raises:
        IdentityError: The document is not a JWKS (identity.key_unknown).
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
        raise IdentityError("identity.key_unknown", "The issuer's key set is not a JSON Web Key Set.")
    return tuple(key for entry in entries if isinstance(entry, dict) and (key := _parse_jwk(entry, use)) is not None)


def _parse_jwk(entry: dict[str, object], use: KeyUse) -> VerificationKey | None:
    kid, algorithm = entry.get("kid"), entry.get("alg")
    operations = entry.get("key_ops")
    is_for_signatures = entry.get("use", "sig") == use and (not isinstance(operations, list) or "verify" in operations)
    if entry.get("kty") not in {"RSA", "EC", "OKP"} or not is_for_signatures or "d" in entry:
        return None
    if not isinstance(kid, (str, type(None))) or not isinstance(algorithm, (str, type(None))):
        return None
    try:
        key = jwt.PyJWK.from_dict({name: value for name, value in entry.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None  # a key that is of no use to us must not stop the others
    return VerificationKey(kid, key, algorithm) if isinstance(key, PublicKey) else None


def _select(keys: Iterable[VerificationKey], kid: str | None, algorithm: str) -> VerificationKey:
    fitting = [key for key in keys if (kid is None or key.id == kid) and key.fits(algorithm)]
    if len(fitting) != 1:
        problem = "names no key, and there is not exactly one" if kid is None else "names a key that is not known"
        raise IdentityError("identity.key_unknown", f"The token {problem}.")
    return fitting[0]
