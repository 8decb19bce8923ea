"""What a LlamaIndex workflow tells of a tool's call, and how the call waits for a person within it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from llama_index.core.agent.workflow import BaseWorkflowAgent, ToolCall
from workflows import Context
from workflows.events import HumanResponseEvent, InputRequiredEvent
from workflows.runtime.types.results import StepWorkerStateContextVar

from guardrails.errors import ApprovalRequired
from guardrails.integrations._pausing import pause_facts
from guardrails.integrations._runtime import principal_in, purpose_in
from guardrails.model import ApprovalRequest, Principal, Runtime

__all__ = ["OUTSIDE", "Caller", "PauseRequested", "Waiting"]

_FRAMEWORK = "llama-index"
OUTSIDE = Runtime(_FRAMEWORK)
"""What is told of a call outside of a workflow."""
_PREFIX = "A person has to approve this first."


class PauseRequested(Exception):
    """Carries a request from the guard's channel to the tool that runs, which pauses the workflow."""

    def __init__(self, request: ApprovalRequest, console_url: str | None) -> None:
        super().__init__(request.id)
        self.request = request
        self.console_url = console_url

    def as_refusal(self) -> ApprovalRequired:
        """Returns what a model is told where nothing can pause."""
        return ApprovalRequired(_PREFIX, request=self.request)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a tool's call.

    Args:
        runtime: What the workflow tells.
        principal: Whom its context's store names; None when it names nobody.
        call_id: The model's id of the call; None outside of an agent's step.
    """

    runtime: Runtime
    principal: Principal | None
    call_id: str | None

    @classmethod
    async def of(cls, context: Context[Any] | None) -> Caller:
        """Reads it from the context, None outside of a workflow."""
        if context is None:
            return cls(OUTSIDE, None, None)
        names = ("principal", "purpose", "conversation_id", "current_agent_name")
        stored = {name: await context.store.get(name, default=None) for name in names}
        agent = _agent_of(context, stored["current_agent_name"])
        conversation = stored["conversation_id"]
        runtime = Runtime(
            _FRAMEWORK,
            agent=agent.name if agent is not None else None,
            model=agent.llm.metadata.model_name if agent is not None else None,
            conversation_id=conversation if isinstance(conversation, str) else None,
            run_id=_run_of(context),
            purpose=purpose_in(stored),
        )
        call = _tool_call()
        return cls(runtime, principal_in(stored), call.tool_id if call is not None else None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The pause of one tool call: it remembers in the context's store what it waits for, so that a later replay of the step finds it.

    A replay starts the call anew. Having waited once, a call does not wait again: were it to, an event of the first wait, which the
    workflow keeps until the step is over, would start it twice.

    Args:
        context: The workflow's; None where nothing can wait.
        key: Under which the store remembers it.
    """

    context: Context[Any] | None
    key: str

    @classmethod
    def of(cls, context: Context[Any] | None, call_id: str | None, tool: str) -> Waiting:
        """Returns the pause of a call; the model made up its id, so the key holds none of its characters."""
        digest = hashlib.sha256(json.dumps([tool, call_id]).encode()).hexdigest()
        return cls(context if call_id is not None else None, f"guardrails_{digest[:32]}")

    async def is_over(self) -> bool:
        """Tells whether the call has waited, and somebody has said that it is time to look again.

        Raises:
            WaitingForEvent: It waits still; the workflow takes the step out.
        """
        request = await self.context.store.get(self.key, default=None) if self.context is not None else None
        if self.context is None or request is None:
            return False
        await self._wait(self.context, request, None)
        return True

    async def begin(self, pause: PauseRequested) -> None:
        """Pauses the workflow; returns where nothing can.

        Raises:
            WaitingForEvent: The workflow takes the step out, and shows an `InputRequiredEvent`.
        """
        if self.context is None:
            return
        await self.context.store.set(self.key, pause.request.id)
        shown = InputRequiredEvent.model_validate(
            {"prefix": _PREFIX, "call": self.key, **pause_facts(pause.request, pause.console_url)}
        )
        await self._wait(self.context, pause.request.id, shown)

    async def forget(self) -> None:
        """Forgets the pause, so that another call with the same id may wait again."""
        if self.context is not None:
            await self.context.store.set(self.key, None)

    async def _wait(self, context: Context[Any], request: str, shown: InputRequiredEvent | None) -> None:
        # Two calls may wait for the same request; an answer is for one of them.
        told = {"request": request, "call": self.key}
        await context.wait_for_event(HumanResponseEvent, shown, f"{self.key}_{request}", told, None)


def _tool_call() -> ToolCall | None:
    """Returns the event that the current step of an agent handles, if it is a tool's call."""
    step = StepWorkerStateContextVar.get(None)
    event = step.event if step is not None else None
    return event if isinstance(event, ToolCall) else None


def _agent_of(context: Context[Any], current: object) -> BaseWorkflowAgent | None:
    """Returns the agent that runs. The context does not show it in public: without it the entries lack its name, and its rules deny."""
    workflow = getattr(getattr(context, "_face", None), "_workflow", None)
    agents = getattr(workflow, "agents", None)
    agent = agents.get(current) if isinstance(agents, dict) else workflow
    return agent if isinstance(agent, BaseWorkflowAgent) else None


def _run_of(context: Context[Any]) -> str | None:
    run = getattr(getattr(getattr(context, "_face", None), "_internal_adapter", None), "run_id", None)
    return run if isinstance(run, str) else None
