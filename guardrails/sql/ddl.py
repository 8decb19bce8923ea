"""A catalog from a schema file, no database needed: what `pg_dump --schema-only`, `.schema` of sqlite3 and `mysqldump --no-data` write,
and what people write by hand.

What says something of relations and is not understood is an error at its line. What says nothing of them is on a list and passed over:
a file tells nothing of the effects of triggers and rules.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from guardrails.errors import CatalogError, GuardrailsError
from guardrails.model import Catalog, Column, DialectName, Relation, RelationKind, Statement
from guardrails.sql.ddl_constraints import bind_references, inherit, note_constraints, note_unique_index
from guardrails.sql.ddl_cursor import Cursor
from guardrails.sql.ddl_judged import judged_catalog
from guardrails.sql.ddl_table import Table, add_item, index, mentioned, relation_of
from guardrails.sql.ddl_text import Part, statements
from guardrails.sql.dialects import dialect_of
from guardrails.sql.parse import parse
from guardrails.sql.resolve import resolve

__all__ = ["catalog_from_ddl"]

_MAX_BYTES = 5_000_000
_PASSED_OVER: Mapping[str, re.Pattern[str]] = {
    "postgres": re.compile(
        r"(SET|SELECT|COMMENT ON|GRANT|REVOKE|INSERT|UPDATE|DELETE|COPY|BEGIN|START|COMMIT|ANALYZE|SECURITY LABEL|REFRESH|DO|RESET"
        r"|(CREATE( OR REPLACE)?( DEFAULT)?( CONSTRAINT)?( TRUSTED)?( PROCEDURAL)?"
        r"|ALTER|DROP)( EVENT| USER)? (SCHEMA|EXTENSION|TYPE|DOMAIN|CAST|FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|OPERATOR|COLLATION|CONVERSION"
        r"|TEXT SEARCH|SEQUENCE|STATISTICS|TRIGGER|RULE|POLICY|PUBLICATION|SUBSCRIPTION|SERVER|MAPPING|LANGUAGE|ROLE|USER|GROUP"
        r"|FOREIGN DATA WRAPPER|DEFAULT PRIVILEGES|INDEX|TRANSFORM|ACCESS METHOD|LARGE OBJECT|TABLESPACE|DATABASE)"
        r"|(CREATE|ALTER|DROP) DEFAULT PRIVILEGES|ALTER (MATERIALIZED )?VIEW)\b"
    ),
    "sqlite": re.compile(
        r"(PRAGMA|BEGIN|COMMIT|END|INSERT|UPDATE|DELETE|SELECT|ANALYZE|REINDEX|VACUUM|(CREATE|DROP)( TEMP| TEMPORARY)? TRIGGER"
        r"|DROP INDEX)\b"
    ),
    "mysql": re.compile(
        r"(SET|DO|INSERT|REPLACE|UPDATE|DELETE|SELECT|LOCK|UNLOCK|START|BEGIN|COMMIT|GRANT|REVOKE|ANALYZE|FLUSH|CHANGE"
        r"|DROP (TRIGGER|FUNCTION|PROCEDURE|EVENT|DATABASE|SCHEMA|SEQUENCE|INDEX|USER|ROLE)"
        r"|(CREATE|ALTER)( OR REPLACE)?( DEFINER .+?)?( AGGREGATE)?"
        r" (DATABASE|SCHEMA|TRIGGER|FUNCTION|PROCEDURE|EVENT|SEQUENCE|USER|ROLE))\b"
    ),
}
"""Statements that say nothing of relations, by their first words; INDEX is looked at before."""
_PASSED_ALTERATIONS = frozenset(
    {*("OWNER", "CLUSTER", "REPLICA", "ENABLE", "DISABLE", "FORCE", "SET", "RESET", "VALIDATE"), "COMMENT", "ENGINE"}
)
"""First words of what ALTER TABLE does that says nothing of columns and constraints."""
_FOREIGN_ENGINES = {"CONNECT", "FEDERATED", "SPIDER", "OQGRAPH", "S3"}
_UNION_ENGINES = {"MRG_MYISAM", "MERGE"}


def catalog_from_ddl(text: str, dialect: DialectName) -> Catalog:
    """Reads a schema from a file.

    Args:
        text: Statements separated by semicolons.
        dialect: Whose SQL it is.

    Returns:
        The catalog; its version is a digest of the text.

    Raises:
        CatalogError: Something of it is not understood (``usage.input_invalid``), with its line.
    """
    if len(text) > _MAX_BYTES:
        raise CatalogError("usage.input_invalid", f"The schema file is larger than {_MAX_BYTES:,} bytes.")
    if dialect not in _PASSED_OVER:
        return judged_catalog(text, dialect)
    reader = _Reader(text, dialect)
    for statement in statements(text, dialect):
        reader.read(statement)
    return reader.catalog()


class _Reader:
    """Reads one statement after the other."""

    def __init__(self, text: str, dialect: DialectName) -> None:
        self._rules = dialect_of(dialect)
        self._empty = Catalog(dialect, self._rules.default_schema, {}, hashlib.sha256(text.encode()).hexdigest())
        self._schema = self._rules.default_schema
        self._tables: dict[str, Table] = {}
        self._views: dict[str, Relation] = {}

    def read(self, statement: Part) -> None:
        """Takes note of what a statement says of relations.

        Raises:
            CatalogError: It is not understood.
        """
        cursor = Cursor(statement, self._fold)
        words = " ".join(t.word or t.identifier for t in statement.tokens[:12] if t.sign != "=")
        if cursor.takes("CREATE"):
            if self._create(cursor):
                return
        elif cursor.sees("ALTER", "TABLE") or cursor.sees("ALTER", "FOREIGN", "TABLE"):
            self._alter(cursor)
            return
        elif cursor.takes("DROP") and self._drop(cursor):
            return
        elif cursor.sees("SET", "SEARCH_PATH") or cursor.takes("USE"):
            self._enter(cursor)
            return
        if not _PASSED_OVER[self._rules.name].match(words.upper()):
            raise Cursor(statement, self._fold).refused("This kind of statement is not known.")

    def catalog(self) -> Catalog:
        """Returns what was read; views are resolved now, as they may stand before what they read."""
        inherit(self._tables)
        tables = {key: relation_of(table) for key, table in self._tables.items()}
        relations = {key: bind_references(table, tables) for key, table in tables.items()} | self._views
        waiting = [key for key, view in self._views.items() if not view.columns]
        while waiting:
            found = {key: view for key in waiting if (view := self._resolved(relations[key], relations)) is not None}
            relations |= found
            if not found:
                # Nothing can be said of what they show: using one is refused.
                break
            waiting = [key for key in waiting if key not in found]
        return replace(self._empty, relations=relations)

    def _fold(self, name: str) -> str:
        return name if self._rules.name != "postgres" else self._rules.fold_unquoted(name)

    def _key(self, schema: str | None, name: str) -> str:
        key = self._empty.key(schema if schema is not None else self._schema, name)
        known = (*self._tables, *self._views)
        folded = self._rules.fold_name(key)
        return next((k for k in known if self._rules.fold_name(k) == folded), key)

    def _table(self, cursor: Cursor, key: str) -> Table:
        table = self._tables.get(key)
        if table is None:
            raise cursor.refused(f"The table {key} has not been created before.")
        return table

    def _create(self, cursor: Cursor) -> bool:
        """Reads CREATE; False when it makes no relation."""
        head = cursor.until(
            frozenset({"TABLE", "VIEW", "INDEX", "FUNCTION", "PROCEDURE", "TRIGGER", "RULE", "EVENT", "AGGREGATE"})
        )
        words = {t.word for t in head.tokens}
        if cursor.sees("INDEX") and not words - {"UNIQUE", "FULLTEXT", "SPATIAL"}:
            self._create_index(cursor, is_unique="UNIQUE" in words)
        elif cursor.sees("VIEW") and (
            self._rules.name == "mysql" or not words - {"OR", "REPLACE", "TEMP", "TEMPORARY", "MATERIALIZED"}
        ):
            self._create_view(cursor, "materialized_view" if "MATERIALIZED" in words else "view", words)
        elif cursor.sees("TABLE") and not words - {
            "OR",
            "REPLACE",
            "TEMP",
            "TEMPORARY",
            "UNLOGGED",
            "FOREIGN",
            "GLOBAL",
            "LOCAL",
            "VIRTUAL",
        }:
            self._create_table(cursor, words)
        else:
            return False
        return True

    def _create_table(self, cursor: Cursor, words: set[str]) -> None:
        cursor.require("TABLE")
        cursor.takes("IF", "NOT", "EXISTS")
        schema, name = cursor.names()
        if words & {"TEMP", "TEMPORARY"} or (self._rules.name == "sqlite" and name.lower().startswith("sqlite_")):
            return
        if "VIRTUAL" in words:
            raise cursor.refused("The columns of a virtual table are not told by its text.")
        schema = schema if schema is not None else self._schema
        table = Table(self._rules, schema, name, "foreign_table" if "FOREIGN" in words else "table")
        if cursor.takes("PARTITION", "OF"):
            self._be_child(table, cursor)
            table.is_partition = True
        elif not cursor.sees("("):
            raise cursor.refused("A table without a list of columns is not understood.")
        if cursor.sees("("):
            items = cursor.items(cursor.group())
            self._add_inherited(table, cursor)
            for item in items:
                if self._rules.name == "postgres" and item.sees("LIKE"):
                    raise item.refused("LIKE is not understood.")
                self._add_item(table, item)
        if self._options(table, cursor):
            self._tables[self._key(schema, name)] = table

    def _add_item(self, table: Table, item: Cursor) -> None:
        part = item.rest
        add_item(table, item)
        note_constraints(table, part, self._fold, self._key)

    def _add_inherited(self, table: Table, cursor: Cursor) -> None:
        """INHERITS stands behind the columns, and its columns stand before them."""
        if cursor.takes("INHERITS"):
            for parent in cursor.items(cursor.group()):
                self._be_child(table, parent)

    def _be_child(self, table: Table, cursor: Cursor) -> None:
        key = self._key(*cursor.names())
        parent = self._table(cursor, key)
        table.parents.append(key)
        for name, column in parent.columns.items():
            table.columns.setdefault(name, column)

    def _options(self, table: Table, cursor: Cursor) -> bool:
        """Reads what stands behind the columns; False when the table is not to be shown."""
        if self._rules.name == "sqlite":
            table.is_by_key = cursor.takes("WITHOUT", "ROWID")
            rest = cursor.until(frozenset())
            if {t.word or t.sign for t in rest.tokens} - {"STRICT", ",", "WITHOUT", "ROWID"}:
                raise cursor.refused("What stands behind the columns is not understood.")
            table.is_by_key = table.is_by_key or "ROWID" in {t.word for t in rest.tokens}
            return True
        if self._rules.name == "mysql":
            return self._mysql_options(table, cursor)
        if cursor.takes("FOR", "VALUES") or cursor.takes("DEFAULT"):
            cursor.until(frozenset({"PARTITION", "WITH", "TABLESPACE", "USING", "SERVER"}), at_least=0)
        if cursor.takes("PARTITION", "BY"):
            cursor.name()
            table.parted += mentioned(cursor.group(), table)
        rest = cursor.until(frozenset())
        if rest.tokens and rest.tokens[0].word not in ("WITH", "WITHOUT", "TABLESPACE", "USING", "SERVER", "OPTIONS", "ON"):
            raise cursor.refused("What stands behind the columns is not understood.")
        return True

    def _mysql_options(self, table: Table, cursor: Cursor) -> bool:
        options = cursor.until(frozenset({"PARTITION", "SELECT", "AS", "LIKE"}))
        if cursor.takes("PARTITION", "BY"):
            table.parted += mentioned(cursor.until(frozenset({"PARTITIONS", "PARTITION"})), table)
            cursor.until(frozenset())
        if cursor.token is not None:
            raise cursor.refused("A table that is made of a query is not understood.")
        words = [t.word for t in options.tokens if t.sign != "="]
        engine = next((after for word, after in pairwise(words) if word == "ENGINE"), "")
        table.kind = "foreign_table" if engine in _FOREIGN_ENGINES else table.kind
        return engine not in _UNION_ENGINES

    def _create_view(self, cursor: Cursor, kind: RelationKind, words: set[str]) -> None:
        cursor.require("VIEW")
        cursor.takes("IF", "NOT", "EXISTS")
        schema, name = cursor.names()
        named = [item.name() for item in cursor.items(cursor.group())] if cursor.sees("(") else []
        cursor.until(frozenset({"AS"}))
        cursor.require("AS")
        definition = _without_options(cursor.rest)
        if words & {"TEMP", "TEMPORARY"}:
            return
        key = self._key(schema, name)
        schema = schema if schema is not None else self._schema
        self._tables.pop(key, None)
        self._views[key] = Relation(schema, name, kind, tuple(Column(n) for n in named), definition=definition.text)

    def _create_index(self, cursor: Cursor, *, is_unique: bool) -> None:
        cursor.require("INDEX")
        cursor.takes("CONCURRENTLY")
        cursor.takes("IF", "NOT", "EXISTS")
        name = "" if cursor.sees("ON") else cursor.names()[1]
        cursor.until(frozenset({"ON"}))
        cursor.require("ON")
        cursor.takes("ONLY")
        key = self._key(*cursor.names())
        if key in self._views and self._views[key].kind == "materialized_view":
            self._index_view(key, cursor.rest)
            return
        table = self._table(cursor, key)
        index(table, name or f"index {len(table.indexes)}", cursor.rest)
        if is_unique:
            note_unique_index(table, cursor.rest, self._fold)

    def _index_view(self, key: str, part: Part) -> None:
        """A materialised view's columns may not be known yet: every name counts, and what is no column is left out in the end."""
        names = frozenset(
            self._fold(t.text) if t.kind == "word" else t.identifier for t in part.tokens if t.kind in ("word", "name")
        )
        self._views[key] = replace(self._views[key], indexed_columns=self._views[key].indexed_columns | names)

    def _alter(self, cursor: Cursor) -> None:
        cursor.takes("ALTER")
        cursor.takes("FOREIGN")
        cursor.require("TABLE")
        cursor.takes("IF", "EXISTS")
        cursor.takes("ONLY")
        key = self._key(*cursor.names())
        for action in cursor.items():
            self._alteration(action, key)

    def _alteration(self, action: Cursor, key: str) -> None:
        words = [t.word for t in action.part.tokens[:2]]
        if words[0] in _PASSED_ALTERATIONS:
            if words == ["SET", "SCHEMA"]:
                raise action.refused("SET SCHEMA is not understood.")
            return
        if words == ["NO", "FORCE"]:
            return
        table = self._table(action, key)
        if action.takes("ADD"):
            action.takes("COLUMN")
            action.takes("IF", "NOT", "EXISTS")
            self._add_item(table, action)
        elif action.takes("ATTACH", "PARTITION"):
            child = self._table(action, self._key(*action.names()))
            child.parents.append(key)
            child.is_partition = True
        elif action.takes("INHERIT"):
            table.parents.append(self._key(*action.names()))
        elif action.takes("ALTER") or action.takes("MODIFY"):
            self._alter_column(table, action)
        else:
            raise action.refused("This form of ALTER TABLE is not understood.")

    def _alter_column(self, table: Table, action: Cursor) -> None:
        is_modified = action.part.tokens[0].word == "MODIFY"
        action.takes("COLUMN")
        if is_modified:
            before = list(table.columns)
            name = table.column(action.rest.tokens[0].identifier)
            if name is None:
                raise action.refused("A column is not known.")
            is_nullable = table.columns[name].is_nullable
            self._add_item(table, action)
            # In its old place, and still no more nullable than a key lets it be.
            table.columns = {c: table.columns[c] for c in before}
            if name in table.keys:
                table.columns[name] = replace(table.columns[name], is_nullable=is_nullable)
            return
        name = table.column(action.name())
        if name is None:
            raise action.refused("A column is not known.")
        if action.takes("SET", "NOT", "NULL") or action.sees("ADD", "GENERATED"):
            table.columns[name] = replace(table.columns[name], is_nullable=False)
        elif action.takes("DROP", "NOT", "NULL"):
            table.columns[name] = replace(table.columns[name], is_nullable=True)
        elif not any(action.sees(*w) for w in (("SET",), ("OPTIONS",), ("DROP", "DEFAULT"), ("RESET",))) or action.sees(
            "SET", "DATA"
        ):
            raise action.refused("This form of ALTER COLUMN is not understood.")

    def _drop(self, cursor: Cursor) -> bool:
        cursor.takes("MATERIALIZED")
        cursor.takes("FOREIGN")
        if not (cursor.takes("TABLE") or cursor.takes("VIEW")):
            return False
        cursor.takes("IF", "EXISTS")
        for item in cursor.items():
            key = self._key(*item.names())
            self._tables.pop(key, None)
            self._views.pop(key, None)
        return True

    def _enter(self, cursor: Cursor) -> None:
        """SET search_path, and USE: where names without a schema belong from here on."""
        if cursor.takes("SET", "SEARCH_PATH"):
            _ = cursor.takes("=") or cursor.takes("TO")
            names = [item.name() for item in cursor.items()]
            self._schema = next((n for n in names if n and n not in ("pg_catalog", "$user")), self._rules.default_schema)
            return
        self._schema = cursor.name()
        if not self._tables and not self._views:
            self._empty = replace(self._empty, default_schema=self._schema)

    def _resolved(self, view: Relation, relations: Mapping[str, Relation]) -> Relation | None:
        """The view with the columns that its definition gives; None when they are not known."""
        catalog = replace(self._empty, relations={k: r for k, r in relations.items() if r.columns or r.definition is None})
        try:
            access = resolve(parse(Statement(view.definition or "", {}, catalog.dialect)), catalog).access
        except GuardrailsError:
            return None
        names = tuple(o.name for o in access.returned)
        return replace(view, columns=tuple(Column(n) for n in names), indexed_columns=view.indexed_columns & set(names))


def _without_options(part: Part) -> Part:
    """A view's query without WITH DATA or WITH CHECK OPTION behind it."""
    words = [t.word for t in part.tokens]
    for tail in (["WITH", "NO", "DATA"], ["WITH", "DATA"], ["WITH", "CHECK", "OPTION"]):
        if words[-len(tail) :] == tail:
            return Part(part.source, part.tokens[: -len(tail)])
    if words[-2:] == ["CHECK", "OPTION"] and words[-4:-2][:1] == ["WITH"]:
        return Part(part.source, part.tokens[:-4])
    return part
