"""A database that is known by its schema alone: the guard judges by it, and only an upstream server can reach it.

The schema is as good as its file: a column that the file does not have is refused, and one that has become another is not noticed. A
live database is the better source wherever the gateway can reach it.
"""

from __future__ import annotations

from typing import NoReturn

from guardrails.catalog.ledgers import without_ledgers
from guardrails.errors import EngineError
from guardrails.model import Catalog, DialectName, Execution, Plan

__all__ = ["DescribedDatabase"]


class DescribedDatabase:
    """What `Guard.open` takes as `database` for a gateway whose upstream servers alone reach it. Nothing runs on it.

    Args:
        catalog: The schema, as `guardrails.catalog.from_ddl` reads it.
        name: A label of the database for the ledger.
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = without_ledgers(catalog)
        self.name = name

    @property
    def dialect(self) -> DialectName:
        """Whose SQL it speaks."""
        return self._catalog.dialect

    def catalog(self) -> Catalog:
        """Returns the schema."""
        return self._catalog

    def execute(self, plan: Plan) -> Execution:
        """Raises EngineError (``engine.refused``): it cannot be reached from here."""
        self._refuse(plan)

    def rehearse(self, plan: Plan) -> Execution:
        """Raises as `execute`; approvers are told that what a change would do is not known."""
        self._refuse(plan)

    def dispose(self) -> None:
        """Does nothing; there is no connection."""

    def _refuse(self, _: Plan) -> NoReturn:
        hint = "Only the upstream server can run statements; an administrator can name a live database."
        raise EngineError("engine.refused", "The database is known by its schema alone.", hint=hint)
