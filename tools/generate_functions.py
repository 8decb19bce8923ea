"""Generates the lists of functions without effects that `guardrails.sql.dialects` allows, from real engines.

A function passes when the engine itself calls every overload of it immutable, or when it was reviewed here by name: it reads
nothing but its arguments, the clock, the session's time zone or randomness, and it changes nothing. Functions that take the
text of a query, a relation, an object id of the system or an engine-internal type never pass, whatever the engine says.

    python -m tools.generate_functions --postgres URL [--postgres URL …] --mysql URL [--mysql URL …]

writes `functions_sqlite.txt`, `functions_duckdb.txt`, `functions_postgres.txt` and `functions_mysql.txt`: one lower-case name a line,
sorted. PostgreSQL's list is the union over the servers; a name that any of them disqualifies is left out. MySQL's is reviewed in
`tools.mysql_functions`, DuckDB's in `tools.duckdb_functions`.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
from pathlib import Path

import psycopg

from tools.duckdb_functions import duckdb_functions
from tools.mysql_functions import mysql_functions

__all__ = [
    "POSTGRES_REVIEWED",
    "postgres_functions",
    "sqlite_functions",
]

_FOLDER = Path(__file__).parent.parent / "guardrails" / "sql" / "dialects"

# https://www.sqlite.org/c3ref/c_deterministic.html
_SQLITE_DETERMINISTIC = 0x000000800
_SQLITE_DIRECTONLY = 0x000080000
_SQLITE_INNOCUOUS = 0x000200000

_SQLITE_EXCLUDED = re.compile(
    r"load_extension|readfile|writefile|lsmode|edit|fsdir|fts\d.*|rtree.*|sqlite_.*|last_insert_rowid|changes|total_changes|subtype"
    r"|match|matchinfo|offsets|optimize|snippet|highlight|bm25"
)
_SQLITE_LATER = frozenset(
    {
        *("concat", "concat_ws", "if", "octet_length", "string_agg", "timediff", "unhex", "unistr", "unistr_quote"),
        *(
            "json_array_insert",
            "json_error_position",
            "json_pretty",
            "jsonb",
            "jsonb_array",
            "jsonb_extract",
            "jsonb_group_array",
        ),
        *("jsonb_group_object", "jsonb_insert", "jsonb_object", "jsonb_patch", "jsonb_remove", "jsonb_replace", "jsonb_set"),
        *("median", "percentile", "percentile_cont", "percentile_disc"),
    }
)
"""Functions of newer releases, without effects by their documentation; an engine that lacks one refuses the statement."""

POSTGRES_REVIEWED = frozenset(
    {
        # the clock and the session's time zone
        *(
            "age",
            "clock_timestamp",
            "date",
            "date_add",
            "date_part",
            "date_subtract",
            "date_trunc",
            "extract",
            "generate_series",
        ),
        *(
            "make_timestamptz",
            "now",
            "overlaps",
            "statement_timestamp",
            "time",
            "timeofday",
            "timestamp",
            "timestamptz",
            "timetz",
        ),
        *("timezone", "transaction_timestamp"),
        # formatting that depends on locale, encoding or settings
        *(
            "array_to_string",
            "concat",
            "concat_ws",
            "convert",
            "convert_from",
            "convert_to",
            "format",
            "length",
            "money",
            "numeric",
        ),
        *("quote_literal", "quote_nullable", "to_char", "to_date", "to_number", "to_timestamp"),
        # JSON and XML made from the arguments
        *("array_to_json", "json_agg", "json_agg_strict", "json_build_array", "json_build_object", "json_object_agg"),
        *("json_object_agg_strict", "json_object_agg_unique", "json_object_agg_unique_strict", "json_to_record"),
        *("json_to_recordset", "jsonb_agg", "jsonb_agg_strict", "jsonb_build_array", "jsonb_build_object", "jsonb_object_agg"),
        *("jsonb_object_agg_strict", "jsonb_object_agg_unique", "jsonb_object_agg_unique_strict", "jsonb_path_exists_tz"),
        *("jsonb_path_match_tz", "jsonb_path_query_array_tz", "jsonb_path_query_first_tz", "jsonb_path_query_tz"),
        *("jsonb_to_record", "jsonb_to_recordset", "row_to_json", "to_json", "to_jsonb", "xml_is_well_formed"),
        # text search over the arguments, by a configuration of the catalog
        *("json_to_tsvector", "jsonb_to_tsvector", "phraseto_tsquery", "plainto_tsquery", "to_tsquery", "to_tsvector"),
        *("ts_headline", "websearch_to_tsquery"),
        # a type's labels, not its rows
        *("enum_first", "enum_last", "enum_range"),
        # the name of the argument's type (its result type, regtype, is let through for this one name)
        "pg_typeof",
        # randomness
        *("array_sample", "array_shuffle", "gen_random_uuid", "random", "random_normal", "uuidv4", "uuidv7"),
    }
)
"""STABLE and VOLATILE functions that were reviewed: none reads a relation, a file or another session, or changes anything."""

_POSTGRES_SYNTAX = frozenset(
    {
        *("coalesce", "current_date", "current_time", "current_timestamp", "greatest", "grouping", "least", "localtime"),
        *("localtimestamp", "nullif", "row", "trim"),
    }
)
"""Called like functions, and known to the grammar only."""

_POSTGRES_EXCLUDED = re.compile(
    r"_?pg_.*|RI_.*|binary_upgrade_.*|brin_.*|gin_.*|gist_.*|spg_.*|lo_.*|loread|lowrite|dblink.*|txid_.*|has_.*_privilege"
    r"|.*_to_xml(schema|_and_xmlschema)?|to_reg.*|reg.*(in|out|class)|inet_(client|server)_.*|.*send|.*recv|.*typmod(in|out)"
    r"|current_(setting|database|user|schemas?|role|query)|session_user|system_user|getpgusername|getdatabaseencoding|version"
    r"|icu_unicode_version|unicode_version|(curr|next|set|last)val|set_config|setseed|(obj|shobj|col)_description|ts_(stat|debug|parse|rewrite)"
    r"|ts_token_type|row_security_active|jsonb?_populate_.*|.*_support|fmgr_.*|acl.*|makeaclitem|mxid_age"
)

_POSTGRES_QUERY = """
    SELECT p.proname,
           bool_and(p.provolatile = 'i'),
           bool_or(EXISTS (SELECT FROM unnest(p.proargtypes::oid[] || p.prorettype || p.proallargtypes) AS t(oid)
                           WHERE t.oid::regtype::text = ANY (%(engine_types)s))),
           bool_and(EXISTS (SELECT FROM unnest(p.proargtypes::oid[] || p.prorettype) AS t(oid)
                            WHERE t.oid::regtype::text = ANY (%(system_types)s)))
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a', 'w') AND p.oid < 16384
    GROUP BY p.proname
