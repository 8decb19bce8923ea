"""Whether ordinary analytical queries pass: what the engine accepts, held against what the guard allows and answers.

A query counts where the engine accepts it in one of its spellings. It passes when the guard allows it under a policy that allows its
tables, and the answer is the engine's own: names and rows, in order where the statement orders them, as a multiset else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter

from guardrails.flow import judge
from guardrails.model import Context, Principal, Statement
from guardrails.policy import BoundPolicy, Policy
from tests.support.twins import Answer, Database

__all__ = ["Outcome", "examine", "same"]

_POLICY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: ["*"]}
limits: {rows: 100000, seconds: 60}
"""


@dataclass(frozen=True)
class Outcome:
    """What came of one query: `code` is `ok`, `late`, a refusal's code, or `different`; the seconds are the engine's and the guard's."""

    name: str
    sql: str
    code: str
    detail: str = ""
    asked_s: float = 0.0
    guarded_s: float = 0.0


def examine(database: Database, named: Sequence[tuple[str, Sequence[str]]]) -> Iterator[Outcome]:
    """Yields an outcome for every query that the engine accepts in one of its spellings.

    Args:
        database: The engine, raw and guarded.
        named: (name, spellings), of which the first that the engine accepts counts.
    """
    policy = Policy.from_text(_POLICY).bind(database.catalog())
    for name, spellings in named:
        for sql in spellings:
            started = perf_counter()
            asked = database.raw(sql)
            asked_s = perf_counter() - started
            if asked[0] != "error":
                yield _held(database, policy, name, sql, asked, asked_s)
                break
            if _is_late(asked):
                break


def _held(database: Database, policy: BoundPolicy, name: str, sql: str, asked: Answer, asked_s: float) -> Outcome:
    started = perf_counter()
    statement = Statement(sql, {}, database.engine.dialect)
    judgement = judge(statement, database.catalog(), policy, Principal("ana"), Context(), database.mask)
    if judgement.plan is None:
        reasons = judgement.decision.reasons
        return Outcome(name, sql, judgement.decision.code, reasons[0].message if reasons else "")
    answered = database.run(judgement.plan)
    guarded_s = perf_counter() - started
    if answered[:2] == ("error", "engine.timeout"):
        return Outcome(name, sql, "late")
    is_same = same(asked, answered, is_ordered=False)
    return Outcome(name, sql, "ok" if is_same else "different", "" if is_same else _shown(asked, answered), asked_s, guarded_s)


def same(asked: Answer, answered: Answer, *, is_ordered: bool) -> bool:
    """Whether two answers are equal; sums of floats may come from another order of the rows."""
    if asked == answered:
        return True
    if is_ordered or asked[0] != answered[0] or not isinstance(asked[1], tuple) or not isinstance(answered[1], tuple):
        return False
    return Counter(map(_rounded, asked[1])) == Counter(map(_rounded, answered[1]))


def _rounded(row: tuple[object, ...]) -> str:
    return repr(
        tuple(float(f"{v:.9g}") if isinstance(v, float) else v.normalize() if isinstance(v, Decimal) else v for v in row)
    )


def _is_late(answer: Answer) -> bool:
    return "timeout" in str(answer[1]) or "interrupted" in str(answer[1]).lower()


def _shown(asked: Answer, answered: Answer) -> str:
    if asked[0] != answered[0]:
        return f"{asked[0]} became {answered[:2]}"[:400]
    return f"{str(asked[1])[:200]} became {str(answered[1])[:200]}"
