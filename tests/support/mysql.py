"""MariaDB for tests: fresh databases, and plain connections whose session reads SQL as the guard's does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from sqlalchemy.engine import make_url

__all__ = ["MYSQL_SHOP", "SETTLED_TIES", "connect", "fill_shop", "new_database", "own_database", "run", "without_relations"]

MYSQL_SHOP = (
    """CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, email VARCHAR(80) UNIQUE, ssn VARCHAR(20),
       region VARCHAR(20) NOT NULL, created_at DATETIME NOT NULL)""",
    """CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL, amount DECIMAL(10, 2) NOT NULL CHECK (amount >= 0),
       status VARCHAR(20) NOT NULL, region VARCHAR(20) NOT NULL, created_at DATETIME NOT NULL, KEY orders_customer (customer_id),
       CONSTRAINT orders_of FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE)""",
    "CREATE TABLE employees (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, salary INT NOT NULL)",
    "CREATE TABLE tickets (id INT PRIMARY KEY, body VARCHAR(200) NOT NULL)",
    "CREATE TABLE ticket_log (body VARCHAR(200))",
    "CREATE VIEW customer_names AS SELECT id, name FROM customers",
    "CREATE VIEW customer_emails AS SELECT id, email AS address FROM customers WHERE region <> 'hidden'",
    "CREATE TRIGGER tickets_logged AFTER UPDATE ON tickets FOR EACH ROW INSERT INTO ticket_log VALUES (new.body)",
    "CREATE TRIGGER tickets_tidied BEFORE INSERT ON tickets FOR EACH ROW SET new.body = TRIM(new.body)",
    """INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com', '078-05-1120', 'north', '2026-01-05 10:00:00'),
       (2, 'Bo', 'bo@example.com', '219-09-9999', 'south', '2026-02-06 11:30:00'), (3, 'Cy', NULL, NULL, 'north', '2026-03-07 12:45:00')""",
    """INSERT INTO orders VALUES (1, 1, 10.50, 'paid', 'north', '2026-04-01'), (2, 1, 20.00, 'open', 'north', '2026-04-02'),
       (3, 2, 30.25, 'paid', 'south', '2026-04-03'), (4, 3, 0.00, 'open', 'north', '2026-04-04')""",
    "INSERT INTO employees VALUES (1, 'Dee', 90000), (2, 'Eli', 70000)",
    "INSERT INTO tickets VALUES (1, 'Please call me back')",
)
"""The shop of `tests.support.schema`, one statement an item; a second trigger changes its own row only."""

SETTLED_TIES = "SET SESSION tmp_memory_table_size = 0"
"""A setting under which MariaDB sorts equals the same way in every session.

It sorts the rows of its temporary tables by their place where keys are equal. In memory that is an address, which differs from
session to session (4 orders in 20 sessions for one statement on one database); in a file it is the order in which they came.
"""

_MODES = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


def connect(url: str, first: str | None = None) -> pymysql.Connection[Any]:
    """Opens a connection of PyMySQL's in autocommit mode; `first` is run on it at once."""
    target = make_url(url)
    return pymysql.connect(
        host=target.host,
        port=target.port or 3306,
        user=target.username,
        password=target.password or "",
        database=target.database or None,
        charset="utf8mb4",
        autocommit=True,
        sql_mode=_MODES,
        # Reading the machine's certificates would take ten times as long as the connection.
        ssl_disabled=True,
        init_command=first,
    )


def run(url: str, *statements: str) -> None:
    """Runs statements one after the other."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Makes a fresh empty database on a server, gives its URL, and drops it."""
    name = f"guardrails_{uuid.uuid4().hex[:16]}"
    run(url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        # Whoever forgot to close a transaction on it is told so soon.
        run(url, "SET lock_wait_timeout = 60", f"DROP DATABASE {name}")


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """Makes a database like `new_database`, whose URL names an account that may do anything there and sees no other database.

    A catalog is of all databases that an account sees, so that root's takes the longer the more tests run beside this one.
    """
    with new_database(url) as made:
        target = make_url(made)
        name = target.database
        run(url, f"CREATE USER {name}", f"GRANT ALL ON {name}.* TO {name}")
        try:
            yield target.set(username=name, password=None).render_as_string(hide_password=False)
        finally:
            run(url, f"DROP USER {name}")


def fill_shop(url: str) -> str:
    """Makes the shop in an empty database; returns its URL."""
    run(url, *MYSQL_SHOP)
    return url


def without_relations(url: str) -> None:
    """Drops every table, view and stored function of a database."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("SELECT TABLE_TYPE, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")
        for kind, name in cursor.fetchall():
            cursor.execute(f"DROP {kind if kind in ('VIEW', 'SEQUENCE') else 'TABLE'} `{name}`")
        cursor.execute("SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()")
        for kind, name in cursor.fetchall():
            cursor.execute(f"DROP {kind} `{name}`")
