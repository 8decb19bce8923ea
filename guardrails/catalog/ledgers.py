"""Ledgers that live in the guarded database itself, and what belongs to them: nobody's to read or change through the guard.

A guard whose ledger is in the database that it guards has the rights of a ledger's writer there. A policy that allows every relation
must not hand them on, so a schema that holds a ledger's tables is taken out of what statements can name.
"""

from __future__ import annotations

from dataclasses import replace

from guardrails.model import Catalog

__all__ = ["without_ledgers"]

_OURS = (
    frozenset({"entries", "tiles", "head", "open_intents", "secrets"}),
    frozenset({"about", "requests", "votes", "reviews"}),
    frozenset({"state", "entries", "sessions", "links", "rules", "tallies"}),
)
"""Tables by which a schema of ours is known: a ledger's, its approvals', and what the console has counted."""
_CONSOLE, _SIGN_INS = "_console", "console_tickets"


def without_ledgers(catalog: Catalog) -> Catalog:
    """Returns a catalog that knows no schema in which there are all tables of a ledger, its approvals or its console."""
    names: dict[str, set[str]] = {}
    for relation in catalog.relations.values():
        names.setdefault(relation.schema or catalog.default_schema, set()).add(relation.name)
    ledgers = {schema for schema, found in names.items() if any(found >= tables for tables in _OURS)}
    # A console that has counted nothing yet has only its sign-ins; the name keeps users' own tables of that name theirs.
    ledgers |= {schema for schema, found in names.items() if schema.endswith(_CONSOLE) and _SIGN_INS in found}
    if not ledgers:
        return catalog
    kept = {
        key: relation
        for key, relation in catalog.relations.items()
        if (relation.schema or catalog.default_schema) not in ledgers
    }
    return replace(catalog, relations=kept)
