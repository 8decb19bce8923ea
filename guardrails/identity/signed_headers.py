"""A principal from headers that a trusted proxy has signed together with the request (RFC 9421, HTTP Message Signatures).

For proxies that set plain headers, such as ``X-Forwarded-User``, and sign them with a shared secret or a key of their own. The signature
covers method, host and path, so that it serves no other request. Needs the extra `signatures`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from guardrails.errors import IdentityError, UsageError
from guardrails.identity.static import static_principal
from guardrails.model import Principal

__all__ = ["ProxyKey", "SignedHeadersVerifier"]

ProxyKey: TypeAlias = bytes | ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_REQUEST = ("@method", "@authority", "@path")
_LEAST_SECRET_BYTES = 32


class SignedHeadersVerifier:
    """Turns signed requests into principals. Safe to share between threads.

    Args:
        issuer: What the proxy is called in the ledger.
        keys: The proxy's keys by key id, all of one kind: secrets of 32 bytes or more (HMAC-SHA256), Ed25519 or P-256 public keys.
        user_header: The header with the person's id.
        groups_header: The header with the groups, separated by commas; the proxy sets it also when there are none. None: no groups.
        components: What else the signature has to cover.
        tag: The signature's `tag`, where the request may carry several signatures.
        max_age_s: For how long a signature counts, and the principal with it.

    Raises:
        UsageError: The extra is not installed (usage.extra_missing), or the configuration is not sound (usage.input_invalid).
    """

    def __init__(
        self,
        issuer: str,
        keys: Mapping[str, ProxyKey],
        *,
        user_header: str = "X-Forwarded-User",
        groups_header: str | None = None,
        components: Sequence[str] = _REQUEST,
        tag: str | None = None,
        max_age_s: int = 60,
    ) -> None:
        if not issuer or not 0 < max_age_s <= 3600:
            raise UsageError("usage.input_invalid", "A proxy needs a name, and signatures count for up to an hour.")
        self._issuer = issuer
        self._user = user_header.lower()
        self._groups = groups_header.lower() if groups_header else None
        self._components = (*components, self._user, *([self._groups] if self._groups else []))
        self._tag = tag
        self._max_age_s = max_age_s
        self._verifier = _verifier(dict(keys))

    def principal(self, method: str, url: str, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Principal:
        """Returns the principal of a request.

        Args:
            method: Such as ``GET``.
            url: The whole address, as the proxy saw it.
            headers: By name, or as pairs, where repeats show.

        Raises:
            IdentityError: There is no signature (identity.header_missing), none that holds, is fresh and covers all that it has to
                (identity.header_invalid), or the id or a group is none (identity.principal_invalid).
        """
        request = _Request(method.upper(), url, _Lines(headers))
        names = {name.lower() for name, _ in request.headers.items()}
        if not {"signature", "signature-input", self._user} <= names:
            raise IdentityError("identity.header_missing", "The request has not come through the trusted proxy.")
        covered, parameters = self._verified(request)
        if "keyid" not in parameters or not isinstance(parameters.get("created"), int):
            raise IdentityError("identity.header_invalid", "The proxy's signature does not say when it was made.")
        groups = covered[f'"{self._groups}"'].split(",") if self._groups else []
        named = static_principal(covered[f'"{self._user}"'], [group.strip() for group in groups if group.strip()])
        digest = hashlib.sha256(covered['"@signature-params"'].encode() + request.headers.signature()).hexdigest()
        ends_at = min(parameters["created"] + self._max_age_s, parameters.get("expires", 2**53))
        return Principal(named.id, named.groups, {}, self._issuer, "proxy", digest, ends_at)

    def _verified(self, request: _Request) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        from http_message_signatures import HTTPMessageSignaturesException

        try:
            found = self._verifier.verify(
                request,
                max_age=timedelta(seconds=self._max_age_s),
                expect_tag=self._tag,
                require_components=self._components,
            )
        except (HTTPMessageSignaturesException, ValueError, TypeError, KeyError) as error:
            raise IdentityError("identity.header_invalid", "The proxy's signature does not hold.") from error
        if len(found) != 1:
            raise IdentityError("identity.header_invalid", "The request carries several signatures of the proxy.")
        return found[0].covered_components, found[0].parameters


@dataclass(frozen=True, slots=True)
class _Request:
    """A request as the library reads it."""

    method: str
    url: str
    headers: _Lines


@dataclass(slots=True)
class _Lines:
    """Header lines in order, repeats included, in the shape of a mapping as far as it is read."""

    given: Mapping[str, str] | Iterable[tuple[str, str]]
    lines: list[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = list(self.given.items() if isinstance(self.given, Mapping) else self.given)

    def items(self) -> list[tuple[str, str]]:
        return self.lines

    def signature(self) -> bytes:
        return "\n".join(value for name, value in self.lines if name.lower() == "signature").encode("utf-8", "surrogatepass")


def _verifier(keys: dict[str, ProxyKey]) -> Any:
    try:
        from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
    except ImportError as error:
        message = "Signed requests need http-message-signatures."
        raise UsageError("usage.extra_missing", message, hint="Install guardrails-sql[signatures].") from error
    kinds = {_algorithm(key, algorithms) for key in keys.values()}
    if len(kinds) != 1:
        raise UsageError("usage.input_invalid", "A proxy has keys of one kind, at least one.")
    return HTTPMessageVerifier(
        signature_algorithm=kinds.pop(), key_resolver=MappingKeyResolver(public_keys=keys, private_keys={})
    )


def _algorithm(key: ProxyKey, algorithms: Any) -> Any:
    match key:
        case bytes() if len(key) >= _LEAST_SECRET_BYTES:
            return algorithms.HMAC_SHA256
        case ed25519.Ed25519PublicKey():
            return algorithms.ED25519
        case ec.EllipticCurvePublicKey() if key.curve.name == "secp256r1":
            return algorithms.ECDSA_P256_SHA256
    raise UsageError("usage.input_invalid", "A proxy's key is a secret of 32 bytes or more, an Ed25519 or a P-256 public key.")
