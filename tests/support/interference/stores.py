"""Where twins are kept, engine by engine: made, filled, put back after a change, and looked at without any guard.

Statistics are taken once, after filling, and by nothing else: what an engine counts by itself later would differ between any two
databases.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import duckdb
import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from guardrails.catalog import read_duckdb, read_sqlite
from guardrails.engines import Engine, open_engine
from guardrails.engines.duckdb import plain_value
from guardrails.model import Catalog, ColumnRef, DialectName, Plan, Relation, RelationUse
from tests.support.grammar import FLAVOURS
from tests.support.interference.pairs import Pair
from tests.support.interference.schemas import Schema
from tests.support.mysql import connect, run
from tests.support.oracles.postgres import catalog_of
from tests.support.twins import engine_of

__all__ = ["Store", "open_pair"]

_PLAIN_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
Fill = Callable[[Catalog], Iterable[tuple[str, list[object]]]]
"""Gives the rows once the tables are there and the catalog tells the columns' types."""


class Store(Protocol):
    """One twin."""

    @property
    def engine(self) -> Engine: ...

    def on_server(self, text: str) -> str:
        """Returns a text with the names that this twin's databases have."""
        ...

    def own(self, plan: Plan) -> Plan:
        """Returns a plan that was made for the first twin as this one's; nobody changes the schema, so that no version is compared."""
        ...

    def neutral(self, answer: object) -> object:
        """Returns an answer without the name of this twin's database."""
        ...

    def stored(self, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
        """Returns the stored values of some columns, in any order, without the guard."""
        ...

    def restore(self) -> None:
        """Puts every row back as it was at first."""
        ...

    def close(self) -> None: ...


@dataclass
class _Same:
    """A twin whose database has the names of the other one's."""

    def on_server(self, text: str) -> str:
        return text

    def own(self, plan: Plan) -> Plan:
        return replace(plan, catalog_version="")

    def neutral(self, answer: object) -> object:
        return answer


class SqliteStore(_Same):
    """A file in memory, and a copy of it as it was at first."""

    def __init__(self, folder: Path, statements: Sequence[str], fill: Fill) -> None:
        path = folder / f"{uuid.uuid4().hex}.db"
        self._plain = sqlite3.connect(path, isolation_level=None)
        self._plain.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            self._plain.execute(statement)
        self._plain.execute("BEGIN")
        for table, row in fill(read_sqlite(self._plain)):
            values = [float(str(v)) if hasattr(v, "as_tuple") else v for v in row]
            self._plain.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', values)
        self._plain.execute("COMMIT")
        self._plain.execute("ANALYZE")
        self._first = sqlite3.connect(":memory:")
        self._plain.backup(self._first)
        self.engine = open_engine(f"sqlite:///{path}")

    def stored(self, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
        listed = ", ".join(f'"{c}"' for c in columns)
        return self._plain.execute(f'SELECT {listed} FROM "{table}"').fetchall()

    def restore(self) -> None:
        self._first.backup(self._plain)

    def close(self) -> None:
        self.engine.dispose()
        self._plain.close()
        self._first.close()


class PostgresStore(_Same):
    """A database of its own. Its rows are put back by COPY, so that they lie where they lay."""

    def __init__(self, server: str, statements: Sequence[str], fill: Fill) -> None:
        self._server = server
        self._name = f"gr_twin_{uuid.uuid4().hex[:12]}"
        with closing(psycopg.connect(server, autocommit=True)) as admin:
            admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(self._name)))
        url = make_url(server).set(database=self._name).render_as_string(hide_password=False)
        self._plain = psycopg.connect(url, autocommit=True)
        self._plain.execute("SET synchronous_commit = off")
        for statement in statements:
            self._plain.execute(statement.encode())
        catalog = catalog_of(self._plain)
        self._tables = [r for r in catalog.relations.values() if r.kind in ("table", "partitioned_table") and not r.parents]
        for (place,) in self._plain.execute(_PLAIN_TABLES).fetchall():
            self._plain.execute(f"ALTER TABLE {place} SET (autovacuum_enabled = off)".encode())
        for table, row in fill(catalog):
            place = self._place(catalog.relations[table])
            self._plain.execute(SQL("INSERT INTO {} VALUES ({})").format(place, SQL(", ").join([SQL("%s")] * len(row))), row)
        self._first = [(place, self._copied(place)) for place in map(self._place, self._tables)]
        self._put_back()
        self.engine = open_engine(url)

    def _copied(self, place: SQL) -> bytes:
        with self._plain.cursor().copy(SQL("COPY (SELECT * FROM {}) TO STDOUT").format(place)) as copy:
            return b"".join(bytes(part) for part in copy)

    @staticmethod
    def _place(relation: Relation) -> SQL:
        return SQL(".").join([Identifier(relation.schema), Identifier(relation.name)])

    def stored(self, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
        place = SQL(".").join(map(Identifier, table.split(".")))
        return self._plain.execute(SQL("SELECT {} FROM {}").format(SQL(", ").join(map(Identifier, columns)), place)).fetchall()

    def restore(self) -> None:
        self._put_back()

    def _put_back(self) -> None:
        places = SQL(", ").join(place for place, _ in self._first)
        with self._plain.transaction():
            self._plain.execute(SQL("SET LOCAL session_replication_role = replica; TRUNCATE {} CASCADE").format(places))
            for place, data in self._first:
                with self._plain.cursor().copy(SQL("COPY {} FROM STDIN").format(place)) as copy:
                    copy.write(data)
        # Of a table without statistics the number of rows is guessed from the width of its columns.
        self._plain.execute("ANALYZE")

    def close(self) -> None:
        self.engine.dispose()
        self._plain.close()
        with closing(psycopg.connect(self._server, autocommit=True)) as admin:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(self._name)))


