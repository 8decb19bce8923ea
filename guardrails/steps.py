"""The steps of the flow and what answers them: what `guardrails.flow` yields and `guardrails.running` performs.

Append ─▶ Appended      Count ─▶ Counted      SeekApproval ─▶ ApprovalGrant      Spend ─▶ Spent
Execute, Lookup ─▶ Execution      Notify, Uncount ─▶ None
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from guardrails.displaying import Display
from guardrails.entries import JSON, Private
from guardrails.errors import GuardrailsError
from guardrails.model import ApprovalGrant, Decision, Execution, Limits, Params, Plan, Rate, Receipt, Result, Statement

__all__ = [
    "Answer",
    "Append",
    "Appended",
    "Count",
    "Counted",
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
    "Uncount",
]

Stage: TypeAlias = Literal["parse", "decide", "approve", "intent", "execute", "scan", "outcome"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `judge` found: the decision, and the plan to run when it is not a refusal.

    `declared` names the result columns that come from columns which the policy protects or lifts by name: what they show is decided
    there, so the second net leaves them alone. An action is judged by its name and arguments; a plan is how it is carried out.
    `display` is how the arguments of a tool's call appear; `action` is the name of an action that is not SQL.
    """

    statement: Statement
    decision: Decision
    plan: Plan | None = None
    normalised: str | None = None
    declared: frozenset[str] = frozenset()
    is_action: bool = False
    display: Display | None = None
    action: str = ""

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
class Counted:
    """Answer to `Count`: whether the call is within its rates; `call` names it when it is, `wait_s` says when to try again else."""

    is_granted: bool
    call: int = 0
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class SeekApproval:
    """Step: get a person's yes for exactly this digest. Answered by a grant; raises ApprovalRequired or Denied otherwise."""

    digest: str
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Execute:
    """Step: run the plan (None: call the action) within the limits. Answered by an `Execution`.

    `outcome` gives the outcome's entry for an execution, where it is to be written in the transaction of the change itself; the
    execution then says where it was recorded.
    """

    plan: Plan | None
    outcome: Callable[[Execution], tuple[dict[str, JSON], Private]] | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Count:
    """Step: count a call of a tool, where all rates have room for it. Answered by a `Counted`."""

    tool: str
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Uncount:
    """Step: take back a call that was counted and is not made. Answered by None."""

    tool: str
    call: int


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


Step: TypeAlias = Append | Count | Uncount | SeekApproval | Spend | Execute | Lookup | Notify
Answer: TypeAlias = Appended | Counted | ApprovalGrant | Spent | Execution | None
Flow: TypeAlias = Generator[Step, Answer, Result]
