"""DuckDB's side of the grammar."""

from __future__ import annotations

from guardrails.proving.grammar.flavour import Flavour

__all__ = ["DUCKDB"]

_EXPRESSIONS = {
    "text": [
        "upper({text})", "lower({text})", "{text} || {text}", "{text} || {int}", "coalesce({text}, {text})", "nullif({text}, {text})", "substr({text}, 2, 3)", "substring({text} from 1 for 2)", "left({text}, 3)", "right({text}, 1)",
        "lpad({text}, 8, '*')", "replace({text}, 'a', 'b')", "regexp_replace({text}, '[0-9]+', '#', 'g')", "split_part({text}, '-', 1)", "trim({text})", "trim(both 'x' from {text})", "ltrim({text}, 'a')", "md5({text})", "reverse({text})",
        "repeat({text}, 2)", "concat({text}, '-', {int})", "concat_ws(',', {text}, {text})", "format('{{}}:{{}}', {text}, {int})", "printf('%s:%d', {text}, {int})", "strftime({date}, '%Y-%m')", "{int}::text", "CAST({num} AS VARCHAR)", "{date}::varchar",
        "{json} ->> 'a'", "{json} ->> '$.b.c'", "json_extract_string({json}, '$.a')", "translate({text}, 'ab', 'xy')", "array_to_string({arr}, ',')", "CASE WHEN {bool} THEN {text} ELSE {text} END", "CASE {text} WHEN 'EU' THEN 'e' ELSE {text} END",
        "greatest({text}, {text})", "json_type({json})", "{one_text}", "{text} COLLATE NOCASE", "$$x'y$$ || {text}", "{row}::text", "to_json({row})::text", "typeof({num})", "string_split({text}, '-')[1]", "if({bool}, {text}, 'z')", "ifnull({text}, 'none')", "{text}[1:2]",
        "regexp_extract({text}, '(a.)', 1)", "hex({text})", "dayname({date})", "chr(65) || {text}", "strip_accents({text})", "sha256({text})", "{text}[1]",
    ],
    "int": [
        "{int} + {int}", "{bare_int} * 2 - {bare_int}", "{int} - {int}", "-{int}", "coalesce({int}, 0)", "abs({int})", "length({text})", "{int} % 7", "{int} // 3", "CASE WHEN {bool} THEN {int} ELSE {int} END", "CASE WHEN {bool} THEN {int} END", "nullif({int}, 1)",
        "position('a' in {text})", "strpos({text}, 'a')", "instr({text}, 'a')", "greatest({int}, {int}, 3)", "least({int}, {int})", "{bool}::int", "round({num})::int", "floor({num})::integer", "ascii({text})", "sign({num})::int", "len({arr})", "array_length({arr})",
        "({arr})[1]", "{date} - {date}", "extract(year from {date})", "date_part('dow', {date})", "date_diff('day', {date}, {date})", "{one_int}", "{int} & 3 | 8", "{int} << 1", "json_array_length('[1, 2]')", "coalesce(({arr})[2], {int})", "mod({int}, 5)",
        "(SELECT count(*) FROM unnest({arr}) u(x) WHERE u.x > 1)", "list_position({arr}, 2)", "year({date})", "month({ts})", "TRY_CAST({text} AS INT)", "list_sum({arr})", "levenshtein({text}, 'ada')", "if({bool}, {int}, 2)", "list_max({arr})", "epoch({ts})::bigint",
    ],
    "num": [
        "{num} + {num}", "{num} * {int}", "{num} / nullif({num}, 0)", "round({num}, 1)", "trunc({num})", "ceil({num})", "{int}::decimal(12, 2)", "coalesce({num}, 0.5)", "power({num}, 2)", "sqrt(abs({num}))", "CASE WHEN {bool} THEN {num} ELSE {int} END",
        "extract(epoch from {ts})", "CAST({num} AS decimal(12, 3))", "{one_num}", "greatest({num}, {int})", "{num} - {int}", "ln(abs({num}) + 1)", "{int} / 2", "{num}::double", "exp(0) + {num}", "{num} % 3",
    ],
    "date": [
        "{date} + 1", "{date} - 7", "{ts}::date", "date_trunc('month', {date})::date", "coalesce({date}, DATE '2026-05-01')", "{one_date}", "({date} + interval '1 month')::date", "CAST({ts} AS date)", "make_date(2026, 2, 3)", "greatest({date}, {date})", "last_day({date})",
        "CASE WHEN {bool} THEN {date} ELSE {date} END", "strptime('2026-03-04', '%Y-%m-%d')::date", "nullif({date}, DATE '2026-01-01')",
    ],
    "ts": [
        "{ts} + interval '1 day'", "{ts} - interval 90 minute", "{ts} + INTERVAL (2) HOUR", "date_trunc('hour', {ts})", "{date}::timestamp", "coalesce({ts}, {date})", "{ts} + '2 hours'::interval * 2", "greatest({ts}, {ts})", "{one_ts}", "make_timestamp(2026, 1, 2, 3, 4, 5)",
        "time_bucket(interval '15 minutes', {ts})", "least({ts}, TIMESTAMP '2026-06-01')", "date_add({ts}, interval '1 day')",
    ],
    "bool": [
        "{text} = {text}", "{int} > {int}", "{num} <= {num}", "{date} < {date}", "{ts} >= {ts}", "{bare_bool} AND {bare_bool}", "{bare_bool} OR {bare_bool}", "NOT {bool}", "{text} LIKE 'a%'", "{text} NOT LIKE '%b_'", "{text} ILIKE {text}", "{text} IS NULL", "{int} IS NOT NULL",
        "{int} BETWEEN 1 AND {int}", "{date} NOT BETWEEN {date} AND {date}", "{int} IN (1, 2, {int})", "{text} NOT IN ('a', {text})", "{int} IN ({many_int})", "{text} NOT IN ({many_text})", "{int} = ANY ({many_int})", "{num} > ALL ({many_num})", "EXISTS ({exists})", "NOT EXISTS ({exists})",
        "{int} = ANY ({arr})", "list_contains({arr}, 2)", "{text} ~ '^[a-c]'", "{text} GLOB 'a*'", "regexp_matches({text}, 'a')", "{text} SIMILAR TO '(a|b).*'", "{int} IS DISTINCT FROM {int}", "{text} IS NOT DISTINCT FROM {text}", "{bool} IS TRUE", "{bool} IS NOT FALSE",
        "({int}, {text}) = ({int}, {text})", "({text}, {int}) IN ({many_text_int})", "{json} IS NOT NULL", "json_exists({json}, '$.a')", "{arr} = [1, 2]", "list_has_any({arr}, [1, 2])", "{one_bool}", "coalesce({bool}, false)", "starts_with({text}, 'a')", "contains({text}, 'a')",
        "{text} LIKE 'a!%' ESCAPE '!'", "{text} ^@ 'a'", "CASE WHEN {bool} THEN {bool} ELSE {bool} END", "{int} == {int}", "{int} <> {int}", "{text} ISNULL", "{int} NOTNULL", "{bool} = {bool}", "{row} IS NOT NULL", "{int} != {int}", "{int} IN {arr}", "isfinite({date})",
    ],
    "json": ["{json} -> 'a'", "{json} -> '$.b'", "json_object('k', {int}, 't', {text})", "to_json({int})", "to_json({row})", "coalesce({json}, '[]'::json)", "json_array({int}, {text})", "json_extract({json}, '$.a')", "json_merge_patch({json}, '{{\"q\": 1}}')", "{one_json}", "to_json({arr})"],
    "arr": ["[{int}::int, 2]", "list_append({arr}, 4)", "({arr})[1:2]", "{arr} || [7]", "coalesce({arr}, [1, 2])", "list_concat({arr}, {arr})", "list_sort({arr})", "list_distinct({arr})", "list_value(1, 2)", "array_prepend(0, {arr})", "range(3)::int[]", "list_reverse({arr})"],
}  # fmt: skip

