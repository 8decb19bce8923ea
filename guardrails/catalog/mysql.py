"""The catalog of a live MySQL or MariaDB server: every database that the account sees, but the system's own.

Left out are invisible columns (`*` does not show them), sequences, and tables that are the union of others (MERGE), whose rows would go
round the protection of the tables that they come from. Rows of InnoDB come in the order of the primary key, else of a unique one, and
partition by partition: all of these columns are `stored_by`.
Source: https://mariadb.com/kb/en/information-schema-tables/ and https://dev.mysql.com/doc/refman/8.4/en/innodb-index-types.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from guardrails.catalog.mysql_constraints import CONSTRAINT_PARTS, read_constraints, unique_constraint
from guardrails.model import Catalog, Column, Declared, Relation, RelationKind

if TYPE_CHECKING:
    from pymysql.connections import Connection

__all__ = ["mysql_digests", "mysql_version", "read_mysql", "stored_functions", "versions_of"]

_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys')"
_KINDS: dict[str, RelationKind] = {"BASE TABLE": "table", "SYSTEM VERSIONED": "table", "VIEW": "view"}
_FOREIGN_ENGINES = {"CONNECT", "FEDERATED", "SPIDER", "OQGRAPH", "S3"}
_UNION_ENGINES = {"MRG_MYISAM", "MERGE"}
_Part = tuple[str, int, str | None, int, str | None, int | None]
_WORD = re.compile(r"`((?:[^`]|``)+)`|([^\W\d][\w$]*)")

# What the digest is made of, a relation and the text of each row. Aggregates that do not depend on an order are never cut off.
_PARTS = {
    "tables": "TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '')",
    "columns": "TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COALESCE(COLLATION_NAME, ''),"
    " EXTRA, COALESCE(GENERATION_EXPRESSION, ''), COALESCE(COLUMN_DEFAULT, '')",
    "statistics": "TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COALESCE(COLUMN_NAME, ''), NON_UNIQUE, COALESCE(SUB_PART, 0)",
    "views": "TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION",
    "partitions": "TABLE_SCHEMA, TABLE_NAME, COALESCE(PARTITION_NAME, ''), COALESCE(PARTITION_EXPRESSION, ''),"
    " COALESCE(SUBPARTITION_EXPRESSION, '')",
    "routines": "ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE",
    **CONSTRAINT_PARTS,
}
_PLACES = {
    "routines": "ROUTINE_SCHEMA",
    "check_constraints": "CONSTRAINT_SCHEMA",
    "referential_constraints": "CONSTRAINT_SCHEMA",
}
"""Where another column than TABLE_SCHEMA names the database."""


def mysql_digests(connection: Connection[Any], schemas: Iterable[str] | None = None) -> Mapping[str, str]:
    """Returns the version of each database: over tables, columns, indexes, views, partitions and names of routines.

    Args:
        connection: An open connection; the answer is of the moment of the call, as the information schema always is.
        schemas: Databases by name; all that the account sees when None.
    """
    names = _schemas(connection) if schemas is None else sorted(schemas)
    parts = [_part(relation, texts) for _ in names for relation, texts in _PARTS.items()]
    places = [place for name in names for _ in _PARTS for place in (name, name)]
    digests = {schema: hashlib.sha256() for schema in names}
    for schema, *values in _rows(connection, " UNION ALL ".join(parts), places) if parts else ():
        digests[str(schema)].update(repr(values).encode())
    return {schema: digest.hexdigest() for schema, digest in digests.items()}


def mysql_version(digests: Mapping[str, str]) -> str:
    """Returns the version of a catalog: the version of each database by name, so that a change of one says nothing of the others."""
    return json.dumps(dict(sorted(digests.items())))


def versions_of(version: str) -> Mapping[str, str]:
    """Returns the versions that `mysql_version` joined; none when the text is of another kind."""
    try:
        found = json.loads(version)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _schemas(connection: Connection[Any]) -> list[str]:
    sql = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {_SYSTEM} ORDER BY SCHEMA_NAME"  # noqa: S608 - constants
    return [str(name) for (name,) in _rows(connection, sql)]


def _part(relation: str, texts: str) -> str:
    """One part of a digest. The server looks up one database only where its name is compared with a constant."""
    place = _PLACES.get(relation, "TABLE_SCHEMA")
    row = f"MD5(CONCAT_WS('\t', {texts}))"
    halves = (f"BIT_XOR(CAST(CONV({side}({row}, 16), 16, 10) AS UNSIGNED))" for side in ("LEFT", "RIGHT"))
    return f"SELECT %s, COUNT(*), {', '.join(halves)} FROM information_schema.{relation.upper()} WHERE {place} = %s"  # noqa: S608 - constants


def stored_functions(connection: Connection[Any]) -> frozenset[str]:
    """Returns the lower-case names of the stored functions that a call without a schema may mean."""
    sql = "SELECT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_SCHEMA = DATABASE()"
    return frozenset(str(name) for (name,) in _rows(connection, sql))


def read_mysql(connection: Connection[Any], digests: Mapping[str, str]) -> Catalog:
    """Reads the catalog of the server behind a connection.

    Args:
        connection: An open connection whose text is utf8mb4.
        digests: The versions of all databases, from before.
    """
    version = mysql_version(digests)
    default_schema = str(_rows(connection, "SELECT DATABASE()")[0][0] or "")
    catalog = Catalog("mysql", default_schema, {}, version)
    columns = _columns(connection)
    indexes = _indexes(connection)
    partitions = _partitions(connection)
    constraints = read_constraints(connection, catalog, {place: [c.name for c in own] for place, own in columns.items()})
    views = {
        (schema, name): definition
        for schema, name, definition in _select(connection, "views", "TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION")
    }
    relations: dict[str, Relation] = {}
    for schema, name, kind, engine in _select(connection, "tables", "TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE"):
        engine = str(engine or "").upper()
        if kind not in _KINDS or engine in _UNION_ENGINES:
            continue
        place = (schema, name)
        found = _Indexes(indexes.get(place, []), columns.get(place, []))
        partitioned = {c.name for c in columns.get(place, []) if c.name.lower() in partitions.get(place, frozenset())}
        relations[catalog.key(schema, name)] = Relation(
            schema=schema,
            name=name,
            kind="foreign_table" if engine in _FOREIGN_ENGINES else _KINDS[kind],
            columns=tuple(columns.get(place, ())),
            primary_key=found.primary_key,
            indexed_columns=found.columns,
            definition=views.get(place) or None,
            indexes=found.named,
            stored_by=tuple(sorted({*found.order, *partitioned})) if partitioned or not found.primary_key else (),
            constraints=tuple(sorted(found.constraints | constraints.get(place, frozenset()))),
        )
    return Catalog("mysql", default_schema, relations, version)


class _Indexes:
    """The indexes of one relation, from rows of (name, position, column, is not unique, expression, length of a prefix)."""

    def __init__(self, rows: Iterable[_Part], columns: Iterable[Column]) -> None:
        names = {c.name.lower(): c.name for c in columns}
        nullable = {c.name for c in columns if c.is_nullable}
        parts: dict[str, list[str]] = {}
        unique: set[str] = set()
        derived: set[str] = set()
        for index, _, column, non_unique, expression, length in rows:
            used = [column] if column is not None else [names[w] for w in _words(expression or "") if w in names]
            parts.setdefault(index, []).extend(used)
            unique |= set() if non_unique else {index}
            derived |= {index} if column is None or length is not None else set()
        self.primary_key = tuple(parts.get("PRIMARY", ()))
        self.named = tuple((name, frozenset(used)) for name, used in sorted(parts.items()))
        self.columns = frozenset().union(*parts.values()) if parts else frozenset[str]()
        candidates = [used for name, used in parts.items() if name in unique and not nullable.intersection(used)]
        self.constraints = frozenset(unique_constraint(parts[name], is_plain=name not in derived) for name in unique)
        self.order = frozenset(self.primary_key) or frozenset(c for used in candidates for c in used)


def _columns(connection: Connection[Any]) -> Mapping[tuple[str, str], list[Column]]:
    names = "TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLUMN_KEY, GENERATION_EXPRESSION"
    found: dict[tuple[str, str], list[Column]] = {}
    rows = _select(connection, "columns", names, "TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION")
    expressions: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    for schema, table, name, *_, expression in rows:
        expressions.setdefault((schema, table), {})[name] = _words(expression or "")
    for schema, table, name, type_, nullable, default, extra, key, expression in rows:
        if "INVISIBLE" in extra.upper():
            continue
        computed: Literal["", "virtual", "stored"] = ""
        if expression:
            computed = "virtual" if "VIRTUAL" in extra.upper() else "stored"
        declared = Declared(type_, default, nullable == "NO", computed, key, extra)
        used = _computed(name, expressions[schema, table]) if expression else ()
        found.setdefault((schema, table), []).append(Column(name, type_.lower(), nullable == "YES", declared, used))
    return found


def _computed(name: str, expressions: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Returns the columns that a generated column is computed from, through others that no catalog shows as well."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        words = expressions[waiting.pop()]
        used = {column for column in expressions if column.lower() in words} - found
        found |= used
        waiting += used
    return tuple(sorted(found))


def _indexes(connection: Connection[Any]) -> Mapping[tuple[str, str], list[_Part]]:
    """Reads every part of every index; only MySQL has parts that are expressions, and a column for them."""
    found: dict[tuple[str, str], list[_Part]] = {}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN {_SYSTEM}")  # noqa: S608 - constants
        fields = [d[0].upper() for d in cursor.description]
        rows = [dict(zip(fields, row, strict=True)) for row in cursor.fetchall()]
    for row in sorted(rows, key=lambda r: int(r["SEQ_IN_INDEX"])):
        names = ("INDEX_NAME", "SEQ_IN_INDEX", "COLUMN_NAME", "NON_UNIQUE", "EXPRESSION", "SUB_PART")
        part: Any = tuple(row.get(name) for name in names)
        found.setdefault((row["TABLE_SCHEMA"], row["TABLE_NAME"]), []).append(part)
    return found


def _partitions(connection: Connection[Any]) -> Mapping[tuple[str, str], frozenset[str]]:
    """Lower-case words in what decides about a row's partition, its columns among them."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    names = "TABLE_SCHEMA, TABLE_NAME, PARTITION_EXPRESSION, SUBPARTITION_EXPRESSION"
    for schema, table, *expressions in _select(connection, "partitions", names):
        words = frozenset(w for text in expressions if text for w in _words(text))
        found[schema, table] = found.get((schema, table), frozenset()) | words
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset((quoted.replace("``", "`") or plain).lower() for quoted, plain in _WORD.findall(text))


def _select(connection: Connection[Any], relation: str, names: str, order: str = "TABLE_SCHEMA, TABLE_NAME") -> list[Any]:
    sql = f"SELECT {names} FROM information_schema.{relation.upper()} WHERE TABLE_SCHEMA NOT IN {_SYSTEM} ORDER BY {order}"  # noqa: S608 - constants
    return _rows(connection, sql)


def _rows(connection: Connection[Any], sql: str, values: Sequence[str] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
