"""Which views a policy asks for in a schema: one for each table whose rows are filtered. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from guardrails.model import Relation
from guardrails.policy import BoundPolicy
from guardrails.sql.barriers import barrier_name

__all__ = ["WantedView", "wanted_views"]

_KINDS = ("table", "materialized_view")


@dataclass(frozen=True, slots=True)
class WantedView:
    """A view for a relation, which holds all of its filters: its own and those of what it inherits from."""

    key: str
    relation: Relation
    predicates: tuple[str, ...]

    @property
    def name(self) -> str:
        return barrier_name(self.relation, self.predicates)


def wanted_views(policy: BoundPolicy) -> Iterator[WantedView]:
    """Yields the views by relation. A principal who is exempt from one filter of several gets the fence instead.

    Args:
        policy: Bound to the schema of the database.
    """
    for key, relation in sorted(policy.catalog.relations.items()):
        held = [row.row_filter for row in policy.rows if policy.reach.is_within(key, row.row_filter.relation)]
        if held and relation.kind in _KINDS:
            # In the order of the obligations.
            yield WantedView(key, relation, tuple(sorted(f.predicate for f in held)))
