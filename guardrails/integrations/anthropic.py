"""Guarded tools for Anthropic's Messages API.

`handle` takes a `tool_use` block as the client returns it, or as a dictionary, and answers with the `tool_result` block to send back;
refusals have ``is_error``. Nothing of Anthropic's is imported: both are plain data.

Source: Anthropic API reference, tool use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, Reply, SqlArgument, Toolbox

__all__ = ["FunctionTools", "SqlTool", "guard_tools"]


class FunctionTools:
    """Several guarded functions as tools. Make it with `guard_tools`."""

    def __init__(self, functions: Iterable[GuardedFunction]) -> None:
        self._toolbox = Toolbox(functions)

    def definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools`."""
        return [{"name": d.name, "description": d.description, "input_schema": d.schema} for d in self._toolbox.definitions]

    def handle(self, tool_use: object) -> dict[str, Any]:
        """Runs one call and returns its `tool_result` block.

        Args:
            tool_use: A block of type `tool_use`, as an object of the client or as a dictionary.

        Returns:
            The block; refusals and malformed calls are text in it, with ``is_error``.

        Raises:
            UsageError: It is no such block (``usage.input_invalid``), a tool is asynchronous, or no session is active.
        """
        name, given, call_id = _read(tool_use)
        return _answer(self._toolbox.dispatch(name, given, call_id), call_id)

    async def ahandle(self, tool_use: object) -> dict[str, Any]:
        """As `handle`, without blocking the event loop; asynchronous functions are awaited."""
        name, given, call_id = _read(tool_use)
        return _answer(await self._toolbox.adispatch(name, given, call_id), call_id)


class SqlTool(FunctionTools):
    """A ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when a call is handled.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def __init__(self, guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> None:
        super().__init__([query_function(guard, name, description)])

    def definition(self) -> dict[str, Any]:
        """Returns the entry of `tools`."""
        return self.definitions()[0]


def guard_tools(guard: Guard, functions: Iterable[Callable[..., object]], *, sql_argument: SqlArgument = None) -> FunctionTools:
    """Guards Python functions as tools.

    A function with an argument that holds SQL receives the regenerated statement; the call of any other is an action of its name,
    which a rule of the policy must allow.

    Args:
        guard: What they go through.
        functions: Functions with type hints, sync or async.
        sql_argument: The argument that holds SQL, or by function name (None for one that holds none); found by its usual names when
            None.

    Raises:
        UsageError: A function cannot be described or guarded, or two have the same name.
    """
    return FunctionTools([GuardedFunction(guard, function, sql_argument) for function in functions])


def _read(block: object) -> tuple[str, object, str]:
    def get(field: str) -> object:
        return block.get(field) if isinstance(block, dict) else getattr(block, field, None)

    name, call_id = get("name"), get("id")
    if get("type") != "tool_use" or not isinstance(name, str) or not isinstance(call_id, str):
        raise UsageError("usage.input_invalid", "This is no tool_use block.")
    return name, get("input"), call_id


def _answer(reply: Reply, call_id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": reply.text, "is_error": reply.is_error}
