"""A principal that code merely names: for tests and single-user use. The ledger records it as unverified.

The rules for ids and groups here hold for every principal, also for those of tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from guardrails.errors import IdentityError
from guardrails.model import Principal, Value

__all__ = ["check_id", "static_principal"]

_MOST_CHARACTERS = 256
_MOST_GROUPS = 1000


def static_principal(id: str, groups: Iterable[str] = (), *, attributes: Mapping[str, Value] | None = None) -> Principal:  # noqa: A002
    """Returns an unverified principal.

    Args:
        id: Stable subject, such as an e-mail address.
        groups: Groups or roles.
        attributes: Facts for row filters and conditions.

    Raises:
        IdentityError: The id or a group is empty, too long, begins or ends with a blank, or has characters that do not show
            (identity.principal_invalid).

    Example:
        >>> static_principal("ana@example.com", {"support"}).verified
        'unverified'
    """
    check_id(id)
    if isinstance(groups, (str, bytes)):
        raise _invalid("The groups are a collection of names, not one text.")
    named = list(groups)
    if len(named) > _MOST_GROUPS:
        raise _invalid(f"A principal has at most {_MOST_GROUPS} groups.")
    for group in named:
        check_id(group, "a group's name")
    for name in attributes or {}:
        check_id(name, "an attribute's name")
    return Principal(id, frozenset(named), dict(attributes or {}))


def check_id(text: object, what: str = "the principal's id") -> str:
    """Returns `text` if people can tell it from other ids.

    Raises:
        IdentityError: It is not (identity.principal_invalid).
    """
    if not isinstance(text, str) or not text:
        raise _invalid(f"{what.capitalize()} is empty or no text.")
    if len(text) > _MOST_CHARACTERS:
        raise _invalid(f"{what.capitalize()} is longer than {_MOST_CHARACTERS} characters.")
    if text != text.strip() or any(unicodedata.category(character)[0] in "CZ" and character != " " for character in text):
        raise _invalid(f"{what.capitalize()} has blanks around it or characters that do not show.")
    if unicodedata.normalize("NFC", text) != text:
        raise _invalid(f"{what.capitalize()} is not in Unicode's composed form, so that it looks like another.")
    return text


def _invalid(message: str) -> IdentityError:
    return IdentityError("identity.principal_invalid", message)
