"""Runs of the OpenAI Agents SDK against a scripted model on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from agents import (
    Agent,
    Model,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunState,
    Tool,
    set_trace_processors,
)
from openai import AsyncOpenAI

from guardrails import Guard, Policy, Principal
from guardrails.flow import Event
from guardrails.testing import Conversation, ModelServer, Script, ToolCall, Turn
from tests.support.story import Story

__all__ = ["QUIET", "Shop", "Wire", "agent", "answers", "calls", "model", "outcome_recorded", "run", "served"]

Wire = Literal["chat", "responses"]


class Shop:
    """What the application hands its runs: who asks. No mapping, so that a kept state leaves it out."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal


set_trace_processors([])  # A trace tells of the run, and is sent nowhere.
QUIET = RunConfig(group_id="thread-1", trace_id="trace_1")


def model(server: ModelServer, wire: Wire = "responses") -> Model:
    """The SDK's own model over the vendor's client."""
    client = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k")
    return OpenAIResponsesModel("m", client) if wire == "responses" else OpenAIChatCompletionsModel("m", client)


def agent(server: ModelServer, tools: Sequence[Tool], wire: Wire = "responses", **options: Any) -> Agent[Any]:
    """An agent named `bot`."""
    return Agent("bot", model=model(server, wire), tools=list(tools), **options)


async def run(bot: Agent[Any], asked: str | RunState[Any, Any], context: object = None, *, streamed: bool = False) -> Any:
    """Runs an agent to the end or to where it is interrupted."""
    given: Any = asked
    if not streamed:
        return await Runner.run(bot, given, context=context, run_config=QUIET)
    result = Runner.run_streamed(bot, given, context=context, run_config=QUIET)
    async for _ in result.stream_events():
        pass
    return result


def calls(*wanted: ToolCall) -> Script:
    """A model that makes these calls in one turn, and then says what came back."""

    def script(told: Conversation) -> Turn:
        return Turn("", wanted) if len(told.results) < len(wanted) else Turn("\n".join(told.results))

    return script


def answers(result: Any) -> dict[str, str]:
    """What the model was told, by the ids of its calls."""
    items = (item for item in result.new_items if item.type == "tool_call_output_item")
    return {item.raw_item["call_id"]: str(item.output) for item in items}


def outcome_recorded(story: Story) -> asyncio.Event:
    """Opens the story's guard anew; what is returned is set when an outcome has been recorded."""
    recorded, loop = asyncio.Event(), asyncio.get_running_loop()

    def observe(event: Event) -> None:
        if event.stage == "outcome":
            loop.call_soon_threadsafe(recorded.set)

    story.guard.close()
    database, ledger = f"sqlite:///{story.database}", f"sqlite:///{story.folder / 'audit.db'}"
    story.guard = Guard.open(Policy.from_text(story.policy), database=database, ledger=ledger, observer=observe)
    return recorded


@contextmanager
def served(*wanted: ToolCall) -> Iterator[ModelServer]:
    """Serves `calls`."""
    with ModelServer(calls(*wanted)) as server:
        yield server
