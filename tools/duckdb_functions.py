"""DuckDB's functions without effects, for `tools.generate_functions`: by the engine's own word, without those named here.

Left out are functions that read the session, settings or sequences, that change or wait, that raise errors at will, that take the text
of a query, and the engine's internal ones. Volatile ones pass by name: they draw random values.
"""

from __future__ import annotations

import re

import duckdb

__all__ = ["duckdb_functions"]

_EXCLUDED = re.compile(
    r"__.*|(icu_)?collate_.*|.*_?serialize_.*|json_execute.*|combine(_aggr)?|finalize|to_aggregate_state|current_(setting|database|schemas?|catalog"
    r"|role|user|query|query_id|connection_id|transaction_id)|getvariable|txid_current|in_search_path|currval|nextval|setval|setseed|error"
    r"|assert_true|sleep_ms|stats|vector_type|write_log|version|alias|constant_or_null|create_sort_key|icu_sort_key|index_key|pg_.*|has_.*_privilege"
    r"|inet_.*|(col|obj|shobj)_description|session_user|user|get_block_size|map_to_pg_oid|format_pg_type|format_type|parse_duckdb_log_message"
    r"|hive_partition_component|cast_to_type|make_type|replace_type|get_type|can_cast_implicitly|invoke|switch|remap_struct|st_.*"
    r"|is_histogram_other_bin|variant_.*|json_copy_.*|st_.*|lttb|enum_code|unpivot_list"
)
_REVIEWED = frozenset({"gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"})
_CLOCK = frozenset(
    {"current_date", "get_current_time", "get_current_timestamp", "now", "today", "transaction_timestamp", "current_localtime"}
)
_SYNTAX = frozenset({"coalesce", "grouping", "ifnull", "percentile_cont", "percentile_disc", "unnest"})
"""Called like functions, and known to the grammar only."""
_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def duckdb_functions() -> set[str]:
    """Returns the names without effects of the DuckDB that is installed."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT lower(function_name), bool_and(function_type IN ('scalar', 'aggregate', 'window', 'macro')),"
            " bool_or(coalesce(has_side_effects, false)), bool_and(coalesce(stability, 'CONSISTENT') = 'CONSISTENT')"
            " FROM duckdb_functions() WHERE internal AND function_type NOT IN ('pragma', 'table') GROUP BY 1"
        ).fetchall()
    passed = {
        name
        for name, is_plain, has_effects, is_consistent in rows
        if is_plain and not has_effects and (is_consistent or name in _CLOCK)
    }
    named = {name for name in passed if _NAME.fullmatch(name) and not _EXCLUDED.fullmatch(name)}
    return named | _REVIEWED | _SYNTAX