_AGGREGATES = {
    "int": ["count(*)", "count({text})", "count(DISTINCT {text})", "sum({int})::bigint", "max({int})", "min({int})", "bit_or({int})", "max({date}) - min({date})", "count(*) FILTER (WHERE {bool})", "count()", "arg_max({int}, {num})", "approx_count_distinct({text})", "count_if({bool})"],
    "num": ["avg({int})", "sum({num})", "max({num})", "percentile_cont(0.5) WITHIN GROUP (ORDER BY {num})", "quantile_cont({num}, 0.9)", "median({num})", "stddev_samp({num})", "round(avg({num}), 2)", "sum({num}) FILTER (WHERE {bool})", "sum({num} * {int})", "corr({int}, {num})"],
    "text": ["min({text})", "max({text})", "string_agg({text}, ',' ORDER BY {text})", "string_agg(DISTINCT {text}, ';')", "mode({text})", "max({text}) FILTER (WHERE {bool})", "arg_min({text}, {int})", "any_value({text})", "list({text} ORDER BY {int})::text", "first({text} ORDER BY {int})"],
    "date": ["max({date})", "min({date})", "quantile_disc({date}, 0.5)"],
    "ts": ["max({ts})", "min({ts})"],
    "bool": ["bool_and({bool})", "bool_or({bool})", "count(*) > 1"],
    "json": ["json_group_array({int})", "json_group_object(coalesce({text}, 'k'), {int})", "to_json(list({text}))"],
    "arr": ["array_agg({int}::int)", "list({int}::int ORDER BY {int})"],
}  # fmt: skip

