"""A catalog from DDL text, for deciding about statements where no database is at hand."""

from __future__ import annotations

from guardrails.model import Catalog, DialectName

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

    return catalog_from_ddl(text, dialect)
