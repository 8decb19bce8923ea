"""SQLite: nodes, functions and types that are understood, over sqlglot's dialect with its JSON paths left as they were written."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite

from guardrails.sql.dialects.base import EngineDialect, Fence, function_names
from guardrails.sql.forms_keys import move_key

__all__ = ["engine_dialect"]


class _Sqlite(SQLite):
    """sqlglot's SQLite; `j -> 'a.b'` stays a key and is not read as a path."""

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        return path


_JSON_ROWS = ("key", "value", "type", "atom", "id", "parent", "fullkey", "path")


def engine_dialect() -> EngineDialect:
    """Returns SQLite's rules."""
    return EngineDialect(
        name="sqlite",
        sqlglot=_Sqlite(),
        functions=function_names("sqlite"),
        table_functions={"json_each": _JSON_ROWS, "json_tree": _JSON_ROWS},
        nodes=frozenset({exp.Glob, exp.HexString, exp.NullSafeEQ, exp.NullSafeNEQ, exp.JSONExtract, exp.JSONExtractScalar}),
        # SQLite takes any word as a type; these are the ones whose affinity the parser's type names keep.
        types=frozenset(
            {"int", "bigint", "smallint", "tinyint", "text", "varchar", "char", "double", "float", "blob", "userdefined"}
        ),
        is_quoted_folded=True,
        has_row_values=False,
        are_ctes_open=True,
        are_ctes_lazy=True,
        is_on_late=True,
        are_keys_closed=True,
        labels="sqlite",
        names_seen="everywhere",
        fence=Fence(limit=-1),
        index_hint="not_indexed",
        key_order="integer",
        has_definitions=True,
        are_references_qualified=False,
        are_types_text=True,
        are_nested_joins_queries=True,
        are_plans_sizeless=True,
        give_forms=move_key,
    )
