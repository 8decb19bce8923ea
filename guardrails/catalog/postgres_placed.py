"""What the guard has set up in a PostgreSQL database, told as the engine stores it: views in the schema `guardrails`, which hold row
filters, and generated columns named `gr_masked_…`, which hold masked values.

Nothing here is trusted: whoever may change the schema could have put it there. `guardrails.install` compares it with what it made.
Source: https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrails.model import PlacedColumn, PlacedView

if TYPE_CHECKING:
    import psycopg

__all__ = ["OWN_COLUMNS", "PLACED_PARTS", "read_placed", "read_placed_columns"]

OWN_COLUMNS = "gr_masked_"
"""What the names of the guard's own columns start with."""

_VIEWS = """
    SELECT v.relname, base.nspname, base.relname,
           (SELECT pg_catalog.array_agg(ARRAY[a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)] ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped),
           pg_catalog.pg_get_viewdef(v.oid), pg_catalog.md5(r.ev_action::text), pg_catalog.pg_get_userbyid(v.relowner),
           v.relkind = 'v' AND v.reloptions = ARRAY['security_barrier=true']
               AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_rewrite o WHERE o.ev_class = v.oid) = 1
               AND r.ev_enabled = 'O' AND NOT v.relhastriggers,
           coalesce(NOT base.relrowsecurity
               AND pg_catalog.has_schema_privilege(v.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(v.oid, 'SELECT')
               AND pg_catalog.has_table_privilege(base.oid, 'SELECT')
               AND pg_catalog.has_table_privilege(v.relowner, base.oid, 'SELECT'), false),
           coalesce(pg_catalog.obj_description(v.oid, 'pg_class'), '')
    FROM pg_catalog.pg_class v
    JOIN pg_catalog.pg_namespace own ON own.oid = v.relnamespace AND own.nspname = 'guardrails'
    JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid AND r.rulename = '_RETURN'
    LEFT JOIN LATERAL (
        SELECT n.nspname, c.relname, c.relrowsecurity, c.oid, pg_catalog.count(*) OVER () AS named
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid IN (
            SELECT d.refobjid FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
              AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> v.oid)
    ) AS base ON base.named = 1
    ORDER BY v.relname
"""

_COLUMNS = """
    SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
           pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.md5(d.adbin::text),
           a.attgenerated = 's' AND c.relkind = 'r' AND NOT c.relispartition AND a.attislocal AND a.attinhcount = 0
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE c.oid IN (h.inhrelid, h.inhparent)),
           coalesce(pg_catalog.col_description(c.oid, a.attnum), '')
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND pg_catalog.starts_with(a.attname::text, 'gr_masked_')
      AND c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'guardrails'
    ORDER BY a.attrelid, a.attnum
"""

PLACED_PARTS = """
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(
            ',', c.oid, c.xmin, c.ctid, s.xmin, s.ctid, r.oid, r.xmin, r.ctid, d.xmin, d.ctid), ';' ORDER BY c.oid, r.oid))
        FROM pg_catalog.pg_namespace s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
        LEFT JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
        LEFT JOIN pg_catalog.pg_description d
            ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
        WHERE s.nspname = 'guardrails'
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(',', a.attrelid, a.attnum, a.xmin, a.ctid), ';' ORDER BY a.attrelid, a.attnum))
        FROM pg_catalog.pg_namespace s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE s.nspname = 'guardrails'"""
"""What of this the version of the schema is made of: every change of such a relation, its options, rights or comment is another row."""


def read_placed(connection: psycopg.Connection[Any]) -> tuple[PlacedView, ...]:
    """Returns the views in the guard's schema by name.

    Args:
        connection: A connection inside a transaction whose search path is `pg_catalog, pg_temp`, so that definitions are qualified.
    """
    return tuple(
        PlacedView(
            name=name,
            base=(base_schema, base_name) if base_schema else (),
            columns=tuple((column, type_text) for column, type_text in columns or ()),
            definition=definition,
            stored=stored,
            owner=owner,
            is_plain=bool(is_plain),
            is_readable=bool(is_readable),
            comment=comment,
        )
        for name, base_schema, base_name, columns, definition, stored, owner, is_plain, is_readable, comment in connection.execute(
            _VIEWS
        )
    )


def read_placed_columns(connection: psycopg.Connection[Any]) -> tuple[PlacedColumn, ...]:
    """Returns the columns with the guard's own names, by relation in their order. The connection is as for `read_placed`."""
    return tuple(
        PlacedColumn((schema, table), name, type_text, definition or "", stored or "", bool(is_plain), comment)
        for schema, table, name, type_text, definition, stored, is_plain, comment in connection.execute(_COLUMNS)
    )
