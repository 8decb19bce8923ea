"""Statements of their own that only read the schema (PRAGMA table_info, SHOW TABLES, DESCRIBE): as queries of what describes it.

None of them is run: each becomes a SELECT from a relation or function of `guardrails.sql.metadata`, and goes the way of every query.
Sources: https://www.sqlite.org/pragma.html, https://mariadb.com/kb/en/show-tables/, https://mariadb.com/kb/en/describe/
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


def _from(source: exp.Expr, where: exp.Expr | None = None) -> exp.Select:
    query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=source)))
    if where is not None:
        query.set("where", exp.Where(this=where))
    return query


def _call(function: str, *arguments: str | None) -> exp.Expr:
    values = [exp.Literal.string(a) if a is not None else exp.Null() for a in arguments]
    return exp.Anonymous(this=function, expressions=values)


def _plain(name: str) -> str:
    """A name without its quotes."""
    if name[0] not in "'\"`[":
        return name
    closing = "]" if name[0] == "[" else name[0]
    return name[1:-1].replace(closing * 2, closing)


def _pragma(found: re.Match[str]) -> exp.Select:
    function = f"pragma_{found['pragma'].lower()}"
    return _from(_call(function, _plain(found["name"])) if found["name"] else exp.to_identifier(function, quoted=True))


def _show_tables(found: re.Match[str]) -> exp.Select:
    function = "show_full_tables" if found["full"] else "show_tables"
    schema = [_plain(found["schema"])] if found["schema"] else []
    if found["pattern"] is None:
        return _from(_call(function, None, *schema))
    return _from(_call(f"{function}_like", found["pattern"][1:-1], *schema))


def _show_columns(found: re.Match[str]) -> exp.Select:
    parts = found.groupdict()
    where: exp.Expr | None = None
    field = exp.column(exp.to_identifier("Field", quoted=True))
    if parts.get("pattern") is not None:
        where = exp.Like(this=field, expression=exp.Literal.string(parts["pattern"][1:-1]))
    elif parts.get("column") is not None:
        where = exp.EQ(this=field, expression=exp.Literal.string(_plain(parts["column"])))
    return _from(_named("show_columns", parts), where)


def _show_create(found: re.Match[str]) -> exp.Select:
    return _from(_named("show_create_table", found.groupdict()))


def _named(function: str, parts: Mapping[str, str | None]) -> exp.Expr:
    """A call with the relation's name, and the schema's when it is named, behind FROM rather than before the dot."""
    schema = parts.get("schema") or parts["qualifier"]
    return _call(function, _plain(str(parts["name"])), *([_plain(schema)] if schema else []))


def _words(*parts: str) -> str:
    return rf"{BLANK}*" + rf"{BLANK}+".join(parts) + _END


_MAIN = rf"(?:main{BLANK}*\.{BLANK}*)?"
_ARGUMENT = rf"{BLANK}*\({BLANK}*(?P<name>{_NAME}){BLANK}*\)"
_WORD = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_RELATION = rf"(?:(?P<qualifier>{_WORD}){BLANK}*\.{BLANK}*)?(?P<name>{_WORD})"
_DUCKDB_WORD = r"""(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)"""
_DUCKDB_RELATION = rf"(?:(?P<qualifier>{_DUCKDB_WORD}){BLANK}*\.{BLANK}*)?(?P<name>{_DUCKDB_WORD})"
_SCHEMA = rf"(?:{BLANK}+(?:FROM|IN){BLANK}+(?P<schema>{_WORD}))?"
_LIKE = rf"""(?:{BLANK}+LIKE{BLANK}+(?P<pattern>'[^'\\]*'|"[^"\\]*"))?"""
_STATEMENTS: Mapping[DialectName, Mapping[str, Callable[[re.Match[str]], exp.Select]]] = {
    "sqlite": {
        _words("PRAGMA", rf"{_MAIN}(?P<pragma>table_info|table_xinfo|table_list){_ARGUMENT}"): _pragma,
        _words("PRAGMA", rf"{_MAIN}(?P<pragma>table_list)(?P<name>)"): _pragma,
    },
    "duckdb": {
        _words("SHOW", "TABLES"): lambda _: _from(_call("show_tables")),
        _words("(?:DESCRIBE|DESC)", rf"(?:TABLE{BLANK}+)?{_DUCKDB_RELATION}"): lambda found: _from(
            _named("show_columns", found.groupdict())
        ),
    },
    "mysql": {
        _words("SHOW", rf"(?P<full>FULL{BLANK}+)?TABLES{_SCHEMA}{_LIKE}"): _show_tables,
        _words("SHOW", rf"(?:FULL{BLANK}+)?(?:COLUMNS|FIELDS)", "(?:FROM|IN)", rf"{_RELATION}{_SCHEMA}{_LIKE}"): _show_columns,
        _words("(?:DESCRIBE|DESC)", rf"{_RELATION}(?:{BLANK}+(?P<column>{_WORD}))?"): _show_columns,
        _words("SHOW", "CREATE", "(?:TABLE|VIEW)", _RELATION): _show_create,
    },
}
_HINTS: Mapping[DialectName, str] = {
    "sqlite": "Of pragmas there are table_list, table_info(name) and table_xinfo(name); sqlite_master can be queried.",
    "postgres": "Query information_schema.tables and information_schema.columns.",
    "duckdb": "There are SHOW TABLES and DESCRIBE name; information_schema.tables and information_schema.columns can be queried.",
    "mysql": "There are SHOW TABLES, SHOW COLUMNS FROM name, DESCRIBE name and SHOW CREATE TABLE name.",
}
