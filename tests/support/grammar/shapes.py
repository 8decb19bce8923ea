"""The shape of a statement: its words and signs without names and constants, for counting how many different ones there are."""

from __future__ import annotations

import re

__all__ = ["shape"]

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\[[^\]0-9']*\]|`[^`]*`|\$\$.*?\$\$|\d[\w.]*|[A-Za-z_]\w*|\S""", re.DOTALL)
_KEYWORDS = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "at",
        "between",
        "by",
        "case",
        "cast",
        "collate",
        "conflict",
        "cross",
        "cube",
        "current",
        "default",
        "delete",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "escape",
        "except",
        "excluded",
        "exclude",
        "exists",
        "extract",
        "false",
        "fetch",
        "filter",
        "first",
        "following",
        "following",
        "from",
        "full",
        "glob",
        "group",
        "grouping",
        "groups",
        "having",
        "ilike",
        "in",
        "inner",
        "insert",
        "intersect",
        "interval",
        "into",
        "is",
        "isnull",
        "join",
        "last",
        "lateral",
        "left",
        "like",
        "limit",
        "materialized",
        "natural",
        "next",
        "not",
        "notnull",
        "nothing",
        "null",
        "nulls",
        "of",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "ordinality",
        "outer",
        "over",
        "overlaps",
        "overlay",
        "partition",
        "placing",
        "preceding",
        "range",
        "recursive",
        "returning",
        "right",
        "rollup",
        "row",
        "rows",
        "select",
        "set",
        "sets",
        "similar",
        "some",
        "substring",
        "then",
        "ties",
        "to",
        "trim",
        "true",
        "unbounded",
        "union",
        "unknown",
        "update",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
        "within",
        "zone",
    ]
)


def shape(sql: str) -> str:
    """Returns the statement with `?` for constants and `n` for names; calls keep their function's name."""
    parts: list[str] = []
    tokens = _TOKEN.findall(sql)
    for index, token in enumerate(tokens):
        lower = token.lower()
        after = tokens[index + 1] if index + 1 < len(tokens) else ""
        if token[0] == "'" or token[0] == "$" or token[0].isdigit():
            parts.append("?")
        elif token[0] in '"[`' and len(token) > 1:
            parts.append("n")
        elif lower in _KEYWORDS or (token[0].isalpha() and after == "("):
            parts.append(lower)
        elif token[0].isalpha() or token[0] == "_":
            parts.append("n")
        else:
            parts.append(token)
    return " ".join(parts)
