"""What the store tells of a request: how far it has come, who has answered, and the reviews that broken glass leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from guardrails.model import ApprovalGrant, ApprovalRequest, GrantKind, Verification

__all__ = ["STATES", "ApprovalStatus", "Review", "State", "Vote", "VoteAnswer", "grant_of"]

State: TypeAlias = Literal["pending", "approved", "denied", "expired", "used", "ended"]
"""``ended`` is a window that somebody closed before its time."""
STATES: tuple[State, ...] = get_args(State)
VoteAnswer: TypeAlias = Literal["approved", "denied"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer.

    Args:
        by: Id of who answered.
        issuer: Who vouches for the id, or None.
        verified: How the id is known.
        answer: Yes or no.
        reason: Why; kept in the store, and only committed to in the ledger.
        at: Unix seconds.
        entry_index: Of the ledger's entry that recorded it; None of answers that an earlier release kept.
        leaf_hash: Of that entry, hexadecimal; empty where there is no index.
    """

    by: str
    issuer: str | None
    verified: Verification
    answer: VoteAnswer
    reason: str
    at: int
    entry_index: int | None = None
    leaf_hash: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalStatus:
    """How far a request has come.

    Args:
        request: What is asked.
        state: Where it stands; ``pending`` until as many people said yes as the terms want.
        votes: The answers so far, oldest first.
        decided_at: When it was decided, Unix seconds; None while it is not.
        used_at: When it was used or a window was ended, Unix seconds.
        ends_at: Until when the state holds: the answer must come, the yes be used, or the window closes, in Unix seconds.
        entry_index: Of the ledger's entry that recorded the request; None where it is not known.
    """

    request: ApprovalRequest
    state: State
    votes: tuple[Vote, ...] = ()
    decided_at: int | None = None
    used_at: int | None = None
    ends_at: int | None = None
    entry_index: int | None = None

    @property
    def approver(self) -> str:
        """Who decided; empty until somebody does."""
        return self.votes[-1].by if self.votes and self.decided_at is not None else ""

    @property
    def reason(self) -> str:
        """Why it was decided so."""
        return self.votes[-1].reason if self.votes and self.decided_at is not None else ""

    @property
    def approvers(self) -> tuple[str, ...]:
        """Everybody who said yes so far."""
        return tuple(vote.by for vote in self.votes if vote.answer == "approved")

    @property
    def missing(self) -> int:
        """How many people still have to say yes."""
        return max(self.request.terms.quorum - len(self.approvers), 0) if self.state == "pending" else 0


@dataclass(frozen=True, slots=True)
class Review:
    """What follows when somebody went ahead without waiting: another person looks at it, until `due_at`.

    Args:
        id: Of the review; the grant's `request_id`.
        request: What ran without approval; its requester is who broke the glass.
        reason: Why, in their words.
        opened_at: Unix seconds.
        due_at: Unix seconds.
        closed_by: Id of who looked at it; empty while it is open.
        comment: What they found.
        closed_at: Unix seconds; None while it is open.
    """

    id: str
    request: ApprovalRequest
    reason: str
    opened_at: int
    due_at: int
    closed_by: str = ""
    comment: str = ""
    closed_at: int | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


def grant_of(status: ApprovalStatus, kind: GrantKind) -> ApprovalGrant:
    """Returns what an approved request permits."""
    request = status.request
    return ApprovalGrant(
        request.id, request.digest, status.approver, status.reason, status.decided_at or 0, kind, status.approvers
    )
