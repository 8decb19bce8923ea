"""The columns, keys and constraints of a table in a schema file, as the engine would tell them.

Sources: https://www.postgresql.org/docs/current/sql-createtable.html, https://www.sqlite.org/lang_createtable.html and
https://mariadb.com/kb/en/create-table/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from guardrails.model import Column, Constraint, Declared, Relation, RelationKind
from guardrails.sql.ddl_cursor import Cursor
from guardrails.sql.ddl_text import Part
from guardrails.sql.dialects import EngineDialect

__all__ = ["CONSTRAINT_WORDS", "Table", "add_item", "index", "mentioned", "relation_of"]

_CONSTRAINTS = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"})
CONSTRAINT_WORDS = {
    "postgres": _CONSTRAINTS | {"EXCLUDE", "LIKE"},
    "sqlite": _CONSTRAINTS,
    "mysql": _CONSTRAINTS | {"KEY", "INDEX", "FULLTEXT", "SPATIAL", "PERIOD"},
}
"""By dialect the words that begin an item of CREATE TABLE which is no column."""
_AFTER_TYPE = frozenset(
    {
        *("CONSTRAINT", "NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "COLLATE", "GENERATED", "AS"),
        *("STORAGE", "COMPRESSION", "OPTIONS", "ON", "COMMENT", "AUTO_INCREMENT", "AUTOINCREMENT", "INVISIBLE", "VISIBLE"),
        *("VIRTUAL", "STORED", "PERSISTENT", "CHARSET", "KEY", "DEFERRABLE", "INITIALLY", "WITHOUT"),
    }
)
_ALIASES = {
    **dict.fromkeys(("int", "int4", "serial", "serial4"), "integer"),
    **dict.fromkeys(("int8", "bigserial", "serial8"), "bigint"),
    **dict.fromkeys(("int2", "smallserial", "serial2"), "smallint"),
    **dict.fromkeys(("varchar", "char varying"), "character varying"),
    **dict.fromkeys(("float8", "float"), "double precision"),
    **dict.fromkeys(("decimal", "dec"), "numeric"),
    "bool": "boolean",
    "float4": "real",
    "varbit": "bit varying",
    "char": "character(1)",
    "character": "character(1)",
    "bpchar": "character",
    "timestamptz": "timestamp with time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "time": "time without time zone",
}
_TYPE = re.compile(r"(?P<name>[a-z_0-9]+(?: varying)?) ?(?P<modifier>\([^)]*\))?(?P<rest>.*)", re.DOTALL)


@dataclass(slots=True)
class Table:
    """A table that is being read."""

    rules: EngineDialect
    schema: str
    name: str
    kind: RelationKind = "table"
    columns: dict[str, Column] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)
    indexes: dict[str, frozenset[str]] = field(default_factory=dict)
    unique: set[str] = field(default_factory=set)
    parted: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    is_by_key: bool = False
    is_partition: bool = False
    constraints: set[Constraint] = field(default_factory=set)
    checks: list[tuple[Part, bool]] = field(default_factory=list)

    def column(self, name: str) -> str | None:
        """Returns a column's name as it was declared."""
        folded = self.rules.fold_name(name)
        return next((c for c in self.columns if self.rules.fold_name(c) == folded), None)


def add_item(table: Table, item: Cursor) -> None:
    """Reads one item of CREATE TABLE: a column, or a constraint of the table.

    Raises:
        CatalogError: It is not understood.
    """
    token = item.token
    if token is not None and token.word in CONSTRAINT_WORDS[table.rules.name]:
        _add_constraint(table, item)
    else:
        _add_column(table, item)


