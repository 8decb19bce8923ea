"""What a run of the OpenAI Agents SDK tells of itself: who asks, which agent and model act, and in which conversation."""

from __future__ import annotations

from contextlib import AbstractContextManager

from agents import RunContextWrapper, get_current_trace
from agents.agent import AgentBase
from agents.tool_context import ToolContext

from guardrails.guard import Guard
from guardrails.integrations._runtime import principal_in, purpose_in
from guardrails.model import Runtime

__all__ = ["calling"]

_FRAMEWORK = "openai-agents"
_UNTRACED = "no-op"


def calling(
    guard: Guard, context: RunContextWrapper[object], agent: AgentBase[object] | str | None
) -> AbstractContextManager[None]:
    """Returns what puts in force, while it is entered, what a run tells of a call; see `Guard.calling`.

    Args:
        guard: The guard.
        context: Of the run; the application's own object in it may hold the principal and the purpose.
        agent: The agent that acts, or its name; None where the SDK does not say.
    """
    own: object = context.context
    config = context.run_config if isinstance(context, ToolContext) else None
    trace = get_current_trace()
    traced = trace.trace_id if trace is not None and trace.trace_id != _UNTRACED else None
    runtime = Runtime(
        _FRAMEWORK,
        agent=agent if isinstance(agent, str) else getattr(agent, "name", None),
        model=_model_name(getattr(config, "model", None)) or _model_name(getattr(agent, "model", None)),
        conversation_id=getattr(config, "group_id", None) or getattr(trace, "group_id", None),
        run_id=getattr(config, "trace_id", None) or traced,
        purpose=purpose_in(own),
    )
    return guard.calling(runtime, principal_in(own))


def _model_name(model: object) -> str | None:
    """A model is named by text, or is an object of the SDK's that knows its name."""
    name = model if isinstance(model, str) else getattr(model, "model", None)
    return str(name) if name is not None else None
