"""Which of a change's outcomes would tell a principal of what masks and row filters keep from it."""

from __future__ import annotations

from guardrails.errors import StatementError
from guardrails.model import Access, ColumnRef, Context, Principal, Probe
from guardrails.policy.binding import BoundPolicy
from guardrails.policy.obligations import is_exempt

__all__ = ["require_silence", "told_columns", "told_rows"]


def require_silence(access: Access, policy: BoundPolicy, principal: Principal, context: Context, *, given_rows: int = 0) -> int:
    """Refuses a change whose outcome would tell the principal what masks and row filters keep from it.

    What it tells is whether a value is there already, which a policy that lets conditions test a column for equality lets be asked.

    Args:
        access: What the statement does.
        policy: The bound policy.
        principal: On whose behalf; exemptions are looked at.
        context: Agent, session, purpose.
        given_rows: How many rows an INSERT brings along as values; 0 for everything else.

    Returns:
        How many questions about real values it asks that the policy lets be asked.

    Raises:
        StatementError: It would (``mask.write_tells``).
    """
    told = told_columns(access, policy, principal, context)
    if told and not (given_rows and all(_is_permitted(probe, policy) for probe in told)):
        raise StatementError("mask.write_tells", "The change would tell by failing whether a protected value is there.")
    if told_rows(access, policy, principal, context):
        raise StatementError("mask.write_tells", "The change would tell by failing of rows that the principal may not see.")
    return len(told) * given_rows


def told_columns(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> tuple[Probe, ...]:
    """Returns the probes of a change that meet columns whose masks bind the principal, sorted.

    Args:
        access: What the statement does.
        policy: The bound policy.
        principal: On whose behalf; exemptions are looked at.
        context: Agent, session, purpose.
    """
    return tuple(probe for probe in access.probes if probe.column and _is_masked(probe, policy, principal, context))


def told_rows(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> tuple[str, ...]:
    """Returns the relations of whose rows a change would tell although a row filter hides some of them, sorted.

    A filter of a relation that shares rows with the one that is probed counts too.
    """
    filtered = {row.row_filter.relation for row in policy.rows if not is_exempt(row.exemption, principal, context)}
    probed = {probe.relation for probe in access.probes if not probe.column}
    return tuple(sorted(relation for relation in probed if filtered & policy.reach.kin(relation)))


def _is_permitted(probe: Probe, policy: BoundPolicy) -> bool:
    """Whether every mask of the column lets it be compared with a value that the agent brings along."""
    masks = [b.mask for b in policy.masks_of(probe.relation) if b.mask.column == ColumnRef(probe.relation, probe.column)]
    return probe.is_equality and all(mask.predicate != "masked" for mask in masks)


def _is_masked(probe: Probe, policy: BoundPolicy, principal: Principal, context: Context) -> bool:
    ref = ColumnRef(probe.relation, probe.column)
    masks = policy.masks_of(probe.relation)
    return any(bound.mask.column == ref and not is_exempt(bound.exemption, principal, context) for bound in masks)
