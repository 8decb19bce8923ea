"""DuckDB: nodes, functions and types that are understood. Each query is held against DuckDB's own parser as well."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from guardrails.errors import StatementError
from guardrails.sql.dialects.base import EngineDialect, Fence, function_names
from guardrails.sql.duckdb_parser import check_same_tree
from guardrails.sql.tokens_duckdb import repair_duckdb

__all__ = ["engine_dialect"]


class _Duckdb(DuckDB):
    """sqlglot's DuckDB; a JSON path stays the text that was written."""

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        return path


_NODES = {
    exp.All,
    exp.Any,
    exp.Array,
    exp.ArrayContainedBy,
    exp.ArrayContainsAll,
    exp.ArrayOverlaps,
    exp.AtTimeZone,
    exp.BitwiseXor,
    exp.Bracket,
    exp.Cube,
    exp.Glob,
    exp.GroupingSets,
    exp.ILike,
    exp.IntDiv,
    exp.Interval,
    exp.JSONExtract,
    exp.JSONExtractScalar,
    exp.Lateral,
    exp.Localtime,
    exp.Localtimestamp,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Parameter,
    exp.Qualify,
    exp.Rollup,
    exp.SimilarTo,
    exp.Slice,
    exp.TryCast,
}

_TYPES = {
    "array", "bigint", "boolean", "date", "decimal", "double", "float", "int", "int128", "interval", "json", "smallint", "text", "time",
    "timestamp", "timestamptz", "timestamp_ms", "timestamp_ns", "timestamp_s", "timestampntz", "tinyint", "ubigint", "uint",
    "usmallint", "utinyint",    "uuid", "varbinary", "varchar",
}  # fmt: skip

_STRUCTURAL = {"TRY_CAST"}
_TABLE_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "generate_series": ("generate_series",),
    "range": ("range",),
    "unnest": ("unnest",),
}


_TRIMS = {"BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}
_WITHIN_GROUP = {"percentile_cont": "quantile_cont", "percentile_disc": "quantile_disc"}


def _give_forms(tree: exp.Expr) -> None:
    """`$name` is a named placeholder, `$1` a position; EXTRACT and `~` are functions, WITHIN GROUP the ORDER BY of one."""
    for trim in list(tree.find_all(exp.Trim)):
        side = _TRIMS.get(str(trim.args.get("position") or "BOTH").upper())
        if side is not None:
            arguments = [a for a in (trim.this, trim.expression) if a]
            trim.replace(exp.Anonymous(this=side, expressions=arguments))
    for extract in list(tree.find_all(exp.Extract)):
        # What it is short for; written back, `dow` would become `dayofweek`, and some units have no form.
        extract.replace(exp.Anonymous(this="date_part", expressions=[exp.Literal.string(extract.name), extract.expression]))
    for position in list(tree.find_all(exp.StrPosition)):
        if {k for k, v in position.args.items() if v} == {"this", "substr"}:
            position.replace(exp.Anonymous(this="strpos", expressions=[position.this, position.args["substr"]]))
    for like in list(tree.find_all(exp.RegexpLike)):
        if like.args.get("flag") is None:
            like.replace(exp.Anonymous(this="regexp_matches", expressions=[like.this, like.expression]))
    for group in list(tree.find_all(exp.WithinGroup)):
        call, order = group.this, group.expression
        other = _WITHIN_GROUP.get(str(call.this).lower()) if isinstance(call, exp.Anonymous) else None
        if other is None or len(call.expressions) != 1 or not isinstance(order, exp.Order):
            raise StatementError("sql.construct_unsupported", "This form of WITHIN GROUP is not supported.")
        argument = exp.Order(this=call.expressions[0].copy(), expressions=[o.copy() for o in order.expressions])
        group.replace(exp.Anonymous(this=other, expressions=[argument]))
    for node in list(tree.find_all(exp.Parameter)):
        name = node.this.name if isinstance(node.this, exp.Expr) else str(node.this)
        if not name.isdigit():
            node.replace(exp.Placeholder(this=name))


def engine_dialect() -> EngineDialect:
    """Returns DuckDB's rules."""
    return EngineDialect(
        name="duckdb",
        sqlglot=_Duckdb(),
        functions=function_names("duckdb"),
        table_functions=_TABLE_FUNCTIONS,
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES),
        is_quoted_folded=True,
        has_row_values=True,
        labels="duckdb",
        names_seen="mixed",
        values_label="col{}",
        fence=Fence(limit=2**63 - 1),
        are_hidden_nulled=True,
        are_plans_sizeless=True,
        has_fields=True,
        are_intervals_casts=False,
        structural=frozenset(_STRUCTURAL),
        repair=repair_duckdb,
        give_forms=_give_forms,
        confirm=check_same_tree,
    )
