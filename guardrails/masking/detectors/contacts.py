"""E-mail addresses (the common part of RFC 5322) and telephone numbers (ITU-T E.123, E.164 and the usual national ways to write)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardrails.masking.detectors.span import Span

__all__ = ["emails", "phones"]

_AT = re.compile(r"(?:@|%40)(?=[^\W_])")
_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}([^\W\d_]{{2,24}}|xn--[a-z0-9\-]{{2,59}})(?![^\W_]|-|@)")
_LOCAL_SIGNS = "._%+-'"
_LONGEST_LOCAL = 64
_FILE_ENDINGS = frozenset({
    "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "tsx", "jsx", "json", "xml", "html", "htm", "py",
    "rb", "go", "rs", "java", "txt", "md", "yaml", "yml", "lock",
})  # fmt: skip

# Calling codes of ITU-T E.164: one digit, two digits, all others three.
_ONE_DIGIT_CODES = frozenset("17")
_TWO_DIGIT_CODES = frozenset({
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51",
    "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90",
    "91", "92", "93", "94", "95", "98",
})  # fmt: skip
_THREE_DIGIT_STARTS = frozenset({
    "21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69", "80", "85", "87",
    "88", "96", "97", "99",
})  # fmt: skip
# Fewest and most digits after the calling code, where they differ from the usual.
_NATIONAL_DIGITS = {
    "1": (10, 10), "7": (10, 10), "20": (8, 10), "27": (9, 9), "30": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9),
    "34": (9, 9), "36": (8, 9), "40": (9, 9), "41": (9, 9), "44": (9, 10), "45": (8, 8), "46": (7, 9), "47": (8, 8),
    "48": (9, 9), "52": (10, 10), "55": (10, 11), "61": (9, 9), "65": (8, 8), "81": (9, 10), "82": (8, 10), "86": (10, 11),
    "90": (10, 10), "91": (10, 10), "351": (9, 9), "353": (7, 9), "420": (9, 9), "421": (9, 9), "852": (8, 8), "972": (8, 9),
}  # fmt: skip
_USUAL_NATIONAL_DIGITS = (6, 12)

_EXTENSION = r"(?:[ ,]{0,2}(?:x|ext\.?|extension|#)[ ]?\d{1,6})?"
_END = r"(?!\w|[.:/\-]\d)"
_TAIL = re.compile(_EXTENSION + _END)
# Patterns begin with the character that they need, not with what may not stand before it: so the search skips all others.
_INTERNATIONAL = re.compile(
    r"(?:\+(?<![\w+]\+)[ ]?|0(?<![\w+.,:\-]0)(?:0(?=[1-9(])|11[ \-](?=[1-9])))\(?"
    r"(\d{1,15}+\)?(?:(?:[ .\-/]|[ ]?\((?=\d)|\)[ \-]?|(?<=\)))\d{1,14}+\)?){0,8})"
)
_NORTH_AMERICAN = re.compile(
    r"((?:1(?<![\w.\-+/#]1)[ .\-](?:\([2-9]\d\d\)[ \-]?|[2-9]\d\d[.\-])"
    r"|\((?<![\w.\-+/#]\()[2-9]\d\d\)[ \-]?|[2-9](?<![\w.\-+/#(][2-9])\d\d[.\-])[2-9]\d\d[.\- ]\d{4})" + _EXTENSION + _END
)
_TRUNK = re.compile(r"(?:0(?<![\w.+\-/:#(]0)|\((?<![\w.+\-/:#]\()0)[1-9]\d{0,4}\)?(?:[ ]?[ \-/.]\d{2,8}+){1,5}+")
_BARE = re.compile(rf"((?:\(\+?\d|\+\d|\d(?<![\w(+]\d))[\d ().\-/]{{5,20}}\d){_EXTENSION}{_END}")
_WORDS = (
    r"(?:(?:\b|_)(?:tele)?(?:phone|fon|foon|fono|fone|phones)s?\b|\b(?:tel|mobile?|mobil|handy|cell|cellphone|fax|call|ring|dial|"
    r"hotline|whatsapp|sms|text me|móvil|téléphone|teléfono|telefonnummer|rufnummer)\b)"
)
_WORD = re.compile(_WORDS, re.IGNORECASE)
_WORD_BEFORE = re.compile(_WORDS + r"[^\d\n+(]{0,20}$", re.IGNORECASE)
_WORD_LOOK_BACK = 36
_WHOLE = re.compile(rf"\s*(\(?\+?\d[\d ().\-/]{{5,20}}\d){_EXTENSION}\s*")
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|case|ref|reference|sku|isbn|issn|ean|upc|gtin|tracking|serial|part|item|version|build|id|no|nr|"
    r"account|acct|batch|lot|policy|po|bestellung|rechnung)[\s.:#\-]*$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:\d{1,2}[./\-]\d{1,2}[./\-](?:\d\d){1,2}|\d{4}[./\-]\d{1,2}[./\-]\d{1,2})(?!\d)|\d\d/(?:19|20)\d\d(?!\d)"
)
_DIGITS = re.compile(r"\d+")
_ZIP_4 = re.compile(r"\d{5}-\d{4}(?!\d)")
_PAIRS = re.compile(r"0[1-9]([ .\-])\d\d(?:\1\d\d){3}(?!\d)")
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?!\d)")
_NANP = re.compile(r"1[2-9]\d\d[2-9]\d{6}")
_PHONE_DIGITS = range(7, 16)
_TRUNK_DIGITS = range(9, 13)


def emails(text: str) -> Iterator[Span]:
    """Yields e-mail addresses with a domain of at least two labels."""
    last = 0
    for at in _AT.finditer(text):
        start, first = at.start(), max(last, at.start() - _LONGEST_LOCAL)
        while start > first and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_SIGNS):
            start -= 1
        while start < at.start() and text[start] in ".'":
            start += 1
        domain = _DOMAIN.match(text, at.end())
        if start < at.start() and domain and domain[1].lower() not in _FILE_ENDINGS:
            last = domain.end()
            yield Span(start, last, "email", 0.99)


def phones(text: str, context: str) -> Iterator[Span]:
    """Yields telephone numbers; bare digits count only after a word for a telephone (or in a column so named)."""
    for found in _INTERNATIONAL.finditer(text):
        if end := _international_end(text, found):
            yield Span(found.start(), end, "phone", 0.9)
    for found in _NORTH_AMERICAN.finditer(text):
        digits = "".join(_DIGITS.findall(found[1]))[-10:]
        is_service = digits[1:3] == "11" or digits[4:6] == "11"
        if not is_service and not _is_other_number(text, found.start()):
            yield Span(found.start(), found.end(), "phone", 0.85)
    for found in _TRUNK.finditer(text):
        end = _trunk_end(text, found)
        if end and not _is_other_number(text, found.start()):
            yield Span(found.start(), end, "phone", 0.75)
    for found in _BARE.finditer(text):
        start = found.start()
        if _is_plausible(found[1]) and _WORD_BEFORE.search(text[max(0, start - _WORD_LOOK_BACK) : start]):
            yield Span(start, found.end(), "phone", 0.8)
    if _WORD.search(context.replace("_", " ")) and (whole := _WHOLE.fullmatch(text)) and _is_plausible(whole[1]):
        yield Span(whole.start(1), len(text.rstrip()), "phone", 0.8)


def _international_end(text: str, found: re.Match[str]) -> int:
    """Returns where the number ends, 0 when it is none: the longest run of groups that its country's plan allows."""
    is_plus = text[found.start()] == "+"
    groups = [(found.start(1) + g.start(), found.start(1) + g.end()) for g in _DIGITS.finditer(found[1])]
    if not is_plus and (len(groups) < 2 or _is_other_number(text, found.start())):
        return 0
    for last in range(len(groups), 0, -1):
        end = groups[last - 1][1]
        # The trunk prefix in parentheses is not dialled from abroad.
        digits = "".join(_DIGITS.findall(text[found.start(1) : end].replace("(0)", "")))
        code = _calling_code(digits)
        if code is None:
            return 0
        if code == "1" and not _NANP.match(digits):
            return 0
        fewest, most = _NATIONAL_DIGITS.get(code, _USUAL_NATIONAL_DIGITS)
        if fewest <= len(digits) - len(code) <= most and len(digits) <= 15:
            tail = _TAIL.match(text, end)
            return tail.end() if tail else 0
    return 0


