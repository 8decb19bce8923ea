"""A small shop with the same rows on SQLite and PostgreSQL: customers, orders, employees, two views, and a table with a trigger."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg

__all__ = ["POSTGRES_SHOP", "SQLITE_SHOP", "make_postgres_shop", "make_sqlite_shop"]

_TABLES = """
CREATE TABLE customers (
    id {key}, name TEXT NOT NULL, email TEXT UNIQUE, ssn TEXT, region TEXT NOT NULL, created_at {time}
);
CREATE TABLE orders (
    id {key}, customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    amount NUMERIC(10, 2) NOT NULL CHECK (amount >= 0), status TEXT NOT NULL, region TEXT NOT NULL, created_at {time}
);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE TABLE employees (id {key}, name TEXT NOT NULL, salary INTEGER NOT NULL);
CREATE TABLE tickets (id {key}, body TEXT NOT NULL);
CREATE TABLE ticket_log (body TEXT);
CREATE VIEW customer_names AS SELECT id, name FROM customers;
CREATE VIEW customer_emails AS SELECT id, email AS address FROM customers WHERE region <> 'hidden';
"""

_ROWS = """
INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.com', '078-05-1120', 'north', '2026-01-05 10:00:00'),
    (2, 'Bo', 'bo@example.com', '219-09-9999', 'south', '2026-02-06 11:30:00'),
    (3, 'Cy', NULL, NULL, 'north', '2026-03-07 12:45:00');
INSERT INTO orders VALUES
    (1, 1, 10.50, 'paid', 'north', '2026-04-01 09:00:00'), (2, 1, 20.00, 'open', 'north', '2026-04-02 09:00:00'),
    (3, 2, 30.25, 'paid', 'south', '2026-04-03 09:00:00'), (4, 3, 0.00, 'open', 'north', '2026-04-04 09:00:00');
INSERT INTO employees VALUES (1, 'Dee', 90000), (2, 'Eli', 70000);
INSERT INTO tickets VALUES (1, 'Please call me back');
"""

SQLITE_SHOP = (
    _TABLES.format(key="INTEGER PRIMARY KEY", time="TEXT NOT NULL")
    + "CREATE TRIGGER tickets_logged AFTER UPDATE ON tickets BEGIN INSERT INTO ticket_log VALUES (new.body); END;\n"
    + _ROWS
)

POSTGRES_SHOP = (
    _TABLES.format(key="INTEGER PRIMARY KEY", time="TIMESTAMP NOT NULL")
    + """
CREATE FUNCTION log_ticket() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.ticket_log VALUES (new.body); RETURN new; END $$;
CREATE TRIGGER tickets_logged AFTER UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION log_ticket();
"""
    + _ROWS
)


def make_sqlite_shop(path: Path) -> Path:
    """Creates the shop in a new file; returns its path."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(f"PRAGMA synchronous = OFF; BEGIN; {SQLITE_SHOP} COMMIT;")
    finally:
        connection.close()
    return path


def make_postgres_shop(url: str) -> str:
    """Creates the shop in an empty database; returns its URL."""
    with psycopg.connect(url) as connection:
        connection.execute(POSTGRES_SHOP)
    return url
