"""PostgreSQL's side of the grammar."""

from __future__ import annotations

from guardrails.proving.grammar.flavour import Flavour

__all__ = ["POSTGRES"]

_EXPRESSIONS = {
    "text": [
        "upper({text})", "lower({text})", "{text} || {text}", "{text} || {int}", "coalesce({text}, {text})", "nullif({text}, {text})",
        "substr({text}, 2, 3)", "substring({text} from 1 for 2)", "substring({text} from 'a.')", "left({text}, 3)", "right({text}, -1)",
        "lpad({text}, 8, '*')", "replace({text}, 'a', 'b')", "regexp_replace({text}, '[0-9]+', '#', 'g')", "split_part({text}, '-', 1)",
        "trim({text})", "trim(both 'x' from {text})", "trim(leading from {text})", "btrim({text}, 'a')", "md5({text})", "reverse({text})",
        "repeat({text}, 2)", "concat({text}, '-', {int})", "concat_ws(',', {text}, {text})", "format('%s:%s', {text}, {int})",
        "to_char({date}, 'YYYY-MM')", "to_char({num}, 'FM999.00')", "{int}::text", "CAST({num} AS text)", "{date}::varchar(10)",
        "{json} ->> 'a'", "{json} #>> '{a,b}'", "{json} -> 'b' ->> 'c'", "translate({text}, 'ab', 'xy')", "initcap({text})",
        "overlay({text} placing 'zz' from 2 for 1)", "array_to_string({arr}, ',')", "CASE WHEN {bool} THEN {text} ELSE {text} END",
        "CASE {text} WHEN 'EU' THEN 'e' WHEN {text} THEN 'f' ELSE {text} END", "greatest({text}, {text})", "jsonb_typeof({json})",
        "{one_text}", '{text} COLLATE "C"', "$$x'y$$ || {text}", r"E'a\tb\'c' || {text}", "{row}::text", "row_to_json({row})::text",
        "to_jsonb({row}) ->> 'id'", "quote_literal({text})", "(regexp_match({text}, '(a.)'))[1]", "encode({text}::bytea, 'hex')",
        "(string_to_array({text}, '-'))[1]", "strpos({text}, 'a')::text", "pg_typeof({num})::text", "to_json({date})::text",
    ],
    "int": [
        "{int} + {int}", "{bare_int} * 2 - {bare_int}", "{int} - {int}", "-{int}", "coalesce({int}, 0)", "abs({int})", "length({text})",
        "{int} % 7", "{int} / 3", "CASE WHEN {bool} THEN {int} ELSE {int} END", "CASE WHEN {bool} THEN {int} END", "nullif({int}, 1)",
        "position('a' in {text})", "strpos({text}, 'a')", "char_length({text})", "greatest({int}, {int}, 3)", "least({int}, {int})",
        "{bool}::int", "round({num})::int", "floor({num})::integer", "ascii({text})", "sign({num})::int",
        "cardinality({arr})", "array_length({arr}, 1)", "({arr})[1]", "{date} - {date}", "extract(year from {date})::int",
        "{one_int}", "{int} # 5", "{int} & 3 | 8", "{int} << 1", "jsonb_array_length('[1, 2]'::jsonb)", "bit_length({text})",
        "width_bucket({num}, 0, 100, 5)", "coalesce(({arr})[2], {int})", "num_nulls({text}, {int})", "mod({int}, 5)",
        "(SELECT count(*) FROM unnest({arr}) u(x) WHERE u.x > 1)", "array_position({arr}, 2)", "date_part('day', {ts})::int",
    ],
    "num": [
        "{num} + {num}", "{num} * {int}", "{num} / nullif({num}, 0)", "round({num}, 1)", "trunc({num}, 1)", "ceil({num})", "{int}::numeric",
        "coalesce({num}, 0.5)", "power({num}, 2)", "sqrt(abs({num}))::numeric", "CASE WHEN {bool} THEN {num} ELSE {int} END",
        "extract(epoch from {ts})", "CAST({num} AS numeric(12, 3))", "{num} ^ 2", "{one_num}", "greatest({num}, {int})", "{num} - {int}",
        "to_number('12.5', '99D9')", "log(abs({num}) + 1)", "extract(day from {ts} - {ts})", "exp(0) + {num}", "{num}::double precision::numeric",
    ],
    "date": [
        "{date} + 1", "{date} - 7", "{ts}::date", "date_trunc('month', {date})::date", "coalesce({date}, DATE '2026-05-01')", "{one_date}",
        "({date} + interval '1 month')::date", "CAST({ts} AS date)", "make_date(2026, 2, 3)", "greatest({date}, {date})",
        "CASE WHEN {bool} THEN {date} ELSE {date} END", "to_date('2026-03-04', 'YYYY-MM-DD')", "nullif({date}, DATE '2026-01-01')",
    ],
    "ts": [
        "{ts} + interval '1 day'", "{ts} - interval '90' minute", "date_trunc('hour', {ts})", "{date}::timestamp", "coalesce({ts}, {date})",
        "{date} + time '10:30'", "{ts} + '2 hours'::interval * 2", "greatest({ts}, {ts})", "{one_ts}", "{ts} AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo'",
        "make_timestamp(2026, 1, 2, 3, 4, 5)", "date_bin('15 minutes', {ts}, TIMESTAMP '2026-01-01')", "least({ts}, TIMESTAMP '2026-06-01')",
    ],
    "bool": [
        "{text} = {text}", "{int} > {int}", "{num} <= {num}", "{date} < {date}", "{ts} >= {ts}", "{bare_bool} AND {bare_bool}", "{bare_bool} OR {bare_bool}",
        "NOT {bool}", "{text} LIKE 'a%'", "{text} NOT LIKE '%b_'", "{text} ILIKE {text}", "{text} IS NULL", "{int} IS NOT NULL", "{int} BETWEEN 1 AND {int}",
        "{date} NOT BETWEEN {date} AND {date}", "{int} IN (1, 2, {int})", "{text} NOT IN ('a', {text})", "{int} IN ({many_int})", "{text} NOT IN ({many_text})",
        "{int} = ANY ({many_int})", "{num} > ALL ({many_num})", "{text} <> SOME ({many_text})", "EXISTS ({exists})", "NOT EXISTS ({exists})",
        "{int} = ANY ({arr})", "{text} = ANY ('{EU,US}'::text[])", "{int} <> ALL (ARRAY[1, 2])", "{text} ~ '^[a-c]'", "{text} !~* 'X'", "{text} ~* {text}",
        "{text} SIMILAR TO '(a|b)%'", "{int} IS DISTINCT FROM {int}", "{text} IS NOT DISTINCT FROM {text}", "{bool} IS TRUE", "{bool} IS NOT FALSE", "{bool} IS UNKNOWN",
        "({int}, {text}) = ({int}, {text})", "({text}, {int}) IN ({many_text_int})", "({int}, {num}) < ({int}, {num})", "ROW({int}, {text}) IS NOT NULL",
        "{json} ? 'a'", "{json} @> '{\"a\": 1}'::jsonb", "{json} ?| ARRAY['a', 'b']", "{json} IS NOT NULL", "jsonb_path_exists({json}, '$.a[*] ? (@ > 1)')",
        "{arr} && ARRAY[1, 2]", "{arr} @> ARRAY[1]", "{arr} = ARRAY[1, 2]", "({date}, {date}) OVERLAPS (DATE '2026-01-01', DATE '2026-07-01')",
        "{one_bool}", "coalesce({bool}, false)", "{row} IS NOT NULL", "starts_with({text}, 'a')", "{text} LIKE 'a!%' ESCAPE '!'", "{text} ^@ 'a'",
        "CASE WHEN {bool} THEN {bool} ELSE {bool} END", "to_tsvector('simple', {text}) @@ to_tsquery('simple', 'ada')", "{int} = 1 IS TRUE",
        "{text} LIKE ANY (ARRAY['a%', 'b%'])", "{bool} = {bool}", "{text} COLLATE \"C\" < {text}", "{bool} <> {bool}",
    ],
    "json": [
        "{json} -> 'a'", "{json} #> '{a,0}'", "jsonb_build_object('k', {int}, 't', {text})", "to_jsonb({int})", "to_jsonb({row})", "coalesce({json}, '[]'::jsonb)",
        "jsonb_build_array({int}, {text})", "{json} - 'a'", "{json} #- '{a,0}'", "jsonb_set({json}, '{a,0}', '9')", "jsonb_path_query_first({json}, '$.a')", "jsonb_strip_nulls({json})",
        "row_to_json({row})::jsonb", "{json} -> 0", "{one_json}", "to_jsonb({arr})",
    ],
    "arr": [
        "ARRAY[{int}::int, 2]", "array_append({arr}, 4)", "({arr})[1:2]", "{arr} || ARRAY[7]", "ARRAY(SELECT x.v::int FROM ({many_int}) AS x(v))", "coalesce({arr}, '{1,2}')",
        "array_remove({arr}, 1)", "array_cat({arr}, {arr})", "string_to_array('1,2', ',')::int[]", "ARRAY[]::int[]", "array_prepend(0, {arr})",
    ],
}  # fmt: skip

