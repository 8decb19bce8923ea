"""CrewAI: a crew's tools behind the guard.

Name, description, schemas, usage limits and asynchronous runs stay as they are. A refusal is CrewAI's own `ToolFailure`, whose text the
model reads. Nothing that a guarded tool gave back is served again from the crew's cache: each call is judged and recorded.

CrewAI tells a tool neither who calls it nor the call's id, and a crew has no pause of its own: run it inside `Guard.session`, which names
the person and the agent. What waits for a person is told to the model; kick the crew off again when somebody has answered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from guardrails.calling import sql_arguments
from guardrails.errors import ApprovalRequired, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._toolbox import (
    QUERY_TOOL,
    SqlArgument,
    query_description,
    refusal_text,
    reply_text,
    require_fitting,
    scannable,
    sql_argument_of,
)
from guardrails.model import Runtime
from guardrails.tools import is_stub, params_argument_among

try:
    from crewai.tools import BaseTool  # type: ignore[import-not-found, unused-ignore]
    from crewai.tools import tool as as_tool
    from crewai.tools.tool_failure import ToolFailure  # type: ignore[import-not-found, unused-ignore]
    from crewai.utilities.string_utils import sanitize_tool_name  # type: ignore[import-not-found, unused-ignore]
    from pydantic import PrivateAttr
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "CrewAI's tools need crewai.", hint="Install guardrails-sql[crewai].") from missing

__all__ = ["guard_tools", "sql_tool"]

_RUNTIME = Runtime("crewai")


def guard_tools(
    guard: Guard, tools: Iterable[BaseTool | Callable[..., Any]], *, sql_argument: SqlArgument = None
) -> list[BaseTool]:
    """Returns CrewAI's own tool objects, guarded; the given ones are not changed.

    A tool with an argument that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name, as
    the model calls it, which a rule of the policy must allow.

    Args:
        guard: What they go through; a session must be active when a tool is called.
        tools: Tools of any kind, or plain functions; one that goes through this guard already is returned as it is.
        sql_argument: The argument that holds SQL, or by tool name (None for a tool that holds none); found by its usual names (sql,
            query, statement…) or by the annotation `Sql` when None.

    Raises:
        UsageError: A tool cannot be guarded, or `sql_argument` names what is not there (``usage.tool_unguardable``).
    """
    if isinstance(sql_argument, Mapping):
        sql_argument = {sanitize_tool_name(name): argument for name, argument in sql_argument.items()}
    named = (tool if isinstance(tool, BaseTool) else as_tool(tool) for tool in tools)
    made = [tool if _is_guarded(tool, guard) else _guarded(guard, tool, sql_argument) for tool in named]
    require_fitting(sql_argument, {sanitize_tool_name(tool.name): tool.args_schema.model_fields for tool in made})
    return made


def sql_tool(guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> BaseTool:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when the tool is called.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """
    made = as_tool(name)(_query)
    made.description = description if description is not None else query_description(guard)
    return _guarded(guard, made, None)


def _query(sql: str) -> str:  # type: ignore[empty-body]
    """Runs a statement."""


class _Call:
    """How one tool's calls go through the guard."""

    def __init__(self, guard: Guard, tool: BaseTool, sql_argument: SqlArgument) -> None:
        self.guard = guard
        self._tool = tool
        self._name: str = sanitize_tool_name(tool.name)
        self._function: Callable[..., Any] = getattr(tool, "func", None) or tool._run
        self._arguments = list(tool.args_schema.model_fields)
        self._sql = sql_argument_of(self._name, self._function, self._arguments, sql_argument)
        self._params = params_argument_among(self._arguments)
        self._is_stub = self._sql is not None and is_stub(self._function)
        has_own = not hasattr(tool, "func") and type(tool)._arun is not BaseTool._arun
        self._is_async = has_own or inspect.iscoroutinefunction(self._function)

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        arguments = self._bound(args, kwargs)
        returned: list[Any] = []

        def call(**given: Any) -> Any:
            result = self._tool._run(**given)
            returned.append(asyncio.run(result) if inspect.iscoroutine(result) else result)
            return scannable(returned[0])

        with self.guard.calling(_RUNTIME):
            try:
                if self._sql is None:
                    scanned = self.guard.call_action(call, arguments, name=self._name)
                elif self._is_stub:
                    statement = sql_arguments(arguments, self._sql, self._params)
                    return reply_text(self.guard.execute(*statement, tool=self._name))
                else:
                    scanned = self.guard.call_tool(call, arguments, **self._options(self._sql))
            except GuardrailsError as error:
                return _failure(error)
        return _given_back(returned[0], scanned)

    async def arun(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not self._is_async:
            return await asyncio.to_thread(self.run, args, kwargs)
        arguments = self._bound(args, kwargs)
        returned: list[Any] = []

        async def call(**given: Any) -> Any:
            returned.append(await self._tool._arun(**given))
            return scannable(returned[0])

        with self.guard.calling(_RUNTIME):
            try:
                if self._sql is None:
                    scanned = await self.guard.acall_action(call, arguments, name=self._name)
                else:
                    scanned = await self.guard.acall_tool(call, arguments, **self._options(self._sql))
            except GuardrailsError as error:
                return _failure(error)
        return _given_back(returned[0], scanned)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self._arguments, args, strict=False)) | dict(kwargs)

    def _options(self, sql: str) -> dict[str, Any]:
        return {"sql_argument": sql, "params_argument": self._params, "tool": self._name}


class _GuardedTool(BaseTool):  # type: ignore[misc, unused-ignore]
    """A tool that looks like the one inside; made by `_guarded`."""

    _call: _Call = PrivateAttr()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self._call.run(args, kwargs)

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        return await self._call.arun(args, kwargs)


def _guarded(guard: Guard, tool: BaseTool, sql_argument: SqlArgument) -> BaseTool:
    call = _Call(guard, tool, sql_argument)
    kept = {name: getattr(tool, name) for name in BaseTool.model_fields if name in tool.model_fields}
    guarded = _GuardedTool(**(kept | {"cache_function": _never}))
    guarded._call = call
    return guarded


def _is_guarded(tool: BaseTool, guard: Guard) -> bool:
    return isinstance(tool, _GuardedTool) and tool._call.guard is guard


def _never(_arguments: Any = None, _result: Any = None) -> bool:
    """Says of every result that the crew shall not serve it again."""
    return False


def _failure(error: GuardrailsError) -> ToolFailure:
    text = refusal_text(error)
    return ToolFailure(message=text, retryable=isinstance(error, ApprovalRequired), details={"code": error.code})


def _given_back(returned: Any, scanned: Any) -> Any:
    """Returns the tool's own object where the scan left it alone, otherwise what the scan made of it."""
    return returned if scannable(returned) == scanned else scanned
