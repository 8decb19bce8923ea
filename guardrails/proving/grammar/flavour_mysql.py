"""MariaDB's side of the grammar."""

from __future__ import annotations

from guardrails.proving.grammar.flavour import Flavour

__all__ = ["MYSQL"]

_EXPRESSIONS = {
    "text": [
        "upper({text})", "lower({text})", "LCASE({text})", "concat({text}, {int})", "concat({text}, '-', {text})", "concat_ws(',', {text}, {date})", "coalesce({text}, {text})", "ifnull({text}, 'none')", "nvl({text}, {text})", "nvl2({text}, {text}, 'n')",
        "nullif({text}, {text})", "substr({text}, 2, 3)", "substring({text} from 2)", "substring({text} FROM 1 FOR 2)", "mid({text}, 2, 2)", "left({text}, 3)", "right({text}, 2)", "lpad({text}, 8, '*')", "rpad({text}, 4, {text})", "replace({text}, 'a', 'b')",
        "trim({text})", "trim(both 'x' from {text})", "trim(leading from {text})", "trim(TRAILING 'a' FROM {text})", "ltrim({text})", "rtrim({text})", "reverse({text})", "repeat({text}, 2)", "elt(2, {text}, {text}, 'c')", "insert({text}, 1, 2, 'zz')",
        "quote({text})", "hex({text})", "unhex(hex({text}))", "to_base64({text})", "md5({text})", "sha1({text})", "sha2({text}, 256)", "date_format({date}, '%Y-%m')", "time_format({ts}, '%H:%i')", "dayname({date})", "monthname({date})", "format({num}, 2)",
        "CAST({int} AS CHAR)", "CAST({num} AS CHAR(10))", "convert({int}, CHAR)", "convert({text} USING utf8mb4)", "{text} COLLATE utf8mb4_bin", "BINARY {text}", "json_unquote(json_extract({json}, '$.a'))", "json_value({json}, '$.a')", "json_type({json})",
        "CASE WHEN {bool} THEN {text} ELSE {text} END", "CASE {text} WHEN 'EU' THEN 'e' WHEN {text} THEN 'f' ELSE {text} END", "greatest({text}, {text})", "least({text}, {text})", "{one_text}", "if({bool}, {text}, {text})", "IF({bool}, {text}, NULL)",
        "substring_index({text}, '-', 1)", "char(65, 66)", "char(65 USING utf8mb4)", "concat(space(2), {text})", "soundex({text})", "regexp_replace({text}, '[0-9]+', '#')", "regexp_substr({text}, '[a-c]+')", "conv({int}, 10, 16)", "bin({int})", "oct({int})", "make_set(5, 'a', 'b', {text})",
        "_utf8mb4'abc'", "concat(N'é', {text})", "concat(x'4142', {text})", 'concat("it\'s", {text})', r"concat('a\tb\'c', {text})", "charset({text})", "collation({text})", "json_quote({text})", "json_unquote('\"a\"')", "aes_decrypt({text}, 'k')", "export_set(5, 'Y', 'N', ',', 4)",
        "json_detailed({json})", "get_format(DATE, 'EUR')", "inet_ntoa({int})", "field({text}, 'a', 'b')", "to_char({date}, 'YYYY-MM')", "chr(66)", "natural_sort_key({text})", "CAST({text} AS CHAR CHARACTER SET utf8mb4)", "weekday({date})", "sec_to_time({int})", "maketime(1, 2, 3)",
    ],
    "int": [
        "{int} + {int}", "{bare_int} * 2 - {bare_int}", "{int} - {int}", "-{int}", "~{int}", "coalesce({int}, 0)", "abs({int})", "length({text})", "char_length({text})", "{int} % 7", "{int} DIV 3", "{int} MOD 3", "mod({int}, 5)", "CASE WHEN {bool} THEN {int} ELSE {int} END",
        "CASE WHEN {bool} THEN {int} END", "nullif({int}, 1)", "instr({text}, 'a')", "locate('a', {text})", "locate('a', {text}, 2)", "position('a' IN {text})", "greatest({int}, {int}, 3)", "least({int}, {int})", "CAST({num} AS SIGNED)", "CAST({text} AS UNSIGNED)", "convert({num}, SIGNED INTEGER)",
        "floor({num})", "ceil({num})", "ceiling({num})", "round({num})", "sign({num})", "year({date})", "month({date})", "dayofmonth({date})", "quarter({date})", "week({date})", "week({date}, 3)", "hour({ts})", "minute({ts})", "dayofweek({date})", "dayofyear({date})", "weekofyear({date})",
        "to_days({date})", "datediff({date}, {date})", "timestampdiff(DAY, {date}, {date})", "TIMESTAMPDIFF(MONTH, {ts}, {date})", "extract(YEAR FROM {date})", "EXTRACT(DAY_HOUR FROM {ts})", "unix_timestamp({ts})", "period_add(202601, {int})", "json_length({json})", "json_depth({json})",
        "find_in_set({text}, 'a,b,EU')", "field({text}, 'a', {text})", "{int} & 3 | 8", "{int} ^ 5", "{int} << 1", "{int} >> 1", "bit_count({int})", "crc32({text})", "if({bool}, {int}, 2)", "{one_int}", "{bool} + 1", "0x1F + {int}", "b'101' + {int}", "strcmp({text}, {text})", "ascii({text})", "ord({text})",
        "isnull({text})", "{text} REGEXP 'a'", "bit_length({text})", "octet_length({text})", "inet_aton('10.0.0.1')", "{int} - - {int}", "{text} = {text}", "time_to_sec({ts})", "yearweek({date})", "{bool} XOR {bool}", "(SELECT count(*) FROM {counted} oo WHERE {counted_key} > {int})", "ifnull({int}, 7)",
        "{int} || {int}", "{int} && {bool}", "!{int}", "json_extract({json}, '$.a') + 0", "regexp_instr({text}, 'b')", "{date} + 0", "coercibility({text})", "-(-{int})", "+{int}", "nvl({int}, 2)", "{int} DIV 2 + 1", "microsecond({ts})", "x'10' + 1", "{bool} = {bool}", "period_diff(202605, 202601)",
    ],
    "num": [
        "{num} + {num}", "{num} * {int}", "{num} / nullif({num}, 0)", "{num} / 0", "round({num}, 1)", "truncate({num}, 1)", "pow({num}, 2)", "power({int}, 2)", "sqrt(abs({num}))", "exp(0) + {num}", "ln(abs({num}) + 1)", "log(2, abs({num}) + 1)", "log10(10)", "pi()", "sin({num})", "coalesce({num}, 0.5)",
        "CAST({num} AS DECIMAL(12, 3))", "CAST({text} AS DOUBLE)", "CAST({num} AS DECIMAL)", "{one_num}", "greatest({num}, {int})", "{num} - {int}", ".5 + {num}", "1.e1 + {num}", "if({bool}, {num}, {int})", "CASE WHEN {bool} THEN {num} ELSE {int} END", "{num} MOD 3", "{num} % 2.5", "-{num}", "abs({num})", "{int} / 2",
        "degrees({num})", "radians(180)", "convert({num}, DECIMAL(10, 1))", "json_value({json}, '$.a') * 1.5", "ifnull({num}, 1.5)", "format({num}, 1) + 0", "atan2({num}, 2)", "cot(1.5)", "{num} DIV 1.5",
    ],
    "date": [
        "{date} + INTERVAL 1 DAY", "{date} - INTERVAL 7 DAY", "{date} + INTERVAL 1 MONTH", "INTERVAL 2 DAY + {date}", "date_add({date}, INTERVAL 1 WEEK)", "date_sub({date}, INTERVAL {lit_int} DAY)", "date_add({date}, INTERVAL {int} % 9 DAY)", "date({ts})", "last_day({date})", "makedate(2026, 45)",
        "str_to_date('2026-03-04', '%Y-%m-%d')", "CAST({ts} AS DATE)", "convert({ts}, DATE)", "adddate({date}, 5)", "subdate({date}, INTERVAL 1 YEAR)", "from_days(to_days({date}))", "coalesce({date}, DATE '2026-05-01')", "nullif({date}, '2026-01-01')", "greatest({date}, {date})", "{one_date}", "if({bool}, {date}, {date})",
        "date_add({date}, INTERVAL '1-2' YEAR_MONTH)", "{date} + INTERVAL '1' QUARTER", "curdate()", "utc_date()", "CURRENT_DATE", "{date} - INTERVAL -1 DAY", "CASE WHEN {bool} THEN {date} ELSE {date} END", "add_months({date}, 2)",
    ],
    "ts": [
        "{ts} + INTERVAL 1 HOUR", "timestampadd(MINUTE, 5, {ts})", "timestamp({date})", "timestamp({date}, '10:00:00')", "CAST({date} AS DATETIME)", "date_add({ts}, INTERVAL '1:30' HOUR_MINUTE)", "{ts} - INTERVAL 90 MINUTE", "convert_tz({ts}, '+00:00', '+09:00')", "addtime({ts}, '01:00:00')", "coalesce({ts}, {date})",
        "from_unixtime(86400)", "greatest({ts}, {ts})", "{one_ts}", "least({ts}, TIMESTAMP '2026-06-01 00:00:00')", "str_to_date('2026-03-04 05:06', '%Y-%m-%d %H:%i')", "{ts} + INTERVAL '1 2' DAY_HOUR", "now()", "CURRENT_TIMESTAMP", "localtime", "{ts} + INTERVAL 1.5 SECOND", "subtime({ts}, '00:30')", "CAST({ts} AS DATETIME(3))",
    ],
    "bool": [
        "{text} = {text}", "{int} > {int}", "{num} <= {num}", "{date} < {date}", "{ts} >= {ts}", "{int} <=> {int}", "{text} <=> NULL", "{bare_bool} AND {bare_bool}", "{bare_bool} OR {bare_bool}", "{bool} && {bool}", "{bool} || {bool}", "{bool} XOR {bool}", "NOT {bool}", "!{bool}", "{text} LIKE 'a%'", "{text} NOT LIKE '%b_'", "{text} LIKE {text}",
        "{text} IS NULL", "{int} IS NOT NULL", "{int} BETWEEN 1 AND {int}", "{date} NOT BETWEEN {date} AND {date}", "{int} IN (1, 2, {int})", "{text} NOT IN ('a', {text})", "{int} IN ({many_int})", "{text} NOT IN ({many_text})", "{int} = ANY ({many_int})", "{num} > ALL ({many_num})", "{text} <> SOME ({many_text})", "EXISTS ({exists})",
        "NOT EXISTS ({exists})", "{text} REGEXP '^[a-c]'", "{text} RLIKE 'b'", "{text} NOT REGEXP {text}", "{bool} IS TRUE", "{bool} IS NOT FALSE", "{bool} IS UNKNOWN", "({int}, {text}) = ({int}, {text})", "ROW({int}, {text}) = ROW({int}, {text})", "({text}, {int}) IN ({many_text_int})", "({int}, {num}) < ({int}, {num})", "{one_bool}", "coalesce({bool}, 0)",
        "{text} LIKE 'a!%' ESCAPE '!'", "CASE WHEN {bool} THEN {bool} ELSE {bool} END", "if({bool}, {bool}, 0)", "json_valid({json})", "json_contains({json}, '1', '$.a')", "json_exists({json}, '$.b')", "json_contains_path({json}, 'one', '$.a')", "{text} COLLATE utf8mb4_bin = {text}", "{bool} = {bool}", "{int} != {int}", "{int} <> {int}", "isnull({int})",
        "{text} SOUNDS LIKE {text}", "{int}", "find_in_set({text}, 'a,EU')", "strcmp({text}, {text}) > 0", "{date} = '2026-03-01'", "{int} = '5'", "{text} = 0", "BINARY {text} = 'ada'", "{date} > {ts} - INTERVAL 1 MONTH", "NOT {bool} = {bool}", "{int} = {int} = 1", "{text} < BINARY {text}", "json_overlaps({json}, '[1]')", "{int} NOT BETWEEN {int} AND 9", "{bool} IS NOT NULL",
    ],
    "json": [
        "json_extract({json}, '$.a')", "json_object('k', {int}, 't', {text})", "json_array({int}, {text})", "json_set({json}, '$.z', 9)", "json_remove({json}, '$.a')", "json_merge_patch({json}, '{\"q\": 1}')", "json_merge_preserve({json}, {json})", "json_insert({json}, '$.a', 1)", "json_replace({json}, '$.a', {int})", "json_query({json}, '$.b')", "json_keys({json})",
        "json_compact({json})", "json_search({json}, 'one', 'x')", "coalesce({json}, '[]')", "{one_json}", "json_array_append({json}, '$', 4)", "json_array_insert('[1, 2]', '$[0]', {int})", "json_extract({json}, '$.a', '$.b')", "json_normalize({json})", "json_loose({json})", "if({bool}, {json}, '{}')",
    ],
}  # fmt: skip

