"""A PostgreSQL schema as statements that make it again, in the words of the system catalogs' own functions.

Defaults and constraints are statements of their own, so that one which needs a function, and functions are not copied, is left out and
reported without taking its table along.
Source: https://www.postgresql.org/docs/current/catalogs.html and https://www.postgresql.org/docs/current/functions-info.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from guardrails.proving.copying.schema import Definition, ForeignKey, SourceSchema
from guardrails.proving.copying.text import literals_in

__all__ = ["read_schema"]

Ask = Callable[[str], Sequence[Sequence[Any]]]

_MINE = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'"
_NOT_OF_EXTENSION = "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = {}.oid AND e.deptype = 'e')"

_SCHEMAS = f"SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE {_MINE} AND n.nspname <> 'public'"
_EXTENSIONS = (
    "SELECT quote_ident(e.extname), quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname <> 'plpgsql'"
)
_ENUMS = f"""
    SELECT format_type(t.oid, NULL), string_agg(quote_literal(v.enumlabel), ', ' ORDER BY v.enumsortorder),
           array_agg(v.enumlabel::text ORDER BY v.enumsortorder)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_enum v ON v.enumtypid = t.oid
    WHERE {_MINE} AND {_NOT_OF_EXTENSION.format("t")} GROUP BY t.oid
"""
_DOMAINS = f"""
    SELECT format_type(t.oid, NULL), format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
           (SELECT string_agg(pg_get_constraintdef(c.oid), ' ') FROM pg_constraint c WHERE c.contypid = t.oid)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype = 'd' AND {_MINE} AND {_NOT_OF_EXTENSION.format("t")}
"""
_COMPOSITES = f"""
    SELECT format_type(t.oid, NULL),
           string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.typrelid = c.oid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind = 'c' AND {_MINE} AND {_NOT_OF_EXTENSION.format("c")} GROUP BY t.oid
"""
_SEQUENCES = f"""
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND {_MINE} AND {_NOT_OF_EXTENSION.format("c")}
      AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
"""
_RELATIONS = f"""
    SELECT c.oid, c.oid::regclass::text, n.nspname, c.relname, c.relkind, c.relispartition,
           CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END, pg_get_expr(c.relpartbound, c.oid),
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
           ARRAY(SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid ORDER BY h.inhseqno)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_MINE} AND {_NOT_OF_EXTENSION.format("c")} ORDER BY c.oid
"""
_COLUMNS = """
    SELECT a.attrelid, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
           pg_get_expr(d.adbin, d.adrelid), a.attislocal, a.attname,
           CASE WHEN a.attcollation <> t.typcollation AND k.collname IS NOT NULL
                THEN quote_ident(s.nspname) || '.' || quote_ident(k.collname) END,
           COALESCE(NULLIF(t.typbasetype, 0), t.oid)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation k ON k.oid = a.attcollation LEFT JOIN pg_namespace s ON s.oid = k.collnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
_LABELS = "SELECT v.enumtypid, array_agg(v.enumlabel::text ORDER BY v.enumsortorder) FROM pg_enum v GROUP BY v.enumtypid"
_CONSTRAINTS = f"""
    SELECT o.conrelid::regclass::text, quote_ident(o.conname), pg_get_constraintdef(o.oid), o.contype, n.nspname, c.relname,
           ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY k(num, place)
                 JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.num ORDER BY k.place),
           pn.nspname, p.relname,
           ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY k(num, place)
                 JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.num ORDER BY k.place)
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class p ON p.oid = o.confrelid LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE o.contype IN ('p', 'u', 'c', 'f', 'x') AND o.coninhcount = 0 AND o.conparentid = 0 AND {_MINE}
    ORDER BY position(o.contype IN 'pucxf'), o.conrelid, o.conname
"""
_INDEXES = f"""
    SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {_MINE} AND c.relkind IN ('r', 'p', 'm')
      AND NOT EXISTS (SELECT 1 FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
      AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
"""
_FUNCTIONS = f"""
    SELECT DISTINCT p.oid::regproc::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE {_MINE} AND {_NOT_OF_EXTENSION.format("p")}
"""
_TRIGGERS = "SELECT t.tgname || ' of ' || t.tgrelid::regclass FROM pg_trigger t WHERE NOT t.tgisinternal"
_RULES = f"""
    SELECT r.rulename || ' of ' || c.oid::regclass FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND {_MINE}
"""


