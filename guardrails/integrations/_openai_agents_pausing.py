"""How an interrupted run of the OpenAI Agents SDK goes on: which requests it waits for, and letting go those that are answered.

Both are read from the run's own state, with the arguments as they stand there, so that nothing beside the state has to be kept. To let
a call go on permits nothing: the SDK makes the call, and the guard looks for a yes in the store (docs/decisions/0035).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from agents import Agent, RunContextWrapper, RunResult, RunResultStreaming, RunState
from agents.items import ToolApprovalItem

from guardrails.errors import UsageError
from guardrails.integrations._openai_agents_agent import GuardedAgent
from guardrails.integrations._openai_agents_context import calling
from guardrails.integrations._openai_agents_tool import GuardedTool, guarded_tool, parsed_arguments
from guardrails.model import ApprovalRequest

__all__ = ["open_requests", "proceed"]

Paused: TypeAlias = "RunResult | RunResultStreaming | RunState[Any, Any]"


def open_requests(paused: Paused, *, context: object = None) -> dict[str, ApprovalRequest]:
    """Returns the requests that an interrupted run waits for, by the ids of its calls.

    Args:
        paused: The result of the run, or its state, also one that was read from JSON.
        context: The application's own object for the run, where the state has none: it names who asks, unless a session is active.

    Raises:
        UsageError: No session is active, and the context names nobody (usage.no_session).
        IdentityError: The context names another person than the session.
    """
    found = {_call_id(item): _request(item, tool, paused, context) for item, tool in _ours(paused)}
    return {call_id: request for call_id, request in found.items() if request is not None}


def proceed(state: RunState[Any, Any], *, context: object = None) -> bool:
    """Lets the calls of an interrupted run go on that wait for nobody any more; a no becomes a refusal that the model reads.

    A tool that has a `needs_approval` of its own waits for the application as well, which approves or rejects its calls itself.

    Args:
        state: Of the interrupted run.
        context: As for `open_requests`.

    Returns:
        Whether any call was let go, so that running the state anew brings it further.

    Raises:
        UsageError, IdentityError: As `open_requests`.
    """
    ours = [(item, tool) for item, tool in _ours(state) if not tool.waits_for_others]
    answered = [item for item, tool in ours if _request(item, tool, state, context) is None]
    for item in answered:
        state.approve(item)
    return bool(answered)


def _ours(paused: Paused) -> list[tuple[ToolApprovalItem, GuardedTool]]:
    items = paused.get_interruptions() if isinstance(paused, RunState) else paused.interruptions
    found = [(item, _tool_of(item)) for item in items]
    return [(item, tool) for item, tool in found if tool is not None]


def _tool_of(item: ToolApprovalItem) -> GuardedTool | None:
    agent = item.agent
    if not isinstance(agent, Agent) or item.name is None:
        return None
    listed = (guarded_tool(tool) for tool in agent.tools)
    named = next((tool for tool in listed if tool is not None and tool.name == item.name), None)
    if named is None and isinstance(agent, GuardedAgent):
        return agent.server_tool(item.name)
    return named


def _request(item: ToolApprovalItem, tool: GuardedTool, paused: Paused, context: object) -> ApprovalRequest | None:
    run = RunContextWrapper(context) if context is not None else _context_of(paused)
    try:
        arguments = parsed_arguments(item.arguments or "")
    except UsageError:  # What is no JSON waits for nobody; the model is told so when the call is made.
        return None
    with calling(tool.guard, run, item.agent):
        return tool.request(arguments, item.call_id, is_asked=False)


def _context_of(paused: Paused) -> RunContextWrapper[Any]:
    found = getattr(paused, "_context", None) if isinstance(paused, RunState) else paused.context_wrapper
    return found if isinstance(found, RunContextWrapper) else RunContextWrapper(None)


def _call_id(item: ToolApprovalItem) -> str:
    return item.call_id or ""
