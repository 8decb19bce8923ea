"""On which terms people are asked: who, how many, when, and what may go ahead without them."""

from __future__ import annotations

from dataclasses import dataclass

from guardrails.model.values import ImpactMode

__all__ = ["ApprovalTerms", "BreakGlass", "WorkingHours"]


@dataclass(frozen=True, slots=True, order=True)
class WorkingHours:
    """When a yes counts: on `days` (0 is Monday) from `begins` until before `ends` (minutes after midnight) in `zone` (IANA)."""

    days: tuple[int, ...]
    begins: int
    ends: int
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who may run without waiting, loudly: members of `groups`; the review that follows is due within `review_s` seconds."""

    groups: tuple[str, ...]
    review_s: int = 86_400


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Obligation: people in one of `groups` (anybody else than the requester when empty) must say yes within the time.

    Args:
        groups: Groups of the approvers.
        expires_s: Seconds for which a request stays open and a yes stays good.
        reason_required: Whether an approver has to say why.
        quorum: How many different people have to say yes.
        hours: When a yes counts; all of them hold, none means always.
        break_glass: Who may run without waiting; None: nobody.
        window_s: Longest time for which a grant may be given ahead, for any number of statements; 0: none may.
        impact: What a change would do is found out by running it and rolling it back, by estimating, or not at all.
    """

    groups: tuple[str, ...] = ()
    expires_s: int = 900
    reason_required: bool = True
    quorum: int = 1
    hours: tuple[WorkingHours, ...] = ()
    break_glass: BreakGlass | None = None
    window_s: int = 0
    impact: ImpactMode = "count"
