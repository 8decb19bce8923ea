"""Reading claims: paths into objects, times, audiences and groups, each refused when it is not of the form it has to be."""

from __future__ import annotations

import math
from collections.abc import Mapping

from guardrails.errors import IdentityError

__all__ = ["audiences", "claim_at", "claims_invalid", "groups_at", "is_verified", "moment", "require_times"]


def claim_at(claims: Mapping[str, object], name: str) -> object:
    """Returns a claim, None when there is none; dots lead into objects unless a claim has the whole name."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def moment(claims: Mapping[str, object], name: str) -> float | None:
    """Returns a NumericDate (RFC 7519 section 2), None when there is none.

    Raises:
        IdentityError: It is something else (identity.claims_invalid).
    """
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 2**53:
        raise claims_invalid(f"The token's {name} is not a time.")
    return value


def require_times(claims: Mapping[str, object], now: float, leeway_s: float) -> int:
    """Returns when the token expires, after checking that it is valid now.

    Raises:
        IdentityError: It has expired (identity.token_expired), is not valid yet (identity.token_invalid) or does not say
            (identity.claims_invalid).
    """
    expires_at = moment(claims, "exp")
    if expires_at is None:
        raise claims_invalid("The token does not say when it expires.")
    if now >= expires_at + leeway_s:
        raise IdentityError("identity.token_expired", "The token has expired.")
    for name in ("nbf", "iat"):
        begins_at = moment(claims, name)
        if begins_at is not None and begins_at > now + leeway_s:
            raise IdentityError("identity.token_invalid", "The token is not valid yet.")
    return int(expires_at)


def audiences(claims: Mapping[str, object]) -> list[str]:
    """Returns whom the token is for (RFC 7519 section 4.1.3): one name or a list of them.

    Raises:
        IdentityError: It does not say, or not so (identity.claims_invalid).
    """
    listed = claims.get("aud")
    named = [listed] if isinstance(listed, str) else listed
    if not isinstance(named, list) or not named or not all(isinstance(name, str) and name for name in named):
        raise claims_invalid("The token does not say for whom it is.")
    return named


def groups_at(claims: Mapping[str, object], name: str, separator: str | None = None) -> list[str]:
    """Returns the groups in a claim: one name or a list of them, none when the claim is absent.

    Args:
        claims: Of the token.
        name: The claim.
        separator: What stands between names where they are one text, as in ``scope``; None: one text is one name.

    Raises:
        IdentityError: They are something else (identity.claims_invalid).
    """
    groups = claim_at(claims, name)
    if groups is None:
        return []
    if isinstance(groups, str):
        return [groups] if separator is None else [group for group in groups.split(separator) if group]
    listed = groups
    if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
        raise claims_invalid("The token's groups are not a list of names.")
    return listed


def is_verified(value: object) -> bool:
    """Tells whether a claim such as ``email_verified`` says yes; Amazon writes it as a text."""
    return value is True or value == "true"


def claims_invalid(message: str) -> IdentityError:
    """Returns the error of a token that does not say what it has to."""
    return IdentityError("identity.claims_invalid", message)
