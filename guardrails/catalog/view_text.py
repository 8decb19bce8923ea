"""The text of CREATE VIEW as SQLite and DuckDB keep it, cut into tokens as far as is needed to find the query in it."""

from __future__ import annotations

import re

__all__ = ["TOKEN", "view_definition"]

TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))"""
    r"""|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|'(?:[^']|'')*')|(?P<word>[\w$]+)|(?P<mark>.)""",
    re.DOTALL,
)
"""Blanks and comments, quoted names and strings, words, and single signs."""


def view_definition(sql: str) -> str | None:
    """Returns the SELECT of `CREATE VIEW name [(columns)] AS select`, None when the text is not of that form."""
    tokens = [m for m in TOKEN.finditer(sql) if not m["blank"]]
    depth = 0
    for position, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.group(), 0) if token["mark"] else 0
        # Position 2 is the view's name, which may be the bare word `as`.
        if position > 2 and depth == 0 and token["word"] and token.group().upper() == "AS":
            return sql[token.end() :].strip().rstrip(";").strip()
    return None
