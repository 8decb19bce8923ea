"""What guarded functions are like: which argument holds the SQL, which takes bound values, their names, whether there is a body."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from guardrails.errors import UsageError

__all__ = [
    "Sql",
    "find_params_argument",
    "find_sql_argument",
    "implementation",
    "is_stub",
    "name_of",
    "params_argument_among",
    "usual_sql_names",
]

_SQL_NAMES = ("sql", "query", "statement", "sql_query", "sql_statement", "sql_text", "select")
_PARAMS_NAMES = ("params", "parameters", "sql_params", "bindings")


class Sql:
    """Marks the argument that holds SQL: ``def run(text: Annotated[str, Sql]) -> …``."""


def find_sql_argument(function: Callable[..., object]) -> str:
    """Returns the name of the argument that holds SQL: the one annotated with `Sql`, else the one with a usual name.

    Raises:
        UsageError: There is none, or there are several (``usage.tool_unguardable``): the others would run unjudged.
    """
    marked = [name for name, hint in _hints(function).items() if _is_marked(hint)]
    if len(marked) == 1:
        return marked[0]
    found = usual_sql_names(inspect.signature(function).parameters)
    if marked or len(found) != 1:
        raise UsageError(
            "usage.tool_unguardable",
            f"It is not clear which argument of {name_of(function)} holds the SQL.",
            hint="Mark it with `Sql`, or name it.",
        )
    return found[0]


def usual_sql_names(names: Iterable[str]) -> list[str]:
    """Returns those of some arguments' names by which SQL usually goes."""
    given = set(names)
    return [name for name in _SQL_NAMES if name in given]


def find_params_argument(function: Callable[..., object]) -> str | None:
    """Returns the name of the argument that takes bound values, None if there is none."""
    return params_argument_among(inspect.signature(function).parameters)


def params_argument_among(names: Collection[str]) -> str | None:
    """Returns which of a function's arguments takes bound values, None if none does."""
    return next((n for n in _PARAMS_NAMES if n in names), None)


def implementation(function: Callable[..., object]) -> Callable[..., object]:
    """Returns what is at the bottom of wrappers and partial applications."""
    inner: object = function
    while True:
        bottom = inspect.unwrap(inner) if callable(inner) else inner
        bottom = bottom.func if isinstance(bottom, functools.partial) else bottom
        if bottom is inner:
            return function if not callable(bottom) else bottom
        inner = bottom


def name_of(function: Callable[..., object]) -> str:
    """Returns a function's name; of an object that can be called its class's, of a partial application the function's."""
    inner = implementation(function)
    return str(getattr(function, "__name__", None) or getattr(inner, "__name__", None) or type(inner).__name__)


def is_stub(function: Callable[..., object]) -> bool:
    """Whether the body is only `...`, `pass` or a docstring, so that there is nothing to call."""
    inner = implementation(function)
    code = getattr(inner, "__code__", None)
    if code is None or inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        return False
    documented = inner.__doc__ is not None
    stub = _documented_async_stub if inspect.iscoroutinefunction(inner) else _documented_stub
    plain = _async_stub if inspect.iscoroutinefunction(inner) else _stub
    model = (stub if documented else plain).__code__
    return bool(code.co_code == model.co_code) and all(c is None or isinstance(c, str) for c in code.co_consts)


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        # Annotations that cannot be evaluated here mark nothing.
        return {}


def _is_marked(hint: object) -> bool:
    return get_origin(hint) is Annotated and any(a is Sql or isinstance(a, Sql) for a in get_args(hint)[1:])


def _stub() -> None: ...


def _documented_stub() -> None:
    """A docstring."""


async def _async_stub() -> None: ...


async def _documented_async_stub() -> None:
    """A docstring."""
