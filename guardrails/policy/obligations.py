"""What a permit is bound to: masks, row filters and approval terms. One that cannot be fulfilled is a refusal (XACML 3.0, 7.18)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import get_args
from uuid import UUID

from guardrails.masking import MASK_KINDS
from guardrails.masking.kinds import PER, SUBJECT
from guardrails.model import (
    Access,
    ApprovalTerms,
    BreakGlass,
    ColumnRef,
    Context,
    ImpactMode,
    Mask,
    PredicateMode,
    Principal,
    RowFilter,
    Value,
    WorkingHours,
)
from guardrails.policy.binding import BoundPolicy, BoundRule, strictness
from guardrails.policy.schema import ApprovalRule, BreakGlassRule, Exemption, HoursRule, Rule, minutes

__all__ = [
    "approval_terms",
    "denied_columns",
    "hidden_rows",
    "is_exempt",
    "lacking_for",
    "lifted_columns",
    "masks_for",
    "revealed_mask",
    "row_filters_for",
    "stored_mask",
    "terms_of",
]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SCALARS = (bool, int, float, str, bytes, Decimal, datetime, date, time, UUID)


def is_exempt(exemption: Exemption | None, principal: Principal, context: Context) -> bool:
    """Whether an exemption holds: a group of the person's is named, and the purpose is; what is not given does not restrict."""
    if exemption is None:
        return False
    in_group = not exemption.groups or not principal.groups.isdisjoint(exemption.groups)
    return in_group and (not exemption.purposes or context.purpose in exemption.purposes)


def lifted_columns(access: Access, masks: Iterable[Mask], rules: Iterable[BoundRule]) -> tuple[ColumnRef, ...]:
    """Returns the masked columns whose real values a statement reads once it is approved, sorted: of a SELECT those that rules name.

    Args:
        access: What the statement does.
        masks: That would hold.
        rules: Those that ask for its approval.
    """
    if set(access.actions) != {"select"}:
        return ()
    named = {column for bound in rules if bound.rule.approval and bound.rule.approval.unmask for column in bound.columns}
    return tuple(sorted({mask.column for mask in masks} & named & set(access.reads)))