_AGGREGATES = {
    "int": ["count(*)", "count({text})", "count(DISTINCT {text})", "count(DISTINCT {text}, {int})", "sum({int})", "max({int})", "min({int})", "bit_or({int})", "bit_and({int})", "bit_xor({int})", "sum({bool})", "sum(if({bool}, 1, 0))", "sum(CASE WHEN {bool} THEN {int} END)", "count({bool} OR NULL)"],
    "num": ["avg({int})", "sum({num})", "max({num})", "round(avg({num}), 2)", "sum({num} * {int})", "sum(DISTINCT {int})", "std({num})", "stddev_samp({int})", "var_pop({num})", "variance({int})", "avg(DISTINCT {num})"],
    "text": ["min({text})", "max({text})", "group_concat({text})", "group_concat({text} ORDER BY {text})", "group_concat(DISTINCT {text} ORDER BY {text} DESC SEPARATOR ';')", "group_concat({text}, {int} SEPARATOR '')", "group_concat({int} ORDER BY {int}, {text} SEPARATOR '|')", "max(concat({text}, 'x'))"],
    "date": ["max({date})", "min({date})"],
    "ts": ["max({ts})", "min({ts})"],
    "bool": ["max({bool})", "count(*) > 1", "bit_or({bool})"],
    "json": ["json_arrayagg({int})", "json_objectagg(coalesce({text}, 'k'), {int})"],
}  # fmt: skip

