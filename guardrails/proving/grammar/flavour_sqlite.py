"""SQLite's side of the grammar."""

from __future__ import annotations

from guardrails.proving.grammar.flavour import Flavour

__all__ = ["SQLITE"]

_EXPRESSIONS = {
    "text": [
        "upper({text})", "lower({text})", "{text} || {text}", "{text} || {int}", "coalesce({text}, {text})", "nullif({text}, {text})", "substr({text}, 2, 3)", "substring({text}, 2)",
        "replace({text}, 'a', 'b')", "trim({text})", "ltrim({text}, 'a')", "rtrim({text})", "printf('%s:%d', {text}, {int})", "format('%05.2f', {num})", "CAST({int} AS TEXT)", "CAST({num} AS VARCHAR(10))",
        "hex({text})", "quote({text})", "typeof({num})", "strftime('%Y-%m', {date})", "{json} ->> 'a'", "{json} ->> '$.b.c'", "{json} -> '$.a'", "json_extract({json}, '$.a')", "json_type({json}, '$.a')",
        "CASE WHEN {bool} THEN {text} ELSE {text} END", "CASE {text} WHEN 'EU' THEN 'e' ELSE {text} END", "max({text}, {text})", "min({text}, {text})", "{one_text}", "{text} COLLATE NOCASE", "iif({bool}, {text}, 'z')",
        "ifnull({text}, 'none')", "char(65, 66) || {text}", "x'4142' || {text}", "likely({text})" , "date({date}, '+1 month')", "json_quote({text})", "zeroblob(2) || {text}", "unicode({text}) || ''",
    ],
    "int": [
        "{int} + {int}", "{bare_int} * 2 - {bare_int}", "{int} - {int}", "-{int}", "~{int}", "coalesce({int}, 0)", "abs({int})", "length({text})", "{int} % 7", "{int} / 3", "CASE WHEN {bool} THEN {int} ELSE {int} END",
        "CASE WHEN {bool} THEN {int} END", "nullif({int}, 1)", "instr({text}, 'a')", "max({int}, {int}, 3)", "min({int}, {int})", "CAST({num} AS INTEGER)", "CAST({text} AS INT)", "round({num})", "{bool} + 1", "unicode({text})",
        "{one_int}", "{int} & 3 | 8", "{int} << 1", "{int} >> 1", "json_array_length('[1, 2]')", "julianday({date}) - julianday({date})", "CAST(strftime('%Y', {date}) AS INTEGER)", "iif({bool}, {int}, 2)", "sign({int})", "likelihood({int}, 0.5)",
        "ifnull({int}, 7)", "{json} ->> 'a'", "(SELECT count(*) FROM json_each({json}) j WHERE j.value > 1)", "{int} || {int}", "{text} = {text}", "0x1F + {int}", "unixepoch({ts})",
    ],
    "num": [
        "{num} + {num}", "{num} * {int}", "{num} / nullif({num}, 0)", "round({num}, 1)", "{int} * 1.0", "coalesce({num}, 0.5)", "CASE WHEN {bool} THEN {num} ELSE {int} END", "CAST({num} AS REAL)", "CAST({text} AS NUMERIC)", "{one_num}",
        "max({num}, {int})", "{num} - {int}", "julianday({ts})", "abs({num})", "CAST({num} AS DECIMAL(10, 2))", "{int} / 2.0", ".5 + {num}", "sqrt(abs({num}))",
    ],
    "date": ["date({date}, '+1 day')", "date({ts})", "coalesce({date}, '2026-05-01')", "{one_date}", "date({date}, 'start of month')", "CASE WHEN {bool} THEN {date} ELSE {date} END", "CAST({date} AS DATE)", "max({date}, {date})", "date('2026-03-04')"],
    "ts": ["datetime({ts}, '+1 hour')", "datetime({date})", "coalesce({ts}, {date})", "{one_ts}", "strftime('%Y-%m-%d %H:00', {ts})", "{date} || ' 10:00'", "time({ts})"],
    "bool": [
        "{text} = {text}", "{int} > {int}", "{num} <= {num}", "{date} < {date}", "{ts} >= {ts}", "{bare_bool} AND {bare_bool}", "{bare_bool} OR {bare_bool}", "NOT {bool}", "{text} LIKE 'a%'", "{text} NOT LIKE '%b_'", "{text} LIKE {text}",
        "{text} IS NULL", "{int} IS NOT NULL", "{int} BETWEEN 1 AND {int}", "{date} NOT BETWEEN {date} AND {date}", "{int} IN (1, 2, {int})", "{text} NOT IN ('a', {text})", "{int} IN ({many_int})", "{text} NOT IN ({many_text})", "EXISTS ({exists})",
        "NOT EXISTS ({exists})", "{text} GLOB 'a*'", "{text} NOT GLOB {text}", "{int} IS {int}", "{text} IS NOT {text}", "{int} IS DISTINCT FROM {int}", "{text} IS NOT DISTINCT FROM {text}", "{bool} IS TRUE", "{bool} IS NOT FALSE", "({int}, {text}) = ({int}, {text})",
        "({text}, {int}) IN ({many_text_int})", "({int}, {num}) < ({int}, {num})", "{one_bool}", "coalesce({bool}, 0)", "{text} LIKE 'a!%' ESCAPE '!'", "CASE WHEN {bool} THEN {bool} ELSE {bool} END", "{text} ISNULL", "{int} NOTNULL", "{int} == {int}", "{int} <> {int}",
        "{text} COLLATE NOCASE = {text}", "{int} IN ()", "json_valid({json})", "{text} NOT NULL", "{int} = 1 = 1", "{text} < {text} COLLATE RTRIM", "{int}", "{int} IN (SELECT value FROM json_each('[1, 5]'))", "{int} != {int}", "{bool} = {bool}",
    ],
    "json": ["{json} -> 'a'", "{json} -> '$.b'", "json_object('k', {int}, 't', {text})", "json_array({int}, {text})", "json_set({json}, '$.z', 9)", "json_remove({json}, '$.a')", "json_patch({json}, '{\"q\": 1}')", "coalesce({json}, '[]')", "json({json})", "{one_json}", "{json} -> 0", "json_insert({json}, '$.a', 1)"],
}  # fmt: skip

