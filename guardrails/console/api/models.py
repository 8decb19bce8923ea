"""What the API answers with: every shape once, from which the document is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from guardrails.console.api.operations import Answer
from guardrails.model import Effect, RequestKind, Verification

__all__ = [
    "CheckpointAnswer",
    "ConsistencyAnswer",
    "CountsAnswer",
    "EntryAnswer",
    "EntryItem",
    "EntryPage",
    "EvidenceAnswer",
    "FatedColumn",
    "FatedPiece",
    "FatedRelation",
    "ImpactAnswer",
    "JudgedAnswer",
    "KeptAnswer",
    "PolicyAnswer",
    "Problem",
    "ReasonAnswer",
    "RequestAnswer",
    "RequestPage",
    "ReviewAnswer",
    "ReviewList",
    "RuleAnswer",
    "SessionAnswer",
    "SessionPage",
    "StatisticsAnswer",
    "TallyAnswer",
    "ViewerAnswer",
    "VoteAnswer",
    "WindowList",
]

Fate = Literal["denied", "masked", "lifted", "written", "read"]


class Problem(Answer):
    """Why something was refused (RFC 9457)."""

    status: int
    """Of HTTP."""
    title: str
    """What happened."""
    code: str = ""
    """A code of docs/errors.md, empty where there is none."""
    hint: str = ""
    """The way out."""
    problems: tuple[dict[str, str], ...] = ()
    """What of a request is malformed: where, and how."""


class ViewerAnswer(Answer):
    """Who calls."""

    id: str
    groups: list[str]
    issuer: str | None
    verified: Verification
    roles: list[str]
    """What they may do here."""


class CountsAnswer(Answer):
    """How many requests are in each state."""

    states: dict[str, int]
    open_reviews: int
    open_windows: int


class VoteAnswer(Answer):
    """One person's answer to a request."""

    by: str
    issuer: str | None
    verified: Verification
    answer: Literal["approved", "denied"]
    at: int
    """Unix seconds."""
    reason: str | None
    """Null for whom the statement's values are not shown to."""
    entry: int | None
    """Index of the ledger's entry that records it."""


class ImpactAnswer(Answer):
    """What a change would do."""

    rows: dict[str, int]
    """Rows changed by relation."""
    is_estimated: bool
    error: str
    """Why it is not known, a code; empty where it is."""


class RequestAnswer(Answer):
    """A request and how far it has come."""

    id: str
    state: str
    kind: RequestKind
    requester: str
    agent: str | None
    purpose: str | None
    title: str
    """What is asked for, in a line."""
    rules: list[str]
    groups: list[str]
    """Groups whose members may answer; anybody else than the requester when empty."""
    quorum: int
    created_at: int
    expires_at: int
    ends_at: int | None
    """Until when the state holds."""
    decided_at: int | None
    used_at: int | None
    window_s: int
    session: str
    policy: str
    """Digest of the policy that asks."""
    votes: list[VoteAnswer]
    impact: ImpactAnswer | None
    is_complete: bool
    """Whether values are shown: to who may answer it, and who asked."""
    text: str
    """What would run; without its values, or empty, for everybody else."""
    asked: str | None
    """What the agent wrote; null where values are not shown."""
    values: dict[str, str] | None
    """What is bound, as text; null where values are not shown."""
    why: str | None
    """What the requester says it is for; null where values are not shown."""
    digest: str | None
    """What a yes binds; null where values are not shown, as it could be used to guess them."""
    objection: str | None
    """Code of why the caller may not answer; null when they may."""


class RequestPage(Answer):
    """Requests, newest first."""

    items: list[RequestAnswer]
    next: str | None
    """For `before`, where there are more."""


class WindowList(Answer):
    """Grants ahead that are open."""

    items: list[RequestAnswer]


class ReviewAnswer(Answer):
    """What follows when somebody went ahead without waiting."""

    id: str
    requester: str
    agent: str | None
    purpose: str | None
    title: str
    """What is asked for, in a line."""
    opened_at: int
    due_at: int
    is_overdue: bool
    closed_at: int | None
    closed_by: str
    is_complete: bool
    text: str
    reason: str | None
    comment: str | None


class ReviewList(Answer):
    """Reviews, those due first at the front; closed ones newest first."""

    items: list[ReviewAnswer]