def read_schema(ask: Ask, default_schema: str) -> SourceSchema:
    """Reads the schema of a database.

    Args:
        ask: Runs a query and returns its rows, on one connection.
        default_schema: The schema whose relations have unqualified keys.
    """
    ask("SELECT set_config('search_path', 'pg_catalog', false)")
    relations, constraints = ask(_RELATIONS), ask(_CONSTRAINTS)
    columns: dict[int, list[Sequence[Any]]] = {}
    for row in ask(_COLUMNS):
        columns.setdefault(row[0], []).append(row)
    labels: dict[int, list[str]] = {oid: texts for oid, texts in ask(_LABELS)}  # noqa: C416
    definitions = [
        *(Definition(f"schema {s}", f"CREATE SCHEMA {s}") for (s,) in ask(_SCHEMAS)),
        *(Definition(f"extension {e}", f"CREATE EXTENSION {e} SCHEMA {s}") for e, s in ask(_EXTENSIONS)),
        *(Definition(f"type {t}", f"CREATE TYPE {t} AS ENUM ({texts})") for t, texts, _ in ask(_ENUMS)),
        *(Definition(f"domain {d[0]}", _domain(*d)) for d in ask(_DOMAINS)),
        *(Definition(f"type {t}", f"CREATE TYPE {t} AS ({parts})") for t, parts in ask(_COMPOSITES)),
        *(Definition(f"sequence {s}", f"CREATE SEQUENCE {s}") for (s,) in ask(_SEQUENCES)),
        *(made for row in relations if row[4] in "rp" for made in _table(row, columns.get(row[0], []))),
        *(Definition(f"{c[1]} of {c[0]}", f"ALTER TABLE {c[0]} ADD CONSTRAINT {c[1]} {c[2]}") for c in constraints),
        *(Definition(f"index {name}", sql) for name, sql in ask(_INDEXES)),
        *(_view(row) for row in relations if row[4] in "vm"),
    ]
    keys: dict[str, list[ForeignKey]] = {}
    literals: dict[str, tuple[str, ...]] = {}

    def key_of(schema: str, name: str) -> str:
        return name if schema == default_schema else f"{schema}.{name}"

    for _, _, text, kind, schema, name, own, parent_schema, parent, targets in constraints:
        key = key_of(schema, name)
        if kind == "f":
            keys.setdefault(key, []).append(ForeignKey(tuple(own), key_of(parent_schema, parent), tuple(targets)))
        if kind == "c":
            literals[key] = (*literals.get(key, ()), *literals_in(text))
    for row in relations:
        if row[7]:
            literals[key_of(row[2], row[3])] = literals_in(row[7])
    left_out = [
        *((f"function {name}", "functions are not copied") for (name,) in ask(_FUNCTIONS)),
        *((f"trigger {name}", "triggers are not copied") for (name,) in ask(_TRIGGERS)),
        *((f"rule {name}", "rules are not copied") for (name,) in ask(_RULES)),
        *((row[1], "foreign tables are not copied") for row in relations if row[4] == "f"),
    ]
    allowed = {
        (key_of(row[2], row[3]), c[8]): tuple(labels[c[10]])
        for row in relations
        for c in columns.get(row[0], [])
        if c[10] in labels
    }
    return SourceSchema(
        tuple(definitions),
        (Definition("BEGIN", "BEGIN"),),
        (
            Definition("COMMIT", "COMMIT"),
            *(Definition(row[1], f"REFRESH MATERIALIZED VIEW {row[1]}") for row in relations if row[4] == "m"),
            Definition("ANALYZE", "ANALYZE"),
        ),
        {key: tuple(found) for key, found in keys.items()},
        _of_roots(relations, literals, key_of),
        allowed,
        frozenset(key_of(row[2], row[3]) for row in relations if row[5]),
        tuple(left_out),
    )


def _of_roots(
    relations: Sequence[Sequence[Any]], literals: dict[str, tuple[str, ...]], key_of: Callable[[str, str], str]
) -> dict[str, tuple[str, ...]]:
    """Gives a partitioned table the literals of its partitions' bounds, so that rows of each can be made."""
    keys = {row[1]: key_of(row[2], row[3]) for row in relations}
    for row in reversed(relations):
        for parent in row[9] if row[5] else ():
            literals[keys[parent]] = (*literals.get(keys[parent], ()), *literals.get(keys[row[1]], ()))
    return literals


def _domain(name: str, base: str, is_not_null: bool, default: str | None, checks: str | None) -> str:
    parts = [f"DEFAULT {default}" if default else "", "NOT NULL" if is_not_null else "", checks or ""]
    return f"CREATE DOMAIN {name} AS {base} {' '.join(p for p in parts if p)}"


def _table(row: Sequence[Any], columns: Sequence[Sequence[Any]]) -> Iterator[Definition]:
    """Yields a table, and the defaults of its columns."""
    _, name, _, _, kind, is_partition, key, bound, _, parents = row
    partitioned = f" PARTITION BY {key}" if kind == "p" else ""
    if is_partition:
        yield Definition(name, f"CREATE TABLE {name} PARTITION OF {parents[0]} {bound}{partitioned}")
        return
    parts = [_column(c) for c in columns if c[7]]
    inherits = f" INHERITS ({', '.join(parents)})" if parents else ""
    yield Definition(name, f"CREATE TABLE {name} ({', '.join(parts)}){inherits}{partitioned}")
    for _, column, _, _, _, generated, default, is_local, *_ in columns:
        if default and not generated and is_local:
            sql = f"ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT {default}"
            yield Definition(f"default of {name}.{column}", sql)


def _column(row: Sequence[Any]) -> str:
    _, name, type_, is_not_null, identity, generated, default, _, _, collation, _ = row
    parts = [name, type_]
    if collation:
        parts.append(f"COLLATE {collation}")
    if generated:
        parts.append(f"GENERATED ALWAYS AS ({default}) STORED")
    if identity:
        # By default, so that rows can be given theirs.
        parts.append("GENERATED BY DEFAULT AS IDENTITY")
    if is_not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


def _view(row: Sequence[Any]) -> Definition:
    kind = "MATERIALIZED VIEW" if row[4] == "m" else "VIEW"
    return Definition(row[1], f"CREATE {kind} {row[1]} AS {row[8]}")
