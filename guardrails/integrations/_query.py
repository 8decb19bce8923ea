"""The ready-made tool: one argument, the SQL, run by the guard on its own engine."""

from __future__ import annotations

from guardrails.guard import Guard
from guardrails.integrations._toolbox import GuardedFunction, query_description

__all__ = ["query_function"]


def query_function(guard: Guard, name: str, description: str | None) -> GuardedFunction:
    """Returns the tool `name` with one argument `sql`."""
    text = description if description is not None else query_description(guard)
    return GuardedFunction(guard, _query, name=name, description=text)


def _query(sql: str) -> None:
    """Runs a statement.

    Args:
        sql: One SQL statement.
    """
