"""A catalog from DDL text, for deciding about statements where no database is at hand."""

from __future__ import annotations

from dataclasses import replace

from guardrails.catalog.postgres_placed import OWN_COLUMNS
from guardrails.model import Catalog, DialectName, Relation

__all__ = ["from_ddl"]


def from_ddl(text: str, dialect: DialectName) -> Catalog:
    """Reads a catalog from `CREATE TABLE`, `CREATE VIEW` and `CREATE INDEX` statements.

    Args:
        text: Statements separated by semicolons.
        dialect: Whose SQL it is.

    Raises:
        CatalogError: The text does not parse (``usage.input_invalid``).
    """
    # Here and not above: reading a live catalog needs no parser.
    from guardrails.sql.ddl import catalog_from_ddl

    catalog = catalog_from_ddl(text, dialect)
    if dialect != "postgres":
        return catalog
    # A dump brings along what the guard set up, which exists for nobody else.
    relations = {key: _without_own(r) for key, r in catalog.relations.items() if r.schema != "guardrails"}
    return replace(catalog, relations=relations)


def _without_own(relation: Relation) -> Relation:
    return replace(relation, columns=tuple(c for c in relation.columns if not c.name.startswith(OWN_COLUMNS)))
