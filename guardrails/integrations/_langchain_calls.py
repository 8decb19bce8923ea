"""How one LangChain tool's calls go through a guard, and how refusals leave the tool: as the text of a handled tool error."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, Tool, ToolException
from pydantic import BaseModel

from guardrails.errors import EngineError, GuardrailsError
from guardrails.guard import Guard
from guardrails.integrations._langchain_runtime import call_id, calling
from guardrails.integrations._langchain_values import Returned
from guardrails.integrations._toolbox import SqlArgument, refusal_text, reply_text, scannable, sql_argument_of
from guardrails.tools import find_params_argument, is_stub

__all__ = ["GuardedCall", "argument_names", "handled", "refusals"]

_FILTERED = frozenset({"run_manager", "callbacks"})
"""Arguments that LangChain itself gives to functions with such a parameter."""


class GuardedCall:
    """How one tool's calls go through the guard.

    Args:
        guard: What they go through.
        tool: The tool.
        function: The function of it that is called.
        sql_argument: As for `guardrails.integrations.langchain.guard_tools`.

    Raises:
        UsageError: It is not clear which argument holds SQL (``usage.tool_unguardable``).
    """

    def __init__(self, guard: Guard, tool: BaseTool, function: Callable[..., Any], sql_argument: SqlArgument) -> None:
        self._guard = guard
        self._function = function
        self._name = tool.name
        self._injected = _injected_names(tool, function)
        self._positional = _positional_names(tool, function)
        found = sql_argument_of(tool.name, function, argument_names(tool, function), sql_argument)
        self._sql = self._positional[0] if isinstance(tool, Tool) and found is not None else found
        self._params = find_params_argument(function)
        self._is_stub = self._sql is not None and is_stub(function)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function behind the guard; raises ToolException with the refusal's text."""
        args, kwargs = self._copied(args, kwargs)
        arguments, returned = self._arguments(args, kwargs), Returned()
        with refusals(), calling(self._guard):
            if self._sql is None:
                call = self._bare(args, kwargs, returned)
                return returned.together(self._guard.call_action(call, self._seen(arguments), **self._action()))
            if self._is_stub:
                return reply_text(self._guard.execute(self._statement(arguments), self._values(arguments), **self._tool()))
            call = self._rewritten(args, returned)
            return returned.together(self._guard.call_tool(call, arguments, **self._options()))

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """As `run`, without blocking the event loop; the function may be a coroutine function."""
        args, kwargs = self._copied(args, kwargs)
        arguments, returned = self._arguments(args, kwargs), Returned()
        with refusals(), calling(self._guard):
            if self._sql is None:
                call = self._bare(args, kwargs, returned)
                return returned.together(await self._guard.acall_action(call, self._seen(arguments), **self._action()))
            if self._is_stub:
                sql, values = self._statement(arguments), self._values(arguments)
                return reply_text(await self._guard.aexecute(sql, values, **self._tool()))
            call = self._rewritten(args, returned)
            return returned.together(await self._guard.acall_tool(call, arguments, **self._options()))

    def _copied(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copies what the model gave: a state that others hold refers to it, and it must not change while somebody is asked."""

        def copied(name: str | None, value: Any) -> Any:
            return value if name in self._injected else copy.deepcopy(value)

        names: list[str | None] = [*self._positional, *[None] * len(args)]
        by_position = (copied(name, value) for name, value in zip(names, args, strict=False))
        return tuple(by_position), {name: copied(name, value) for name, value in kwargs.items()}

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self._positional, args, strict=False)) | dict(kwargs)

    def _seen(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All but what the framework injects: that is what a person approves and the ledger holds."""
        return {name: scannable(value) for name, value in arguments.items() if name not in self._injected}

    def _bare(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], returned: Returned) -> Callable[..., object]:
        return lambda **_: returned.taken(self._function(*args, **kwargs))

    def _rewritten(self, args: tuple[Any, ...], returned: Returned) -> Callable[..., object]:
        """Calls the function as it was called, with the arguments that the guard replaced."""
        names = self._positional[: len(args)]

        def call(**arguments: Any) -> object:
            replaced = {name: value for name, value in arguments.items() if name not in names}
            return returned.taken(self._function(*(arguments[name] for name in names), *args[len(names) :], **replaced))

        return call

    def _statement(self, arguments: Mapping[str, Any]) -> Any:
        return arguments[cast(str, self._sql)]

    def _values(self, arguments: Mapping[str, Any]) -> Any:
        return arguments.get(self._params) if self._params else None

    def _action(self) -> dict[str, Any]:
        return {"name": self._name, "tool_call_id": call_id()}

    def _tool(self) -> dict[str, Any]:
        return {"tool": self._name, "tool_call_id": call_id()}

    def _options(self) -> dict[str, Any]:
        return self._tool() | {"sql_argument": self._sql, "params_argument": self._params, "injected": self._injected}


