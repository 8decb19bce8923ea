"""The whole story through real Pydantic AI agents: each of the vendors' wire formats, across processes, streamed, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, ModelMessagesTypeAdapter
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails import Guard, Principal
from guardrails.integrations.pydantic_ai import DeferringChannel, resume, sql_tool
from guardrails.testing import ModelServer
from tests.support.paused_shop import loopback
from tests.support.story import QUESTION, Story

TOOL = "query_database"
MODELS: dict[str, Callable[[str], Model]] = {
    "chat": lambda url: OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="k")),
    "responses": lambda url: OpenAIResponsesModel("m", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="k")),
    "messages": lambda url: AnthropicModel("m", provider=AnthropicProvider(base_url=url, api_key="k")),
}


@dataclass
class Deps:
    """What an application gives to its tools."""

    principal: Principal
    purpose: str | None = None


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, DeferringChannel()) as opened:
        yield opened


def agent(guard: Guard, model: Model) -> Agent[Deps, Any]:
    return Agent(model, name="bot", deps_type=Deps, tools=[sql_tool(guard)], output_type=[str, DeferredToolRequests])


@pytest.mark.parametrize("wire", MODELS)
async def test_the_story(story: Story, wire: str) -> None:
    """The second run is another process: new agent, new guard, and of the first nothing but JSON."""
    with ModelServer(story.script(TOOL)) as server:
        model = MODELS[wire](server.url)
        paused = await agent(story.guard, model).run(QUESTION, deps=Deps(story.ana), conversation_id="conv_1")
        assert isinstance(paused.output, DeferredToolRequests)
        adapter = TypeAdapter(DeferredToolRequests)
        messages, requests = paused.all_messages_json(), adapter.dump_json(paused.output)
        assert story.orders_left() == 4
        story.approve()
        bot = agent(story.reopen(DeferringChannel()), model)
        history = ModelMessagesTypeAdapter.validate_json(messages)
        results = resume(adapter.validate_json(requests))
        done = await bot.run(message_history=history, deferred_tool_results=results, deps=Deps(story.ana))
        assert json.loads(done.output) == {"rows_changed": 1}
        assert story.orders_left() == 3
        story.check_sent(server)
    story.check_entries(framework="pydantic-ai", tool=TOOL, agent="bot", model="m", conversation="conv_1")
    runs = {entry["runtime"]["run"] for entry in story.entries()}
    assert runs == {paused.run_id, done.run_id}


@pytest.mark.parametrize("wire", MODELS)
async def test_the_story_streamed(story: Story, wire: str) -> None:
    with ModelServer(story.script(TOOL)) as server:
        bot, deps = agent(story.guard, MODELS[wire](server.url)), Deps(story.ana)
        async with bot.run_stream(QUESTION, deps=deps, conversation_id="conv_1") as paused:
            requests = await paused.get_output()
        assert isinstance(requests, DeferredToolRequests)
        story.approve()
        going_on = {"message_history": paused.all_messages(), "deferred_tool_results": resume(requests), "deps": deps}
        async with bot.run_stream(**going_on) as done:
            assert json.loads(await done.get_output()) == {"rows_changed": 1}
        story.check_sent(server)
        assert all(request.body["stream"] for request in server.requests)
    story.check_entries(framework="pydantic-ai", tool=TOOL, agent="bot", model="m", conversation="conv_1")


async def test_the_story_step_by_step(story: Story) -> None:
    """`agent.iter`, in a session of the application's own, whose facts stand."""
    with ModelServer(story.script(TOOL)) as server, story.guard.session(principal=story.ana, agent="own", conversation_id="c"):
        bot: Agent[None, Any] = Agent(
            MODELS["chat"](server.url), tools=[sql_tool(story.guard)], output_type=[str, DeferredToolRequests]
        )
        async with bot.iter(QUESTION) as run:
            async for _ in run:
                pass
        assert run.result is not None
        story.approve()
        results = resume(run.result.output)
        async with bot.iter(message_history=run.result.all_messages(), deferred_tool_results=results) as run:
            async for _ in run:
                pass
        assert run.result is not None
        assert json.loads(run.result.output) == {"rows_changed": 1}
    story.check_entries(framework="pydantic-ai", tool=TOOL, agent="own", model="m", conversation="c")


def test_the_story_without_a_loop_of_the_applications(story: Story) -> None:
    """`run_sync`."""
    with ModelServer(story.script(TOOL)) as server:
        bot, deps = agent(story.guard, MODELS["chat"](server.url)), Deps(story.ana)
        paused = bot.run_sync(QUESTION, deps=deps, conversation_id="conv_1")
        story.approve()
        done = bot.run_sync(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output), deps=deps)
        assert json.loads(done.output) == {"rows_changed": 1}
    story.check_entries(framework="pydantic-ai", tool=TOOL, agent="bot", model="m", conversation="conv_1")
