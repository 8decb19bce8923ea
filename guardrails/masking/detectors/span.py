"""A place in a text where something was found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Span"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text.

    Args:
        start: Offset of the first character.
        end: Offset after the last one.
        kind: ``email``, ``phone``, ``card``, ``iban``, ``ssn`` or ``secret``.
        score: From 0 to 1, how sure it is: 0.9 and more when a check digit or an unmistakable form says so.
    """

    start: int
    end: int
    kind: str
    score: float
