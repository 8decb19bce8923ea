"""Text as a reader sees it: other scripts' digits, full-width letters, odd dashes and spaces as ASCII, invisible characters gone.

Folding works character by character (NFKC where that gives one ASCII character; UAX #15), so that places in the folded text can be
led back to places in the text.
"""

from __future__ import annotations

import functools
import re
import unicodedata

__all__ = ["fold"]

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_LETTER_LIKE = {"．": ".", "。": ".", "｡": ".", "∶": ":", "꞉": ":", "⁄": "/", "∕": "/"}
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x1810))
_INVISIBLE = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0})


class _Folds(dict[int, str]):
    """Maps a code point to what it is folded to, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_character(chr(code))
        return folded


def fold(text: str) -> tuple[str, list[int] | None]:
    """Returns the folded text and, for each of its characters, the offset in `text` (None: the same offset)."""
    if text.isascii():
        return text, None
    folds = _folds()
    if all(folds[ord(character)] == character for character in set(_NOT_ASCII.findall(text))):
        return text, None
    folded = text.translate(folds)
    if len(folded) == len(text):
        return folded, None
    return folded, [offset for offset, character in enumerate(text) if folds[ord(character)]]


@functools.cache
def _folds() -> _Folds:
    return _Folds()


def _fold_character(character: str) -> str:
    code = ord(character)
    if code < 128:
        return character
    category = unicodedata.category(character)
    if category == "Cf" or code in _INVISIBLE or any(code in selectors for selectors in _VARIATION_SELECTORS):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    if category == "Pd" or character == "−":
        return "-"
    if character in _LETTER_LIKE:
        return _LETTER_LIKE[character]
    compatible = unicodedata.normalize("NFKC", character)
    return compatible if len(compatible) == 1 and compatible.isascii() else character
