"""The policy's answer: reasons and obligations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardrails.model.access import Access
from guardrails.model.schema import ColumnRef
from guardrails.model.terms import ApprovalTerms
from guardrails.model.values import Effect, PredicateMode, Value

__all__ = [
    "Decision",
    "Limits",
    "Mask",
    "MaskExpression",
    "Obligations",
    "Rate",
    "Reason",
    "RowFilter",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision came out as it did, for the model and for people. `rule` is the policy rule, None when no rule is involved."""

    code: str
    message: str
    hint: str = ""
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """Obligation: `column` yields a masked value wherever it is read.

    Args:
        column: The protected column.
        kind: As in `guardrails.masking.functions`.
        options: Of the kind.
        predicate: Which conditions of the agent test the real value instead.
        min_group: Rows that a group needs so that its aggregates are of the real values; 0: aggregates are of masked values.
        family: What kind of values the column holds, as in `guardrails.masking.types`; empty where nobody asked.
    """

    column: ColumnRef
    kind: str
    options: tuple[tuple[str, str | int], ...] = ()
    predicate: PredicateMode = "masked"
    min_group: int = 0
    family: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Obligation: only rows of `relation` that satisfy `predicate` exist for this statement.

    `predicate` is SQL over the relation's columns with `principal.<name>` for values, which `bindings` holds by that name.
    """

    relation: str
    predicate: str
    bindings: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Obligation: ceilings that always hold.

    Args:
        rows: Rows returned.
        rows_changed: Rows changed by one statement, in all relations together.
        seconds: Run time.
        statement_bytes: Bytes of the text.
        result_bytes: Bytes of the result.
        tokens: Words and signs of the text.
        depth: Levels of parentheses, CASE and prefix operators.
        joins: Joins in the whole statement.
        ctes: Common table expressions in the whole statement.
        in_list: Items of one list after IN.
        probes: Questions about real values of protected columns that one session may ask, where the policy lets it ask any.
    """

    rows: int = 1000
    rows_changed: int = 100
    seconds: float = 10.0
    statement_bytes: int = 100_000
    result_bytes: int = 10_000_000
    tokens: int = 12_000
    depth: int = 100
    joins: int = 100
    ctes: int = 100
    in_list: int = 5_000
    probes: int = 20


@dataclass(frozen=True, slots=True)
class Rate:
    """Obligation: a principal calls a tool at most so many times within any span of so many seconds."""

    calls: int
    per_s: int


@dataclass(frozen=True, slots=True)
class Obligations:
    """Everything a permit is bound to; one that cannot be fulfilled means deny.

    `visible` are the relations, each with its columns, that a statement which reads the schema may tell of; None where none does.
    `lifted` are the protected columns whose real values the statement reads once it is approved. `rates` bound the calls of the tool.
    """

    masks: tuple[Mask, ...] = ()
    row_filters: tuple[RowFilter, ...] = ()
    limits: Limits = Limits()
    approval: ApprovalTerms | None = None
    visible: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    lifted: tuple[ColumnRef, ...] = ()
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer. `rules` are the ids that decided; `access` is None when the statement was not understood.

    `sql` is the regenerated text that would run (bound parameters by name), None on deny. `probes` counts its questions about real
    values of protected columns, which the session's budget pays for.
    """

    effect: Effect
    reasons: tuple[Reason, ...] = ()
    rules: tuple[str, ...] = ()
    obligations: Obligations = Obligations()
    policy_digest: str = ""
    access: Access | None = None
    sql: str | None = None
    probes: int = 0

    @property
    def code(self) -> str:
        """The first reason's code; `ok` on allow."""
        return "ok" if self.effect == "allow" else self.reasons[0].code if self.reasons else "approval.required"


@dataclass(frozen=True, slots=True)
class MaskExpression:
    """A mask as SQL of one dialect, to stand where the column stood.

    Args:
        sql: An expression in which the quoted identifier ``"__column__"`` stands for the column and `:name` for a bound value.
        bindings: The bound values (keys, for instance) by name; each name starts with ``mask_``.
    """

    sql: str
    bindings: Mapping[str, Value] = field(default_factory=dict)