_AGGREGATES = {
    "int": ["count(*)", "count({text})", "count(DISTINCT {text})", "sum({int})", "max({int})", "min({int})", "count(*) FILTER (WHERE {bool})", "count()"],
    "num": ["avg({int})", "sum({num})", "max({num})", "total({num})", "round(avg({num}), 2)", "sum({num}) FILTER (WHERE {bool})", "sum({num} * {int})", "sum(DISTINCT {int})"],
    "text": ["min({text})", "max({text})", "group_concat({text})", "group_concat({text}, ';')", "group_concat(DISTINCT {text})", "max({text}) FILTER (WHERE {bool})"],
    "date": ["max({date})", "min({date})"],
    "ts": ["max({ts})", "min({ts})"],
    "bool": ["max({bool})", "count(*) > 1"],
    "json": ["json_group_array({int})", "json_group_object({text}, {int})"],
}  # fmt: skip

_WINDOWS = {
    "int": ["row_number() OVER {over}", "rank() OVER {over}", "dense_rank() OVER {over}", "count(*) OVER {over}", "lag({int}) OVER {over}", "ntile(3) OVER {over}", "count({text}) FILTER (WHERE {bool}) OVER {over}", "lead({int}, 2, 0) OVER {over}"],
    "num": ["sum({num}) OVER {over}", "avg({num}) OVER {over}", "cume_dist() OVER {over}", "sum({num}) OVER {key}", "percent_rank() OVER {over}", "max({num}) OVER {key}"],
    "text": ["first_value({text}) OVER {over}", "lag({text}, 1) OVER {over}", "last_value({text}) OVER {over}", "nth_value({text}, 2) OVER {over}", "group_concat({text}, '') OVER {over}"],
    "date": ["max({date}) OVER {over}", "lead({date}) OVER {over}"],
    "ts": ["min({ts}) OVER {over}"],
    "bool": ["rank() OVER {over} = 1"],
    "json": ["json_group_array({int}) OVER {over}"],
}  # fmt: skip

_JSON_ROWS = {
    "key": "text", "value": "text", "type": "text", "atom": "text", "id": "int", "parent": "int", "fullkey": "text", "path": "text",
    "json": "hidden", "root": "hidden",
}  # fmt: skip

SQLITE = Flavour(
    name="sqlite",
    types={"int": "INTEGER", "text": "TEXT", "num": "NUMERIC", "date": "TEXT", "ts": "TEXT", "bool": "INTEGER", "json": "TEXT"},
    literals={
        "int": ["1", "0", "5", "21", "-3", "100", "0x0f"],
        "text": ["'a'", "'EU'", "'ada'", "''", "'it''s'", "NULL", "'x%'"],
        "num": ["1.5", "0.0", "20.5", "-2.25", "1e2", ".5"],
        "date": ["'2026-03-01'", "'2026-12-31'", "date('2026-02-03')"],
        "ts": ["'2026-03-01 10:00:00'", "datetime('2026-05-02')"],
        "bool": ["1", "0", "true", "false", "1 = 1", "NULL"],
        "json": ["'{\"a\": 1}'", "'[1, 2]'", "'{\"b\": {\"c\": 2}}'"],
    },
    expressions=_EXPRESSIONS,
    aggregates=_AGGREGATES,
    windows=_WINDOWS,
    filters=["FILTER (WHERE {bool})"],
    table_functions=[
        ("json_each('[10, 20]')", _JSON_ROWS | {"value": "int"}),
        ("json_each({json})", _JSON_ROWS),
        ("json_tree('{\"a\": [1, 2]}')", _JSON_ROWS),
        ("json_tree({json})", _JSON_ROWS),
    ],
    joins=["JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT OUTER JOIN"],
    features=frozenset(
        ["full_join", "nulls_order", "materialized", "cte_columns", "update_from", "returning", "on_conflict", "row_in", "with_writes", "named_window", "exclude", "multi_set", "default_values", "insert_alias", "free_order", "open_ctes"]
    ),
    quotes=(('"', '"'), ("[", "]"), ("`", "`")),
)  # fmt: skip
