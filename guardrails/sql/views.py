"""A view as its resolved definition: what it reads, and the tree that stands in for it when its base relations are protected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from guardrails.model import ColumnRef, Relation, RelationUse
from guardrails.sql.scope import Output

__all__ = ["ViewDefinition", "ViewLookup"]


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """A view's definition with every name bound, its columns in the view's order, and everything that it touches."""

    key: str
    tree: exp.Expr
    outputs: tuple[Output, ...]
    uses: frozenset[RelationUse]
    reads: frozenset[ColumnRef]
    functions: frozenset[str]


ViewLookup = Callable[[str, Relation], ViewDefinition]