def _add_constraint(table: Table, item: Cursor) -> None:
    """Reads a constraint of a table, after ADD or inside CREATE TABLE.

    Raises:
        CatalogError: It is not understood.
    """
    is_named = item.takes("CONSTRAINT") and not any(item.sees(word) for word in ("CHECK", "PRIMARY", "UNIQUE", "FOREIGN"))
    name = item.name() if is_named else ""
    if item.takes("PRIMARY", "KEY"):
        _add_key(table, item)
    elif item.takes("UNIQUE"):
        table.unique.add(_add_index(table, item, name))
    elif any(item.takes(word) for word in ("KEY", "INDEX", "FULLTEXT", "SPATIAL")):
        _add_index(table, item, name)
    elif item.takes("EXCLUDE"):
        index(table, name or "EXCLUDE", item.rest)
    elif not (item.sees("FOREIGN", "KEY") or item.sees("CHECK") or item.sees("PERIOD")):
        raise item.refused("A constraint is not understood.")


def _add_key(table: Table, item: Cursor) -> None:
    _to_list(item, table)
    index(table, "PRIMARY", item.rest)
    table.keys += mentioned(item.group(), table)
    if table.rules.name != "sqlite":
        for key in table.keys:
            table.columns[key] = replace(table.columns[key], is_nullable=False)


def _add_index(table: Table, item: Cursor, name: str) -> str:
    """Reads an index inside a table or after ADD; returns its name, which is that of its first column if it has none."""
    _ = item.takes("KEY") or item.takes("INDEX") or item.takes("NULLS", "NOT", "DISTINCT")
    own = item.name() if item.token is not None and not (item.sees("(") or item.sees("USING")) else name
    _to_list(item, table)
    named = own or next(iter(mentioned(item.rest, table)), "")
    index(table, named, item.rest)
    return named


def _to_list(item: Cursor, table: Table) -> None:
    while item.token is not None and item.token.sign != "(":
        item.position += 1
    if item.token is None:
        raise item.refused(f"A key of {table.name} names no columns.")


def mentioned(part: Part, table: Table) -> list[str]:
    """Returns the columns that some text names; every one where it names the table itself."""
    words = [
        table.rules.fold_name(t.identifier if t.kind == "name" else table.rules.fold_unquoted(t.text)) for t in part.tokens
    ]
    if table.rules.fold_name(table.name) in words and table.column(table.name) is None:
        return list(table.columns)
    found = [c for w in words for c in table.columns if table.rules.fold_name(c) == w]
    return list(dict.fromkeys(found))


def index(table: Table, name: str, part: Part) -> list[str]:
    """Notes an index over everything that its text names; returns the columns."""
    found = mentioned(part, table)
    table.indexes[name] = table.indexes.get(name, frozenset()) | frozenset(found)
    return found


def _add_column(table: Table, item: Cursor) -> None:
    name = item.name()
    item.takes("WITH", "OPTIONS")
    is_mysql = table.rules.name == "mysql"
    type_part = item.until(_AFTER_TYPE | ({"CHARACTER"} if is_mysql else frozenset()))
    type_text = type_part.text
    if table.rules.name == "postgres":
        type_text = _postgres_type(" ".join(type_text.split()))
    is_not_null = table.rules.name == "postgres" and "serial" in type_part.text.lower()
    default: str | None = None
    generated: Literal["", "virtual", "stored"] = ""
    computed: Part | None = None
    is_key = is_unique = False
    while item.token is not None:
        if item.takes("NOT", "NULL"):
            is_not_null = True
        elif item.takes("PRIMARY", "KEY"):
            is_key = True
        elif item.takes("UNIQUE"):
            is_unique = True
        elif item.takes("DEFAULT"):
            default = item.until(_AFTER_TYPE, at_least=1).text
        elif item.takes("GENERATED") or item.sees("AS", "("):
            is_not_null |= _is_identity(item)
            item.until(frozenset({"AS"}))
            if item.takes("AS") and item.sees("("):
                computed, generated = item.group(), "virtual"
        elif item.takes("STORED") or item.takes("PERSISTENT"):
            generated = "stored"
        elif item.takes("INVISIBLE"):
            table.hidden.add(name)
        else:
            item.position += 1
    # Names that come later in the table are found when the whole of it is known.
    declared = Declared(type_text, default, is_not_null, generated)
    sources = tuple(table.rules.fold_name(t.identifier) for t in computed.tokens) if computed is not None else ()
    is_nullable = not (is_not_null or (is_key and table.rules.name != "sqlite"))
    table.columns[name] = Column(name, type_text.lower(), is_nullable, declared, sources)
    if is_key:
        table.keys.append(name)
        index(table, "PRIMARY", Part(item.part.source, item.part.tokens[:1]))
    if is_unique:
        table.unique.add(name)
        index(table, name, Part(item.part.source, item.part.tokens[:1]))


