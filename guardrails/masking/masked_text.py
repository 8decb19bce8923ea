"""Tells texts that a mask made from those that stand in a database, so that the former never overwrite the latter."""

from __future__ import annotations

import re

from guardrails.masking.values import HIDDEN, TOKEN_HEX_DIGITS, TOKEN_PREFIX

__all__ = ["is_masked_text", "is_token"]

# A column of 16 characters keeps 12 of the digits.
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[0-9a-f]{{12,{TOKEN_HEX_DIGITS}}}", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{64}")
_WHOLE = {"pseudonym": re.compile(rf"{TOKEN_PREFIX}[0-9a-f]{{12,{TOKEN_HEX_DIGITS}}}"), "hash": re.compile(r"[0-9a-f]{16,64}")}
"""What a mask of text gives and nothing else; short columns hold less of it."""


def is_masked_text(kind: str, text: str) -> bool:
    """Whether a text holds what a mask of that kind makes of texts.

    Numbers, dates and UUIDs that a mask made look like any other, and are not told.

    Example:
        >>> is_masked_text("pseudonym", "tok_0123456789abcdef0123"), is_masked_text("partial", "Ada")
        (True, False)
    """
    match kind:
        case "pseudonym":
            return _TOKEN.search(text) is not None
        case "hash":
            return _HASH.fullmatch(text) is not None
        case "partial" | "email" | "full":
            return HIDDEN in text
    return False


def is_token(kind: str, text: str) -> bool:
    """Whether a text is exactly what a mask of that kind makes of a text.

    Example:
        >>> is_token("pseudonym", "tok_0123456789abcdef0123"), is_token("pseudonym", "TOK_0123456789abcdef0123 ")
        (True, False)
    """
    return kind in _WHOLE and _WHOLE[kind].fullmatch(text) is not None
