"""What a permit is bound to: masks, row filters and approval terms. One that cannot be fulfilled is a refusal (XACML 3.0, 7.18)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import get_args
from uuid import UUID

from guardrails.masking import MASK_KINDS
from guardrails.masking.kinds import SUBJECT
from guardrails.model import Access, ApprovalTerms, ColumnRef, Context, Mask, PredicateMode, Principal, RowFilter, Value
from guardrails.policy.binding import BoundPolicy, strictness
from guardrails.policy.schema import ApprovalRule, Exemption, Rule

__all__ = ["approval_terms", "denied_columns", "hidden_rows", "is_exempt", "masks_for", "row_filters_for"]

_SCALARS = (bool, int, float, str, bytes, Decimal, datetime, date, time, UUID)


def is_exempt(exemption: Exemption | None, principal: Principal, context: Context) -> bool:
    """Whether an exemption holds: a group of the person's is named, and the purpose is; what is not given does not restrict."""
    if exemption is None:
        return False
    in_group = not exemption.groups or not principal.groups.isdisjoint(exemption.groups)
    return in_group and (not exemption.purposes or context.purpose in exemption.purposes)


def masks_for(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> tuple[Mask, ...]:
    """Returns the masks of every relation that is touched, however it is reached, sorted by column; of several the strictest."""
    found: dict[ColumnRef, Mask] = {}
    for relation in {use.relation for use in access.relations}:
        for bound in policy.masks_of(relation):
            mask, known = bound.mask, found.get(bound.mask.column)
            if is_exempt(bound.exemption, principal, context):
                continue
            if known is None:
                found[mask.column] = _for(mask, principal)
                continue
            stricter = _for(mask, principal) if strictness(mask.kind) < strictness(known.kind) else known
            found[mask.column] = _narrowed(stricter, mask, known)
    return tuple(sorted(found.values(), key=lambda mask: mask.column))


def _narrowed(stricter: Mask, one: Mask, other: Mask) -> Mask:
    """A mask under which nothing more is told of real values than both let be told."""
    predicate = min(one.predicate, other.predicate, key=get_args(PredicateMode).index)
    min_group = max(one.min_group, other.min_group) if one.min_group and other.min_group else 0
    return replace(stricter, predicate=predicate, min_group=min_group)


def _for(mask: Mask, principal: Principal) -> Mask:
    """A mask that differs from person to person, as this one's."""
    if mask.kind not in MASK_KINDS or not MASK_KINDS[mask.kind].is_personal:
        return mask
    return replace(mask, options=(*mask.options, (SUBJECT, f"{principal.issuer or ''} {principal.id}")))


def denied_columns(access: Access, masks: Iterable[Mask]) -> frozenset[ColumnRef]:
    """Returns the columns with the mask `deny` that are read, or written by a change that names columns."""
    denied = {mask.column for mask in masks if mask.kind == "deny"}
    # DELETE writes every column; that removes values and shows none.
    assigned = {use.relation for use in access.relations if use.action in ("insert", "update", "merge")}
    return frozenset(denied & (set(access.reads) | {c for c in access.writes if c.relation in assigned}))


def row_filters_for(
    access: Access, policy: BoundPolicy, principal: Principal, context: Context
) -> tuple[tuple[RowFilter, ...], tuple[str, ...]]:
    """Returns the row filters of every relation that is touched, with the principal's values, sorted by relation.

    A filter holds for what inherits from its relation, too.

    Returns:
        The filters, and the names after `principal.` for which the principal has no usable value.
    """
    known: dict[str, object] = {**principal.attributes, "id": principal.id, "groups": sorted(principal.groups)}
    filters: list[RowFilter] = []
    lacking: set[str] = set()
    for relation in {use.relation for use in access.relations}:
        for row in policy.rows:
            is_held = policy.reach.is_within(relation, row.row_filter.relation)
            if not is_held or is_exempt(row.exemption, principal, context):
                continue
            lacking |= {name for name in row.names if not _is_usable(known.get(name))}
            bindings = tuple(sorted(_bound(row.names, known).items()))
            filters.append(RowFilter(relation, row.row_filter.predicate, bindings))
    return tuple(sorted(filters, key=lambda f: (f.relation, f.predicate))), tuple(sorted(lacking))


def hidden_rows(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> tuple[str, ...]:
    """Returns the touched relations through which rows come that a filter of theirs hides: one of a child cannot hold in a parent."""
    filtered = [r.row_filter.relation for r in policy.rows if not is_exempt(r.exemption, principal, context)]
    return tuple(
        relation
        for relation in sorted({use.relation for use in access.relations})
        if any(f in policy.reach.kin(relation) and not policy.reach.is_within(relation, f) for f in filtered)
    )


def approval_terms(rules: Iterable[Rule]) -> ApprovalTerms | None:
    """Returns the strictest of the terms of all rules that ask for approval; None when they cannot be met together.

    One person answers, so only groups that every rule names may; the time is the shortest; a reason is due when any rule wants one.
    """
    terms = [rule.approval or ApprovalRule() for rule in rules]
    named = [frozenset(t.groups) for t in terms if t.groups]
    groups = frozenset.intersection(*named) if named else frozenset[str]()
    if named and not groups:
        return None
    return ApprovalTerms(tuple(sorted(groups)), min(t.expires for t in terms), any(t.reason_required for t in terms))


def _bound(names: Iterable[str], known: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name in names if _is_usable(value := known.get(name))}  # type: ignore[misc]


def _is_usable(value: object) -> bool:
    """Whether a database can compare with it: a single value, or a list of them for IN."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(isinstance(item, _SCALARS) for item in value)
    return isinstance(value, _SCALARS)
