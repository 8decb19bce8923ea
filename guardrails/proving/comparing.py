"""Two twins under one guard: judging and running a statement in both, and telling whether their answers differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from guardrails.engines import Engine
from guardrails.errors import EngineError
from guardrails.flow import Judgement, MaskSql, judge
from guardrails.model import Catalog, ColumnRef, Context, Params, Plan, Principal, Statement
from guardrails.policy import BoundPolicy
from guardrails.proving.report import Difference

__all__ = ["Answer", "Comparison", "Twin", "compare", "is_order_free"]

_MOST_SECONDS = 5.0
_MOST_ROWS = 200
_MOST_BYTES = 200_000
_SHOWN = 300
Outcome: TypeAlias = Literal["refused", "equal", "failed", "unsettled", "different"]

_FLOAT = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
_ORDER = re.compile(
    r"\b(limit|fetch|offset|over|distinct on|group_concat|string_agg|\w*array_?agg\w*|json\w*agg|json_group\w*|list|first|last"
    r"|any_value|arg_m\w+|mode|array|std\w*|var\w*|corr|total|recursive|returning)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """What came back: `shown` is compared and printed; `code` is an error's, `ok` without one."""

    code: str
    shown: str
    lines: tuple[str, ...] = ()

    @property
    def is_late(self) -> bool:
        return self.code == "engine.timeout"


@dataclass(frozen=True)
class Twin:
    """A twin database under the policy."""

    engine: Engine
    catalog: Catalog
    policy: BoundPolicy
    principal: Principal
    context: Context

    def judge(self, statement: Statement, mask_sql: MaskSql) -> Judgement:
        return judge(statement, self.catalog, self.policy, self.principal, self.context, mask_sql)

    def run(self, plan: Plan) -> Answer:
        """Runs a plan as the guard does, except that little time is spent on what is long."""
        most = plan.limits
        limits = replace(
            most,
            seconds=min(most.seconds, _MOST_SECONDS),
            rows=min(most.rows, _MOST_ROWS),
            result_bytes=min(most.result_bytes, _MOST_BYTES),
        )
        try:
            found = self.engine.execute(replace(plan, limits=limits))
        except EngineError as error:
            return Answer(error.code, f"{error.code}: {error.message}")
        lines = tuple(map(repr, found.rows))
        more = " and more" if found.is_truncated else ""
        changed = f", {found.rows_changed} changed" if found.rows_changed else ""
        return Answer("ok", f"{found.columns} {len(lines)} rows{more}{changed}: {', '.join(lines)}", lines)


@dataclass(frozen=True)
class Comparison:
    """How two twins answered: the outcome, the first one's judgement, and what differs."""

    outcome: Outcome
    judgement: Judgement
    difference: Difference | None = None

    @property
    def is_change(self) -> bool:
        """Whether the statement changed, or would have changed, something."""
        plan = self.judgement.plan
        return plan is not None and not plan.is_read_only

    def touches(self, columns: frozenset[ColumnRef], relations: frozenset[str]) -> bool:
        """Whether the statement reads one of the columns or relations."""
        access = self.judgement.decision.access
        if access is None:
            return False
        return not columns.isdisjoint(access.reads) or any(use.relation in relations for use in access.relations)


