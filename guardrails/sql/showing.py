"""Statements of their own that only read the schema (PRAGMA table_info, SHOW TABLES, DESCRIBE): as queries of what describes it.

None of them is run: each becomes a SELECT from a relation or function of `guardrails.sql.metadata`, and goes the way of every query.
Sources: https://www.sqlite.org/pragma.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sqlglot import exp

from guardrails.model import DialectName
from guardrails.sql.explaining import BLANK

__all__ = ["read_showing", "showing_hint"]

_NAME = r"""(?:'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d][\w$]*)"""
_END = rf"{BLANK}*(?:;{BLANK}*)*(?:--[^\n]*)?"


def read_showing(sql: str, dialect: DialectName) -> exp.Select | None:
    """Returns the query that a statement stands for, None when it is no statement that only reads the schema.

    Args:
        sql: The whole text.
        dialect: Whose statements.
    """
    for pattern, build in _STATEMENTS.get(dialect, {}).items():
        found = re.compile(pattern, re.IGNORECASE).fullmatch(sql)
        if found is not None:
            return build(found)
    return None


def showing_hint(dialect: DialectName) -> str:
    """Returns a hint that names the statements which read the schema; empty when there are none."""
    return _HINTS.get(dialect, "")


def _from(source: exp.Expr) -> exp.Select:
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=source)))


def _call(function: str, *arguments: str) -> exp.Select:
    return _from(exp.Anonymous(this=function, expressions=[exp.Literal.string(a) for a in arguments]))


def _plain(name: str) -> str:
    """A name without its quotes."""
    if name[0] not in "'\"`[":
        return name
    closing = "]" if name[0] == "[" else name[0]
    return name[1:-1].replace(closing * 2, closing)


def _pragma(found: re.Match[str]) -> exp.Select:
    function = f"pragma_{found['pragma'].lower()}"
    return _call(function, _plain(found["name"])) if found["name"] else _from(exp.to_identifier(function, quoted=True))


def _words(*parts: str) -> str:
    return rf"{BLANK}*" + rf"{BLANK}+".join(parts) + _END


_MAIN = rf"(?:main{BLANK}*\.{BLANK}*)?"
_ARGUMENT = rf"{BLANK}*\({BLANK}*(?P<name>{_NAME}){BLANK}*\)"
_STATEMENTS: Mapping[DialectName, Mapping[str, Callable[[re.Match[str]], exp.Select]]] = {
    "sqlite": {
        _words("PRAGMA", rf"{_MAIN}(?P<pragma>table_info|table_xinfo|table_list){_ARGUMENT}"): _pragma,
        _words("PRAGMA", rf"{_MAIN}(?P<pragma>table_list)(?P<name>)"): _pragma,
    },
}
_HINTS: Mapping[DialectName, str] = {
    "sqlite": "Of pragmas there are table_list, table_info(name) and table_xinfo(name); sqlite_master can be queried.",
    "postgres": "Query information_schema.tables and information_schema.columns.",
}
