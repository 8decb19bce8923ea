"""Protected values that a change would store in columns without the same protection, where others could read them.

Who is bound by a mask cannot read the value in a change at all; this holds for those who are exempt. Only what becomes part of a stored
value counts: a condition on a protected column stores nothing of it.
"""

from __future__ import annotations

from guardrails.errors import StatementError
from guardrails.model import Access, ColumnRef
from guardrails.policy.binding import BoundColumn, BoundPolicy, strictness

__all__ = ["require_kept_protection", "unprotected_flows"]

_SHOWING = strictness("partial")
"""Where masks stand that show a part of the value; of these only the same one protects as well."""


def require_kept_protection(access: Access, policy: BoundPolicy) -> None:
    """Refuses a change that takes protected values out of their protection.

    Args:
        access: What the statement does.
        policy: The bound policy.

    Raises:
        StatementError: It would (``mask.write_unprotects``).
    """
    if unprotected_flows(access, policy):
        raise StatementError("mask.write_unprotects", "The change would store a protected value where it is not protected.")


def unprotected_flows(access: Access, policy: BoundPolicy) -> tuple[tuple[ColumnRef, ColumnRef], ...]:
    """Returns the pairs of target and source of which the source is protected and the target is not as well, sorted.

    Args:
        access: What the statement does.
        policy: The bound policy; its exemptions count as part of the protection.
    """
    return tuple(
        (target, source)
        for target, source in access.flows
        if not all(_is_kept(held, _masks(target, policy)) for held in _masks(source, policy))
    )


def _masks(column: ColumnRef, policy: BoundPolicy) -> list[BoundColumn]:
    return [bound for bound in policy.masks_of(column.relation) if bound.mask.column == column]


def _is_kept(held: BoundColumn, others: list[BoundColumn]) -> bool:
    """Whether one of the other masks shows no more, to nobody more."""
    return any(_shows_no_more(other, held) and other.exemption in (None, held.exemption) for other in others)


def _shows_no_more(other: BoundColumn, held: BoundColumn) -> bool:
    if (other.mask.kind, other.mask.options) == (held.mask.kind, held.mask.options):
        return True
    rank = strictness(other.mask.kind)
    return rank < _SHOWING and rank <= strictness(held.mask.kind)
