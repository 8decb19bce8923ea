"""Guarded tools for LangChain and LangGraph: the same tool objects, with what they run behind the guard.

Name, description, argument schema, response format, injected arguments and asynchronous calls stay as they are. A refusal is a tool
message of status ``error`` whose text the model reads; the exception does not leave the tool.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, cast

from guardrails.errors import UsageError
from guardrails.guard import Guard

try:
    from langchain_core.tools import BaseTool, StructuredTool, Tool
    from langchain_core.tools import tool as as_tool
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "LangChain's tools need langchain-core.", hint="Install guardrails-sql[langchain]."
    ) from missing

from guardrails.integrations._langchain_calls import GuardedCall, argument_names, handled, refusals
from guardrails.integrations._langchain_runtime import calling, tool_call
from guardrails.integrations._toolbox import QUERY_TOOL, SqlArgument, query_description, require_fitting

__all__ = ["SelfGuarded", "guard_tool", "guard_tools", "is_guarded", "sql_tool"]

_TOOLKIT = "langchain_community.tools.sql_database.tool"
_CALLED = ("invoke", "ainvoke", "run", "arun")
"""Ways into a tool, which all end in `_run` or `_arun` as long as they are LangChain's own."""


class SelfGuarded:
    """A database object of a toolkit's tools that sends every statement through a guard itself.

    Attributes:
        guard: What they go through.
    """

    guard: Guard


def guard_tools(
    guard: Guard, tools: Iterable[BaseTool | Callable[..., Any]], *, sql_argument: SqlArgument = None
) -> list[BaseTool]:
    """Returns LangChain's own tool objects, guarded; the given ones are not changed.

    A tool with an argument that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name,
    which a rule of the policy must allow. One that is guarded already is returned as it is.

    Args:
        guard: What they go through. Where a tool is called, a session must be active, or a `Principal` be under ``principal`` in the
            context of the graph's run or in ``config["configurable"]``.
        tools: Tools of any kind, or plain functions.
        sql_argument: The argument that holds SQL, or by tool name (None for a tool that holds none); found by its usual names (sql,
            query, statement…) or by the annotation `Sql` when None.

    Raises:
        UsageError: A tool cannot be guarded, or `sql_argument` names what is not there (``usage.tool_unguardable``).
    """
    named = [tool if isinstance(tool, BaseTool) else as_tool(tool) for tool in tools]
    made = [guard_tool(guard, tool, sql_argument) for tool in named]
    require_fitting(sql_argument, {tool.name: _argument_names(tool) for tool in named})
    return made


def guard_tool(guard: Guard, tool: BaseTool, sql_argument: SqlArgument = None) -> BaseTool:
    """Returns one of several tools, guarded; as `guard_tools`, but `sql_argument` may speak of tools that are not there yet."""
    return tool if is_guarded(tool) else _guarded(guard, tool, sql_argument)


def sql_tool(guard: Guard, name: str = QUERY_TOOL, description: str | None = None) -> StructuredTool:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; as for `guard_tools`.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def query(sql: str) -> str: ...  # type: ignore[empty-body]

    async def aquery(sql: str) -> str: ...  # type: ignore[empty-body]

    text = description if description is not None else query_description(guard)
    made = StructuredTool.from_function(query, aquery, name=name, description=text)
    return cast(StructuredTool, _guarded(guard, made, None))


def is_guarded(tool: BaseTool) -> bool:
    """Tells whether a tool's calls go through a guard, because `guard_tools` or `sql_tool` made it."""
    return isinstance(tool, _GuardedTool)


class _GuardedTool:
    """Mixed into a tool's class: marks it, and remembers a call's id while the tool runs."""

    def run(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        with tool_call(tool_call_id, self.name):  # type: ignore[attr-defined]
            return super().run(tool_input, *args, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]

    async def arun(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        with tool_call(tool_call_id, self.name):  # type: ignore[attr-defined]
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **kwargs)  # type: ignore[misc]


class _GuardedStructuredTool(_GuardedTool, StructuredTool):
    """A guarded tool with a function that takes named arguments."""


class _GuardedSingleTool(_GuardedTool, Tool):
    """A guarded tool with a function that takes one text."""


_COMMON: dict[type[BaseTool], type[BaseTool]] = {StructuredTool: _GuardedStructuredTool, Tool: _GuardedSingleTool}
"""Classes that are made once: making one takes longer than calling a tool."""


def _guarded(guard: Guard, tool: BaseTool, sql_argument: SqlArgument) -> BaseTool:
    kind = type(tool)
    if not all(getattr(kind, name).__module__.startswith("langchain_core.") for name in _CALLED):
        raise UsageError(
            "usage.tool_unguardable",
            f"The tool {tool.name} is called in a way of its own.",
            hint="Let its class override only `_run` and `_arun`.",
        )
    changes: dict[str, Any] = {"handle_tool_error": functools.partial(handled, tool.handle_tool_error)}
    overrides: dict[str, Any] = {}
    for name, method in (("_run", "run"), ("_arun", "arun")):
        field, function = _behind(tool, name)
        if function is None:
            continue
        call = _PassedOn(guard, function) if _guards_itself(tool) else GuardedCall(guard, tool, function, sql_argument)
        wrapped = _wrapped(function, getattr(call, method))
        if field is None:
            overrides[name] = staticmethod(wrapped)
        else:
            changes[field] = wrapped
    guarded = tool.model_copy(update=changes)
    object.__setattr__(guarded, "__class__", _COMMON.get(kind) or _guarded_kind(kind, overrides))
    return guarded


def _guarded_kind(kind: type[BaseTool], overrides: dict[str, Any]) -> type[BaseTool]:
    body = overrides | {"__module__": kind.__module__, "__doc__": kind.__doc__}
    return types.new_class(kind.__name__, (_GuardedTool, kind), exec_body=lambda space: space.update(body))


def _behind(tool: BaseTool, method: str) -> tuple[str | None, Callable[..., Any] | None]:
    """Returns what a method of a tool's calls: a function in one of its fields, by the field's name, or the method itself.

    A function in a field is replaced there, so that nobody who takes it out of the tool goes past the guard.
    """
    kind, base = type(tool), StructuredTool if isinstance(tool, StructuredTool) else Tool
    own = getattr(kind, method)
    if isinstance(tool, (StructuredTool, Tool)) and own is getattr(base, method):
        field = "func" if method == "_run" else "coroutine"
        return field, getattr(tool, field)
    if own is BaseTool._arun:
        # It calls `_run`, which is guarded.
        return None, None
    return None, getattr(tool, method)


def _argument_names(tool: BaseTool) -> set[str]:
    functions = (_behind(tool, method)[1] for method in ("_run", "_arun"))
    return {*tool.args}.union(*(argument_names(tool, function) for function in functions if function is not None))


def _guards_itself(tool: BaseTool) -> bool:
    return type(tool).__module__ == _TOOLKIT and isinstance(getattr(tool, "db", None), SelfGuarded)


class _PassedOn:
    """Calls of a tool whose database guards itself: only what is known of the call is put in force."""

    def __init__(self, guard: Guard, function: Callable[..., Any]) -> None:
        self._guard = guard
        self._function = function

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with refusals(), calling(self._guard):
            return self._function(*args, **kwargs)

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        with refusals(), calling(self._guard):
            return await self._function(*args, **kwargs)


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
