"""The steps of the flow and what answers them: what `guardrails.flow` yields and `guardrails.guard` performs.

Append ─▶ Appended      SeekApproval ─▶ ApprovalGrant      Spend ─▶ Spent      Execute, Lookup ─▶ Execution      Notify ─▶ None
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from guardrails.entries import JSON, Private
from guardrails.errors import GuardrailsError
from guardrails.model import ApprovalGrant, Decision, Execution, Params, Plan, Receipt, Result, Statement

__all__ = [
    "Answer",
    "Append",
    "Appended",
    "Event",
    "Execute",
    "Flow",
    "Judgement",
    "Lookup",
    "Notify",
    "SeekApproval",
    "Spend",
    "Spent",
    "Step",
]

Stage: TypeAlias = Literal["parse", "decide", "approve", "intent", "execute", "scan", "outcome"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `judge` found: the decision, and the plan to run when it is not a refusal.

    `declared` names the result columns that come from columns which the policy protects or lifts by name: what they show is decided
    there, so the second net leaves them alone. An action is judged by its name and arguments; a plan is how it is carried out.
    """

    statement: Statement
    decision: Decision
    plan: Plan | None = None
    normalised: str | None = None
    declared: frozenset[str] = frozenset()
    is_action: bool = False

    @property
    def asked(self) -> tuple[str, Params]:
        """What a person says yes or no to: the text that runs with its values, or the action with its arguments."""
        if self.plan is None or self.is_action:
            return self.statement.sql, self.statement.params
        return self.plan.sql, {**self.plan.params, **self.plan.settings}


@dataclass(frozen=True, slots=True)
class Event:
    """Something an observer may show: the stage that ended, and what is known by then."""

    stage: Stage
    statement: Statement | None
    decision: Decision | None = None
    plan: Plan | None = None
    result: Result | None = None
    receipt: Receipt | None = None
    error: GuardrailsError | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """Step: make this entry durable in the ledger. Answered by an `Appended`."""

    entry: dict[str, JSON]
    private: Private


@dataclass(frozen=True, slots=True)
class Appended:
    """Answer to `Append`: where the entry went; `leaf_hash` in hexadecimal."""

    entry_id: str
    index: int
    leaf_hash: str


@dataclass(frozen=True, slots=True)
class SeekApproval:
    """Step: get a person's yes for exactly this digest. Answered by a grant; raises ApprovalRequired or Denied otherwise."""

    digest: str
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Execute:
    """Step: run the plan (None: call the action). Answered by an `Execution`.

    `outcome` gives the outcome's entry for an execution, where it is to be written in the transaction of the change itself; the
    execution then says where it was recorded.
    """

    plan: Plan | None
    outcome: Callable[[Execution], tuple[dict[str, JSON], Private]] | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """Step: take so many probes from the session's budget of `limit`. Answered by a `Spent`; nothing is taken where they exceed it."""

    probes: int
    limit: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Answer to `Spend`: whether the budget covered it, and how many probes are left."""

    is_granted: bool
    left: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """Step: run the plan on the guard's own engine, whoever runs the statement itself. Answered by an `Execution`."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Notify:
    """Step: tell the observer. Answered by None."""

    event: Event


Step: TypeAlias = Append | SeekApproval | Spend | Execute | Lookup | Notify
Answer: TypeAlias = Appended | ApprovalGrant | Spent | Execution | None
Flow: TypeAlias = Generator[Step, Answer, Result]
