"""What belongs to a ledger is out of reach of statements, and what only looks a little like it is not."""

from __future__ import annotations

import pytest

from guardrails.catalog.ledgers import without_ledgers
from guardrails.model import Catalog, Column, Relation

LEDGER = ("entries", "tiles", "head", "open_intents", "secrets")


def relations_left(**schemas: tuple[str, ...]) -> set[str]:
    made = {
        f"{schema}.{name}": Relation(schema, name, "table", (Column("a"),))
        for schema, names in schemas.items()
        for name in names
    }
    return set(without_ledgers(Catalog("postgres", "public", made)).relations)


@pytest.mark.parametrize(
    ("schema", "tables"),
    [
        ("log", (*LEDGER, "alembic_version")),
        ("log_approvals", ("about", "requests", "votes", "reviews")),
        ("log_console", ("state", "kinds", "people", "entries", "sessions", "links", "rules", "tallies")),
        ("log_console", ("console_tickets",)),
    ],
)
def test_what_belongs_to_a_ledger_cannot_be_named(schema: str, tables: tuple[str, ...]) -> None:
    assert relations_left(**{schema: tables, "shop": ("orders",)}) == {"shop.orders"}


@pytest.mark.parametrize(
    ("schema", "tables"),
    [
        ("shop", ("about", "requests", "votes", "reviews")),
        ("my_approvals", ("requests", "votes")),
        ("shop", ("console_tickets",)),
        ("my_console", ("entries",)),
        ("log", LEDGER[1:]),
    ],
)
def test_tables_of_users_stay(schema: str, tables: tuple[str, ...]) -> None:
    assert relations_left(**{schema: tables}) == {f"{schema}.{name}" for name in tables}