class MysqlStore:
    """Databases of its own on one server. Their names are as long as the other twin's, and so are the texts that hold them."""

    MAIN, NEIGHBOUR = "gr_main", "sales"

    def __init__(self, server: str, statements: Sequence[str], fill: Fill, name: str) -> None:
        self._server, self.name = server, name
        url = make_url(server).set(database=name)
        for database in (name, f"{name}_sales"):
            run(server, f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
        run(server, f"CREATE USER {name}", *(f"GRANT ALL ON {d}.* TO {name}" for d in (name, f"{name}_sales")))
        self._plain = connect(url.render_as_string(hide_password=False))
        self._cursor = self._plain.cursor()
        self._cursor.execute("SET foreign_key_checks = 0")
        for statement in statements:
            if not statement.startswith("CREATE SCHEMA"):
                statement = statement.replace("CREATE VIEW", "CREATE SQL SECURITY INVOKER VIEW")
                self._cursor.execute(self.on_server(statement))
        # A user who sees nothing of what else is on the server, in sessions that decide between equals alike.
        self.engine = engine_of(url.set(username=name).render_as_string(hide_password=False))
        self._catalog = self.engine.catalog()
        self.first_name = name
        self._tables = [(k, r) for k, r in self._catalog.relations.items() if r.kind == "table" and r.name != "bumps"]
        for _, relation in self._tables:
            self._cursor.execute(f"ALTER TABLE {self._place(relation)} STATS_PERSISTENT = 1 STATS_AUTO_RECALC = 0")
        self._catalog = self.engine.catalog()
        self._first: dict[str, list[tuple[object, ...]]] = {}
        for table, row in fill(self.as_written(self._catalog)):
            self._first.setdefault(self.on_server(f"`{table}`").strip("`"), []).append(tuple(row))
        self.restore()
        self._cursor.execute(f"ANALYZE TABLE {', '.join(self._place(r) for _, r in self._tables)}")

    def on_server(self, text: str) -> str:
        """Returns a statement with the names that the databases have."""
        return text.replace("sales.", f"{self.name}_sales.").replace("gr_main", self.name)

    def as_written(self, catalog: Catalog) -> Catalog:
        """Returns the catalog under the names that schemas are written with."""
        relations = {k.replace(f"{self.name}_sales.", "sales."): r for k, r in catalog.relations.items()}
        return Catalog(catalog.dialect, catalog.default_schema, relations, catalog.version)

    def _place(self, relation: Relation) -> str:
        return f"`{relation.schema}`.`{relation.name}`"

    def own(self, plan: Plan) -> Plan:
        plan = replace(plan, catalog_version="")
        if self.first_name == self.name:
            return plan
        uses = [RelationUse(self._renamed(u.relation), u.action, u.via and self._renamed(u.via)) for u in plan.relations]
        reads, writes = (
            tuple(ColumnRef(self._renamed(c.relation), c.column) for c in found) for found in (plan.reads, plan.writes)
        )
        params = {k: self._renamed(v) if isinstance(v, str) else v for k, v in plan.params.items()}
        return replace(
            plan, sql=self._renamed(plan.sql), params=params, relations=tuple(uses), reads=reads, writes=writes,
        )  # fmt: skip

    def _renamed(self, text: str) -> str:
        return text.replace(self.first_name, self.name)

    def neutral(self, answer: object) -> object:
        if self.first_name == self.name:
            return answer
        if isinstance(answer, str):
            return answer.replace(self.name, self.first_name)
        if isinstance(answer, (tuple, list)):
            return type(answer)(self.neutral(part) for part in answer)
        return answer

    def stored(self, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
        relation = self._catalog.relations[self._renamed(table)]
        self._cursor.execute(f"SELECT {', '.join(f'`{c}`' for c in columns)} FROM {self._place(relation)}")
        return list(self._cursor.fetchall())

    def restore(self) -> None:
        self._plain.begin()
        for key, relation in self._tables:
            self._cursor.execute(f"DELETE FROM {self._place(relation)}")
            rows = self._first.get(key, [])
            if rows:
                marks = ", ".join(["%s"] * len(rows[0]))
                self._cursor.executemany(f"INSERT INTO {self._place(relation)} VALUES ({marks})", rows)
        self._plain.commit()

    def close(self) -> None:
        self.engine.dispose()
        self._plain.close()
        run(self._server, f"DROP DATABASE {self.name}", f"DROP DATABASE {self.name}_sales", f"DROP USER {self.name}")


class DuckdbStore(_Same):
    """A file in memory, replaced by a copy after a change; with one thread, so that rows come in one order."""

    def __init__(self, folder: Path, statements: Sequence[str], fill: Fill) -> None:
        self._path = folder / f"{uuid.uuid4().hex}.duckdb"
        self._copy = self._path.with_suffix(".first")
        with closing(duckdb.connect(str(self._path))) as plain:
            for statement in statements:
                plain.execute(statement)
            for table, row in fill(read_duckdb(plain)):
                place = FLAVOURS["duckdb"].spell(table)
                plain.execute(f"INSERT INTO {place} VALUES ({', '.join('?' * len(row))})", row)
            plain.execute("ANALYZE")
        shutil.copyfile(self._path, self._copy)
        self._open()

    def _open(self) -> None:
        self.engine = open_engine(f"duckdb:///{self._path}?threads=1")

    def stored(self, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
        self.engine.dispose()
        with closing(duckdb.connect(str(self._path))) as plain:
            listed = ", ".join(f'"{c}"' for c in columns)
            rows = plain.execute(f"SELECT {listed} FROM {FLAVOURS['duckdb'].spell(table)}").fetchall()
        self._open()
        return [tuple(plain_value(v) for v in row) for row in rows]

    def restore(self) -> None:
        self.engine.dispose()
        self._path.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        shutil.copyfile(self._copy, self._path)
        self._open()

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def open_pair(engine: DialectName, schema: Schema, server: str, *, is_keeping: bool) -> Iterator[Pair]:
    """Opens twins of a schema on databases of their own, which are gone at the end.

    Args:
        engine: Whose databases.
        schema: The schema.
        server: URL of a server, where the engine has one.
        is_keeping: The masks keep something of the values, in which the twins agree.
    """
    with ExitStack() as stack:
        memory = Path("/dev/shm")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)))
        names = [f"gr_twin_{uuid.uuid4().hex[:8]}_{twin}" for twin in "ab"]
        stores: list[Store] = []
        for twin in (0, 1):

            def fill(catalog: Catalog, twin: int = twin) -> Iterable[tuple[str, list[object]]]:
                return schema.filled(catalog, twin, is_keeping=is_keeping)

            statements = schema.statements(engine)
            made: Store
            if engine == "sqlite":
                made = SqliteStore(folder, statements, fill)
            elif engine == "postgres":
                made = PostgresStore(server, statements, fill)
            elif engine == "mysql":
                made = MysqlStore(server, statements, fill, names[twin])
                made.first_name = names[0]
            else:
                made = DuckdbStore(folder, statements, fill)
            stack.callback(made.close)
            stores.append(made)
        yield Pair.of(schema, stores[0], stores[1], is_keeping=is_keeping)