_WINDOWS = {
    "int": ["row_number() OVER {over}", "rank() OVER {over}", "dense_rank() OVER {over}", "count(*) OVER {over}", "lag({int}) OVER {over}", "ntile(3) OVER {over}", "lead({int}, 2) OVER {over}", "bit_or({int}) OVER {over}", "count({text}) OVER {over}", "count(*) OVER {rows}", "bit_xor({int}) OVER ()"],
    "num": ["sum({num}) OVER {over}", "sum({num}) OVER {rows}", "avg({num}) OVER {rows}", "cume_dist() OVER (ORDER BY {int})", "sum({num}) OVER {key}", "percent_rank() OVER (PARTITION BY {text} ORDER BY {num})", "max({num}) OVER {over}", "median({num}) OVER (PARTITION BY {text})", "percentile_cont(0.5) WITHIN GROUP (ORDER BY {num}) OVER (PARTITION BY {text})"],
    "text": ["first_value({text}) OVER {over}", "last_value({text}) OVER {rows}", "lag({text}, 1) OVER {over}", "last_value({text}) OVER {over}", "nth_value({text}, 2) OVER {over}", "max({text}) OVER {over}"],
    "date": ["max({date}) OVER {over}", "lead({date}) OVER {over}"],
    "ts": ["min({ts}) OVER {over}"],
    "bool": ["rank() OVER {over} = 1"],
}  # fmt: skip

