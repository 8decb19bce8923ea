"""The outer form of a token: a JSON Web Signature (RFC 7515) in compact form, checked as RFC 8725 asks before anything in it counts.

One token has one text: base64url without stray characters or bits, JSON without a name twice. What a token says about how to
verify it (``jku``, ``x5u``, ``jwk``, ``crit``) is not followed.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass

import jwt

from guardrails.errors import IdentityError
from guardrails.identity.jwks import KeySource

__all__ = ["TOKEN_TYPES", "SignedClaims", "token_invalid", "verify_token"]

TOKEN_TYPES = frozenset({"", "jwt", "at+jwt"})
"""What `typ` may be where nothing else is asked: absent, a plain token, an access token (RFC 9068); never, say, a logout token."""

_MOST_TOKEN_BYTES = 16 * 1024
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_PADDED = re.compile(r"[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]+={0,2}")


@dataclass(frozen=True, slots=True)
class SignedClaims:
    """What a verified token says; `type` is its header's `typ` in lower case without ``application/``, empty when absent."""

    type: str
    header: dict[str, object]
    claims: dict[str, object]


def verify_token(
    token: object,
    keys: KeySource,
    algorithms: Collection[str],
    *,
    types: Collection[str] = TOKEN_TYPES,
    is_padded: bool = False,
) -> SignedClaims:
    """Returns what a token says, once its form, algorithm, type and signature hold. Neither times nor names were looked at.

    Args:
        token: In compact form, without ``Bearer``.
        keys: The issuer's.
        algorithms: Those accepted.
        types: The `typ` values accepted, as `SignedClaims.type` shows them.
        is_padded: Its parts are base64url with padding, as those of Amazon's load balancers.

    Raises:
        IdentityError: One of them does not (identity.token_invalid), or the key is not known (identity.key_unknown).
    """
    if not isinstance(token, str) or len(token) > _MOST_TOKEN_BYTES or not token.isascii():
        raise token_invalid("The token is no text, too long or not in ASCII.")
    if not (_PADDED if is_padded else _COMPACT).fullmatch(token):
        raise token_invalid("The token is malformed.")
    encoded_header, encoded_claims, encoded_signature = token.split(".")
    header = _object(_decoded(encoded_header, is_padded))
    claims = _decoded(encoded_claims, is_padded)
    _decoded(encoded_signature, is_padded)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise token_invalid("The token's algorithm is not accepted.")
    if "crit" in header or header.get("b64", True) is not True:
        raise token_invalid("The token has critical header parameters that are not understood.")
    if not isinstance(kid, (str, type(None))):
        raise token_invalid("The token's key id is no text.")
    kind = _type(header)
    if kind not in types:
        raise token_invalid("The token is of a type that is not accepted here.")
    try:
        jwt.PyJWS().decode(token, keys.find(kid, algorithm).key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise token_invalid("The token's signature or form is not valid.") from error
    return SignedClaims(kind, header, _object(claims))


def token_invalid(message: str) -> IdentityError:
    """Returns the error of a token that is not accepted as it stands."""
    return IdentityError("identity.token_invalid", message)


def _decoded(text: str, is_padded: bool) -> bytes:
    try:
        data = urlsafe_b64decode(text if is_padded else text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise token_invalid("The token is malformed.") from error
    again = urlsafe_b64encode(data)
    if (again if is_padded else again.rstrip(b"=")).decode() != text:
        raise token_invalid("The token is malformed.")
    return data


def _object(data: bytes) -> dict[str, object]:
    try:
        parsed: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant, parse_float=_finite
        )
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # fails for half a character
    except (ValueError, RecursionError) as error:
        raise token_invalid("The token is malformed.") from error
    if not isinstance(parsed, dict):
        raise token_invalid("The token is malformed.")
    return parsed


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _type(header: dict[str, object]) -> str:
    kind = header.get("typ", "")
    if not isinstance(kind, str):
        raise token_invalid("The token's type is no text.")
    return kind.lower().removeprefix("application/")
