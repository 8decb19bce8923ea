"""Guarded tools for OpenAI's clients, for Chat Completions and for the Responses API.

Definitions are strict JSON Schemas; `handle` takes a call as the client returns it, or as the dictionary that travels, and answers with
the item to append to the conversation. Nothing of OpenAI's is imported: both are plain data.

Sources: OpenAI API reference, function calling with Chat Completions and with Responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._definitions import Definition
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, Reply, SqlArgument, Toolbox

__all__ = ["FunctionTools", "SqlTool", "guard_tools"]


class FunctionTools:
    """Several guarded functions as tools. Make it with `guard_tools`."""

    def __init__(self, functions: Iterable[GuardedFunction]) -> None:
        self._toolbox = Toolbox(functions)

    def chat_definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools` for Chat Completions."""
        return [{"type": "function", "function": _fields(d)} for d in self._toolbox.definitions]

    def responses_definitions(self) -> list[dict[str, Any]]:
        """Returns the entries of `tools` for the Responses API."""
        return [{"type": "function", **_fields(d)} for d in self._toolbox.definitions]

    def handle(self, tool_call: object) -> dict[str, Any]:
        """Runs one call and returns what to append: a message of role `tool`, or a `function_call_output`.

        Args:
            tool_call: One of `message.tool_calls` (Chat Completions), or one `function_call` of `response.output`; as an object of the
                client or as a dictionary.

        Returns:
            The answer, in the form that belongs to the call. Refusals and malformed calls are text in it.

        Raises:
            UsageError: It is no call (``usage.input_invalid``), a tool is asynchronous, or no session is active.
        """
        name, arguments, call_id, is_chat = _read(tool_call)
        return _answer(self._toolbox.dispatch(name, arguments, call_id), call_id, is_chat)

    async def ahandle(self, tool_call: object) -> dict[str, Any]:
        """As `handle`, without blocking the event loop; asynchronous functions are awaited."""
        name, arguments, call_id, is_chat = _read(tool_call)
        return _answer(await self._toolbox.adispatch(name, arguments, call_id), call_id, is_chat)


class SqlTool(FunctionTools):
    """A ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when a call is handled.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """

    def __init__(self, guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> None:
        super().__init__([query_function(guard, name, description)])

    def chat_definition(self) -> dict[str, Any]:
        """Returns the entry of `tools` for Chat Completions."""
        return self.chat_definitions()[0]

    def responses_definition(self) -> dict[str, Any]:
        """Returns the entry of `tools` for the Responses API."""
        return self.responses_definitions()[0]


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


def _fields(definition: Definition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "description": definition.description,
        "parameters": definition.schema,
        "strict": definition.is_strict,
    }


def _read(call: object) -> tuple[str, object, str, bool]:
    """Returns name, arguments, id, and whether the call is one of Chat Completions."""
    match _get(call, "type"):
        case "function_call":
            found = (_get(call, "name"), _get(call, "arguments"), _get(call, "call_id"), False)
        case "function" | None:
            function = _get(call, "function")
            found = (_get(function, "name"), _get(function, "arguments"), _get(call, "id"), True)
        case "custom":
            # A call of a tool that takes free text: none of ours, so the model reads that it does not exist.
            custom = _get(call, "custom")
            found = (_get(custom, "name"), {}, _get(call, "id"), True)
        case _:
            found = (None, None, None, False)
    name, arguments, call_id, is_chat = found
    if not isinstance(name, str) or not isinstance(call_id, str):
        raise UsageError("usage.input_invalid", "This is neither a tool call nor a function call of OpenAI's.")
    return name, arguments, call_id, is_chat


def _get(item: object, field: str) -> object:
    return item.get(field) if isinstance(item, dict) else getattr(item, field, None)


def _answer(reply: Reply, call_id: str, is_chat: bool) -> dict[str, Any]:
    if is_chat:
        return {"role": "tool", "tool_call_id": call_id, "content": reply.text}
    return {"type": "function_call_output", "call_id": call_id, "output": reply.text}
