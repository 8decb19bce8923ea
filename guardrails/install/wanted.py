"""What a policy asks for in a schema: a view for each filtered table, a generated column for each mask that says so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guardrails.catalog import OWN_COLUMNS
from guardrails.masking import mask_expression
from guardrails.model import Column, Mask, PlacedColumn, Relation
from guardrails.policy import BoundPolicy
from guardrails.sql.barriers import barrier_name

__all__ = ["HELD_KINDS", "WantedColumn", "WantedView", "wanted_columns", "wanted_views"]

HELD_KINDS = ("table", "materialized_view")
"""Kinds of relations whose rows a view can hold back."""
_BYTES_OF_TEXT = ("convert_to(CAST({0} AS text), 'UTF8')", r"CAST(replace(CAST({0} AS text), '\', '\\') AS bytea)")
"""Of the first PostgreSQL does not know that it never changes; in a database in UTF-8 the second gives the same."""


@dataclass(frozen=True, slots=True)
class WantedView:
    """A view for a relation, which holds all of its filters: its own and those of what it inherits from.

    `own` are the guard's own columns in the relation, which it passes on.
    """

    key: str
    relation: Relation
    predicates: tuple[str, ...]
    own: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return barrier_name(self.relation, self.predicates)


@dataclass(frozen=True, slots=True)
class WantedColumn:
    """A generated column for a mask: its name, and the expression; one with a key has the key's bytes in it."""

    key: str
    relation: Relation
    mask: Mask
    name: str
    type: str
    expression: str
    has_key: bool


def wanted_views(policy: BoundPolicy, columns: Iterable[PlacedColumn]) -> Iterator[WantedView]:
    """Yields the views by relation. A principal who is exempt from one filter of several gets the fence instead.

    Args:
        policy: Bound to the schema of the database.
        columns: The guard's own columns there.
    """
    own = list(columns)
    for key, relation in sorted(policy.catalog.relations.items()):
        held = [row.row_filter for row in policy.rows if policy.reach.is_within(key, row.row_filter.relation)]
        if held and relation.kind in HELD_KINDS:
            names = tuple(c.name for c in own if c.base == (relation.schema, relation.name))
            # In the order of the obligations.
            yield WantedView(key, relation, tuple(sorted(f.predicate for f in held)), names)


def wanted_columns(policy: BoundPolicy, mask_key: bytes) -> Iterator[WantedColumn]:
    """Yields the columns that masks with `place: column` ask for.

    Args:
        policy: Bound to the schema of the database.
        mask_key: The key that keyed masks take.
    """
    for bound in policy.columns:
        ref = bound.mask.column
        relation = policy.catalog.relations[ref.relation]
        column = next(c for c in relation.columns if c.name == ref.column)
        if bound.is_placed and bound.mask.kind != "deny":
            text, has_key = _expression(bound.mask, column, mask_key)
            yield WantedColumn(ref.relation, relation, bound.mask, f"{OWN_COLUMNS}{ref.column}", column.type, text, has_key)


def _expression(mask: Mask, column: Column, mask_key: bytes) -> tuple[str, bool]:
    """The mask as an expression without bound values, of functions that the engine knows to be immutable."""
    masked = mask_expression(mask, column, "postgres", mask_key)
    changing, immutable = (form.format('"__column__"') for form in _BYTES_OF_TEXT)
    text = masked.sql.replace(changing, immutable)
    for name, value in masked.bindings.items():
        if not isinstance(value, bytes):
            continue
        text = text.replace(f":{name} ", f"'\\x{value.hex()}' ")
    quoted = column.name.replace('"', '""')
    return text.replace('"__column__"', f'"{quoted}"'), bool(masked.bindings)
