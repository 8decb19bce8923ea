"""What of the schema a principal may see, and how: which columns show masked values, whether rows are left out, whether people are asked.

It follows from the decision about reading each relation, so it says what a SELECT would get; nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from guardrails.model import (
    Access,
    Column,
    ColumnRef,
    Context,
    Decision,
    Effect,
    OutputColumn,
    Principal,
    Relation,
    RelationUse,
)
from guardrails.policy.binding import BoundPolicy
from guardrails.policy.decide import decide
from guardrails.policy.visible import visible
from guardrails.sql import relation_access

__all__ = ["SeenColumn", "SeenRelation", "seen"]


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """A column that may be selected; `mask` is the kind of what is shown in place of its values, None when they are shown."""

    column: Column
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class SeenRelation:
    """A relation as one principal sees it.

    Args:
        key: Its relation key.
        relation: Its description, with everything that it has; show `columns` and `primary_key` instead.
        columns: Those that may be selected, in their order.
        effect: Whether reading all of these is allowed, or has to be approved.
        is_filtered: Some rows may be left out.
    """

    key: str
    relation: Relation
    columns: tuple[SeenColumn, ...]
    effect: Effect = "allow"
    is_filtered: bool = False

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns; empty when a part of it is not seen."""
        names = {c.column.name for c in self.columns}
        return self.relation.primary_key if names.issuperset(self.relation.primary_key) else ()


def seen(policy: BoundPolicy, principal: Principal, context: Context) -> tuple[SeenRelation, ...]:
    """Describes what a principal may select from.

    Args:
        policy: The policy, bound to the schema.
        principal: On whose behalf.
        context: Agent, session, purpose.
    """
    shown = visible(policy, principal, context).items()
    return tuple(_relation(policy, principal, context, key, names) for key, names in shown)


def _relation(policy: BoundPolicy, principal: Principal, context: Context, key: str, names: tuple[str, ...]) -> SeenRelation:
    relation = policy.catalog.relations[key]
    access = _reading(policy, key, relation)
    sources = {o.name: {*o.sources, ColumnRef(key, o.name)} for o in access.returned}

    def decided(wanted: tuple[str, ...]) -> Decision:
        reads = tuple(r for r in access.reads if r.relation != key or r.column in wanted)
        return decide(replace(access, reads=reads), policy, principal, context)

    # What is permitted column by column may not be permitted together.
    together = decided(names)
    decisions = [together] if together.effect != "deny" else [decided((name,)) for name in names]
    masks = {mask.column: mask.kind for decision in decisions for mask in decision.obligations.masks}
    columns = tuple(SeenColumn(c, _mask(sources.get(c.name, set()), masks)) for c in relation.columns if c.name in names)
    is_free = all(decision.effect == "allow" for decision in decisions)
    is_filtered = any(decision.obligations.row_filters for decision in decisions)
    return SeenRelation(key, relation, columns, "allow" if is_free else "approve", is_filtered)


def _reading(policy: BoundPolicy, key: str, relation: Relation) -> Access:
    if relation.kind in ("view", "materialized_view"):
        return relation_access(policy.catalog, key)
    reads = tuple(ColumnRef(key, c) for c in relation.column_names)
    returned = tuple(OutputColumn(c.column, (c,)) for c in reads)
    return Access("select", ("select",), (RelationUse(key, "select"),), reads, returned=returned)


def _mask(sources: set[ColumnRef], masks: Mapping[ColumnRef, str]) -> str | None:
    return next((masks[source] for source in sorted(sources) if source in masks), None)
