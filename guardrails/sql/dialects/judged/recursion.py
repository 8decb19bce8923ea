"""Common table expressions that name themselves without RECURSIVE: what that means differs, so that one reading alone is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from guardrails.errors import StatementError

__all__ = ["refuse_self_named"]


def refuse_self_named(*, in_set_operations: bool) -> Callable[[exp.Expr], None]:
    """Returns a check that refuses such expressions.

    Args:
        in_set_operations: True refuses those that are a set operation, which may be a recursion or a table of that name (Snowflake);
            False refuses the others, which are no recursion and for the server an error (T-SQL, Oracle).

    The check raises:
        StatementError: There is one (``sql.construct_unsupported``).
    """

    def check(tree: exp.Expr) -> None:
        for cte in _self_named(tree):
            if isinstance(cte.this, exp.SetOperation) == in_set_operations:
                message = f"{cte.alias} may mean itself or a table."
                raise StatementError(
                    "sql.construct_unsupported", message, hint="Give it another name, or write WITH RECURSIVE."
                )

    return check


def _self_named(tree: exp.Expr) -> Iterator[exp.CTE]:
    for clause in tree.find_all(exp.With):
        for cte in [] if clause.args.get("recursive") else clause.expressions:
            names = {t.name.lower() for t in cte.this.find_all(exp.Table) if not t.args.get("db")}
            if cte.alias.lower() in names:
                yield cte
