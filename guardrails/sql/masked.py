"""A mask's text as a tree that stands in a column's place."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import DialectName, MaskExpression
from guardrails.sql.dialects import dialect_of
from guardrails.sql.parse import parse_tree
from guardrails.sql.tokens import tokenize

__all__ = ["masked_column"]


def masked_column(expression: MaskExpression, column: exp.Column, dialect: DialectName) -> exp.Expr:
    """Returns the mask of a column; its bound values are still those of the expression.

    Raises:
        StatementError: The mask names another column (``mask.unsupported``).
    """
    value = _mask_tree(expression.sql, dialect).copy()
    for node in list(value.find_all(exp.Column)):
        if node.name != "__column__":
            raise StatementError("mask.unsupported", f"The mask of {column.name} names another column.")
        node.replace(column.copy())
    inner: exp.Expr = value.this
    return inner.pop()


@lru_cache(maxsize=1024)
def _mask_tree(sql: str, dialect: DialectName) -> exp.Expr:
    """Parses a mask's text once; it comes from the library, not from the agent."""
    rules, text = dialect_of(dialect), f"SELECT {sql}"
    tree = parse_tree(text, tokenize(text, rules), rules)
    return exp.Paren(this=tree.expressions[0].pop())
