"""Words that PostgreSQL, SQLite, MariaDB or DuckDB keeps for itself in some place: a name among them is always written in quotes.

Sources: pg_get_keywords(), duckdb_keywords(), MariaDB's information_schema.KEYWORDS, and what SQLite and MariaDB refuse as a name.
"""

from __future__ import annotations

__all__ = ["RESERVED"]

_WORDS = """
    accessible add all alter analyse analyze and anti any array as asc asensitive asof asymmetric at authorization
    before between bigint binary bit blob boolean both by call cascade case cast change char character check coalesce
    collate collation column columns commit concurrently condition constraint continue convert create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user cursor
    databases day_hour day_microsecond day_minute day_second dec decimal declare default deferrable delayed delete
    delete_domain_id desc describe deterministic distinct distinctrow div do do_domain_ids double drop dual each else
    elseif enclosed end escape escaped except exists exit explain extract false fetch float float4 float8 for force
    foreign freeze from full fulltext generated glob grant greatest group grouping grouping_id having high_priority
    hour_microsecond hour_minute hour_second if ignore ignore_domain_ids ilike in index infile initially inner inout
    insensitive insert int int1 int2 int3 int4 int8 integer intersect interval into is isnull iterate join key keys kill
    lambda lateral leading least leave left like limit linear lines load localtime localtimestamp lock long longblob
    longtext loop low_priority map master_demote_to_replica master_demote_to_slave master_ssl_verify_server_cert match
    maxvalue mediumblob mediumint mediumtext middleint minute_microsecond minute_second mod modifies national natural
    nchar no_write_to_binlog none normalize not notnull null nullif numeric offset on only optimize optionally or order
    out outer outfile over overlaps overlay page_checksum parse_vcol_expr partition pivot pivot_longer pivot_wider
    placing portion position positional precision primary procedure purge qualify raise range read read_write reads real
    recursive ref_system_id references regexp release rename repeat replace require resignal restrict return returning
    revoke right rlike row row_number rows schemas second_microsecond select semi sensitive separator session_user set
    setof show signal similar smallint some spatial specific sql sql_big_result sql_buffer_result sql_cache
    sql_calc_found_rows sql_no_cache sql_small_result sqlexception sqlstate sqlwarning ssl starting stats_auto_recalc
    stats_persistent stats_sample_pages straight_join struct substring summarize symmetric table tablesample terminated
    then time timestamp tinyblob tinyint tinytext to trailing transaction treat trigger trim true try_cast tuple undo
    union unique unlock unpack unpivot unsigned update usage use user using utc_date utc_time utc_timestamp values
    varbinary varchar varcharacter variadic varying verbose when where while window with write xmlattributes xmlconcat
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable xor year_month zerofill
"""
RESERVED = frozenset(_WORDS.split())
