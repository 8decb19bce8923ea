"""What a change may fail by in PostgreSQL: unique indexes, exclusion constraints, checks, foreign keys, and triggers that look at a row.

Dependencies name the columns of expressions and conditions; a whole row (attribute 0) means every column, and so does a check that calls
a function of a user's.
Source: https://www.postgresql.org/docs/current/catalog-pg-constraint.html and catalog-pg-index.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from guardrails.catalog.mentions import mentioned
from guardrails.model import Constraint

if TYPE_CHECKING:
    import psycopg

__all__ = ["CONSTRAINT_PARTS", "read_constraints"]

_ACTIONS = {"c": "cascade", "n": "set", "d": "set"}
_WHOLE_ROW = re.compile(r"\b(new|old)\b(?!\s*\.)", re.IGNORECASE)
_RETURNED = re.compile(r"\breturn\s+(new|old)\b", re.IGNORECASE)

# Not every version has NULLS NOT DISTINCT.
_UNIQUE = r"""
    SELECT i.indrelid, i.indexrelid, i.indisexclusion,
           i.indexprs IS NULL AND i.indpred IS NULL AND NOT i.indisexclusion
               AND COALESCE(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false' AS is_plain,
           a.attname, used.is_key
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL (
        SELECT k.attnum::int, TRUE FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
        WHERE k.position <= i.indnkeyatts
        UNION
        SELECT d.refobjsubid, FALSE FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid
        UNION
        SELECT every.attnum, FALSE FROM pg_catalog.pg_attribute every
        WHERE every.attrelid = i.indrelid AND pg_catalog.concat(i.indexprs, i.indpred) ~ ':varattno 0 '
    ) AS used(attnum, is_key)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = used.attnum AND a.attnum > 0 AND NOT a.attisdropped
    WHERE i.indisunique OR i.indisexclusion
"""

_CHECKS = """
    SELECT c.conrelid, NOT c.convalidated, pg_catalog.array_agg(a.attname::text)
    FROM pg_catalog.pg_constraint c
    CROSS JOIN LATERAL (
        SELECT 0 IN (SELECT pg_catalog.unnest(c.conkey)) OR EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
            WHERE d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = c.oid
              AND (o.oprcode::oid >= 16384 OR (d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid >= 16384))
        )
    ) AS seen(is_whole)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum > 0 AND NOT a.attisdropped
        AND (seen.is_whole OR a.attnum = ANY (c.conkey))
    WHERE c.contype = 'c' AND c.conrelid <> 0
    GROUP BY c.oid, c.conrelid, c.convalidated
"""

_FOREIGN = """
    SELECT c.conrelid, c.confrelid, c.confdeltype, c.confupdtype,
           pg_catalog.array_agg(own.attname::text ORDER BY k.position), pg_catalog.array_agg(other.attname::text ORDER BY k.position)
    FROM pg_catalog.pg_constraint c
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey))
        WITH ORDINALITY AS k(own, other, position)
    JOIN pg_catalog.pg_attribute own ON own.attrelid = c.conrelid AND own.attnum = k.own
    JOIN pg_catalog.pg_attribute other ON other.attrelid = c.confrelid AND other.attnum = k.other
    WHERE c.contype = 'f'
    GROUP BY c.oid, c.conrelid, c.confrelid, c.confdeltype, c.confupdtype
"""

# Bit 16 of a trigger's type is UPDATE; what an INSERT sees it has given itself.
_TRIGGERS = """
    SELECT t.tgrelid, p.prosrc, pg_catalog.pg_get_triggerdef(t.oid)
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype::int & 16 <> 0
"""

CONSTRAINT_PARTS = """
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(
            ',', i.indexrelid, i.indisunique, i.indisexclusion, i.indnkeyatts, pg_catalog.md5(i.indexprs::text),
            pg_catalog.md5(i.indpred::text), pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct'), ';' ORDER BY i.indexrelid))
        FROM pg_catalog.pg_index i JOIN wanted w ON w.oid = i.indrelid WHERE i.indisunique OR i.indisexclusion
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(
            ',', c.oid, c.conrelid, c.confrelid, c.conkey, c.confkey, c.confdeltype, c.confupdtype, c.convalidated), ';' ORDER BY c.oid))
        FROM pg_catalog.pg_constraint c JOIN wanted w ON w.oid = c.conrelid WHERE c.contype IN ('c', 'f')
"""
"""What of this the version of the schema is made of; the relations `wanted` are those of the catalog."""


def read_constraints(
    connection: psycopg.Connection[Any], keys: Mapping[int, str], columns: Mapping[int, Iterable[str]]
) -> Mapping[int, tuple[Constraint, ...]]:
    """Returns by relation what changes of it may fail by.

    Args:
        connection: As for the catalog.
        keys: The key of each relation.
        columns: The names of its columns.
    """
    found: dict[int, set[Constraint]] = {}
    for relation, constraint in (*_unique(connection), *_checks(connection), *_foreign(connection, keys)):
        found.setdefault(relation, set()).add(constraint)
    for relation, body, definition in connection.execute(_TRIGGERS):
        used = _looked_at(body, definition, list(columns.get(relation, ())))
        if used:
            found.setdefault(relation, set()).add(Constraint("trigger", used, is_always=True))
    return {relation: tuple(sorted(constraints)) for relation, constraints in found.items()}


def _unique(connection: psycopg.Connection[Any]) -> Iterable[tuple[int, Constraint]]:
    parts: dict[tuple[int, int, bool, bool], dict[str, bool]] = {}
    for relation, index, is_exclusion, is_plain, column, is_key in connection.execute(_UNIQUE.encode()):
        names = parts.setdefault((relation, index, is_exclusion, is_plain), {})
        names[column] = names.get(column, False) or is_key
    for (relation, _, is_exclusion, is_plain), names in parts.items():
        # Columns that an index merely includes decide about nothing.
        used = tuple(sorted(name for name, is_key in names.items() if is_key or not is_plain))
        yield relation, Constraint("exclude" if is_exclusion else "unique", used, is_plain)


def _checks(connection: psycopg.Connection[Any]) -> Iterable[tuple[int, Constraint]]:
    for relation, is_unvalidated, names in connection.execute(_CHECKS):
        yield relation, Constraint("check", tuple(sorted(names)), is_always=is_unvalidated)


def _foreign(connection: psycopg.Connection[Any], keys: Mapping[int, str]) -> Iterable[tuple[int, Constraint]]:
    for relation, other, on_delete, on_update, names, referred in connection.execute(_FOREIGN):
        if other not in keys:
            continue
        key = keys[other]
        on_delete, on_update = _ACTIONS.get(on_delete, ""), _ACTIONS.get(on_update, "")
        own = Constraint(
            "foreign", tuple(names), refers_to=key, referred=tuple(referred), on_delete=on_delete, on_update=on_update
        )
        yield relation, own


def _looked_at(body: str, definition: str, columns: list[str]) -> tuple[str, ...]:
    """The columns whose values a trigger may raise an error by, or copy into others."""
    condition = definition.partition(" WHEN (")[2].rpartition(" EXECUTE ")[0]
    text = f"{body}\n{condition}"
    is_whole = _WHOLE_ROW.search(_RETURNED.sub("", text)) is not None
    return tuple(sorted(columns)) if is_whole else tuple(sorted(mentioned(text, columns)))