class SessionAnswer(Answer):
    """A session: who acted through what, when, and how often."""

    id: str
    first: int
    """Index of its first entry."""
    last: int
    began_us: int
    """Unix microseconds."""
    last_us: int
    principal: str | None
    issuer: str | None
    verified: str | None
    agent: str | None
    model: str | None
    purpose: str | None
    conversation: str | None
    statements: int
    refused: int
    asked: int
    failed: int
    unknown: int
    messages: int
    rows: int
    rows_changed: int


class SessionPage(Answer):
    """Sessions, the latest first."""

    items: list[SessionAnswer]
    next: int | None
    """For `before`, where there are more."""


class EntryItem(Answer):
    """An entry in a list."""

    index: int
    type: str
    session: str | None
    principal: str | None
    time_us: int


class EntryPage(Answer):
    """Entries, the latest first."""

    items: list[EntryItem]
    next: int | None


class EntryAnswer(Answer):
    """An entry of the ledger."""

    index: int
    leaf: str
    """Its bytes as the tree holds them, in base64."""
    leaf_hash: str
    entry: dict[str, Any]
    """The same, read; empty where it is not an entry."""


class KeptAnswer(Answer):
    """Values that an entry commits to and that are kept beside the tree."""

    index: int
    values: dict[str, str]
    """By name, in base64."""


class CheckpointAnswer(Answer):
    """The latest signed checkpoint."""

    origin: str
    size: int
    root: str
    """In hexadecimal."""
    key: str
    """The verifier key that the ledger names; whoever knows another one goes by that."""
    note: str
    """As a signed note (C2SP)."""


class EvidenceAnswer(Answer):
    """What it takes to check one entry on one's own (RFC 6962)."""

    index: int
    size: int
    leaf: str | None
    proof: list[str] | None
    """Hashes from the leaf to the root of the tree of `size`, in base64; null where some are missing."""
    note: str


class ConsistencyAnswer(Answer):
    """What shows that one tree is a prefix of another."""

    old: int
    new: int
    proof: list[str] | None


class ReasonAnswer(Answer):
    code: str
    message: str
    hint: str
    rule: str | None = None


class FatedColumn(Answer):
    """A column, and what would happen to it."""

    name: str
    fate: Fate
    uses: list[str]
    mask: str
    exception: str
    """What of real values could still be learnt; empty for nothing."""


class FatedRelation(Answer):
    """A relation, and what would happen to it."""

    name: str
    fate: Fate
    actions: list[str]
    via: list[str]
    is_filtered: bool
    filters: list[str]
    """Predicates of the row filters; empty for whom they are not shown to."""
    columns: list[FatedColumn]


class FatedPiece(Answer):
    """A part of the statement's text; all of them together are the text."""

    text: str
    fate: Fate | None
    title: str


class JudgedAnswer(Answer):
    """What would be decided about a statement; the fields of `guardrails check`, and what would happen to each name."""

    effect: Effect
    code: str
    reasons: list[ReasonAnswer]
    sql: str | None
    """The text that would run; null for a refusal, and for whom it is not shown to."""
    statement_kind: str | None
    reads: list[str]
    writes: list[str]
    functions: list[str]
    obligations: list[dict[str, Any]]
    relations: list[FatedRelation]
    pieces: list[FatedPiece]
    is_whole: bool
    """Whether everything is told, as it is to auditors."""


class RuleAnswer(Answer):
    """A rule of the policy."""

    line: int
    """In the file, from 1; 0 where that is not known."""
    rule: dict[str, JsonValue]
    """As in the file; what is as by default is left out."""


class PolicyAnswer(Answer):
    """The policy in force, in the form of its file."""

    digest: str
    rules: list[RuleAnswer]
    columns: dict[str, dict[str, JsonValue]]
    rows: dict[str, dict[str, JsonValue]]
    limits: dict[str, float]
    purposes: dict[str, str]


class TallyAnswer(Answer):
    """How many there were of a name, for a subject, in a bucket of time."""

    begins: int = Field(serialization_alias="from")
    subject: str
    name: str
    count: int


class StatisticsAnswer(Answer):
    """Figures from the ledger."""

    measure: str
    since: int
    until: int
    step: int
    tallies: list[TallyAnswer]
