"""Databases with keys and constraints over protected columns, twice: what differs is protected or hidden, and a change could tell it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg
import pymysql

from tests.support.mysql import connect

__all__ = ["POLICY", "fill", "new_file", "outcome"]

POLICY = """
version: 1
rules:
  - {id: all, effect: allow, actions: [read, write], relations: ["*"], where: optional}
columns:
  customers.email: {mask: full, except: {groups: [exempt]}}
  customers.credit: {mask: full, except: {groups: [exempt]}}
  vault.owner_id: {mask: full, except: {groups: [exempt]}}
rows:
  orders: {predicate: "region = principal.region", except: {groups: [exempt]}}
"""

_TABLES = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40), email VARCHAR(40) UNIQUE, credit INTEGER, least INTEGER,"
    " org INTEGER, region VARCHAR(10), CHECK (credit >= least), UNIQUE (org, credit))",
    "CREATE TABLE newsletters (id INTEGER PRIMARY KEY, email VARCHAR(40), FOREIGN KEY (email) REFERENCES customers (email))",
    "CREATE TABLE vault (id INTEGER PRIMARY KEY, owner_id INTEGER, note VARCHAR(40), FOREIGN KEY (owner_id) REFERENCES customers (id))",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, code VARCHAR(10) UNIQUE, region VARCHAR(10), note VARCHAR(40),"
    " FOREIGN KEY (customer_id) REFERENCES customers (id))",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, order_code VARCHAR(10), FOREIGN KEY (order_code) REFERENCES orders (code))",
)


def _rows(secret: int) -> tuple[str, ...]:
    is_first = secret == 1
    return (
        f"INSERT INTO customers VALUES (1, 'Ada', '{'guess' if is_first else 'other'}@x', {60 if is_first else 40}, 10, 1, 'EU'),"
        f" (2, 'Bo', 'bo{secret}@x', 60, 10, 2, 'EU'), (3, 'Cy', 'cy{secret}@x', 70, 10, 3, 'EU'), (4, 'Di', NULL, NULL, 10, 4, 'EU'),"
        f" (5, 'Ed', NULL, NULL, 10, 5, 'EU')",
        f"INSERT INTO vault VALUES (1, {3 if is_first else 5}, 'a'), (2, {5 if is_first else 3}, 'b')",
        "INSERT INTO orders VALUES (1, 2, 'c1', 'EU', 'seen'), (3, 2, 'c3', 'EU', 'seen')",
        f"INSERT INTO orders VALUES (2, {4 if is_first else 2}, '{'c9' if is_first else 'c8'}', 'US', 'hidden')",
        "INSERT INTO items VALUES (1, 'c1')",
    )


def fill(url: str, secret: int) -> str:
    """Makes the tables and their rows in an empty database, and returns its URL."""
    statements = (*_TABLES, *_rows(secret))
    # The second twin has the vault's owners the other way round, and so a row less that refers to customer 3.
    if secret == 2:
        statements += ("DELETE FROM vault WHERE id = 2",)
    else:
        statements += ("DELETE FROM vault WHERE id = 1 AND owner_id = 5",)
    dialect = url.partition(":")[0]
    if dialect == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
    elif dialect == "duckdb":
        with closing(duckdb.connect(url.removeprefix("duckdb:///").partition("?")[0])) as changing:
            for statement in statements:
                changing.execute(statement)
    elif dialect == "mysql":
        with closing(connect(url)) as server, server.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            server.commit()
    else:
        with psycopg.connect(url) as postgres:
            for statement in statements:
                postgres.execute(statement.encode())
    return url


def outcome(url: str, sql: str) -> object:
    """Runs a change without any guard and undoes it: the number of rows changed, or that it failed."""
    dialect = url.partition(":")[0]
    try:
        if dialect == "sqlite":
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
                connection.execute("PRAGMA foreign_keys = ON")
                return connection.execute(sql).rowcount
        if dialect == "duckdb":
            with closing(duckdb.connect(url.removeprefix("duckdb:///").partition("?")[0])) as changing:
                changing.execute("BEGIN")
                found = changing.execute(sql).fetchone()
                return found[0] if found else None
        if dialect == "mysql":
            with closing(connect(url)) as server, server.cursor() as cursor:
                server.begin()
                return cursor.execute(sql)
        with psycopg.connect(url) as postgres:
            count = postgres.execute(sql.encode()).rowcount
            postgres.rollback()
            return count
    except (sqlite3.Error, duckdb.Error, pymysql.Error, psycopg.Error):
        return "failed"


def new_file(folder: Path, dialect: str, secret: int) -> str:
    """Returns the URL of a database file that does not exist yet."""
    return f"{dialect}:///{folder / f'tells{secret}.{dialect}'}"
