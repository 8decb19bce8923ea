"""Guarded tools for LangChain and LangGraph: the same tool objects, with what they run behind the guard.

Name, description, argument schema, response format, injected arguments and asynchronous calls stay as they are. A refusal is a tool
message of status ``error`` whose text the model reads; the exception does not leave the tool.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._toolbox import (
    QUERY_TOOL,
    SqlArgument,
    query_description,
    refusal_text,
    reply_text,
    scannable,
    sql_argument_of,
)
from guardrails.tools import find_params_argument, is_stub

try:
    from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
    from langchain_core.tools import tool as as_tool
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "LangChain's tools need langchain-core.", hint="Install guardrails-sql[langchain]."
    ) from missing

__all__ = ["guard_tools", "sql_tool"]

_CALL_ID: ContextVar[str | None] = ContextVar("guardrails_langchain_call_id", default=None)
"""The id of the tool call that runs in this context."""


def guard_tools(
    guard: Guard, tools: Iterable[BaseTool | Callable[..., Any]], *, sql_argument: SqlArgument = None
) -> list[BaseTool]:
    """Returns LangChain's own tool objects, guarded; the given ones are not changed.

    A tool with an argument that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name,
    which a rule of the policy must allow.

    Args:
        guard: What they go through; a session must be active when a tool is called.
        tools: Tools of any kind, or plain functions.
        sql_argument: The argument that holds SQL, or by tool name (None for a tool that holds none); found by its usual names (sql,
            query, statement…) or by the annotation `Sql` when None.

    Raises:
        UsageError: A tool cannot be guarded (``usage.tool_unguardable``).
    """
    named = (tool if isinstance(tool, BaseTool) else as_tool(tool) for tool in tools)
    return [_guarded(guard, tool, sql_argument) for tool in named]


def sql_tool(guard: Guard, name: str = QUERY_TOOL, description: str | None = None) -> StructuredTool:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when the tool is called.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def query(sql: str) -> str: ...  # type: ignore[empty-body]

    async def aquery(sql: str) -> str: ...  # type: ignore[empty-body]

    text = description if description is not None else query_description(guard)
    made = StructuredTool.from_function(query, aquery, name=name, description=text)
    return cast(StructuredTool, _guarded(guard, made, None))


class _CallRecorder:
    """Mixed into a tool's class: remembers the call's id while the tool runs, for the ledger."""

    def run(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        with _call(tool_call_id):
            return super().run(tool_input, *args, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]

    async def arun(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        with _call(tool_call_id):
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]


@contextmanager
def _call(call_id: str | None) -> Iterator[None]:
    token = _CALL_ID.set(call_id)
    try:
        yield
    finally:
        _CALL_ID.reset(token)


class _Refused(ToolException):
    """Carries a refusal's text to LangChain's own error handling."""


class _Call:
    """How one tool's calls go through the guard."""

    def __init__(self, guard: Guard, tool: BaseTool, function: Callable[..., Any], sql_argument: SqlArgument) -> None:
        self._guard = guard
        self._function = function
        self._name = tool.name
        self._visible = frozenset(tool.args)
        self._returns_pair = tool.response_format == "content_and_artifact"
        # A `Tool` hands its only argument over by position, whatever the function calls it.
        is_single = isinstance(tool, Tool)
        self._positional = list(tool.args) if is_single else _positional_names(function)
        found = sql_argument_of(tool.name, function, dict.fromkeys([*tool.args, *self._positional]), sql_argument)
        self._sql = self._positional[0] if is_single and found is not None else found
        self._params = find_params_argument(function)
        self._is_stub = self._sql is not None and is_stub(function)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._arguments(args, kwargs)
        with _refusals():
            if self._sql is None:
                call = functools.partial(self._called, args, kwargs)
                return self._given_back(self._guard.call_action(call, self._seen(arguments), **self._action()))
            if self._is_stub:
                return reply_text(self._guard.execute(self._statement(arguments), self._values(arguments), **self._tool()))
            rewritten = functools.partial(self._rewritten, args)
            return self._given_back(self._guard.call_tool(rewritten, arguments, **self._options()))

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._arguments(args, kwargs)
        with _refusals():
            if self._sql is None:
                call = functools.partial(self._called, args, kwargs)
                return self._given_back(await self._guard.acall_action(call, self._seen(arguments), **self._action()))
            if self._is_stub:
                sql, values = self._statement(arguments), self._values(arguments)
                return reply_text(await self._guard.aexecute(sql, values, **self._tool()))
            rewritten = functools.partial(self._rewritten, args)
            return self._given_back(await self._guard.acall_tool(rewritten, arguments, **self._options()))

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self._positional, args, strict=False)) | dict(kwargs)

    def _seen(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the model gave, without what the framework injects: that is what a person approves and the ledger holds."""
        return {name: scannable(value) for name, value in arguments.items() if name in self._visible}

    def _called(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], **_: Any) -> Any:
        return _plain(self._function(*args, **kwargs))

    def _rewritten(self, args: tuple[Any, ...], **arguments: Any) -> Any:
        """Calls the function as it was called, with the arguments that the guard replaced."""
        names = self._positional[: len(args)]
        replaced = {name: value for name, value in arguments.items() if name not in names}
        return _plain(self._function(*(arguments[name] for name in names), *args[len(names) :], **replaced))

    def _given_back(self, value: Any) -> Any:
        return tuple(value) if self._returns_pair and isinstance(value, list) else value

    def _statement(self, arguments: Mapping[str, Any]) -> Any:
        return arguments[cast(str, self._sql)]

    def _values(self, arguments: Mapping[str, Any]) -> Any:
        return arguments.get(self._params) if self._params else None

    def _action(self) -> dict[str, Any]:
        return {"name": self._name, "tool_call_id": _CALL_ID.get()}

    def _tool(self) -> dict[str, Any]:
        return {"tool": self._name, "tool_call_id": _CALL_ID.get()}

    def _options(self) -> dict[str, Any]:
        return self._tool() | {"sql_argument": self._sql, "params_argument": self._params}


def _guarded(guard: Guard, tool: BaseTool, sql_argument: SqlArgument) -> BaseTool:
    changes: dict[str, Any] = {"handle_tool_error": functools.partial(_handled, tool.handle_tool_error)}
    overrides: dict[str, Any] = {}
    if isinstance(tool, (StructuredTool, Tool)):
        # Replaced in the tool, so that nobody who takes the function out of it goes past the guard.
        for field, method in (("func", "run"), ("coroutine", "arun")):
            function = getattr(tool, field)
            if function is not None:
                changes[field] = _wrapped(function, getattr(_Call(guard, tool, function, sql_argument), method))
    else:
        overrides["_run"] = staticmethod(_wrapped(tool._run, _Call(guard, tool, tool._run, sql_argument).run))
        if type(tool)._arun is not BaseTool._arun:
            overrides["_arun"] = staticmethod(_wrapped(tool._arun, _Call(guard, tool, tool._arun, sql_argument).arun))
    kind = type(tool)
    body = overrides | {"__module__": kind.__module__, "__doc__": kind.__doc__}
    guarded_kind = types.new_class(kind.__name__, (_CallRecorder, kind), exec_body=lambda space: space.update(body))
    guarded = tool.model_copy(update=changes)
    object.__setattr__(guarded, "__class__", guarded_kind)
    return guarded


def _wrapped(function: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `call` the function's signature and annotations, in which LangChain looks for what to inject."""
    if inspect.iscoroutinefunction(call):

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            return await call(*args, **kwargs)

        return arun

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs)

    return run


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except GuardrailsError as error:
        if isinstance(error, EngineError) and _is_control_flow(error.__cause__):
            raise cast(BaseException, error.__cause__) from None
        raise _Refused(refusal_text(error)) from error


def _is_control_flow(error: BaseException | None) -> bool:
    """Whether LangGraph pauses or ends a graph with it; known by name, so that LangGraph need not be installed."""
    return error is not None and any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)


def _handled(before: Any, error: ToolException) -> Any:
    """Gives refusals back as their text, and everything else to what handled errors before."""
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


def _plain(returned: Any) -> Any:
    if inspect.isawaitable(returned):
        return _aplain(returned)
    # The scan looks into lists; a model reads a list and a tuple alike.
    return scannable(returned) if isinstance(returned, (tuple, list)) else returned


async def _aplain(returned: Awaitable[Any]) -> Any:
    return _plain(await returned)


def _positional_names(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        # Some functions written in C do not tell; they are then called by name only.
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
