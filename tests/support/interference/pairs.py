"""Two twins behind the guard: one judgement for a statement, the same plan on both, and whether anything differs.

Compared is everything that comes back to an agent: columns, rows in their order before and after the second net, what the net found,
rows changed, truncation, and of a failure its code, sentence and hint. After a change the unprotected columns of what it wrote are
compared too, and both twins get their rows back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from guardrails.errors import GuardrailsError
from guardrails.flow import Judgement, judge
from guardrails.masking import mask_expression, scan_rows
from guardrails.model import Catalog, Column, Context, Mask, MaskExpression, Plan, Principal, Statement
from guardrails.policy import BoundPolicy
from tests.support.grammar import Choose
from tests.support.interference.schemas import Schema
from tests.support.interference.values import KEY

if TYPE_CHECKING:
    from tests.support.interference.stores import Store

__all__ = ["Outcome", "Pair"]

Verdict = Literal["same", "refused", "failed alike", "late", "unstable", "different"]
_PRINCIPAL = Principal("ana", attributes={"region": "EU"})
_AGAIN = 3
"""How often each twin is asked again about a difference: what one database alone answers differently is no difference between two."""


@dataclass(frozen=True)
class Outcome:
    """What came out of one statement; `code` is the refusal's, `ok` without one; `detail` shows a difference."""

    sql: str
    verdict: Verdict
    code: str = "ok"
    detail: str = ""
    is_change: bool = False
    plan: Plan | None = None


@dataclass
class Pair:
    """Twins of one schema, with the policies in turn.

    Args:
        schema: The schema.
        stores: The twins.
        catalog: Of the first, under the names of its own database.
        policies: Masks alone, and masks with row filters.
        doctor: Changes a plan before it runs: to show that a difference is seen.
    """

    schema: Schema
    stores: tuple[Store, Store]
    catalog: Catalog
    policies: tuple[BoundPolicy, ...]
    doctor: Callable[[Plan], Plan] | None = None

    @classmethod
    def of(cls, schema: Schema, one: Store, two: Store, *, is_keeping: bool) -> Pair:
        """Returns the pair, once both catalogs are the same."""
        first, second = one.engine.catalog(), two.engine.catalog()
        if _facts(first, one) != _facts(second, two):
            raise AssertionError(f"The catalogs of the twins differ: {_facts(first, one)}\n{_facts(second, two)}")
        policies = [schema.policy(first, one.on_server, is_keeping=is_keeping, is_filtered=f) for f in (False, True)]
        return cls(schema, (one, two), first, tuple(policies))

    def make(self, choose: Choose) -> str:
        """Makes a statement of the schema."""
        return self.stores[0].on_server(self.schema.make(choose, self.catalog.dialect))

    def compare(self, sql: str, which: int) -> Outcome:
        """Judges a statement under one of the policies and runs it on both twins."""
        judgement = self.judge(sql, which)
        plan, code = judgement.plan, judgement.decision.code
        if plan is None:
            return Outcome(sql, "refused", code)
        if self.doctor is not None:
            plan = self.doctor(plan)
        answers = [self._answer(store, plan, judgement) for store in self.stores]
        outcome = Outcome(sql, "same", is_change=not plan.is_read_only, plan=plan)
        if any(_is_late(a) for a in answers):
            return replace(outcome, verdict="late")
        if answers[0] == answers[1]:
            return replace(outcome, verdict="failed alike") if answers[0][0] == "error" else outcome
        return self._confirmed(outcome, plan, judgement, answers)

    def judge(self, sql: str, which: int) -> Judgement:
        """Judges a statement under one of the policies."""
        dialect, policy = self.catalog.dialect, self.policies[which]

        def mask_sql(mask: Mask, column: Column) -> MaskExpression:
            return mask_expression(mask, column, dialect, KEY)

        return judge(Statement(sql, {}, dialect), self.catalog, policy, _PRINCIPAL, Context(), mask_sql)

    def _answer(self, store: Store, plan: Plan, judgement: Judgement) -> tuple[object, ...]:
        own = store.own(plan)
        try:
            made = store.engine.execute(own)
        except GuardrailsError as error:
            return ("error", error.code, error.message, error.hint)
        scanned, findings = scan_rows(made.columns, made.rows, skip_columns=judgement.declared)
        answer = store.neutral((made.columns, made.rows, scanned, made.rows_changed, made.is_truncated))
        # By their text: 1, 1.0 and True are equal, and NaN is not.
        return ("rows", repr(answer), findings, () if plan.is_read_only else self._left(store, plan))

    def _left(self, store: Store, plan: Plan) -> object:
        """Returns what a change left behind in unprotected columns, and puts the rows back."""
        left = []
        for table in sorted({u.relation for u in plan.relations if u.action != "select"}):
            masked = {b.mask.column.column for b in self.policies[0].masks_of(table)}
            columns = [c for c in self.catalog.relations[table].column_names if c not in masked]
            left.append((table, sorted(map(repr, store.stored(table, columns)))))
        store.restore()
        return left

    def _confirmed(self, outcome: Outcome, plan: Plan, judgement: Judgement, answers: list[tuple[object, ...]]) -> Outcome:
        """A difference counts when no answer of one twin is ever the other's."""
        seen = [{repr(answer)} for answer in answers]
        for _ in range(_AGAIN):
            for store, known in zip(self.stores, seen, strict=True):
                known.add(repr(self._answer(store, plan, judgement)))
        if seen[0] & seen[1]:
            return replace(outcome, verdict="unstable")
        if any(len(known) > 1 for known in seen):
            return replace(outcome, verdict="unstable", detail="never alike")
        return replace(outcome, verdict="different", detail="\n".join(f"      {str(a)[:1500]}" for a in answers))


def _facts(catalog: Catalog, store: Store) -> object:
    return store.neutral(repr(sorted(catalog.relations.items())) + repr(catalog.effects))


def _is_late(answer: tuple[object, ...]) -> bool:
    """A statement that takes longer than the limit says nothing either way."""
    return answer[:2] == ("error", "engine.timeout")
