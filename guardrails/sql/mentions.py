"""Which columns a text of the schema names, such as the expression of a generated column: by words, so that none is missed."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["mentioned"]

_NAME = re.compile(r'"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\]|([\w$]+)')


def mentioned(text: str, columns: Iterable[str]) -> frozenset[str]:
    """Returns the columns whose name occurs in the text, in whatever case and quotes; strings and functions count as well."""
    words: set[str] = set()
    for double, back, bracket, plain in _NAME.findall(text):
        words.add((double.replace('""', '"') or back.replace("``", "`") or bracket or plain).casefold())
    # What stands in quotes may be a string that holds words, or brackets an array's position.
    words |= {w.casefold() for w in re.findall(r"[\w$]+", text)}
    return frozenset(c for c in columns if c.casefold() in words)
