"""A person's word where one is asked: for what, and what it permits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardrails.model.decision import RowFilter
from guardrails.model.request import Statement
from guardrails.model.terms import ApprovalTerms
from guardrails.model.values import GrantKind, RequestKind, Verification

__all__ = ["ApprovalGrant", "ApprovalRequest", "Impact"]


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change would do: rows changed by relation, as counted in a transaction that was rolled back, or as estimated.

    `error` is the code of what went wrong when it was rehearsed or estimated, empty when nothing did; rows are then estimated, or
    unknown where there are none.
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
        database: Of what; empty for an action that is in none.
        row_filters: Those that bind the requester, with their values.
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
    database: str = ""
    row_filters: tuple[RowFilter, ...] = ()
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