def _calling_code(digits: str) -> str | None:
    if digits[:1] in _ONE_DIGIT_CODES:
        return digits[:1]
    if digits[:2] in _TWO_DIGIT_CODES:
        return digits[:2]
    return digits[:3] if digits[:2] in _THREE_DIGIT_STARTS else None


def _trunk_end(text: str, found: re.Match[str]) -> int:
    """Returns where a national number with its leading zero ends, 0 when it is none."""
    first = found.start() + (text[found.start()] == "(")
    is_date = _DATE.match(text, first) and not _PAIRS.match(text, first)
    if is_date or _ZIP_4.match(text, first):
        return 0
    groups = [(found.start() + g.start(), found.start() + g.end()) for g in _DIGITS.finditer(found[0])]
    for taken in range(len(groups), 1, -1):
        end = groups[taken - 1][1]
        sizes = [end - start for start, end in groups[:taken]]
        if sum(sizes) not in _TRUNK_DIGITS or ("." in text[found.start() : end] and set(sizes) != {2}):
            continue
        tail = _TAIL.match(text, end)
        return tail.end() if tail else 0
    return 0


def _is_plausible(number: str) -> bool:
    digits = "".join(_DIGITS.findall(number))
    return len(digits) in _PHONE_DIGITS and not _DATE.match(number) and not _IPV4.match(number) and len(set(digits)) > 1


def _is_other_number(text: str, start: int) -> bool:
    before = text[max(0, start - 20) : start]
    return bool(_OTHER_NUMBER.search(before)) and not _WORD.search(before)