_WINDOWS = {
    "int": ["row_number() OVER {over}", "rank() OVER {over}", "dense_rank() OVER {over}", "count(*) OVER {over}", "lag({int}) OVER {over}", "ntile(3) OVER {over}", "count({text}) FILTER (WHERE {bool}) OVER {over}", "lead({int}, 2) OVER {over}"],
    "num": ["sum({num}) OVER {over}", "avg({num}) OVER {over}", "cume_dist() OVER {over}", "sum({num}) OVER {key}", "first_value({num}) OVER {over}", "max({num}) OVER {key}", "median({num}) OVER {over}"],
    "text": ["first_value({text}) OVER {over}", "lag({text}, 1) OVER {over}", "last_value({text}) OVER {over}", "nth_value({text}, 2) OVER {over}", "string_agg({text}, '') OVER {over}"],
    "date": ["max({date}) OVER {over}", "lead({date}) OVER {over}"],
    "ts": ["min({ts}) OVER {over}"],
    "bool": ["bool_or({bool}) OVER {over}", "rank() OVER {over} = 1"],
    "json": ["json_group_array({int}) OVER {over}"],
    "arr": ["list({int}::int) OVER {over}"],
}  # fmt: skip

DUCKDB = Flavour(
    name="duckdb",
    types={"int": "INTEGER", "text": "VARCHAR", "num": "DECIMAL(10, 2)", "date": "DATE", "ts": "TIMESTAMP", "bool": "BOOLEAN", "json": "JSON", "arr": "INTEGER[]"},
    literals={
        "int": ["1", "0", "5", "21", "-3", "100", "'7'::int", "1_000"],
        "text": ["'a'", "'EU'", "'ada'", "''", "'it''s'", "NULL::text", "'x%'"],
        "num": ["1.5", "0.0", "20.5", "-2.25", "1e2", "12::decimal(5, 1)"],
        "date": ["DATE '2026-03-01'", "'2026-05-02'::date", "date '2026-12-31'", "CAST('2026-02-03' AS date)"],
        "ts": ["TIMESTAMP '2026-03-01 10:00'", "'2026-05-02 11:12:13'::timestamp"],
        "bool": ["true", "false", "1 = 1", "NULL::boolean", "'t'::bool"],
        "json": ["'{\"a\": 1}'::json", "'[1, 2]'::json"],
        "arr": ["[1, 2]", "[5]::int[]", "[1, 2, 3]"],
    },
    expressions=_EXPRESSIONS,
    aggregates=_AGGREGATES,
    windows=_WINDOWS,
    filters=["FILTER (WHERE {bool})"],
    table_functions=[
        ("generate_series(1, 3)", {"generate_series": "int"}),
        ("range(1, {lit_int})", {"range": "int"}),
        ("range(4)", {"range": "int"}),
        ("unnest([3, 1, 2])", {"unnest": "int"}),
        ("unnest({arr})", {"unnest": "int"}),
        ("unnest(['a', 'b'])", {"unnest": "text"}),
    ],
    joins=["JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT OUTER JOIN", "FULL OUTER JOIN"],
    features=frozenset(
        ["lateral", "distinct_on", "grouping_sets", "full_join", "nulls_order", "materialized", "column_alias", "cte_columns", "update_from", "delete_using", "returning", "on_conflict", "default_values", "schemas", "row_in", "with_writes", "values_from", "named_window", "exclude", "union_types"]
    ),
    has_schemas=True,
)  # fmt: skip
