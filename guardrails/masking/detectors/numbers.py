"""Numbers with rules of their own: payment cards (ISO/IEC 7812), IBANs (ISO 13616) and US social security numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardrails.masking.detectors.span import Span

__all__ = ["cards", "ibans", "is_card", "social_security_numbers"]

_CARD_DIGITS = range(13, 20)
# Undivided, or in the groups in which issuers print the digits, with the same separator everywhere. Behind the first digit all is a
# look-ahead, since a number may begin inside what looked like one. Patterns begin with the character that they need, not with what
# may not stand before it: so the search skips what cannot begin a number.
_CARD = re.compile(
    r"[2-68](?<!\d[2-68])(?=(?P<whole>\d{12,18})(?!\d)"
    r"|(?P<fours>\d{3}(?P<s>[ .\-]{1,3})\d{4}(?P=s)\d{4}(?P=s)\d{4})(?!\d)(?P<rest>(?P=s)(?:\d{3}|\d)(?!\d))?"
    r"|(?P<other>\d{3}(?P<t>[ .\-]{1,3})(?:\d{6}(?P=t)\d{4,5}|\d{5}(?P=t)\d{6}|\d{4}(?P=t)\d{5}|\d{3}(?:(?P=t)\d{3}){2})"
    r"|\d{5}[ .\-]{1,3}\d{13}|\d{7}[ .\-]{1,3}\d{8})(?!\d))"
)
_NO_DIGIT = re.compile(r"\D+")

# First digits from, to (of equal length) and the lengths that the network issues.
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({13, 16, 19})),
    ("51", "55", frozenset({16})),
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),
    ("37", "37", frozenset({15})),
    ("6011", "6011", frozenset(range(16, 20))),
    ("644", "659", frozenset(range(16, 20))),
    ("300", "305", frozenset(range(14, 20))),
    ("3095", "3095", frozenset(range(14, 20))),
    ("36", "36", frozenset(range(14, 20))),
    ("38", "39", frozenset(range(14, 20))),
    ("3528", "3589", frozenset(range(16, 20))),
    ("62", "62", frozenset(range(16, 20))),
    ("2200", "2204", frozenset(range(16, 20))),
    ("60", "60", frozenset({16})),
    ("81", "82", frozenset({16})),
    ("50", "50", frozenset(range(13, 20))),
    ("56", "58", frozenset(range(13, 20))),
    ("63", "63", frozenset(range(13, 20))),
    ("67", "67", frozenset(range(13, 20))),
)

_IBAN_CHECK = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)(?<![A-Za-z0-9][A-Za-z]{2}\d\d)(?=[ \-]?[A-Za-z0-9])")
_IBAN_BODY = re.compile(r"[A-Za-z0-9]{4}(?:[ \-]?[A-Za-z0-9]){1,30}+")
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
    "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
    "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
    "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip

_SSN = re.compile(r"(\d(?<![\d.\-]\d)\d\d)([ \-.]?)(\d\d)[ \-.]?(\d{4})(?![\d\-])")
_SSN_DASHED = re.compile(r"(?<!\w)\d{3}-\d{2}-\d{4}(?!\w)")
_SSN_NAMES = r"(?:\b|_)(?:ssn|ssns|social[ _]security|soc[. ]sec|itin|taxpayer[ _]id)\b"
_SSN_NAME = re.compile(_SSN_NAMES, re.IGNORECASE)
_SSN_NAME_BEFORE = re.compile(_SSN_NAMES + r"[^\d\n]{0,24}$", re.IGNORECASE)
_SSN_LOOK_BACK = 42


def cards(text: str) -> Iterator[Span]:
    """Yields payment card numbers: known issuer, length, Luhn, and groups as cards print them."""
    last = 0
    for found in _CARD.finditer(text):
        start = found.start()
        if start >= last and (end := _card_end(text, found)):
            last = end
            yield Span(start, end, "card", 0.95)


def is_card(digits: str) -> bool:
    """Tells whether digits are a possible card number: issuer, length and Luhn check digit (ISO/IEC 7812-1, annex B)."""
    size = len(digits)
    if size not in _CARD_DIGITS or not any(
        low <= digits[: len(low)] <= high and size in sizes for low, high, sizes in _ISSUERS
    ):
        return False
    doubled = [int(d) * 2 for d in digits[-2::-2]]
    return (sum(int(d) for d in digits[::-2]) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def ibans(text: str) -> Iterator[Span]:
    """Yields IBANs: the country's length, and the check digits of ISO 7064 MOD 97-10."""
    end = 0
    for check in _IBAN_CHECK.finditer(text):
        start = check.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or start < end:
            continue
        body = _IBAN_BODY.match(text, start)
        if not body:
            continue
        compact, last = "", start
        for offset in range(start, body.end()):
            if text[offset] in " -":
                continue
            compact += text[offset]
            last = offset + 1
            if len(compact) == length:
                break
        is_followed = last < len(text) and text[last].isalnum()
        if len(compact) == length and not is_followed and _is_mod_97(compact.upper()):
            end = last
            yield Span(start, last, "iban", 0.97)


def social_security_numbers(text: str, context: str) -> Iterator[Span]:
    """Yields US social security numbers: with dashes, or in any form after a word that says so (or in a column so named)."""
    is_named = _SSN_NAME.search(context.replace("_", " ")) is not None
    for found in _SSN.finditer(text):
        start = found.start()
        if not _is_assignable(found[1], found[3], found[4]):
            continue
        if _SSN_DASHED.match(text, start):
            yield Span(start, found.end(), "ssn", 0.85)
        elif is_named or _SSN_NAME_BEFORE.search(text[max(0, start - _SSN_LOOK_BACK) : start]):
            yield Span(start, found.end(), "ssn", 0.8)


def _card_end(text: str, found: re.Match[str]) -> int:
    """Returns where a card number ends, 0 when it is none."""
    if found["whole"]:
        start, end = found.start(), found.end("whole")
        whole = text[start:end]
        is_other = text[start - 1 : start] == "+" or _is_article(whole) or _is_decimal(text, start, end)
        return end if is_card(whole) and not is_other else 0
    ends = (found.end("rest"), found.end("fours"), found.end("other"))
    return next((end for end in ends if end > 0 and is_card(_NO_DIGIT.sub("", text[found.start() : end]))), 0)


def _is_article(digits: str) -> bool:
    """Tells whether digits are an article number with its check digit (GTIN-13); cards of that length are of the past."""
    weighted = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits))
    return len(digits) == 13 and weighted % 10 == 0


def _is_decimal(text: str, start: int, end: int) -> bool:
    """Tells whether a group is the part of a decimal number before or after its point."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[-1:] == "." and before[:1].isdigit()) or (after[:1] == "." and after[1:].isdigit())


def _is_mod_97(compact: str) -> bool:
    moved = compact[4:] + compact[:4]
    return moved.isascii() and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _is_assignable(area: str, group: str, serial: str) -> bool:
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