"""
_ENGINE_TYPES = (
    *(
        "internal",
        "cstring",
        "trigger",
        "event_trigger",
        "language_handler",
        "fdw_handler",
        "index_am_handler",
        "table_am_handler",
    ),
    *(
        "tsm_handler",
        "pg_ddl_command",
        "void",
        "aclitem",
        "aclitem[]",
        "refcursor",
        "regclass",
        "regproc",
        "regprocedure",
        "regoper",
    ),
    *("regoperator", "regrole", "regtype", "regnamespace", "regdictionary", "regdatabase"),
)
"""Types that no harmless function touches: one overload with such a type disqualifies the name."""
_SYSTEM_TYPES = (
    *("oid", "oidvector", "xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "pg_node_tree"),
    *("pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "gtsvector"),
)
"""Types of the system's own bookkeeping: a name all of whose overloads touch one is of no use to a statement over data."""


def sqlite_functions(connection: sqlite3.Connection) -> set[str]:
    """Returns the names that this SQLite offers and that have no effect, with those of newer releases."""
    rows = connection.execute("SELECT name, flags FROM pragma_function_list WHERE builtin").fetchall()
    names = {
        name.lower()
        for name, flags in rows
        if flags & (_SQLITE_DETERMINISTIC | _SQLITE_INNOCUOUS)
        and not flags & _SQLITE_DIRECTONLY
        and not _SQLITE_EXCLUDED.fullmatch(name.lower())
    }
    return names | _SQLITE_LATER


def postgres_functions(urls: list[str]) -> set[str]:
    """Returns the names without effects over several servers; a name that one of them disqualifies is left out.

    Args:
        urls: libpq connection strings.
    """
    passed: set[str] = set()
    failed: set[str] = set()
    for url in urls:
        with psycopg.connect(url) as connection:
            arguments = {"engine_types": list(_ENGINE_TYPES), "system_types": list(_SYSTEM_TYPES)}
            for name, is_immutable, touches_engine, is_bookkeeping in connection.execute(_POSTGRES_QUERY, arguments):
                is_plain = not touches_engine and not is_bookkeeping and not _POSTGRES_EXCLUDED.fullmatch(name)
                is_fit = (is_immutable and is_plain) or (name in POSTGRES_REVIEWED and (is_plain or name == "pg_typeof"))
                (passed if is_fit else failed).add(name)
    return (passed - failed) | _POSTGRES_SYNTAX


def _write(dialect: str, names: set[str]) -> None:
    (_FOLDER / f"functions_{dialect}.txt").write_text("".join(f"{name}\n" for name in sorted(names)), "utf-8")


def main() -> None:
    """Writes the lists."""
    parser = argparse.ArgumentParser(description="Generate the lists of functions without effects.")
    parser.add_argument("--postgres", action="append", default=[], help="libpq URL of a server; may be repeated")
    parser.add_argument("--mysql", action="append", default=[], help="URL of a MySQL or MariaDB server; may be repeated")
    arguments = parser.parse_args()
    with sqlite3.connect(":memory:") as connection:
        _write("sqlite", sqlite_functions(connection))
    _write("duckdb", duckdb_functions())
    if arguments.postgres:
        _write("postgres", postgres_functions(arguments.postgres))
    if arguments.mysql:
        _write("mysql", mysql_functions(arguments.mysql))


if __name__ == "__main__":
    main()