def _is_identity(item: Cursor) -> bool:
    words = [t.word for t in item.rest.tokens[:4]]
    return "IDENTITY" in words


def _postgres_type(text: str) -> str:
    """The type as PostgreSQL's format_type gives it, for the names that it knows by others."""
    if text.startswith('"') or "." in text:
        return text
    match = _TYPE.fullmatch(text.lower())
    name = match["name"] if match is not None else ""
    if match is None or name not in _ALIASES:
        return text
    modifier, rest = match["modifier"] or "", match["rest"]
    known = _ALIASES[name]
    if name in ("time", "timestamp", "timestamptz", "timetz"):
        base, _, zone = known.partition(" ")
        zone = rest.strip() if rest.strip().startswith("with") else zone
        return f"{base}{modifier} {zone}" + (rest if not rest.strip().startswith("with") else "")
    if modifier and known.endswith("(1)"):
        known = known.removesuffix("(1)")
    return f"{known}{modifier.replace(' ', '')}{rest}"


def relation_of(table: Table) -> Relation:
    """Returns the table as the live catalog has it."""
    shown = [c for c in table.columns.values() if c.name not in table.hidden]
    columns = [replace(c, computed_from=_computed(table, c)) for c in shown]
    keys = tuple(dict.fromkeys(table.keys))
    if table.rules.name == "sqlite":
        columns = [_sqlite_column(table, c, keys) for c in columns]
    indexed: frozenset[str] = frozenset().union(*table.indexes.values()) if table.indexes else frozenset()
    has_indexes = table.rules.name in ("mysql", "postgres")
    return Relation(
        schema=table.schema,
        name=table.name,
        kind=table.kind,
        columns=tuple(columns),
        primary_key=keys,
        indexed_columns=indexed,
        indexes=tuple(sorted(table.indexes.items())) if has_indexes else (),
        stored_by=_stored_by(table, keys),
        parents=tuple(table.parents),
        constraints=_constraints(table) if table.kind == "table" else (),
    )


def _constraints(table: Table) -> tuple[Constraint, ...]:
    checks = {
        Constraint("check", tuple(sorted(mentioned(part, table))), is_always=is_always) for part, is_always in table.checks
    }
    return tuple(sorted(table.constraints | checks))


def _computed(table: Table, column: Column) -> tuple[str, ...]:
    """The columns that a generated one is computed from, through others that are not shown."""
    folded = {table.rules.fold_name(c): c for c in table.columns}
    waiting, found = list(column.computed_from), list[str]()
    while waiting:
        name = folded.get(waiting.pop())
        if name is not None and name not in found and name != column.name:
            found.append(name)
            waiting += table.columns[name].computed_from if table.rules.name == "mysql" else ()
    return tuple(sorted(found)) if table.rules.name != "sqlite" else tuple(c for c in table.columns if c in found)


def _sqlite_column(table: Table, column: Column, keys: tuple[str, ...]) -> Column:
    """A key of SQLite may hold NULL unless it is the row's number, or the rows are stored by it."""
    is_rowid = keys == (column.name,) and column.type.upper() == "INTEGER"
    return replace(column, is_nullable=column.is_nullable and not is_rowid and not (table.is_by_key and column.name in keys))


def _stored_by(table: Table, keys: Iterable[str]) -> tuple[str, ...]:
    keys = tuple(keys)
    if table.rules.name != "mysql":
        return keys if table.is_by_key else tuple(sorted(table.parted))
    if keys and not table.parted:
        return ()
    nullable = {c.name for c in table.columns.values() if c.is_nullable}
    candidates = [used for name, used in table.indexes.items() if name in table.unique and not nullable & used]
    order = frozenset(keys) or frozenset(c for used in candidates for c in used)
    return tuple(sorted({*order, *table.parted}))