def compare(
    twins: tuple[Twin, Twin],
    sql: str,
    params: Params,
    mask_sql: MaskSql,
    *,
    seed: int | None = None,
    is_ordered: bool = True,
) -> Comparison:
    """Judges and runs a statement in both twins.

    Args:
        twins: The databases.
        sql: What the agent wrote.
        params: Its values.
        mask_sql: Masks as SQL.
        seed: What it was made from, for the report.
        is_ordered: Rows count in their order; else as a multiset.
    """
    judged, plans = _judged(twins, Statement(sql, params, twins[0].engine.dialect), mask_sql)
    if judged[0].decision.code != judged[1].decision.code:
        codes = [Answer(j.decision.code, j.decision.code) for j in judged]
        return Comparison("different", judged[0], _difference(sql, params, seed, judged[0], codes[0], codes[1], is_ordered))
    if plans[0] is None or plans[1] is None:
        return Comparison("refused", judged[0])
    one, two = twins[0].run(plans[0]), twins[1].run(plans[1])
    if one.is_late or two.is_late:
        return Comparison("unsettled", judged[0])
    if _is_equal(one, two, is_ordered):
        return Comparison("equal" if one.code == "ok" else "failed", judged[0])
    if not plans[0].is_read_only:
        # It cannot run again to see whether the difference stays.
        return Comparison("different", judged[0], _difference(sql, params, seed, judged[0], one, two, is_ordered))
    # The clock, and what an engine leaves open, may differ from one run to the next; that tells nothing of the twins.
    again = twins[0].run(plans[0]), twins[1].run(plans[1])
    if not (_is_equal(one, again[0], is_ordered) and _is_equal(two, again[1], is_ordered)):
        return Comparison("unsettled", judged[0])
    return Comparison("different", judged[0], _difference(sql, params, seed, judged[0], one, two, is_ordered))


def _judged(
    twins: tuple[Twin, Twin], statement: Statement, mask_sql: MaskSql
) -> tuple[tuple[Judgement, Judgement], tuple[Plan | None, Plan | None]]:
    """Judges for both twins: once where their schemas are the same in everything but the version."""
    one = twins[0].judge(statement, mask_sql)
    if twins[0].catalog.default_schema != twins[1].catalog.default_schema:
        two = twins[1].judge(statement, mask_sql)
        return (one, two), (one.plan, two.plan)
    plan = one.plan
    return (one, one), (plan, plan and replace(plan, catalog_version=twins[1].catalog.version))


def is_order_free(sql: str) -> bool:
    """Whether another order of the rows beneath changes nothing but the order of the answer."""
    return not _ORDER.search(sql)


def _is_equal(one: Answer, two: Answer, is_ordered: bool) -> bool:
    if is_ordered or one.code != "ok" or two.code != "ok":
        return one.shown == two.shown
    # Sums of floats depend on the order of their terms in the last digits.
    return sorted(map(_rounded, one.lines)) == sorted(map(_rounded, two.lines))


def _rounded(line: str) -> str:
    return _FLOAT.sub(lambda match: f"{float(match[0]):.9g}", line)


def _difference(
    sql: str, params: Params, seed: int | None, judgement: Judgement, one: Answer, two: Answer, is_ordered: bool
) -> Difference:
    values = repr(dict(params) if isinstance(params, Mapping) else list(params)) if params else ""
    executed = judgement.plan.sql if judgement.plan else judgement.decision.code
    first, second = _apart(one, two, is_ordered)
    return Difference(sql, values, seed, "values" if is_ordered else "rows", executed, first, second)


def _apart(one: Answer, two: Answer, is_ordered: bool) -> tuple[str, str]:
    """Two answers as short texts that show where they part."""
    if len(one.shown) + len(two.shown) <= _SHOWN:
        return one.shown, two.shown
    if one.code != "ok" or two.code != "ok":
        return one.shown[:_SHOWN], two.shown[:_SHOWN]
    lines = (one.lines, two.lines) if is_ordered else (sorted(one.lines), sorted(two.lines))
    ends = ("no more rows",) * abs(len(lines[0]) - len(lines[1]))
    pairs = zip((*lines[0], *ends), (*lines[1], *ends), strict=False)
    number, found = next(((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (0, (one.shown, two.shown)))
    return _row(len(lines[0]), number, found[0]), _row(len(lines[1]), number, found[1])


def _row(count: int, number: int, line: str) -> str:
    return f"{count} rows, row {number}: {line[:_SHOWN]}{' …' if len(line) > _SHOWN else ''}"
