"""What somebody who accepts a definition gets to see: the difference to what was accepted before, and what in it deserves a second look.

Text that a model reads and a person does not see is shown: every character that shows nothing or changes direction stands as its code
point.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from guardrails.mcp_gateway.definitions import Definition

__all__ = ["difference", "visible", "warnings"]

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_BLANK = " \n"
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that show nothing."""
_VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f]")
_WORD = re.compile(r"[A-Za-z0-9_.-]{3,}")
_LONG_CHARACTERS = 4000


def visible(text: str) -> str:
    """Returns a text in which every character that shows nothing, or acts, stands as ``\\u{…}``.

    Example:
        >>> visible("adds\\u200b two")
        'adds\\\\u{200b} two'
    """
    return "".join(f"\\u{{{ord(c):x}}}" if _is_hidden(c) else c for c in text)


def difference(before: Definition | None, now: Definition) -> list[str]:
    """Returns the lines that differ, each with ``+``, ``-`` or a blank in front; all of them for a definition that is new."""
    old = [] if before is None else _lines(before.body)
    return [line for line in difflib.ndiff(old, _lines(now.body)) if not line.startswith("?")]


def warnings(definition: Definition, others: Iterable[Definition]) -> list[str]:
    """Returns what deserves a second look: hidden characters, names of other tools, very long texts.

    Args:
        definition: The one that somebody may accept.
        others: What else clients may see; a text that speaks of those may be meant to change how they are used.
    """
    texts = list(_texts(definition.body))
    found = []
    hidden = sum(_is_hidden(c) for text in texts for c in text)
    if hidden:
        found.append(f"It has {hidden} hidden characters.")
    words = {word.strip(".") for text in texts for word in _WORD.findall(text)}
    key = definition.key
    named = sorted({str(o.key) for o in others if o.key.upstream != key.upstream and o.key.name in words})
    if named:
        found.append(f"It speaks of what another server offers: {', '.join(named[:10])}.")
    if sum(map(len, texts)) > _LONG_CHARACTERS:
        found.append(f"Its texts have {sum(map(len, texts)):,} characters.")
    return found


def _lines(body: Mapping[str, object]) -> list[str]:
    text = json.dumps(dict(body), indent=2, sort_keys=True, ensure_ascii=False)
    # Line breaks of the texts themselves, so that a long description reads as one does.
    return [visible(line) for part in text.split("\n") for line in part.replace("\\n", "\\n\n").split("\n")]


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for key, item in value.items():
                yield str(key)
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)


def _is_hidden(character: str) -> bool:
    if character in _BLANK:
        return False
    category = unicodedata.category(character)
    is_odd_blank = category == "Zs"
    return category in _HIDDEN or is_odd_blank or character in _FILLERS or _VARIATION.match(character) is not None
