"""Twin databases for bulk runs: the corpus' schema and the grammar's, the same rows twice except in protected columns."""

from __future__ import annotations

from tests.support.interference.pairs import Outcome, Pair
from tests.support.interference.schemas import SCHEMAS, Schema
from tests.support.interference.stores import open_pair

__all__ = ["SCHEMAS", "Outcome", "Pair", "Schema", "open_pair"]
