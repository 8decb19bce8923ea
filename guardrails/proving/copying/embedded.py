"""SQLite and DuckDB: the schema as text from the database's own tables, the twins in files of a temporary folder."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from guardrails.engines import Engine, open_engine
from guardrails.model import Catalog
from guardrails.proving.copying.schema import Definition, ForeignKey, SourceSchema
from guardrails.proving.copying.text import enum_labels, literals_in
from guardrails.proving.copying.workshop import Scratch

__all__ = ["DuckdbWorkshop", "SqliteWorkshop"]


class _Files:
    """Databases in files of a folder that goes at the end."""

    suffix = ""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(make_url(url).database or "").absolute()
        self._folder = tempfile.TemporaryDirectory(prefix="guardrails-prove-")
        self._engines: list[Engine] = []
        self._scratches: list[Callable[[], None]] = []
        self._made = 0

    def catalog(self) -> Catalog:
        engine = open_engine(self.url)
        try:
            return engine.catalog()
        finally:
            engine.dispose()

    def new_path(self) -> Path:
        self._made += 1
        return Path(self._folder.name) / f"twin{self._made}{self.suffix}"

    def open(self, scratch: Scratch) -> Engine:
        engine = open_engine(scratch.url)
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()
        for close in self._scratches:
            close()
        self._folder.cleanup()


class SqliteWorkshop(_Files):
    """Twins of a SQLite database."""

    suffix = ".db"

    def read(self) -> SourceSchema:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                r"SELECT type, name, sql FROM main.sqlite_master WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' AND sql IS NOT NULL"
            ).fetchall()
            keys = {name: _sqlite_keys(connection, name) for kind, name, _ in rows if kind == "table"}
        shadows = {n for _, n, sql in rows for _, v, text in rows if _is_virtual(text) and n.startswith(f"{v}_")}
        left_out = [(f"trigger {name}", "triggers are not copied") for kind, name, _ in rows if kind == "trigger"]
        wanted = {"table": 0, "view": 1, "index": 2}
        made = sorted((r for r in rows if r[0] in wanted and r[1] not in shadows), key=lambda r: wanted[r[0]])
        return SourceSchema(
            tuple(Definition(name, sql) for _, name, sql in made),
            (),
            (Definition("ANALYZE", "ANALYZE"),),
            keys,
            {name: literals_in(sql) for kind, name, sql in rows if kind == "table"},
            left_out=tuple(left_out),
        )

    def create(self) -> Scratch:
        path = self.new_path()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = OFF")

        def close() -> None:
            connection.close()

        def execute(sql: str, values: Sequence[object]) -> list[Any]:
            return connection.execute(sql, values).fetchall()

        self._scratches.append(close)
        marks = ("SAVEPOINT one_row", "RELEASE one_row", "ROLLBACK TO one_row")
        return Scratch(f"sqlite:///{path}", execute, (sqlite3.Error, OverflowError), "?", '"', marks, close)


def _is_virtual(sql: str) -> bool:
    return re.match(r"\s*CREATE\s+VIRTUAL", sql, re.IGNORECASE) is not None


def _sqlite_keys(connection: sqlite3.Connection, table: str) -> tuple[ForeignKey, ...]:
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    rows = connection.execute('SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', (table,))
    for number, parent, column, target in rows.fetchall():
        found.setdefault(number, []).append((parent, column, target))
    keys = []
    for parts in found.values():
        listed = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)", (parts[0][0],)
        )
        parent = next((name for (name,) in listed.fetchall()), parts[0][0])
        names = connection.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (parent,)).fetchall()
        targets = tuple(
            t if t is not None else names[i][0] for i, (_, _, t) in enumerate(parts) if t is not None or i < len(names)
        )
        keys.append(ForeignKey(tuple(c for _, c, _ in parts), parent, targets))
    return tuple(keys)


class DuckdbWorkshop(_Files):
    """Twins of a DuckDB database."""

    suffix = ".duckdb"

    def read(self) -> SourceSchema:
        import duckdb

        with closing(duckdb.connect(str(self.path), read_only=True)) as connection:

            def ask(sql: str) -> list[Any]:
                return connection.execute(sql).fetchall()

            here = "database_name = current_database() AND NOT internal"
            schemas = ask(f"SELECT schema_name FROM duckdb_schemas() WHERE {here}")
            types = ask(f"SELECT schema_name, type_name, labels FROM duckdb_types() WHERE {here} AND labels IS NOT NULL")
            sequences = ask(
                "SELECT sequence_name, sql FROM duckdb_sequences() WHERE database_name = current_database() AND NOT temporary"
            )
            tables = ask(f"SELECT schema_name, table_name, sql FROM duckdb_tables() WHERE {here} AND NOT temporary")
            views = ask(f"SELECT view_name, sql FROM duckdb_views() WHERE {here} AND NOT temporary")
            indexes = ask(
                "SELECT index_name, sql FROM duckdb_indexes() WHERE database_name = current_database() AND sql IS NOT NULL"
            )
            macros = ask(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE {here}")
            keys = ask(
                "SELECT schema_name, table_name, constraint_column_names, referenced_table, referenced_column_names"
                " FROM duckdb_constraints() WHERE database_name = current_database() AND constraint_type = 'FOREIGN KEY'"
            )
            columns = ask(f"SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() WHERE {here}")
        definitions = [
            *(Definition(f"schema {s}", f'CREATE SCHEMA IF NOT EXISTS "{s}"') for (s,) in schemas if s != "main"),
            *(Definition(f"type {n}", f'CREATE TYPE "{s}"."{n}" AS ENUM ({_texts(labels)})') for s, n, labels in types),
            *(Definition(f"sequence {n}", sql) for n, sql in sequences),
            *(Definition(n, sql) for _, n, sql in tables),
            *(Definition(n, sql) for n, sql in views),
            *(Definition(f"index {n}", sql) for n, sql in indexes),
        ]
        parents: dict[str, list[ForeignKey]] = {}
        for schema, table, own, parent, targets in keys:
            made = ForeignKey(tuple(own), _key(schema, parent), tuple(targets))
            parents.setdefault(_key(schema, table), []).append(made)
        return SourceSchema(
            tuple(definitions),
            (),
            (Definition("ANALYZE", "ANALYZE"),),
            {key: tuple(found) for key, found in parents.items()},
            {_key(s, n): literals_in(sql) for s, n, sql in tables},
            {(_key(s, t), c): labels for s, t, c, type_ in columns if (labels := enum_labels(type_))},
            left_out=tuple((f"macro {name}", "functions are not copied") for (name,) in macros),
        )

    def create(self) -> Scratch:
        import duckdb

        path = self.new_path()
        connection = duckdb.connect(str(path), config={"threads": "1"})
        is_open = [True]

        def close() -> None:
            if is_open:
                is_open.clear()
                connection.close()

        def execute(sql: str, values: Sequence[object]) -> list[Any]:
            return connection.execute(sql, list(values)).fetchall()

        self._scratches.append(close)
        # With one thread, rows come in the same order each time.
        return Scratch(
            f"duckdb:///{path}?threads=1", execute, (duckdb.Error,), "?", '"', ("BEGIN", "COMMIT", "ROLLBACK"), close
        )


def _key(schema: str, name: str) -> str:
    return name if schema == "main" else f"{schema}.{name}"


def _texts(labels: Sequence[str]) -> str:
    return ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
