"""A person's word where one is asked: on which terms, for what, and what it permits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardrails.model.request import Statement
from guardrails.model.values import GrantKind, ImpactMode, RequestKind, Verification

__all__ = ["ApprovalGrant", "ApprovalRequest", "ApprovalTerms", "BreakGlass", "Impact", "WorkingHours"]


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


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change would do: rows changed by relation, as counted in a transaction that was rolled back, or as estimated.

    `error` is the code of what went wrong when it was tried, empty when nothing did; then nothing is known of the rows.
    """

    rows: tuple[tuple[str, int], ...] = ()
    is_estimated: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What people are asked to approve: exactly this statement, these parameters, this policy, this requester.

    Args:
        id: Of the request.
        digest: Binds what is asked for (SHA-256, hex).
        requester: Id of the principal who asks.
        agent: Through which agent.
        purpose: The declared purpose.
        sql: What would run, or the action's name.
        summary: What it does, in a line.
        terms: Who must say yes, and how.
        created_at: Unix seconds.
        expires_at: Unix seconds.
        kind: A statement, another action, the resolving of a token, or a grant ahead of a rule's statements.
        rules: Ids of the rules that ask.
        policy_digest: Of the policy in force.
        session_id: Of the session that asked.
        statement: What the agent wrote, with its values; None for a grant.
        understood: The decision as JSON fields: what is read and written, which obligations hold.
        impact: What it would change; None where nobody tried.
        why: What the requester says it is for.
        window_s: Of a grant ahead: for how long it is asked.
        requester_verified: How the requester is known; of who is known by more than a name, only people who are too may answer.
    """

    id: str
    digest: str
    requester: str
    agent: str | None
    purpose: str | None
    sql: str
    summary: str
    terms: ApprovalTerms
    created_at: int
    expires_at: int
    kind: RequestKind = "statement"
    rules: tuple[str, ...] = ()
    policy_digest: str = ""
    session_id: str = ""
    statement: Statement | None = None
    understood: Mapping[str, object] = field(default_factory=dict, hash=False)
    impact: Impact | None = None
    why: str = ""
    window_s: int = 0
    requester_verified: Verification = "unverified"


@dataclass(frozen=True, slots=True)
class ApprovalGrant:
    """The permission to run something that needs people's yes.

    Args:
        request_id: The request that was answered; of break-glass the review that it opened.
        digest: As that of the request; of what runs, where a grant ahead or break-glass lets it run.
        approver: Who said yes, the last of several; of break-glass who broke it.
        reason: Why.
        decided_at: Unix seconds.
        kind: A yes to exactly this, usable once; a grant ahead; or break-glass.
        approvers: Everybody who said yes.
    """

    request_id: str
    digest: str
    approver: str
    reason: str
    decided_at: int
    kind: GrantKind = "approval"
    approvers: tuple[str, ...] = ()
