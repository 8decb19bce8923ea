"""MySQL and MariaDB: nodes, functions and types that are understood."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL

from guardrails.sql.dialects.base import EngineDialect, Fence, function_names
from guardrails.sql.forms_mysql import give_mysql_forms
from guardrails.sql.tokens_mysql import repair_mysql

__all__ = ["engine_dialect"]


class _Mysql(MySQL):
    """sqlglot's MySQL; a JSON path stays the text that was written."""

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        return path


_NODES = {
    exp.All,
    exp.Any,
    exp.BitString,
    exp.BitwiseXor,
    exp.Chr,
    exp.Extract,
    exp.GroupConcat,
    exp.HexString,
    exp.IntDiv,
    exp.Interval,
    exp.Introducer,
    exp.Localtime,
    exp.Localtimestamp,
    exp.MatchAgainst,
    exp.National,
    exp.NullSafeEQ,
    exp.Rollup,
    exp.Xor,
}

_TYPES = {
    "bigint", "binary", "char", "character_set", "date", "datetime", "decimal", "double", "float", "json", "time", "ubigint",
}  # fmt: skip

_STRUCTURAL = {"CHAR", "CONVERT", "GROUP_CONCAT", "MATCH", "POSITION", "SUBSTR"}


def engine_dialect() -> EngineDialect:
    """Returns MySQL and MariaDB's rules."""
    return EngineDialect(
        name="mysql",
        sqlglot=_Mysql(),
        functions=function_names("mysql") | {"values"},
        table_functions={},
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES),
        is_quoted_folded=True,
        has_row_values=False,
        labels="mysql",
        are_merged_first=True,
        is_star_by_table=True,
        are_relations_exact=True,
        names_seen="having",
        fence=Fence(limit=2**63 - 1, offset=None),
        has_joined_changes=True,
        index_hint="ignored",
        key_order="every",
        default_schema="",
        structural=frozenset(_STRUCTURAL),
        are_intervals_casts=False,
        repair=repair_mysql,
        give_forms=give_mysql_forms,
    )
