"""EXPLAIN: the plan of a query, which the engine makes without running it. ANALYZE would run it and is refused.

What is explained is the rewritten query, like any other; the words before it are written anew from the options understood here.
Sources: https://www.postgresql.org/docs/current/sql-explain.html, https://www.sqlite.org/eqp.html,
https://mariadb.com/kb/en/explain/, https://duckdb.org/docs/stable/guides/meta/explain
"""

from __future__ import annotations

import re

from guardrails.errors import StatementError
from guardrails.model import DialectName

__all__ = ["BLANK", "split_explain"]

BLANK = r"(?:\s|--[^\n]*\n|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)"
"""White space or a comment."""
_EXPLAIN = re.compile(rf"{BLANK}*EXPLAIN\b", re.IGNORECASE)
_REFUSED = re.compile(rf"{BLANK}*(ANALYZE|ANALYSE|EXTENDED|PARTITIONS|EXPLAIN)\b", re.IGNORECASE)
_QUERY_PLAN = re.compile(rf"{BLANK}+QUERY{BLANK}+PLAN\b", re.IGNORECASE)
_VERBOSE = re.compile(rf"{BLANK}+VERBOSE\b", re.IGNORECASE)
_FORMAT = re.compile(rf"{BLANK}+FORMAT{BLANK}*={BLANK}*(JSON|TRADITIONAL)\b", re.IGNORECASE)
_OPTIONS = re.compile(rf"{BLANK}*\((?!{BLANK}*(?:SELECT|WITH|VALUES|TABLE|\())([^()]*)\)", re.IGNORECASE)
_OPTION = re.compile(r"(COSTS|SUMMARY|VERBOSE)(?:\s+(TRUE|FALSE|ON|OFF))?|FORMAT\s+(TEXT|JSON|YAML|XML)", re.IGNORECASE)

_WITHOUT = frozenset({"tsql", "bigquery", "oracle"})
"""Dialects that have no EXPLAIN, or one that stores the plan in a table (Oracle)."""


def split_explain(sql: str, dialect: DialectName) -> tuple[str | None, str]:
    """Takes EXPLAIN and its options off a statement.

    Args:
        sql: The whole text.
        dialect: Whose options.

    Returns:
        The words to put before the rewritten query (None when nothing is to be explained), and the text with blanks in their place,
        so that positions in it stay what they were.

    Raises:
        StatementError: An option is not supported, ANALYZE among them (``sql.statement_unsupported``).
    """
    head = _EXPLAIN.match(sql)
    if head is None:
        return None, sql
    if dialect in _WITHOUT:
        raise StatementError("sql.statement_unsupported", f"There is no EXPLAIN in {dialect}.", evidence={"kind": "explain"})
    end = head.end()
    words = "EXPLAIN"
    if found := _REFUSED.match(sql, end):
        raise _unsupported(found[1].upper())
    if dialect == "sqlite" and (found := _QUERY_PLAN.match(sql, end)):
        words = "EXPLAIN QUERY PLAN"
    elif dialect == "postgres" and (found := _VERBOSE.match(sql, end)):
        words = "EXPLAIN VERBOSE"
    elif dialect == "postgres" and (found := _OPTIONS.match(sql, end)):
        words = f"EXPLAIN ({', '.join(_option(part.strip()) for part in found[1].split(','))})"
    elif dialect == "mysql" and (found := _FORMAT.match(sql, end)):
        words = f"EXPLAIN FORMAT = {found[1].upper()}"
    end = found.end() if found else end
    return words, " " * end + sql[end:]


def _option(text: str) -> str:
    if not _OPTION.fullmatch(text):
        raise _unsupported(f"the option {text[:20]!r}")
    return " ".join(text.upper().split())


def _unsupported(what: str) -> StatementError:
    message = f"EXPLAIN with {what} is not supported here."
    return StatementError("sql.statement_unsupported", message, hint="Use EXPLAIN without it.", evidence={"kind": "explain"})
