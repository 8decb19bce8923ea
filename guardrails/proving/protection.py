"""What a policy hides from one principal: the columns that it masks, the rows that it filters, and what of a value a mask keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guardrails.masking import MASK_KINDS
from guardrails.model import Access, ColumnRef, Context, Mask, Principal, RelationUse, RowFilter
from guardrails.policy import BoundPolicy
from guardrails.policy.obligations import masks_for, row_filters_for

__all__ = ["KEPT_EQUAL", "Protection", "is_independent", "protection_of"]

KEPT_EQUAL: Mapping[str, str] = {
    "pseudonym": "pseudonym shows which values are equal",
    "hash": "hash shows which values are equal",
    "noise": "noise shows about how large a value is",
    "shift": "shift shows the time between values",
}
"""Masks under which different values necessarily show differently, with what they show."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What is hidden: masks of tables' columns and of views' own columns, and row filters by relation key."""

    masks: Mapping[ColumnRef, Mask]
    view_masks: tuple[ColumnRef, ...]
    filters: Mapping[str, tuple[RowFilter, ...]]

    def __bool__(self) -> bool:
        return bool(self.masks or self.filters)


def is_independent(mask: Mask) -> bool:
    """Whether what a mask shows depends on nothing of the value."""
    return mask.kind == "deny" or not MASK_KINDS[mask.kind].keeps_null


def protection_of(policy: BoundPolicy, principal: Principal, context: Context) -> Protection:
    """Returns what the policy hides from a principal in the whole schema."""
    relations = policy.catalog.relations
    everything = Access("select", ("select",), tuple(RelationUse(key, "select") for key in relations))
    tables = {key for key, relation in relations.items() if relation.kind == "table"}
    masks = {mask.column: mask for mask in masks_for(everything, policy, principal, context)}
    filters: dict[str, tuple[RowFilter, ...]] = {}
    for found in row_filters_for(everything, policy, principal, context)[0]:
        if found.relation in tables:
            filters[found.relation] = (*filters.get(found.relation, ()), found)
    return Protection(
        {ref: mask for ref, mask in masks.items() if ref.relation in tables},
        tuple(ref for ref in masks if ref.relation not in tables),
        filters,
    )
