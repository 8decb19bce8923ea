"""A guard for whole LangChain agents: middleware through which every tool of an agent is guarded, wherever it comes from.

Put it last in the list of middleware: then it is next to the tools, and what others change or run again is judged as it finally stands.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from guardrails.errors import UsageError
from guardrails.guard import Guard

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest
    from langchain.tools.tool_node import ToolCallRequest
    from langchain_core.messages import ToolMessage
    from langchain_core.tools import BaseTool
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Middleware for agents needs langchain.", hint="Install guardrails-sql[langchain-agents]."
    ) from missing

from guardrails.integrations._langchain_runtime import messages_known
from guardrails.integrations._toolbox import SqlArgument, refusal_text
from guardrails.integrations.langchain import guard_tool

__all__ = ["GuardMiddleware"]

_MOST_TOOLS = 256


class GuardMiddleware(AgentMiddleware[Any, Any]):
    """Runs every tool call of an agent behind a guard, as `guardrails.integrations.langchain.guard_tools` would.

    A tool that holds SQL receives the regenerated statement; the call of any other is an action of the tool's name. Tools that are
    guarded already are called as they are. A tool that is not known when the call comes here is refused: one that other middleware
    brings along has to be put in by middleware before this.

    Args:
        guard: What they go through. The user comes from an active session, or from a `Principal` under ``principal`` in the agent's
            ``context=``.
        sql_argument: The argument that holds SQL, as for `guard_tools`.
        unsafe_unguarded: Names or types of tools that the model's provider runs, such as ``web_search``, which may be offered to the
            model. Nobody here sees what they do; an agent that has others is refused when it runs.

    Example:
        >>> def support_agent(model: object, tools: list[BaseTool], guard: Guard) -> object:
        ...     return create_agent(model, tools, middleware=[GuardMiddleware(guard)])
    """

    def __init__(self, guard: Guard, *, sql_argument: SqlArgument = None, unsafe_unguarded: Collection[str] = ()) -> None:
        super().__init__()
        self._guard = guard
        self._sql_argument = sql_argument
        self._unguarded = frozenset(unsafe_unguarded)
        self._lock = threading.Lock()
        self._known: OrderedDict[int, tuple[BaseTool, BaseTool]] = OrderedDict()

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], Any]) -> Any:
        """Calls the model, unless it is offered tools that nobody here could see.

        Raises:
            UsageError: It is (``usage.tool_unguardable``).
        """
        self._require_seen(request)
        return handler(request)

    async def awrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[Any]]) -> Any:
        """As `wrap_model_call`."""
        self._require_seen(request)
        return await handler(request)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Has the tool called behind the guard; a refusal is a tool message of status ``error``."""
        guarded = self._guarded(request)
        if isinstance(guarded, ToolMessage):
            return guarded
        with messages_known(_messages(request)):
            return handler(guarded)

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        """As `wrap_tool_call`."""
        guarded = self._guarded(request)
        if isinstance(guarded, ToolMessage):
            return guarded
        with messages_known(_messages(request)):
            return await handler(guarded)

    def _guarded(self, request: ToolCallRequest) -> ToolCallRequest | ToolMessage:
        call = request.tool_call
        try:
            if request.tool is None:
                raise UsageError("usage.input_invalid", f"There is no tool {call['name'][:60]!r}.")
            return replace(request, tool=self._guarded_tool(request.tool), runtime=self._runtime(request.runtime))
        except UsageError as error:
            return ToolMessage(refusal_text(error), tool_call_id=call["id"], name=call["name"], status="error")

    def _runtime(self, runtime: Any) -> Any:
        """A tool may call the others that its runtime lists: these are guarded as well, and those that cannot be are left out."""
        listed = getattr(runtime, "tools", None)
        if not listed:
            return runtime
        guarded = []
        for tool in listed:
            with suppress(UsageError):
                guarded.append(self._guarded_tool(tool))
        return replace(runtime, tools=guarded)

    def _guarded_tool(self, tool: BaseTool) -> BaseTool:
        """The guarded twin of a tool, made once; the least recently used are let go of when tools are made for each call."""
        with self._lock:
            known = self._known.pop(id(tool), None)
            if known is None or known[0] is not tool:
                known = tool, guard_tool(self._guard, tool, self._sql_argument)
            self._known[id(tool)] = known
            while len(self._known) > _MOST_TOOLS:
                self._known.popitem(last=False)
        return known[1]

    def _require_seen(self, request: ModelRequest) -> None:
        for tool in request.tools:
            if isinstance(tool, dict) and _names(tool).isdisjoint(self._unguarded):
                raise UsageError(
                    "usage.tool_unguardable",
                    f"The tool {'/'.join(sorted(_names(tool))) or 'without a name'} is run by the model's provider, unseen.",
                    hint="Leave it out, or name it in `unsafe_unguarded`.",
                )


def _messages(request: ToolCallRequest) -> list[Any]:
    state = request.state
    found = state.get("messages") if isinstance(state, dict) else getattr(state, "messages", state)
    return found if isinstance(found, list) else []


def _names(tool: dict[str, Any]) -> frozenset[str]:
    function = tool.get("function")
    told = (tool.get("name"), tool.get("type"), function.get("name") if isinstance(function, dict) else None)
    return frozenset(name for name in told if isinstance(name, str))
