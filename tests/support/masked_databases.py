"""Databases of the generators' schemas behind the library's engines, and the statements that the generators make for them."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from tests.support import generator, twins
from tests.support.grammar import FLAVOURS, query, seeded
from tests.support.mysql import own_database
from tests.support.oracles import duckdb as duckdb_oracle
from tests.support.oracles import postgres as postgres_oracle
from tests.support.oracles import sqlite as sqlite_oracle
from tests.support.oracles.mysql_database import GrammarDatabase, fill_mysql_grammar
from tests.support.twins import Database, engine_of

__all__ = ["GENERATED", "Opened", "generated_query", "open_generated"]

GENERATED = ("grammar", "corpus")
"""Whose schema and statements: `tests.support.grammar`, or `tests.support.generator` over `tests.support.corpus`."""


@dataclass(frozen=True)
class Opened:
    """A database, and how a statement's text is written for it."""

    database: Database
    written: Callable[[str], str]


def generated_query(engine: str, schema: str, seed: int) -> str:
    """Returns the SELECT of a seed."""
    return query(seeded(seed), FLAVOURS[engine]) if schema == "grammar" else generator.statement(seeded(seed), engine)


@contextmanager
def open_generated(engine: str, schema: str, server: str) -> Iterator[Opened]:
    """Opens a database of its own with a generator's schema and rows; it is gone at the end."""
    with ExitStack() as stack:
        url, written = _OPENERS[engine](stack, schema, server)
        database = Database(engine_of(url), url)
        stack.callback(database.engine.dispose)
        yield Opened(database, written)


def _same(sql: str) -> str:
    return sql


def _sqlite(stack: ExitStack, schema: str, _server: str) -> tuple[str, Callable[[str], str]]:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "masked.db"
    if schema == "corpus":
        return twins.fill_sqlite(path, 1), _same
    with closing(sqlite3.connect(path)) as connection:
        sqlite_oracle.fill(connection)
        connection.commit()
    return f"sqlite:///{path}", _same


def _duckdb(stack: ExitStack, schema: str, _server: str) -> tuple[str, Callable[[str], str]]:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "masked.duckdb"
    if schema == "corpus":
        return twins.fill_duckdb(path, 1), _same
    with closing(duckdb.connect(str(path))) as connection:
        duckdb_oracle.fill_duckdb_grammar(connection)
    return f"duckdb:///{path}?threads=1", _same


def _postgres(stack: ExitStack, schema: str, server: str) -> tuple[str, Callable[[str], str]]:
    name = f"gr_masked_{uuid.uuid4().hex[:12]}"
    admin = stack.enter_context(closing(psycopg.connect(server, autocommit=True)))
    admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
    stack.callback(admin.execute, SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    if schema == "corpus":
        return twins.fill_postgres(url, 1), _same
    postgres_oracle.fill(url)
    return url, _same


def _mysql(stack: ExitStack, schema: str, server: str) -> tuple[str, Callable[[str], str]]:
    if schema == "corpus":
        return twins.fill_mysql(stack.enter_context(own_database(server)), 1), _same
    database = GrammarDatabase(server, fill_mysql_grammar)
    stack.callback(database.drop)
    return database.url, database.on_server


_OPENERS = {"sqlite": _sqlite, "duckdb": _duckdb, "postgres": _postgres, "mysql": _mysql}