_AGGREGATES = {
    "int": ["count(*)", "count({text})", "count(DISTINCT {text})", "sum({int})::bigint", "max({int})", "min({int})", "bit_or({int})", "count({row})", "max({date}) - min({date})", "count(*) FILTER (WHERE {bool})"],
    "num": ["avg({int})", "sum({num})", "max({num})", "percentile_cont(0.5) WITHIN GROUP (ORDER BY {num})::numeric", "stddev_samp({num})", "round(avg({num}), 2)", "sum({num}) FILTER (WHERE {bool})", "sum({num} * {int})", "corr({int}, {num})::numeric"],
    "text": ["min({text})", "max({text})", "string_agg({text}, ',' ORDER BY {text})", "string_agg(DISTINCT {text}, ';')", "mode() WITHIN GROUP (ORDER BY {text})", "max({text}) FILTER (WHERE {bool})", "array_agg({text} ORDER BY {int})::text"],
    "date": ["max({date})", "min({date})", "percentile_disc(0.5) WITHIN GROUP (ORDER BY {date})"],
    "ts": ["max({ts})", "min({ts})"],
    "bool": ["bool_and({bool})", "bool_or({bool})", "every({bool})", "count(*) > 1"],
    "json": ["jsonb_agg({int})", "jsonb_object_agg(coalesce({text}, 'k'), {int})", "jsonb_agg({row})", "jsonb_agg({text} ORDER BY {int} DESC)"],
    "arr": ["array_agg({int}::int)", "array_agg({int}::int ORDER BY {int})"],
}  # fmt: skip