def masks_for(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> tuple[Mask, ...]:
    """Returns the masks of every relation that is touched, however it is reached, sorted by column; of several the strictest."""
    found: dict[ColumnRef, Mask] = {}
    for relation in {use.relation for use in access.relations}:
        for bound in policy.masks_of(relation):
            mask, known = bound.mask, found.get(bound.mask.column)
            if is_exempt(bound.exemption, principal, context):
                continue
            if known is None:
                found[mask.column] = _mask_for(mask, principal)
                continue
            stricter = _mask_for(mask, principal) if strictness(mask.kind) < strictness(known.kind) else known
            found[mask.column] = _narrowed(stricter, mask, known)
    return tuple(sorted(found.values(), key=lambda mask: mask.column))


def _narrowed(stricter: Mask, one: Mask, other: Mask) -> Mask:
    """A mask under which nothing more is told of real values than both let be told."""
    predicate = min(one.predicate, other.predicate, key=get_args(PredicateMode).index)
    min_group = max(one.min_group, other.min_group) if one.min_group and other.min_group else 0
    return replace(stricter, predicate=predicate, min_group=min_group)


def _mask_for(mask: Mask, principal: Principal) -> Mask:
    """Returns a mask that differs from person to person, or by an attribute of theirs, as this one's.

    One whose attribute the principal lacks comes back as it was: `lacking_for` tells of it, and no engine takes it.
    """
    options, subject = dict(mask.options), None
    if mask.kind in MASK_KINDS and MASK_KINDS[mask.kind].is_personal:
        subject = f"{principal.issuer or ''} {principal.id}"
    elif PER in options:
        value = principal.attributes.get(str(options[PER]))
        is_usable = isinstance(value, (str, int, UUID)) and not isinstance(value, bool) and value != ""
        subject = str(value) if is_usable else None
    return mask if subject is None else replace(mask, options=(*mask.options, (SUBJECT, subject)))


def revealed_mask(column: ColumnRef, policy: BoundPolicy, principal: Principal, context: Context) -> Mask | None:
    """Returns the mask whose tokens the principal may have resolved, as this one's; None where the policy does not say so.

    Where several masks hold for a column, because relations share rows, every one must say so.
    """
    bound = [b for b in policy.masks_of(column.relation) if b.mask.column == column]
    if not bound or not all(_is_token(b.mask.kind) and is_exempt(b.reveal, principal, context) for b in bound):
        return None
    return _mask_for(bound[0].mask, principal)


def stored_mask(column: ColumnRef, policy: BoundPolicy, principal: Principal) -> Mask | None:
    """Returns the mask whose tokens a change may store as the values behind them, as this principal's; None for other columns."""
    bound = [b for b in policy.masks_of(column.relation) if b.mask.column == column]
    if not bound or not all(_is_token(b.mask.kind) and b.are_tokens_stored for b in bound):
        return None
    mask = _mask_for(bound[0].mask, principal)
    return None if lacking_for([mask]) else mask


def _is_token(kind: str) -> bool:
    return kind in MASK_KINDS and MASK_KINDS[kind].is_token


def lacking_for(masks: Iterable[Mask]) -> tuple[str, ...]:
    """Returns the attributes that decide about the keys of these masks and that the principal lacks, sorted."""
    options = [dict(mask.options) for mask in masks]
    return tuple(sorted({str(given[PER]) for given in options if PER in given and SUBJECT not in given}))


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

    The same people answer for all, so only groups that every rule names may; the time is the shortest, the quorum the largest, and a yes
    counts when it counts for every rule. Glass is broken only where every rule lets somebody do it, and a change is not tried where one
    rule does not let it be tried.
    """
    terms = [rule.approval or ApprovalRule() for rule in rules]
    groups = _in_common([t.groups for t in terms if t.groups])
    if groups is None:
        return None
    return ApprovalTerms(
        groups=groups,
        expires_s=min(t.expires for t in terms),
        reason_required=any(t.reason_required for t in terms),
        quorum=max(t.quorum for t in terms),
        hours=tuple(sorted({_hours(t.hours) for t in terms if t.hours})),
        break_glass=_break_glass([t.break_glass for t in terms]),
        window_s=min(t.window for t in terms),
        impact=max((t.impact for t in terms), key=get_args(ImpactMode).index),
    )


def terms_of(rule: str, policy: BoundPolicy) -> ApprovalTerms | None:
    """Returns the terms of one rule that asks for approval, by its id; None when there is no such rule."""
    return next((approval_terms([b.rule]) for b in policy.rules if b.rule.id == rule and b.rule.effect == "approve"), None)


def _in_common(groups: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The groups that all lists have; none when there are no lists, None when the lists have none in common."""
    shared = frozenset.intersection(*map(frozenset, groups)) if groups else frozenset[str]()
    return None if groups and not shared else tuple(sorted(shared))


def _hours(rule: HoursRule) -> WorkingHours:
    days = tuple(sorted({_DAYS.index(day) for day in rule.days}))
    return WorkingHours(days, minutes(rule.begins), minutes(rule.ends), rule.zone)


def _break_glass(rules: list[BreakGlassRule | None]) -> BreakGlass | None:
    named = [rule for rule in rules if rule is not None]
    groups = _in_common([rule.groups for rule in named]) if len(named) == len(rules) else None
    return BreakGlass(groups, min(rule.review for rule in named)) if groups else None


def _bound(names: Iterable[str], known: Mapping[str, object]) -> dict[str, Value]:
    return {name: value for name in names if _is_usable(value := known.get(name))}  # type: ignore[misc]


def _is_usable(value: object) -> bool:
    """Whether a database can compare with it: a single value, or a list of them for IN."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(isinstance(item, _SCALARS) for item in value)
    return isinstance(value, _SCALARS)
