"""What was asked against what runs: the original text and the regenerated one, on one engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from sqlglot import exp

from guardrails.errors import GuardrailsError
from guardrails.model import Catalog, Statement
from guardrails.sql import parse, resolve
from guardrails.sql.parse import check_round_trip
from tests.support.grammar import Choose
from tests.support.oracles.answers import Answer, Answers

__all__ = ["Side", "difference_of"]


@dataclass
class Side:
    """One database with the maker of statements for it."""

    answers: Answers
    catalog: Catalog
    make: Callable[[Choose], str]
    regenerated: Callable[[str], tuple[str, exp.Expr]] = field(init=False)
    """Returns the text that would run without obligations, and its tree; of a statement that came lately it is known."""

    def __post_init__(self) -> None:
        self.regenerated = lru_cache(maxsize=1_000)(self._regenerate)

    def _regenerate(self, sql: str) -> tuple[str, exp.Expr]:
        resolved = resolve(parse(Statement(sql, {}, self.answers.dialect)), self.catalog)
        return check_round_trip(resolved.tree, resolved.dialect), resolved.tree

    def difference(self, sql: str) -> str | None:
        """Returns how the answers differ; None when they do not, or when the statement is refused or takes too long."""
        try:
            text, tree = self.regenerated(sql)
        except GuardrailsError:
            return None
        asked, answered = self.answers.pair(sql, text)
        return None if asked.is_late or answered.is_late else difference_of(asked, answered, tree)


def difference_of(asked: Answer, answered: Answer, tree: exp.Expr) -> str | None:
    """Returns how two answers differ, None when they do not; `tree` tells whether the order of rows is the statement's."""
    if asked.error or answered.error:
        return None if asked.error == answered.error else f"error {asked.error} became {answered.error}"
    if asked.columns != answered.columns:
        return f"columns {asked.columns} became {answered.columns}"
    if asked.rows == answered.rows:
        return None
    if _is_totally_ordered(tree, len(asked.columns)) or sorted(map(repr, asked.rows)) != sorted(map(repr, answered.rows)):
        return f"rows {asked.rows[:5]} … ({len(asked.rows)}) became {answered.rows[:5]} … ({len(answered.rows)})"
    return None


def _is_totally_ordered(tree: exp.Expr, columns: int) -> bool:
    order = tree.args.get("order")
    keys = {o.this.name for o in order.expressions if isinstance(o.this, exp.Literal)} if order is not None else set()
    return {str(i + 1) for i in range(columns)} <= keys
