"""A shop with everything that a copy of a schema and its rows has to meet, in the words of each engine, and a policy over it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import duckdb
import psycopg

from tests.support.mysql import run

__all__ = ["FILTER_POLICY", "POLICY", "SMALL_POLICY", "make"]

_COMMON = (
    "CREATE TABLE regions (code VARCHAR(8) PRIMARY KEY, title VARCHAR(40) NOT NULL)",
    """CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(60) UNIQUE, ssn VARCHAR(20) NOT NULL UNIQUE,
       credit INTEGER, balance DECIMAL(10, 2), born DATE, region VARCHAR(8) REFERENCES regions (code), vip BOOLEAN NOT NULL,
       boss_id INTEGER REFERENCES customers (id), CHECK (length(name) > 1))""",
    """CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), amount DECIMAL(10, 2) NOT NULL,
       status VARCHAR(10) NOT NULL, placed TIMESTAMP, note VARCHAR(80), CHECK (amount >= 0), CHECK (status IN ('open', 'paid', 'sent')))""",
    """CREATE TABLE order_lines (order_id INTEGER NOT NULL REFERENCES orders (id), number INTEGER NOT NULL, sku VARCHAR(12) NOT NULL,
       quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 9), PRIMARY KEY (order_id, number))""",
    "CREATE INDEX customers_name ON customers (name)",
    "CREATE INDEX orders_customer ON orders (customer_id, status)",
    "CREATE VIEW spending AS SELECT c.id, c.name, c.email, sum(o.amount) AS total FROM customers c JOIN orders o ON o.customer_id = c.id"
    " GROUP BY c.id, c.name, c.email",
)
_MORE = {
    "postgres": (
        "CREATE SCHEMA hr",
        "CREATE TYPE mood AS ENUM ('calm', 'cross')",
        "CREATE DOMAIN hr.money AS numeric(8, 2) CHECK (VALUE >= 0)",
        "CREATE SEQUENCE hr.numbers",
        """CREATE TABLE hr.staff (id integer PRIMARY KEY DEFAULT nextval('hr.numbers'), "Full Name" text NOT NULL, salary hr.money, mood mood,
           tags text[], token uuid NOT NULL, doubled numeric GENERATED ALWAYS AS (salary * 2) STORED, at timestamptz)""",
        """CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, kind text, who integer REFERENCES customers (id))
           PARTITION BY RANGE (at)""",
        "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2025-07-01')",
        "CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2025-07-01') TO ('2026-07-01')",
        "CREATE TABLE notes (id integer PRIMARY KEY, body text)",
        "CREATE TABLE urgent_notes (level integer) INHERITS (notes)",
        "CREATE MATERIALIZED VIEW counted AS SELECT kind, count(*) AS n FROM events GROUP BY kind",
        "CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)'",
        "CREATE INDEX notes_shouted ON notes (shout(body))",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER touched BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION touch()",
    ),
    "sqlite": (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, size INTEGER GENERATED ALWAYS AS (length(body)) VIRTUAL)",
        "CREATE TRIGGER noted AFTER INSERT ON notes BEGIN UPDATE notes SET body = body; END",
    ),
    "mysql": (
        "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, body TEXT, mood ENUM('calm', 'cross') NOT NULL)",
        "CREATE TRIGGER noted BEFORE INSERT ON notes FOR EACH ROW SET new.body = trim(new.body)",
    ),
    "duckdb": (
        "CREATE TYPE mood AS ENUM ('calm', 'cross')",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR, mood mood, marks INTEGER[])",
        "CREATE MACRO twice(x) AS x * 2",
    ),
}
_ROW = (
    "INSERT INTO regions VALUES ('EU', 'SECRET REGION')",
    "INSERT INTO customers VALUES (1, 'SECRET NAME', 'secret@real.example', 'SECRET', 1, 1, NULL, 'EU', true, NULL)",
)
"""Real rows, of which nothing may come into the twins."""

POLICY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: ["*", "*.*"], principals: {groups: [support]}}
columns:
  customers.ssn: {mask: full}
  customers.email: {mask: email}
  customers.name: {mask: pseudonym}
  orders.note: {mask: deny}
rows:
  orders: "status IN ('open', 'paid') AND amount < principal.most"
limits: {rows: 1000, seconds: 10}
"""
SMALL_POLICY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers, regions]}
columns:
  customers.credit: {mask: "null"}
"""
"""One protected column and no filter: two twins, and a few statements."""
FILTER_POLICY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders]}
rows:
  orders: "status = 'open'"
"""


def make(url: str) -> str:
    """Makes the shop in an empty database and returns its URL."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in (*_COMMON, *_MORE["sqlite"], *_ROW):
                connection.execute(statement)
            connection.commit()
    elif url.startswith("duckdb"):
        with closing(duckdb.connect(url.removeprefix("duckdb:///"))) as making:
            for statement in (*_COMMON, *_MORE["duckdb"], *_ROW):
                making.execute(statement)
    elif url.startswith("mysql"):
        run(url, *_COMMON, *_MORE["mysql"], *_ROW)
    else:
        with psycopg.connect(url) as writing:
            for statement in (*_COMMON, *_MORE["postgres"], *_ROW):
                writing.execute(statement.encode())
    return url