MYSQL = Flavour(
    name="mysql",
    types={"int": "INT", "text": "VARCHAR(60)", "num": "DECIMAL(10, 2)", "date": "DATE", "ts": "DATETIME", "bool": "BOOLEAN", "json": "JSON"},
    literals={
        "int": ["1", "0", "5", "21", "-3", "100", "0x0f"],
        "text": ["'a'", "'EU'", "'ada'", "''", "'it''s'", "NULL", "'x%'", '"b"', r"'it\'s'"],
        "num": ["1.5", "0.0", "20.5", "-2.25", "1e2", ".5"],
        "date": ["DATE '2026-03-01'", "'2026-12-31'", "DATE'2026-02-03'", "current_date()"],
        "ts": ["TIMESTAMP '2026-03-01 10:00:00'", "'2026-05-02 11:12:13'", "now()"],
        "bool": ["1", "0", "true", "false", "1 = 1", "NULL"],
        "json": ["'{\"a\": 1}'", "'[1, 2]'", "'{\"b\": {\"c\": 2}}'"],
    },
    expressions=_EXPRESSIONS,
    aggregates=_AGGREGATES,
    windows=_WINDOWS,
    filters=[],
    table_functions=[],
    joins=["JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN", "LEFT OUTER JOIN", "STRAIGHT_JOIN"],
    features=frozenset(["cte_columns", "named_window", "open_ctes"]),
    quotes=(("`", "`"),),
    has_schemas=True,
)  # fmt: skip
