"""Ledgers that live in the guarded database itself, and what belongs to them: nobody's to read or change through the guard.

A guard whose ledger is in the database that it guards has the rights of a ledger's writer there. A policy that allows every relation
must not hand them on, so a schema that holds a ledger's tables is taken out of what statements can name.
"""

from __future__ import annotations

from dataclasses import replace

from guardrails.model import Catalog

__all__ = ["without_ledgers"]

_OURS: tuple[tuple[str, frozenset[str]], ...] = (
    ("", frozenset({"entries", "tiles", "head", "open_intents", "secrets"})),
    ("_approvals", frozenset({"about", "requests", "votes", "reviews"})),
    ("_console", frozenset({"state", "entries", "sessions", "links", "rules", "tallies"})),
    ("_console", frozenset({"console_tickets"})),
)
"""How the schemas of a ledger, its approvals and its console are known: by the end of their name, and by all of these tables."""


def without_ledgers(catalog: Catalog) -> Catalog:
    """Returns a catalog that knows no schema in which there are all tables of a ledger, its approvals or its console."""
    names: dict[str, set[str]] = {}
    for relation in catalog.relations.values():
        names.setdefault(relation.schema or catalog.default_schema, set()).add(relation.name)
    ledgers = {
        schema for schema, found in names.items() if any(schema.endswith(end) and found >= tables for end, tables in _OURS)
    }
    if not ledgers:
        return catalog
    kept = {
        key: relation
        for key, relation in catalog.relations.items()
        if (relation.schema or catalog.default_schema) not in ledgers
    }
    return replace(catalog, relations=kept)
