"""The catalog of a live PostgreSQL database: every schema but the system's own and the guard's, of which `postgres_placed` reads.

Partitions and inheritance children know their parents, as rows of theirs are rows of the parents too. Definitions and types are read
with an empty search path, so that every name in them is qualified.
Source: https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from guardrails.catalog.postgres_constraints import CONSTRAINT_PARTS, read_constraints
from guardrails.catalog.postgres_effects import PARTS, general_effects, relation_effects, types_with_code
from guardrails.catalog.postgres_placed import OWN_COLUMNS, PLACED_PARTS, read_placed, read_placed_columns
from guardrails.model import Catalog, Column, Declared, Relation, RelationKind

if TYPE_CHECKING:
    import psycopg

__all__ = ["postgres_digest", "read_postgres"]

_KINDS: dict[str, RelationKind] = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized_view",
    "f": "foreign_table",
}
_GENERATED: dict[str, Literal["virtual", "stored"]] = {"s": "stored", "v": "virtual"}

_WANTED = r"""
    WITH wanted AS MATERIALIZED (
        SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'guardrails') AND n.nspname !~ '^pg_(toast_)?temp_'
    )
"""

# Views count by the version of their rule's row (xmin, ctid), as their stored form is long; everything else by what the catalog shows.
_DIGEST = "".join(
    (
        _WANTED,
        """
    , parts(part) AS (
        SELECT pg_catalog.md5(pg_catalog.string_agg(w::text, ';' ORDER BY w.oid)) FROM wanted w
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(
                ',', a.attrelid, a.attnum, pg_catalog.quote_ident(a.attname), a.atttypid, a.atttypmod, a.attnotnull),
            ';' ORDER BY a.attrelid, a.attnum))
        FROM pg_catalog.pg_attribute a JOIN wanted w ON w.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', d.oid, d.xmin, d.ctid), ';' ORDER BY d.oid))
        FROM pg_catalog.pg_attrdef d JOIN wanted w ON w.oid = d.adrelid
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', r.oid, r.xmin, r.ctid), ';' ORDER BY r.oid))
        FROM pg_catalog.pg_rewrite r JOIN wanted w ON w.oid = r.ev_class
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(',', i.indexrelid, i.indrelid, i.indisprimary, i.indkey), ';' ORDER BY i.indexrelid))
        FROM pg_catalog.pg_index i JOIN wanted w ON w.oid = i.indrelid
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(',', h.inhrelid, h.inhparent), ';' ORDER BY h.inhrelid, h.inhparent))
        FROM pg_catalog.pg_inherits h
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(',', t.oid, pg_catalog.quote_ident(t.typname)), ';' ORDER BY t.oid))
        FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typrelid = 0 AND t.typcategory <> 'A'""",
        PARTS,
        PLACED_PARTS,
        CONSTRAINT_PARTS,
        """
    )
    SELECT pg_catalog.array_agg(part)::text FROM parts
""",
    )
)

_RELATIONS = "".join(
    (
        _WANTED,
        """
    SELECT w.oid, w.nspname, w.relname, w.relkind,
           CASE WHEN w.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(w.oid) END,
           (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.position)
            FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum = k.attnum
            WHERE i.indrelid = w.oid AND i.indisprimary AND k.position <= i.indnkeyatts)
    FROM wanted w
    ORDER BY w.nspname, w.relname
""",
    )
)

_COLUMNS = "".join(
    (
        _WANTED,
        """
    SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
           CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, a.attgenerated,
           CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END, a.atttypid
    FROM pg_catalog.pg_attribute a JOIN wanted w ON w.oid = a.attrelid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
""",
    )
)

# Dependencies name the columns of expressions and conditions as well; a whole row among them (attribute 0) means every column.
_INDEXED = r"""
    SELECT DISTINCT i.indrelid, c.relname, a.attname
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT k.attnum::int FROM pg_catalog.unnest(i.indkey::int2[]) AS k(attnum)
        UNION ALL
        SELECT d.refobjsubid FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid
        UNION ALL
        SELECT all_columns.attnum FROM pg_catalog.pg_attribute all_columns
        WHERE all_columns.attrelid = i.indrelid AND pg_catalog.concat(i.indexprs, i.indpred) ~ ':varattno 0 '
    ) AS used(attnum)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = used.attnum AND a.attnum > 0 AND NOT a.attisdropped
"""


# A generated column is computed from the columns that its expression names; number 0 would be the whole row.
_COMPUTED = r"""
    SELECT DISTINCT d.adrelid, a.attname, used.attname
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> ''
    CROSS JOIN LATERAL pg_catalog.regexp_matches(d.adbin::text, ':varattno (-?[0-9]+)', 'g') AS named(groups)
    JOIN pg_catalog.pg_attribute used ON used.attrelid = d.adrelid AND used.attnum > 0 AND NOT used.attisdropped
        AND named.groups[1]::int IN (0, used.attnum)
    ORDER BY 1, 2, 3
"""

_EDGES = "".join(
    (
        _WANTED,
        """
    SELECT h.inhrelid, h.inhparent FROM pg_catalog.pg_inherits h
    JOIN wanted child ON child.oid = h.inhrelid JOIN wanted parent ON parent.oid = h.inhparent
    ORDER BY h.inhrelid, h.inhseqno
