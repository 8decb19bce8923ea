"""Finds personal data and credentials in a text: the second net, under what the policy declares.

Cheap tests decide which detectors run at all; each is one pass with bounded patterns, whose hits are validated (check digits, known
prefixes, numbering plans, context words). The time is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect

from guardrails.masking.detectors import Span
from guardrails.masking.detectors.contacts import emails, phones
from guardrails.masking.detectors.numbers import cards, ibans, social_security_numbers
from guardrails.masking.detectors.plain import fold
from guardrails.masking.detectors.secrets import secrets

__all__ = ["KINDS", "Span", "find"]

KINDS = ("secret", "email", "iban", "card", "ssn", "phone")
"""All kinds, the one that wins first where two overlap."""

_RANKS = {kind: rank for rank, kind in enumerate(KINDS)}
_DIGIT = re.compile(r"[0-9]")
_SEVEN_DIGITS = re.compile(r"[0-9](?:[^0-9\n]{0,3}[0-9]){6}")
_FEWEST_CHARACTERS = 6


def find(text: str, *, context: str = "") -> list[Span]:
    """Finds what should not leave.

    Args:
        text: Any text; other scripts' digits, full-width forms and invisible characters are seen through.
        context: What is known about the text, such as its column's name: ``phone`` or ``ssn`` there makes bare digits count.

    Returns:
        Spans by offset in `text`, in order, without overlaps.

    Example:
        >>> find("write to ana@example.com")
        [Span(start=9, end=24, kind='email', score=0.99)]
    """
    if len(text) < _FEWEST_CHARACTERS:
        return []
    plain, offsets = fold(text)
    spans: list[Span] = []
    if "@" in plain or "%40" in plain:
        spans += emails(plain)
    if _DIGIT.search(plain):
        spans += secrets(plain)
        if _SEVEN_DIGITS.search(plain):
            spans += cards(plain)
            spans += ibans(plain)
            spans += social_security_numbers(plain, context)
            spans += phones(plain, context)
    elif ":" in plain or "=" in plain:
        spans += secrets(plain)
    if not spans:
        return []
    kept = _without_overlaps(spans)
    if offsets is None:
        return kept
    return [Span(offsets[s.start], offsets[s.end - 1] + 1, s.kind, s.score) for s in kept]


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """Keeps, of overlapping spans, the one of the higher rank, then the surer, then the longer."""
    kept: list[Span] = []
    spans.sort(key=lambda span: (span.start, span.end))
    cluster: list[Span] = []
    end = -1
    for span in spans:
        if span.start >= end and cluster:
            kept += _best(cluster)
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    return kept + _best(cluster)


def _best(cluster: list[Span]) -> list[Span]:
    if len(cluster) == 1:
        return cluster
    starts: list[int] = []
    chosen: list[Span] = []
    for span in sorted(cluster, key=lambda s: (_RANKS[s.kind], -s.score, s.start - s.end, s.start)):
        place = bisect(starts, span.start)
        is_clear = place == 0 or chosen[place - 1].end <= span.start
        if is_clear and (place == len(chosen) or span.end <= chosen[place].start):
            starts.insert(place, span.start)
            chosen.insert(place, span)
    return chosen
