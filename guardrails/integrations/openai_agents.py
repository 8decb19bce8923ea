"""The OpenAI Agents SDK: tools, agents and MCP servers whose calls go through a guard.

    agent = Agent("bot", tools=[sql_tool(guard), *guard_tools(guard, [refund, send_mail])])
    result = await Runner.run(agent, "…", context={"principal": ana})
    while result.interruptions:
        state = result.to_state()                  # can be kept: `state.to_json()`
        …                                          # until somebody has answered in the console
        if proceed(state):
            result = await Runner.run(agent, state)

A refusal reaches the model as the tool's output, so that it repairs its query. A statement for which the policy wants a person interrupts
the run as any tool with `needs_approval` does, and its request is filed. To the SDK a call that goes on is approved; to the guard that
says nothing: what nobody has approved in the store does not run (see `guardrails.integrations._pausing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._toolbox import QUERY_TOOL, SqlArgument, query_description, require_fitting

try:
    from agents import FunctionTool, function_tool
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "This needs the package openai-agents.", hint="Install guardrails-sql[openai-agents]."
    ) from missing

from guardrails.integrations._openai_agents_agent import GuardedAgent, guard_agent
from guardrails.integrations._openai_agents_guardrails import GuardrailPair, tool_guardrails
from guardrails.integrations._openai_agents_pausing import open_requests, proceed
from guardrails.integrations._openai_agents_tool import GuardedTool, guarded_tool

__all__ = [
    "GuardedAgent",
    "GuardrailPair",
    "guard_agent",
    "guard_tools",
    "open_requests",
    "proceed",
    "sql_tool",
    "tool_guardrails",
]


def guard_tools(
    guard: Guard, tools: Iterable[FunctionTool | Callable[..., object]], *, sql_argument: SqlArgument = None
) -> list[FunctionTool]:
    """Returns the SDK's own tools, whose calls go through the guard.

    Name, description, argument schema and its strictness, `is_enabled`, timeouts, guardrails and the tool's own `needs_approval` stay.
    A tool with an argument that holds SQL receives the regenerated statement; one whose body is only `...` is not called: the guard runs
    the statement on its own engine. Every other tool is an action of the tool's name, which the policy has to allow.

    Args:
        guard: What they go through; a session is active while the agent runs, or the run's context has a `principal`.
        tools: Made by `function_tool` or by hand, or plain functions, which `function_tool` describes. They are left as they are; one
            that goes through this guard already is returned itself.
        sql_argument: The argument that holds SQL, or by tool name; found by its usual names when None.

    Raises:
        UsageError: A tool cannot be guarded: it is no function tool, or it runs an agent; or `sql_argument` names a tool or an argument
            that is not there (usage.tool_unguardable). Two tools have the same name (usage.input_invalid).
    """
    made = [_guarded(guard, tool, sql_argument) for tool in tools]
    names = {tool.name: tool.params_json_schema.get("properties", {}) for tool in made}
    if len(names) != len(made):
        raise UsageError("usage.input_invalid", "Two tools have the same name.")
    require_fitting(sql_argument, names)
    return made


def sql_tool(guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> FunctionTool:
    """Returns a ready-made tool with one argument, the SQL, which the guard runs on its own engine.

    Args:
        guard: What it goes through.
        name: What the model calls it.
        description: What the model reads about it; says what database it is when None.
    """
    said = description if description is not None else query_description(guard)
    described = function_tool(_query, name_override=name, description_override=said)
    return GuardedTool(guard, described, None, function=_query).made()


def _guarded(guard: Guard, tool: object, sql_argument: SqlArgument) -> FunctionTool:
    if isinstance(tool, FunctionTool):
        known = guarded_tool(tool)
        is_ours = known is not None and known.guard is guard
        return tool if is_ours else GuardedTool(guard, tool, sql_argument).made()
    if callable(tool):
        return GuardedTool(guard, function_tool(tool), sql_argument, function=tool).made()
    kind = type(tool).__name__
    raise UsageError("usage.tool_unguardable", f"A {kind} is no function: the guard cannot see what it does.")


def _query(sql: str) -> None:
    """Runs a statement.

    Args:
        sql: One SQL statement.
    """
