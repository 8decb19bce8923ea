"""Values that a definition names: what CHECK constraints and enumerated types want of a column."""

from __future__ import annotations

import re

__all__ = ["enum_labels", "literals_in"]

_LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.\"`])(-?\d+(?:\.\d+)?)(?![\w.\"`])")
_ENUM = re.compile(r"(?:enum|set)\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_TEXT = re.compile(r"'((?:[^']|'')*)'")


def literals_in(sql: str) -> tuple[str, ...]:
    """Returns the texts and numbers of a definition, each once, as texts."""
    found = (text.replace("''", "'") if text or not number else number for text, number in _LITERAL.findall(sql))
    return tuple(dict.fromkeys(found))


def enum_labels(type_text: str) -> tuple[str, ...]:
    """Returns the texts that `ENUM('a', 'b')` allows; none of another type."""
    found = _ENUM.fullmatch(type_text.strip())
    return tuple(label.replace("''", "'") for label in _TEXT.findall(found[1])) if found else ()