""",
    )
)

# What a row's partition depends on, in the partitioned table and in each partition beneath it.
_PARTITIONED = r"""
    WITH RECURSIVE keys(relid, attname) AS (
        SELECT p.partrelid, a.attname
        FROM pg_catalog.pg_partitioned_table p
        CROSS JOIN LATERAL (
            SELECT k.attnum::int FROM pg_catalog.unnest(p.partattrs::int2[]) AS k(attnum) WHERE k.attnum <> 0
            UNION ALL
            SELECT named.groups[1]::int
            FROM pg_catalog.regexp_matches(p.partexprs::text, ':varattno (-?[0-9]+)', 'g') AS named(groups)
        ) AS used(attnum)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum > 0 AND used.attnum IN (0, a.attnum)
        UNION
        SELECT h.inhrelid, k.attname FROM keys k JOIN pg_catalog.pg_inherits h ON h.inhparent = k.relid
    )
    SELECT relid, attname FROM keys ORDER BY relid, attname
"""


def postgres_digest(connection: psycopg.Connection[Any]) -> str:
    """Returns the version of the schema: SHA-256 (hex) over relations, columns, defaults, rules, indexes, inheritance and user types,
    triggers, constraints, row-level security, privileges, users' functions, operators and casts, and the guard's own views.

    Args:
        connection: An open connection; the answer is of the moment of the call, as the system catalogs always are.
    """
    row = connection.execute(_DIGEST).fetchone()
    return hashlib.sha256(str(row and row[0]).encode()).hexdigest()


def read_postgres(connection: psycopg.Connection[Any]) -> Catalog:
    """Reads the catalog of the database behind a connection.

    Args:
        connection: A connection inside a transaction, which gets an empty search path for its rest.
    """
    row = connection.execute("SELECT pg_catalog.current_schema()").fetchone()
    default_schema = row[0] if row and row[0] else "public"
    connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    version = postgres_digest(connection)
    types = types_with_code(connection)
    columns = _columns(connection, types)
    effects = relation_effects(connection, {oid for oid, found in columns.items() if any(c.has_user_code for c in found)})
    indexes = _indexes(connection.execute(_INDEXED))
    parents = _by_relation(connection.execute(_EDGES))
    stored = _by_relation(connection.execute(_PARTITIONED))
    catalog = Catalog("postgres", default_schema, {}, version)
    rows = connection.execute(_RELATIONS).fetchall()
    keys = {oid: catalog.key(schema, name) for oid, schema, name, *_ in rows}
    constraints = read_constraints(connection, keys, {oid: [c.name for c in found] for oid, found in columns.items()})
    relations = {
        keys[oid]: Relation(
            schema=schema,
            name=name,
            kind=_KINDS[kind],
            columns=tuple(columns.get(oid, ())),
            primary_key=tuple(primary_key or ()),
            indexed_columns=frozenset(c for _, used in indexes.get(oid, ()) for c in used),
            indexes=tuple(indexes.get(oid, ())) if kind in "rp" else (),
            definition=definition.strip().rstrip(";") if definition else None,
            stored_by=tuple(stored.get(oid, ())),
            parents=tuple(keys[parent] for parent in parents.get(oid, ())),
            effects=effects.get(oid, ()),
            constraints=constraints.get(oid, ()) if _KINDS[kind] == "table" else (),
        )
        for oid, schema, name, kind, definition, primary_key in rows
    }
    placed = read_placed(connection), read_placed_columns(connection)
    return Catalog("postgres", default_schema, relations, version, general_effects(connection, types), *placed)


def _columns(connection: psycopg.Connection[Any], types: frozenset[int]) -> Mapping[int, list[Column]]:
    computed: dict[tuple[int, str], list[str]] = {}
    for oid, name, used in connection.execute(_COMPUTED):
        computed.setdefault((oid, name), []).append(used)
    columns: dict[int, list[Column]] = {}
    for oid, name, type_text, is_not_null, default, generated, base, type_oid in connection.execute(_COLUMNS):
        if name.startswith(OWN_COLUMNS):
            # To agents and policies it does not exist.
            continue
        declared = Declared(base or type_text, default, is_not_null, _GENERATED.get(generated, ""))
        used = tuple(computed.get((oid, name), ()))
        column = Column(name, type_text.lower(), not is_not_null, declared, used, type_oid in types)
        columns.setdefault(oid, []).append(column)
    return columns


def _indexes(rows: Iterable[tuple[int, str, str]]) -> Mapping[int, list[tuple[str, frozenset[str]]]]:
    """Returns the indexes of each relation, each with every column that it depends on."""
    found: dict[tuple[int, str], set[str]] = {}
    for relation, index, column in rows:
        found.setdefault((relation, index), set()).add(column)
    made: dict[int, list[tuple[str, frozenset[str]]]] = {}
    for (relation, index), columns in sorted(found.items()):
        made.setdefault(relation, []).append((index, frozenset(columns)))
    return made


def _by_relation(rows: Iterable[tuple[int, Any]]) -> Mapping[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for oid, value in rows:
        found.setdefault(oid, []).append(value)
    return found