class _Refused(ToolException):
    """Carries a refusal's text to LangChain's own error handling."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turns refusals into tool exceptions with their text; lets through what pauses or ends a graph.

    Raises:
        ToolException: For a refusal.
        GuardrailsError: For the program's own mistakes.
    """
    try:
        yield
    except GuardrailsError as error:
        if isinstance(error, EngineError) and _is_control_flow(error.__cause__):
            raise cast(BaseException, error.__cause__) from None
        raise _Refused(refusal_text(error)) from error


def handled(before: Any, error: ToolException) -> Any:
    """Gives refusals back as their text, and everything else to what handled a tool's errors before."""
    if isinstance(error, _Refused):
        return str(error)
    match before:
        case None | False:
            raise error
        case True:
            return error.args[0] if error.args else "Tool execution error"
        case str():
            return before
        case _:
            return before(error)


def _is_control_flow(error: BaseException | None) -> bool:
    """Whether LangGraph pauses or ends a graph with it; known by name, so that LangGraph need not be installed."""
    return error is not None and any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)


def argument_names(tool: BaseTool, function: Callable[..., Any]) -> list[str]:
    """Returns the arguments of a tool that may hold SQL, as its schema and its function name them: all but the injected ones."""
    injected = _injected_names(tool, function)
    return [name for name in dict.fromkeys([*tool.args, *_positional_names(tool, function)]) if name not in injected]


def _positional_names(tool: BaseTool, function: Callable[..., Any]) -> list[str]:
    if isinstance(tool, Tool):
        # It hands its only argument over by position, whatever the function calls it.
        return list(tool.args)
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        # Some functions written in C do not tell; they are then called by name only.
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _injected_names(tool: BaseTool, function: Callable[..., Any]) -> frozenset[str]:
    """The arguments that LangChain or LangGraph fills in, not the model: marked in the schema or in the function's signature."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        # Then all arguments are seen: an approval of one that changes with each call never fits a second time.
        hints = {}
    marked = {name for name, hint in hints.items() if _is_injected(hint)}
    schema = tool.get_input_schema()
    if isinstance(tool.args_schema, dict) or not issubclass(schema, BaseModel):
        return _FILTERED | marked
    shown = tool.tool_call_schema
    fields = shown.model_fields if isinstance(shown, type) and issubclass(shown, BaseModel) else schema.model_fields
    return _FILTERED | marked | (set(schema.model_fields) - set(fields))


def _is_injected(hint: object) -> bool:
    options = [hint, *get_args(hint)]
    kinds = [option if isinstance(option, type) else get_origin(option) for option in options]
    if RunnableConfig in kinds or any(_is_directly_injected(kind) for kind in kinds):
        return True
    marks = (mark for option in options for mark in getattr(option, "__metadata__", ()))
    return any(issubclass(mark if isinstance(mark, type) else type(mark), InjectedToolArg) for mark in marks)


def _is_directly_injected(kind: object) -> bool:
    """LangGraph's `ToolRuntime` and its like; their base is not public."""
    return isinstance(kind, type) and any(base.__name__ == "_DirectlyInjectedToolArg" for base in kind.__mro__)
