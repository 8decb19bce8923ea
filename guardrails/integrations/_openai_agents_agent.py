"""A whole agent of the OpenAI Agents SDK, guarded: its tools, those of its MCP servers, and the agents that it hands over to.

What the guard cannot see is refused: tools that run on the vendor's servers, shells and editors, and a prompt that is kept there and may
bring tools along. So is what is added to a guarded agent later without going through the guard.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from agents import Agent, FunctionTool, Handoff, RunContextWrapper, Tool

from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._openai_agents_tool import GuardedTool, guarded_tool
from guardrails.integrations._toolbox import SqlArgument

__all__ = ["GuardedAgent", "guard_agent"]

_PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class _Terms:
    """How an agent is guarded: through what, which argument holds SQL, and what may go on unseen."""

    guard: Guard
    sql_argument: SqlArgument
    unseen: frozenset[str]
    server_tools: dict[str, GuardedTool] = field(default_factory=dict)


@dataclass
class GuardedAgent(Agent[Any]):
    """An agent all of whose tools go through a guard; made by `guard_agent`."""

    guarding: _Terms | None = None

    async def get_mcp_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        """Returns the tools of its MCP servers, guarded."""
        terms = self._terms()
        tools: list[Tool] = []
        for tool in await super().get_mcp_tools(run_context):
            guarded = GuardedTool(terms.guard, _function(tool), terms.sql_argument, agent=self)
            terms.server_tools[guarded.name] = guarded
            tools.append(guarded.made())
        return tools

    async def get_all_tools(self, run_context: RunContextWrapper[Any]) -> list[Tool]:
        """Returns its tools.

        Raises:
            UsageError: One of them, or an agent that it hands over to, does not go through the guard: it was added afterwards
                (usage.tool_unguardable).
        """
        terms = self._terms()
        for handoff in self.handoffs:
            _require_guarded_handoff(handoff, terms)
        tools = await super().get_all_tools(run_context)
        for tool in tools:
            _require_guarded(tool, terms)
        return tools

    def server_tool(self, name: str) -> GuardedTool | None:
        """Returns a tool of its MCP servers, once they were asked for them."""
        return self._terms().server_tools.get(name)

    def _terms(self) -> _Terms:
        if self.guarding is None:
            raise UsageError("usage.tool_unguardable", f"The agent {self.name} has no guard.", hint="Make it with guard_agent.")
        return self.guarding


def guard_agent(
    guard: Guard, agent: Agent[Any], *, sql_argument: SqlArgument = None, unsafe_unseen: Collection[str] = ()
) -> GuardedAgent:
    """Returns a copy of an agent whose tools, those of its MCP servers, and those of the agents that it hands over to are guarded.

    Args:
        guard: What they go through.
        agent: The agent; it and the agents behind it are left as they are. An agent behind a tool (`Agent.as_tool`) has to be
            guarded before it becomes one.
        sql_argument: The argument that holds SQL, or by tool name; found by its usual names when None.
        unsafe_unseen: The names of tools that may run although the guard cannot see what they do, such as ``web_search``; ``prompt``
            for a prompt that is kept with the vendor.

    Raises:
        UsageError: The agent is of a class of its own, or has a tool that cannot be guarded (usage.tool_unguardable).
    """
    return _Guarding(guard, sql_argument, frozenset(unsafe_unseen)).agent(agent)


class _Guarding:
    """Guards agents that refer to each other, each of them once."""

    def __init__(
        self,
        guard: Guard,
        sql_argument: SqlArgument,
        unseen: frozenset[str],
        known: Mapping[int, tuple[Agent[Any], GuardedAgent]] = MappingProxyType({}),
    ) -> None:
        self._guard = guard
        self._sql_argument = sql_argument
        self._unseen = unseen
        # The agents that were given are kept, so that their identities are not others' meanwhile.
        self._made = dict(known)

    def agent(self, agent: Agent[Any]) -> GuardedAgent:
        known = self._made.get(id(agent))
        if known is not None:
            return known[1]
        if isinstance(agent, GuardedAgent) and agent.guarding is not None and agent.guarding.guard is self._guard:
            return agent
        if type(agent) is not Agent:
            kind = type(agent).__name__
            raise UsageError("usage.tool_unguardable", f"The agent {agent.name} is a {kind}, which may have ways of its own.")
        if agent.prompt is not None and _PROMPT not in self._unseen:
            raise UsageError(
                "usage.tool_unguardable",
                f"The agent {agent.name} has a prompt that is kept with the vendor and may bring tools along.",
                hint="Name `prompt` in unsafe_unseen if it brings none.",
            )
        terms = _Terms(self._guard, self._sql_argument, self._unseen)
        made = GuardedAgent(**{f.name: getattr(agent, f.name) for f in fields(Agent) if f.init}, guarding=terms)
        self._made[id(agent)] = agent, made
        made.tools = [self._tool(tool, terms) for tool in agent.tools]
        made.mcp_servers = [*agent.mcp_servers]
        made.handoffs = [self._handoff(handoff) for handoff in agent.handoffs]
        return made

    def _tool(self, tool: Tool, terms: _Terms) -> Tool:
        if not isinstance(tool, FunctionTool) or guarded_tool(tool) is not None or _agent_behind(tool) is not None:
            _require_guarded(tool, terms)
            return tool
        return GuardedTool(self._guard, tool, self._sql_argument).made()

    def _handoff(self, handoff: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        if isinstance(handoff, Agent):
            return self.agent(handoff)
        if isinstance(handoff.on_invoke_handoff, _Handing) and handoff.on_invoke_handoff.guard is self._guard:
            return handoff
        made = copy.copy(handoff)
        made.on_invoke_handoff = _Handing(self._guard, handoff.on_invoke_handoff, self)
        known = handoff._agent_ref() if handoff._agent_ref is not None else None
        if isinstance(known, Agent):
            made._agent_ref = weakref.ref(self.agent(known))
        return made

    def handed(self, agent: Agent[Any]) -> GuardedAgent:
        """Returns an agent that is made at each handoff, and not kept, guarded."""
        return _Guarding(self._guard, self._sql_argument, self._unseen, self._made).agent(agent)


class _Handing:
    """Hands over to an agent, guarded.

    Args:
        guard: What its tools go through.
        invoke: Hands over, as the application says.
        guarding: Guards the agent.
    """

    def __init__(self, guard: Guard, invoke: Callable[..., Any], guarding: _Guarding) -> None:
        self.guard = guard
        self._invoke = invoke
        self._guarding = guarding

    async def __call__(self, context: RunContextWrapper[Any], arguments: str) -> Agent[Any]:
        return self._guarding.handed(await self._invoke(context, arguments))


def _require_guarded_handoff(handoff: Agent[Any] | Handoff[Any, Any], terms: _Terms) -> None:
    if isinstance(handoff, GuardedAgent):
        guard = handoff.guarding.guard if handoff.guarding is not None else None
    else:
        invoke = getattr(handoff, "on_invoke_handoff", None)
        guard = invoke.guard if isinstance(invoke, _Handing) else None
    if guard is not terms.guard:
        name = handoff.name if isinstance(handoff, Agent) else handoff.agent_name
        hint = "Guard it first: guard_agent(guard, agent)."
        raise UsageError("usage.tool_unguardable", f"The agent {name}, to which is handed over, has no guard.", hint=hint)


def _require_guarded(tool: Tool, terms: _Terms) -> None:
    guarded, behind = guarded_tool(tool), _agent_behind(tool)
    if guarded is not None and guarded.guard is terms.guard:
        return
    if isinstance(behind, GuardedAgent) and behind.guarding is not None and behind.guarding.guard is terms.guard:
        return
    if tool.name in terms.unseen and not isinstance(tool, FunctionTool):
        return
    if behind is not None:
        hint = "Guard the agent first: guard_agent(guard, agent).as_tool(…)."
        raise UsageError("usage.tool_unguardable", f"Behind the tool {tool.name} is an agent without the guard.", hint=hint)
    if isinstance(tool, FunctionTool):
        hint = "Guard it first: guard_tools(guard, [tool])."
        raise UsageError("usage.tool_unguardable", f"The tool {tool.name} does not go through the guard.", hint=hint)
    hint = "Leave it out, or name it in unsafe_unseen if nothing that it does has to be guarded."
    raise UsageError("usage.tool_unguardable", f"What the tool {tool.name} does, the guard cannot see.", hint=hint)


def _agent_behind(tool: Tool) -> object:
    """The agent that a tool runs, None when it runs none."""
    return getattr(tool, "_agent_instance", None) if getattr(tool, "_is_agent_tool", False) else None


def _function(tool: Tool) -> FunctionTool:
    if not isinstance(tool, FunctionTool):
        raise UsageError("usage.tool_unguardable", f"The tool {tool.name} of an MCP server is of an unknown kind.")
    return tool
