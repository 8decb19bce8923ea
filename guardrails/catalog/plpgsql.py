"""Which bodies of trigger functions do nothing but set columns of the row that is written, or refuse it.

Everything else may read or change other relations, and is not told apart. Only words, functions and types on a list pass.
Source: https://www.postgresql.org/docs/current/plpgsql-structure.html and plpgsql-trigger.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["is_plain_body", "is_plain_path"]

_TOKEN = re.compile(
    r"(?P<blank>\s+|--[^\n\r]*)|(?P<comment>/\*)|(?P<text>'(?:[^']|'')*')|(?P<name>\"(?:[^\"]|\"\")+\")"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d]\w*)|(?P<sign>:=|::|\|\||<>|!=|<=|>=|->>|->|[-+*/%<>=.,;()\[\]])|(?P<other>.)",
    re.DOTALL,
)
_WORDS = frozenset(
    {
        *(
            "begin",
            "end",
            "return",
            "new",
            "old",
            "if",
            "then",
            "else",
            "elsif",
            "elseif",
            "case",
            "when",
            "raise",
            "exception",
        ),
        *("and", "or", "not", "is", "distinct", "in", "between", "like", "null", "true", "false", "tg_op", "tg_when"),
        *("current_timestamp", "current_date", "localtimestamp", "current_user"),
    }
)
_PREFIXES = frozenset({"e", "u", "x", "b", "n"})
"""Letters that change what the string after them means."""


def is_plain_body(body: str, functions: Iterable[str], types: Iterable[str]) -> bool:
    """Whether a PL/pgSQL body only sets columns of NEW, or raises.

    Args:
        body: The function's source.
        functions: Lower-case names of functions without effects.
        types: Lower-case names of plain types, for casts.
    """
    tokens = [m for m in _TOKEN.finditer(body) if not m["blank"]]
    texts = ["", *(m.group().lower() for m in tokens), ""]
    known, plain = frozenset(functions), frozenset(types)
    for index, token in enumerate(tokens, 1):
        before, text, after = texts[index - 1], texts[index], texts[index + 1]
        if token["other"] or token["comment"] or (token["name"] and before != "."):
            return False
        if token["text"] and before in _PREFIXES:
            return False
        if token["sign"] == "." and texts[index - 1] not in ("new", "old"):
            return False
        if token["word"] and before == "." and after == "(":
            return False
        if token["word"] and before != "." and not _is_plain_word(before, text, after, known, plain):
            return False
    return bool(tokens)


def _is_plain_word(before: str, text: str, after: str, functions: frozenset[str], types: frozenset[str]) -> bool:
    if text == "from":
        # Anywhere else it would read a relation; an assignment may have one.
        return before == "distinct"
    if before == "::":
        return text in types
    if after == "(" and text not in _WORDS:
        return text in functions
    return text in _WORDS


def is_plain_path(settings: Iterable[str]) -> bool:
    """Whether a function's settings leave it to the system's own functions and operators first, and change nothing else."""
    paths = [value.replace(" ", "") if name == "search_path" else "" for name, _, value in (s.partition("=") for s in settings)]
    return all(p in ('""', "pg_catalog", "pg_catalog,pg_temp", '"",pg_temp') for p in paths)