_WINDOWS = {
    "int": ["row_number() OVER {over}", "rank() OVER {over}", "dense_rank() OVER {over}", "count(*) OVER {over}", "lag({int}) OVER {over}", "ntile(3) OVER {over}", "count({text}) FILTER (WHERE {bool}) OVER {over}", "lead({int}, 2) OVER {over}"],
    "num": ["sum({num}) OVER {over}", "avg({num}) OVER {over}", "cume_dist() OVER {over}", "sum({num}) OVER {key}", "first_value({num}) OVER {over}", "max({num}) OVER {key}"],
    "text": ["first_value({text}) OVER {over}", "lag({text}, 1) OVER {over}", "last_value({text}) OVER {over}", "nth_value({text}, 2) OVER {over}", "string_agg({text}, '') OVER {over}"],
    "date": ["max({date}) OVER {over}", "lead({date}) OVER {over}"],
    "ts": ["min({ts}) OVER {over}"],
    "bool": ["bool_or({bool}) OVER {over}", "rank() OVER {over} = 1"],
    "json": ["jsonb_agg({int}) OVER {over}"],
    "arr": ["array_agg({int}::int) OVER {over}"],
}  # fmt: skip

POSTGRES = Flavour(
    name="postgres",
    types={"int": "integer", "text": "text", "num": "numeric(10, 2)", "date": "date", "ts": "timestamp", "bool": "boolean", "json": "jsonb", "arr": "integer[]"},
    literals={
        "int": ["1", "0", "5", "21", "-3", "100", "'7'::int"],
        "text": ["'a'", "'EU'", "'ada'", "''", "'it''s'", "NULL::text", "'x%'", "U&'d\\0061t'"],
        "num": ["1.5", "0.0", "20.5", "-2.25", "1e2", "12::numeric"],
        "date": ["DATE '2026-03-01'", "'2026-05-02'::date", "date '2026-12-31'", "CAST('2026-02-03' AS date)", "current_date"],
        "ts": ["TIMESTAMP '2026-03-01 10:00'", "'2026-05-02 11:12:13'::timestamp", "localtimestamp"],
        "bool": ["true", "false", "1 = 1", "NULL::boolean", "'t'::bool"],
        "json": ["'{\"a\": 1}'::jsonb", "'[1, 2]'::jsonb", "jsonb '{\"b\": {\"c\": 2}}'"],
        "arr": ["ARRAY[1, 2]", "'{1,2,3}'::int[]", "ARRAY[5]::int[]"],
    },
    expressions=_EXPRESSIONS,
    aggregates=_AGGREGATES,
    windows=_WINDOWS,
    filters=["FILTER (WHERE {bool})"],
    table_functions=[
        ("generate_series(1, 3)", {"g": "int"}),
        ("generate_series(1, {lit_int})", {"g": "int"}),
        ("unnest(ARRAY[3, 1, 2])", {"u": "int"}),
        ("unnest({arr})", {"u": "int"}),
        ("unnest(ARRAY['a', 'b'])", {"w": "text"}),
        ("jsonb_array_elements('[1, 2]'::jsonb)", {"value": "json"}),
        ("jsonb_each('{\"a\": 1, \"b\": 2}'::jsonb)", {"key": "text", "value": "json"}),
        ("jsonb_each_text({json})", {"key": "text", "value": "text"}),
        ("regexp_split_to_table('a,b', ',')", {"part": "text"}),
        ("generate_series(DATE '2026-01-01', DATE '2026-01-03', interval '1 day')", {"d": "tz"}),
    ],
    joins=["JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT OUTER JOIN", "FULL OUTER JOIN"],
    features=frozenset(
        ["lateral", "partitions", "rows", "distinct_on", "grouping_sets", "array", "full_join", "fetch", "nulls_order", "data_ctes", "materialized", "column_alias", "cte_columns", "multi_set", "update_from", "delete_using", "returning", "on_conflict", "recursive_cycle", "insert_alias", "default_values", "schemas", "row_in", "with_writes", "values_from", "ordinality", "named_window", "exclude", "union_types"]
    ),
    has_schemas=True,
)  # fmt: skip
