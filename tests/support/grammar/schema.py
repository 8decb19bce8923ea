"""The schema that generated statements are valid for: tables by kind of column, views, a view on a view, and small rows.

Column names repeat over the tables, some names need quotes, one is a reserved word, one table lies in another schema where the engine
has schemas, and one is partitioned where the engine can.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from guardrails.proving.grammar import Flavour, Hierarchy, Schema, quoted

__all__ = ["KEYS", "TABLES", "VIEWS", "VIEW_COLUMNS", "ddl", "rows", "schema_of"]

TABLES: Mapping[str, Mapping[str, str]] = {
    "customers": {
        "id": "int",
        "name": "text",
        "email": "text",
        "region": "text",
        "credit": "int",
        "born": "date",
        "joined": "ts",
        "active": "bool",
        "profile": "json",
        "scores": "arr",
    },
    "orders": {
        "id": "int",
        "customer_id": "int",
        "status": "text",
        "amount": "num",
        "region": "text",
        "placed": "date",
        "paid_at": "ts",
        "detail": "json",
    },
    "Order Lines": {
        "Id": "int",
        "order_id": "int",
        "Sku": "text",
        "Qty": "int",
        "price": "num",
        "order": "text",
        "gift": "bool",
    },
    "employees": {"id": "int", "name": "text", "salary": "num", "boss_id": "int", "Dept": "text", "hired": "date"},
    "events": {"id": "int", "at": "ts", "kind": "text", "payload": "json", "customer_id": "int", "ratings": "arr"},
    "sales.targets": {"region": "text", "year": "int", "goal": "num", "note": "text"},
}
"""Relation by name (`schema.name` outside the default schema), with the kind of each column. The first column is the key."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "customers": ("id",),
    "orders": ("id",),
    "Order Lines": ("Id",),
    "employees": ("id",),
    "sales.targets": ("region", "year"),
}

VIEWS: Mapping[str, str] = {
    "active_customers": "SELECT id, name, email, region FROM customers WHERE active AND credit > 5",
    "Big Orders": 'SELECT o.id AS "Id", o.amount, o.placed, l."Sku" FROM orders o JOIN "Order Lines" l ON l.order_id = o.id'
    " WHERE o.amount > 20",
    "active_spending": "SELECT a.region, a.name, sum(o.amount) AS total, count(*) AS n FROM active_customers a"
    " JOIN orders o ON o.customer_id = a.id GROUP BY a.region, a.name",
}
"""Definitions that every engine takes, identifiers quoted with double quotes."""

VIEW_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "active_customers": {"id": "int", "name": "text", "email": "text", "region": "text"},
    "Big Orders": {"Id": "int", "amount": "num", "placed": "date", "Sku": "text"},
    "active_spending": {"region": "text", "name": "text", "total": "num", "n": "int"},
}

_WORDS = ["ada", "bob", "Cyd", "EU", "US", "APAC", "open", "paid", "a-1", "x_2", ""]

_DEFAULT_SCHEMAS = {"postgres": "public", "mysql": "gr_main"}


def schema_of(flavour: Flavour) -> Schema:
    """Returns the part of the schema that an engine can have."""
    tables = {
        name: {c: k for c, k in columns.items() if k in flavour.types}
        for name, columns in TABLES.items()
        if flavour.has_schemas or "." not in name
    }
    return Schema(
        tables,
        VIEW_COLUMNS,
        KEYS,
        _DEFAULT_SCHEMAS.get(flavour.name, "main"),
        "gr_main.orders" if flavour.name == "mysql" else "events",
        "oo.id",
        ("customers", "orders", "Picked", "employees"),
        Hierarchy("employees", "id", "name", "boss_id"),
        frozenset({"order", "at", "year", "kind"}),
        frozenset({"id"}),
        frozenset({"id", "at"}),
    )


def ddl(flavour: Flavour) -> list[str]:
    """Returns the statements that make the schema, in order."""
    made = []
    for table, columns in flavour.tables().items():
        parts = [f"{quoted(c, flavour)} {flavour.types[k]}" for c, k in columns.items()]
        if table in KEYS:
            parts.append(f"PRIMARY KEY ({', '.join(quoted(c, flavour) for c in KEYS[table])})")
        if table == "orders":
            parts.append("FOREIGN KEY (customer_id) REFERENCES customers (id)")
        is_split = table == "events" and "partitions" in flavour.features
        partition = " PARTITION BY RANGE (at)" if is_split else ""
        made.append(f"CREATE TABLE {flavour.spell(table)} ({', '.join(parts)}){partition}")
    for view, definition in VIEWS.items():
        text = definition.replace('"', flavour.quotes[0][0])
        made.append(f"CREATE VIEW {flavour.spell(view)} AS {text}")
    return [*(["CREATE SCHEMA sales"] if flavour.has_schemas else []), *made, *flavour.setup]


def rows(count: int = 10, seed: int = 5) -> Iterator[tuple[str, list[object]]]:
    """Yields (table, values in the columns' order); JSON as text, arrays as lists, times as ISO 8601 text."""
    source = random.Random(seed)
    for table, columns in TABLES.items():
        for number in range(1, count + 1):
            yield table, [_value(name, kind, number, count, source) for name, kind in columns.items()]


def _value(name: str, kind: str, number: int, count: int, source: random.Random) -> object:
    if name.lower() == "id":
        return number
    if name == "year":
        return 2020 + number
    if name not in ("region", "at") and source.random() < 0.15:
        return None
    day = f"2026-{source.randint(1, 12):02d}-{source.randint(1, 28):02d}"
    made: dict[str, object] = {
        "text": source.choice(["EU", "US", "APAC"]) if name == "region" else source.choice(_WORDS),
        "int": source.randint(1, count) if name.endswith("_id") else source.choice([0, 1, 5, 7, 21, 100]),
        "num": source.choice([0, 1, 5.25, 20.5, 99.99]),
        "date": day,
        "ts": f"{day} {source.randint(0, 23):02d}:{source.randint(0, 59):02d}:00",
        "bool": source.random() < 0.5,
        "json": source.choice(['{"a": 1, "b": {"c": "x"}}', '{"a": [1, 2, 3], "t": null}', "[1, 2, 3]", '{"a": "ada"}']),
        "arr": [source.randint(1, 9) for _ in range(source.randint(0, 3))],
    }
    return made[kind]
