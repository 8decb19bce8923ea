"""The shop of `tests.support.schema` on each database, by URL."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tests.support.mysql import fill_shop
from tests.support.schema import make_postgres_shop

__all__ = ["ENGINES", "make_duckdb_shop", "shop_url"]

ENGINES = ("sqlite", "postgres", "mysql", "duckdb")

_DUCKDB_SHOP = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, email VARCHAR UNIQUE, ssn VARCHAR, region VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), amount DECIMAL(10, 2) NOT NULL CHECK (amount >= 0),
    status VARCHAR NOT NULL, region VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE employees (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, salary INTEGER NOT NULL);
CREATE VIEW customer_names AS SELECT id, name FROM customers;
INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.com', '078-05-1120', 'north', '2026-01-05 10:00:00'),
    (2, 'Bo', 'bo@example.com', '219-09-9999', 'south', '2026-02-06 11:30:00'),
    (3, 'Cy', NULL, NULL, 'north', '2026-03-07 12:45:00');
INSERT INTO orders VALUES
    (1, 1, 10.50, 'paid', 'north', '2026-04-01 09:00:00'), (2, 1, 20.00, 'open', 'north', '2026-04-02 09:00:00'),
    (3, 2, 30.25, 'paid', 'south', '2026-04-03 09:00:00'), (4, 3, 0.00, 'open', 'north', '2026-04-04 09:00:00');
INSERT INTO employees VALUES (1, 'Dee', 90000), (2, 'Eli', 70000);
"""


def make_duckdb_shop(path: Path) -> Path:
    """Creates the shop in a new file; returns its path."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(_DUCKDB_SHOP)
    return path


def shop_url(request: pytest.FixtureRequest, engine: str) -> str:
    """Returns the URL of a fresh shop, or skips the test where the engine is missing."""
    match engine:
        case "sqlite":
            return f"sqlite:///{request.getfixturevalue('sqlite_path')}"
        case "postgres":
            return make_postgres_shop(request.getfixturevalue("postgres_db"))
        case "mysql":
            url: str = request.getfixturevalue("new_mariadb")()
            fill_shop(url)
            return url
        case _:
            return f"duckdb:///{make_duckdb_shop(request.getfixturevalue('tmp_path') / 'shop.duckdb')}"
