"""PostgreSQL: nodes, functions and types that are understood."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres

from guardrails.sql.dialects.base import EngineDialect, function_names
from guardrails.sql.forms_keys import give_identities

__all__ = ["engine_dialect"]

_NODES = {
    exp.All,
    exp.Any,
    exp.Array,
    exp.ArrayContainedBy,
    exp.ArrayContainsAll,
    exp.ArrayOverlaps,
    exp.AtTimeZone,
    exp.BitString,
    exp.BitwiseXor,
    exp.Bracket,
    exp.Cube,
    exp.Distance,
    exp.Dot,
    exp.Explode,
    exp.Extract,
    exp.Fetch,
    exp.GroupingSets,
    exp.HexString,
    exp.ILike,
    exp.Interval,
    exp.JSONBContainsAllTopKeys,
    exp.JSONBContainsAnyTopKeys,
    exp.JSONBContainsTopKey,
    exp.JSONBDeleteAtPath,
    exp.JSONBExtract,
    exp.JSONBExtractScalar,
    exp.JSONExtract,
    exp.JSONExtractScalar,
    exp.Kwarg,
    exp.Lateral,
    exp.LimitOptions,
    exp.Localtime,
    exp.Localtimestamp,
    exp.MatchAgainst,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.Overlaps,
    exp.Overlay,
    exp.Parameter,
    exp.RegexpILike,
    exp.RegexpLike,
    exp.Rollup,
    exp.SimilarTo,
    exp.Slice,
    exp.Unnest,
}

_TYPES = {
    "bigint", "binary", "bit", "boolean", "char", "bpchar", "date", "daterange", "decimal", "double", "float", "inet", "int",
    "int4range", "int8range", "interval", "json", "jsonb", "money", "numrange", "smallint", "text", "time", "timestamp",
    "timestamptz", "timetz", "tsrange", "tstzrange", "uuid", "varbinary", "varchar", "array",
}  # fmt: skip

# Calls that the grammar knows and pg_proc does not list.
_SYNTAX_FUNCTIONS = {"coalesce", "greatest", "grouping", "least", "nullif", "row"}

_PAIR = ("key", "value")
_TABLE_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "generate_series": (),
    "generate_subscripts": (),
    "json_array_elements": ("value",),
    "json_array_elements_text": ("value",),
    "json_each": _PAIR,
    "json_each_text": _PAIR,
    "json_object_keys": (),
    "jsonb_array_elements": ("value",),
    "jsonb_array_elements_text": ("value",),
    "jsonb_each": _PAIR,
    "jsonb_each_text": _PAIR,
    "jsonb_object_keys": (),
    "jsonb_path_query": (),
    "regexp_matches": (),
    "regexp_split_to_table": (),
    "string_to_table": (),
    "unnest": (),
}


def engine_dialect() -> EngineDialect:
    """Returns PostgreSQL's rules."""
    return EngineDialect(
        name="postgres",
        sqlglot=Postgres(),
        functions=function_names("postgres") | _SYNTAX_FUNCTIONS,
        table_functions=_TABLE_FUNCTIONS,
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES),
        is_quoted_folded=False,
        has_row_values=True,
        identifier_bytes=63,
        default_schema="public",
        labels="postgres",
        placeholders="numbered",
        has_question_marks=False,
        are_merged_first=True,
        does_returning_see_sources=True,
        keeps_dependency=True,
        is_excluded_read=True,
        has_merge=True,
        has_definitions=True,
        has_custom_operators=True,
        # The planner applies an agent's condition to the stored statistics of a plain column, also behind the fence.
        are_hidden_nulled=True,
        give_forms=give_identities,
    )
