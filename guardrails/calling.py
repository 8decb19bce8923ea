"""Calling a tool of somebody else's with the regenerated statement in place of the agent's, and keeping its error text in."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.model import Params, Plan

__all__ = ["call_with_plan", "sql_arguments"]


def call_with_plan(
    function: Callable[..., object],
    arguments: dict[str, Any],
    sql_argument: str,
    params_argument: str | None,
    plan: Plan | None,
) -> object:
    if plan is None:
        raise UsageError("usage.bug", "There is no plan to run.")
    if plan.params and params_argument is None:
        raise UsageError(
            "usage.tool_unguardable",
            "The guarded statement has bound values, and the function has no parameter for them.",
            hint="Give the function a parameter named `params`, or a body of `...` to let the guard run it.",
        )
    arguments[sql_argument] = plan.sql
    if params_argument is not None:
        arguments[params_argument] = dict(plan.params) if plan.dialect != "postgres" else list(plan.params.values())
    with _translated_errors():
        returned = function(**arguments)
    if inspect.isawaitable(returned):
        return _awaited(returned)
    if inspect.isgenerator(returned):
        return _iterated(returned)
    return _aiterated(returned) if isinstance(returned, AsyncIterator) else returned


def _iterated(returned: Iterator[object]) -> Iterator[object]:
    with _translated_errors():
        yield from returned


async def _awaited(returned: Awaitable[object]) -> object:
    with _translated_errors():
        return await returned


async def _aiterated(returned: AsyncIterator[object]) -> AsyncIterator[object]:
    with _translated_errors():
        async for item in returned:
            yield item


@contextmanager
def _translated_errors() -> Iterator[None]:
    """A driver's error text may hold data; it stays the cause, for the operator."""
    try:
        yield
    except GuardrailsError:
        raise
    except Exception as error:
        raise EngineError("engine.failed", "The tool failed.", evidence={"error": type(error).__name__}) from error


def sql_arguments(arguments: Mapping[str, Any], sql_argument: str, params_argument: str | None) -> tuple[str, Params]:
    sql = arguments.get(sql_argument)
    if not isinstance(sql, str):
        raise UsageError("usage.input_invalid", f"The argument `{sql_argument}` must be text that holds one SQL statement.")
    params = arguments.get(params_argument) if params_argument else None
    return sql, params if params is not None else {}
