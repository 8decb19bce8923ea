"""What one engine understands: its sqlglot dialect, its functions, how it folds names. Data, one instance an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.tokenizer_core import Token

from guardrails.model import DialectName

__all__ = ["EngineDialect", "Fence", "NamesSeen", "ascii_lower", "function_names"]

NamesSeen: TypeAlias = Literal["keys", "having", "everywhere", "alone", "mixed"]
"""Where a query's output names count as columns: in ORDER BY and GROUP BY only; in HAVING too; or in WHERE as well, `alone` meaning:
when no column around the query has the name; `mixed`: in later expressions of the SELECT list too, and where a column has the name as
well, the engine is left to say which of the two is meant, while both count as read (DuckDB)."""
Labels: TypeAlias = Literal["postgres", "sqlite", "mysql", "duckdb", "text"]
"""Whose rules name a result column that has no alias; `text` is the expression as written."""
_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_UPPER = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}


def ascii_lower(name: str) -> str:
    """Folds A-Z only, as SQLite and PostgreSQL (with a multi-byte encoding) do; other letters keep their case."""
    return name.translate(_LOWER)


def ascii_upper(name: str) -> str:
    """Folds a-z only, as Oracle and Snowflake do for the names that may stand without quotes there."""
    return name.translate(_UPPER)


@cache
def function_names(dialect: DialectName) -> frozenset[str]:
    """Returns the generated and reviewed list of functions without effects (see tools/generate_functions.py)."""
    text = files("guardrails.sql.dialects").joinpath(f"functions_{dialect}.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True)
class Fence:
    """LIMIT and OFFSET that change nothing and that no optimizer moves a predicate through; None leaves the clause out.

    `is_fetch`: the limit is written FETCH FIRST … ROWS ONLY (Oracle).
    """

    limit: int | None = None
    offset: int | None = 0
    is_fetch: bool = False


@dataclass(frozen=True, slots=True)
class EngineDialect:
    """One engine's SQL, as far as it is positively understood.

    Args:
        name: The engine.
        sqlglot: The dialect that parses and generates.
        functions: Lower-case names of functions without effects.
        table_functions: Functions allowed in FROM with the columns they yield; an empty tuple means one column named by the alias.
        nodes: Expression classes beyond the common ones.
        types: Lower-case type names that a cast may name.
        is_quoted_folded: Quoted identifiers match case-insensitively too (SQLite).
        has_row_values: A relation's alias may stand for its whole row (PostgreSQL).
        identifier_bytes: Longest identifier; longer ones would be cut by the engine. 0 for no limit.
        default_schema: What an unqualified relation name means when only DDL is known.
        placeholders: How bound values stand in the text that runs: by name, or as `$1`, `$2`, ….
        has_question_marks: The agent may write `?` for a positional value.
        are_ctes_open: A common table expression may name itself without RECURSIVE (SQLite).
        are_ctes_lazy: A common table expression that nothing uses is not even looked at (SQLite).
        is_on_late: A join's condition sees the whole FROM, not only what stands before it (SQLite).
        labels: Which rules name a result column without an alias; see `guardrails.sql.labels`.
        names_seen: Where output names count beside columns; see `NamesSeen`.
        are_merged_first: `*` shows the columns merged by USING or NATURAL first (SQL standard, PostgreSQL, MySQL).
        is_star_by_table: `*` shows merged columns in the order of their table, and RIGHT JOIN USING as the LEFT JOIN of the other
            order; a merged column is the one of the outer side (MySQL).
        does_returning_see_sources: RETURNING sees the other relations of the change (PostgreSQL).
        keeps_dependency: GROUP BY a primary key lets the other columns through.
        fence: What keeps the engine from moving predicates into a filtered subquery.
        index_hint: How the text keeps a scan of an index from ordering rows by a protected column; `refused` where no way is known, None
            where there is no such order, or a setting of the transaction keeps it from that (see `guardrails.sql.index_use`).
        key_order: Rows come in the order of the primary key when nothing else is said: of one that is an integer (SQLite), or of
            every one (InnoDB).
        is_excluded_read: `excluded.c` in ON CONFLICT needs the right to read the column c (PostgreSQL).
        has_joined_changes: UPDATE and DELETE change one of several relations that they join, and take ORDER BY and LIMIT (MySQL).
        has_merge: MERGE is understood.
        has_definitions: CREATE, ALTER, DROP and TRUNCATE are understood.
        are_references_qualified: A foreign key or an index may name its table with a schema (not in SQLite).
        are_types_text: A column's declared type is any words, which are kept as they are (SQLite).
        are_nested_joins_queries: A join in parentheses, and several relations in UPDATE … FROM, are run as a query that reads every
            column of its relations (SQLite).
        has_custom_operators: Any run of operator signs is one operator, which anybody may have defined (PostgreSQL).
        structural: Upper-case names of calls with a syntax of their own inside the parentheses, beyond the common ones.
        repair: Changes the tokens of a text before everything else, None for no change.
        give_forms: Changes a parsed tree in place into forms that are written as they are read, None for no change.
        is_executed: There is an engine here that runs it; False for dialects that are judged only.
        unquoted: The case that an unquoted name has in the catalog.
        are_relations_exact: The names of relations are compared letter by letter, other names are not (BigQuery).
        has_fields: `a.b` may also be the field `b` of a column `a`, and a relation `a.b` the array `b` in it.
        has_target_alias: The relation that is changed may have an alias.
        are_keys_wrapped: Keys of GROUP BY stand in parentheses, where the generator would put names of the result (BigQuery).
        are_keys_closed: GROUP BY and ORDER BY see no columns around the query; a quoted name of one is a string (SQLite).
        are_intervals_casts: `INTERVAL '1 day'` is a constant of type interval, whatever stands in it (PostgreSQL, DuckDB).
        refuse: Refuses more of a parsed tree than nodes and arguments tell, None for nothing.
        nameless: What a result column without a name is called, with `{}` for its position from 0, where its text is no name;
            empty where any text may be a name.
        values_label: What the columns of VALUES are called, with `{}` for the position from 0; empty for `column1` and so on.
        are_hidden_nulled: The columns of rows that a row filter hides are NULL to everything outside the filtered subquery, whatever the
            optimizer runs early.
        are_plans_sizeless: Neither the shape of a plan nor what EXPLAIN says depends on how many bytes or pages a table has.
        confirm: Holds a text against the one that was generated from it, by the engine's own parser; None where there is none.
    """

    name: DialectName
    sqlglot: Dialect
    functions: frozenset[str]
    table_functions: Mapping[str, tuple[str, ...]]
    nodes: frozenset[type[exp.Expr]]
    types: frozenset[str]
    is_quoted_folded: bool
    has_row_values: bool
    identifier_bytes: int = 0
    default_schema: str = "main"
    placeholders: Literal["named", "numbered"] = "named"
    has_question_marks: bool = True
    are_ctes_open: bool = False
    are_ctes_lazy: bool = False
    is_on_late: bool = False
    names_seen: NamesSeen = "keys"
    labels: Labels = "text"
    are_merged_first: bool = False
    is_star_by_table: bool = False
    does_returning_see_sources: bool = False
    keeps_dependency: bool = False
    fence: Fence = Fence()
    index_hint: Literal["not_indexed", "ignored", "refused"] | None = None
    key_order: Literal["integer", "every"] | None = None
    is_excluded_read: bool = False
    has_joined_changes: bool = False
    has_merge: bool = False
    has_definitions: bool = False
    are_references_qualified: bool = True
    are_types_text: bool = False
    are_nested_joins_queries: bool = False
    has_custom_operators: bool = False
    structural: frozenset[str] = frozenset()
    repair: Callable[[list[Token]], list[Token]] | None = None
    give_forms: Callable[[exp.Expr], None] | None = None
    is_executed: bool = True
    unquoted: Literal["lower", "upper"] = "lower"
    are_relations_exact: bool = False
    has_fields: bool = False
    has_target_alias: bool = True
    are_keys_wrapped: bool = False
    are_keys_closed: bool = False
    are_intervals_casts: bool = True
    refuse: Callable[[exp.Expr], None] | None = None
    nameless: str = ""
    values_label: str = ""
    are_hidden_nulled: bool = False
    are_plans_sizeless: bool = False
    confirm: Callable[[str, str], None] | None = None

    def tokens(self, sql: str) -> list[Token]:
        """Cuts a text into sqlglot's tokens.

        Raises:
            sqlglot.errors.TokenError: Something is not closed.
        """
        # With a blank behind it: the tokenizer takes `''` at the very end for an open string, where `$1` stands before it.
        return list(self.sqlglot.tokenize(f"{sql} "))

    def fold(self, identifier: exp.Identifier) -> str:
        """Returns the name as the engine compares it."""
        name: str = identifier.this
        return name if identifier.args.get("quoted") and not self.is_quoted_folded else self.fold_unquoted(name)

    def fold_name(self, name: str) -> str:
        """Returns a catalog's name as the engine compares it."""
        return ascii_lower(name) if self.is_quoted_folded else name

    def fold_unquoted(self, name: str) -> str:
        """Returns a name that stands without quotes as the engine compares it."""
        return ascii_upper(name) if self.unquoted == "upper" else ascii_lower(name)
