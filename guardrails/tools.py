"""Guarded functions: which argument holds the SQL, which takes bound values, whether there is a body; and wrapping one as its kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from typing import Annotated, Any, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

from guardrails.errors import UsageError

__all__ = ["Sql", "find_params_argument", "find_sql_argument", "is_stub", "params_argument_among", "wrap"]

P = ParamSpec("P")
R = TypeVar("R")

_SQL_NAMES = ("sql", "query", "statement", "sql_query", "sql_statement", "sql_text", "select")
_PARAMS_NAMES = ("params", "parameters", "sql_params", "bindings")


class Sql:
    """Marks the argument that holds SQL: ``def run(text: Annotated[str, Sql]) -> …``."""


def find_sql_argument(function: Callable[..., object]) -> str:
    """Returns the name of the argument that holds SQL: the one annotated with `Sql`, else one of the usual names.

    Raises:
        UsageError: There is none, or several are annotated (``usage.tool_unguardable``).
    """
    marked = [name for name, hint in _hints(function).items() if _is_marked(hint)]
    if len(marked) == 1:
        return marked[0]
    names = list(inspect.signature(function).parameters)
    found = [n for n in _SQL_NAMES if n in names]
    if marked or not found:
        raise UsageError("usage.tool_unguardable", f"It is not clear which argument of {function.__name__} holds the SQL.")
    return found[0]


def find_params_argument(function: Callable[..., object]) -> str | None:
    """Returns the name of the argument that takes bound values, None if there is none."""
    return params_argument_among(inspect.signature(function).parameters)


def params_argument_among(names: Collection[str]) -> str | None:
    """Returns which of a function's arguments takes bound values, None if none does."""
    return next((n for n in _PARAMS_NAMES if n in names), None)


def is_stub(function: Callable[..., object]) -> bool:
    """Whether the body is only `...`, `pass` or a docstring, so that there is nothing to call."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return False
    documented = function.__doc__ is not None
    stub = _documented_async_stub if inspect.iscoroutinefunction(function) else _documented_stub
    plain = _async_stub if inspect.iscoroutinefunction(function) else _stub
    model = (stub if documented else plain).__code__
    return bool(code.co_code == model.co_code) and all(c is None or isinstance(c, str) for c in code.co_consts)


def wrap(
    function: Callable[P, R],
    call: Callable[[dict[str, Any]], object],
    acall: Callable[[dict[str, Any]], Coroutine[Any, Any, object]],
) -> Callable[P, R]:
    """Returns a function of the same signature and kind (sync, async, generator, async generator) that goes through a guard."""
    signature = inspect.signature(function)

    def bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        return dict(arguments.arguments)

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def agenerate(*args: Any, **kwargs: Any) -> AsyncIterator[object]:
            for item in cast("list[object]", await acall(bound(args, kwargs))):
                yield item

        return cast("Callable[P, R]", agenerate)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> object:
            return await acall(bound(args, kwargs))

        return cast("Callable[P, R]", arun)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Iterator[object]:
            yield from cast("list[object]", call(bound(args, kwargs)))

        return cast("Callable[P, R]", generate)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> object:
        return call(bound(args, kwargs))

    return cast("Callable[P, R]", run)


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
