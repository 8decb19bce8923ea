"""Plans that find the value behind a token: for a person who may know it, and for a change that may store it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from guardrails.errors import StatementError
from guardrails.masking.masked_text import is_token
from guardrails.model import (
    Access,
    Column,
    ColumnRef,
    Context,
    Decision,
    Mask,
    MaskExpression,
    OutputColumn,
    Plan,
    Principal,
    RelationUse,
    Value,
)
from guardrails.policy import BoundPolicy, decide, stored_mask
from guardrails.sql import Resolved, TokenPlace, take_tokens, token_query

__all__ = ["lookup_plan", "lookups_for", "reading", "tokens_of"]


def reading(column: ColumnRef) -> Access:
    """Returns what looking a value up does."""
    return Access(
        "select",
        ("select",),
        relations=(RelationUse(column.relation, "select"),),
        reads=(column,),
        returned=(OutputColumn("value", (column,)),),
        has_where=True,
    )


def lookup_plan(
    column: ColumnRef, token: Value, masks: Sequence[MaskExpression], decision: Decision, policy: BoundPolicy
) -> Plan:
    """Returns the plan whose rows are the values that have a token, among the rows that the decision leaves.

    Raises:
        StatementError: The query cannot be written.
    """
    access, catalog = reading(column), policy.catalog
    filters = [f for f in decision.obligations.row_filters if f.relation == column.relation]
    found = token_query(access, column, masks, token, filters, catalog)
    return Plan(
        sql=found.sql,
        params=found.params,
        dialect=catalog.dialect,
        actions=access.actions,
        relations=access.relations,
        reads=found.reads,
        writes=(),
        limits=decision.obligations.limits,
        catalog_version=catalog.version,
    )


def tokens_of(resolved: Resolved, policy: BoundPolicy, principal: Principal) -> tuple[Resolved, tuple[TokenPlace, ...]]:
    """Returns a change with a parameter for each token that the policy lets it store, and those places."""

    def is_stored(column: ColumnRef, text: str) -> bool:
        mask = stored_mask(column, policy, principal)
        return mask is not None and is_token(mask.kind, text)

    return take_tokens(resolved, policy.catalog, is_stored)


def lookups_for(
    places: Iterable[TokenPlace],
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    mask_sql: Callable[[Mask, Column], MaskExpression],
) -> tuple[tuple[str, Plan], ...]:
    """Returns for each token of a change the name of its parameter, and the plan that finds what is bound there.

    Raises:
        StatementError: The principal may not read the column (``mask.write_masked``), or the plan cannot be written.
    """
    lookups = []
    for place in places:
        column, mask = place.column, stored_mask(place.column, policy, principal)
        decision = decide(reading(column), policy, principal, context)
        if decision.effect != "allow" or mask is None:
            raise StatementError("mask.write_masked", "The change would store a token of a column that it may not read.")
        described = next(c for c in policy.catalog.relations[column.relation].columns if c.name == column.column)
        lookups.append((place.name, lookup_plan(column, place.token, [mask_sql(mask, described)], decision, policy)))
    return tuple(lookups)
