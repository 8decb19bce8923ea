"""What a change may fail by in MySQL and MariaDB, beside unique indexes: CHECK and foreign keys.

Source: https://mariadb.com/kb/en/information-schema-check_constraints-table/ and
https://mariadb.com/kb/en/information-schema-key_column_usage-table/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from guardrails.catalog.mentions import mentioned
from guardrails.model import Catalog, Constraint

if TYPE_CHECKING:
    from pymysql.connections import Connection

__all__ = ["CONSTRAINT_PARTS", "read_constraints", "unique_constraint"]

_ACTIONS = {"CASCADE": "cascade", "SET NULL": "set", "SET DEFAULT": "set"}

# Columns that MySQL and MariaDB both have; foreign keys by their columns, as each has an index of its own only where there was none.
CONSTRAINT_PARTS = {
    "check_constraints": "CONSTRAINT_SCHEMA, CONSTRAINT_NAME, CHECK_CLAUSE",
    "referential_constraints": "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE",
    "key_column_usage": "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, COALESCE(REFERENCED_TABLE_SCHEMA, ''),"
    " COALESCE(REFERENCED_TABLE_NAME, ''), COALESCE(REFERENCED_COLUMN_NAME, '')",
}
"""What the version of the schema is made of, as in `guardrails.catalog.mysql`."""

_CHECKS = "SELECT * FROM information_schema.CHECK_CONSTRAINTS"
_OWNERS = "SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE CONSTRAINT_TYPE = 'CHECK'"
# Two questions, as the server answers a join of these relations by asking for the second once for each row of the first.
_FOREIGN = """
    SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
    FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL
    ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""
_RULES = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS"
_Place = tuple[str, str]


def unique_constraint(columns: Iterable[str], *, is_plain: bool) -> Constraint:
    """Returns the constraint of a unique index over columns; not plain are prefixes and expressions."""
    return Constraint("unique", tuple(sorted(set(columns))), is_plain)


def read_constraints(
    connection: Connection[Any], catalog: Catalog, columns: Mapping[_Place, Iterable[str]]
) -> Mapping[_Place, frozenset[Constraint]]:
    """Returns by database and table its checks and foreign keys.

    Args:
        connection: As for the catalog.
        catalog: Gives the keys of relations.
        columns: The columns of each table by name.
    """
    found: dict[_Place, set[Constraint]] = {}
    for place, clause in _checks(connection):
        used = mentioned(clause, columns.get(place, ()))
        found.setdefault(place, set()).add(Constraint("check", tuple(sorted(used))))
    pairs: dict[tuple[_Place, str], list[tuple[Any, ...]]] = {}
    for schema, table, name, *rest in _rows(connection, _FOREIGN):
        pairs.setdefault(((schema, table), name), []).append(tuple(rest))
    rules = {((schema, table), name): actions for schema, table, name, *actions in _rows(connection, _RULES)}
    for (place, constraint), rows in pairs.items():
        _, other_schema, other, _ = rows[0]
        # Of a key whose rule the account may not see, the most is assumed.
        on_delete, on_update = rules.get((place, constraint), ("CASCADE", "CASCADE"))
        foreign = Constraint(
            "foreign",
            tuple(row[0] for row in rows),
            refers_to=catalog.key(other_schema, other),
            referred=tuple(row[3] for row in rows),
            on_delete=_ACTIONS.get(on_delete, ""),
            on_update=_ACTIONS.get(on_update, ""),
        )
        found.setdefault(place, set()).add(foreign)
    return {place: frozenset(constraints) for place, constraints in found.items()}


def _checks(connection: Connection[Any]) -> Iterable[tuple[_Place, str]]:
    """Yields the table and the text of each CHECK. MariaDB names the table, where names are not unique; MySQL in another place."""
    owners: dict[_Place, list[str]] = {}
    for schema, name, table in _rows(connection, _OWNERS):
        owners.setdefault((schema, name), []).append(table)
    with connection.cursor() as cursor:
        cursor.execute(_CHECKS)
        fields = [d[0].upper() for d in cursor.description]
        rows = [dict(zip(fields, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        schema, name = row["CONSTRAINT_SCHEMA"], row["CONSTRAINT_NAME"]
        for table in [row["TABLE_NAME"]] if "TABLE_NAME" in row else owners.get((schema, name), []):
            yield (schema, table), row["CHECK_CLAUSE"]


def _rows(connection: Connection[Any], sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
