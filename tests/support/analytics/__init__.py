"""Placeholder until the corpus is written."""
from __future__ import annotations
from tests.support.tpc import Table
CORPUS = "analytics"
def queries(engine: str) -> list[tuple[str, str]]:
    return []
def tables(engine: str) -> list[Table]:
    return []
