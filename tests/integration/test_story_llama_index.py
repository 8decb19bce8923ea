"""The whole story through real LlamaIndex agents: the workflow pauses, is serialised, and goes on in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from workflows import Context
from workflows.context.serializers import PickleSerializer
from workflows.events import InputRequiredEvent

from guardrails import Guard
from guardrails.integrations.llama_index import InputRequiredChannel, resume, sql_tool
from guardrails.testing import ModelServer, Turn
from tests.support.loopback_llm import LoopbackLLM
from tests.support.paused_shop import CONSOLE, loopback
from tests.support.story import DELETE, DROP, QUESTION, READ, Story

TOOL = "query_database"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, InputRequiredChannel(CONSOLE)) as opened:
        yield opened


def agent(guard: Guard, server: ModelServer, **options: Any) -> FunctionAgent:
    return FunctionAgent(name="bot", tools=[sql_tool(guard)], llm=LoopbackLLM(url=f"{server.url}/v1"), **options)


async def pause_of(handler: Any) -> InputRequiredEvent:
    """Follows a run until it waits for a person."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            return event
    raise AssertionError(f"It did not wait: {await handler}")


@pytest.mark.parametrize("is_streaming", [True, False], ids=["streaming", "whole"])
async def test_the_story(story: Story, is_streaming: bool) -> None:
    """The second run is another process: new agent, new guard, and of the first nothing but JSON."""
    with ModelServer(story.script(TOOL)) as server:
        bot = agent(story.guard, server, streaming=is_streaming)
        with story.guard.session(principal=story.ana):
            context: Context[Any] = Context(bot)
            await context.store.set("conversation_id", "conv_1")
            handler = bot.run(QUESTION, ctx=context)
            event = await pause_of(handler)
        (request,) = story.guard.pending()
        assert (event["request"], event["link"]) == (request.id, f"{CONSOLE}/requests/{request.id}")
        assert "WHERE" not in event.model_dump_json()
        stored = json.dumps(handler.ctx.to_dict())
        await handler.cancel_run()
        assert story.orders_left() == 4
        story.approve()
        elsewhere = agent(story.reopen(InputRequiredChannel()), server, streaming=is_streaming)
        with story.guard.session(principal=story.ana):
            handler = elsewhere.run(ctx=Context.from_dict(elsewhere, json.loads(stored)))
            # LlamaIndex leaves an agent's memory out of its context, for the application to store.
            await handler.ctx.store.set("memory", ChatMemoryBuffer.from_defaults([ChatMessage(QUESTION)]))
            handler.ctx.send_event(resume(event))
            done = await handler
        assert json.loads(str(done)) == {"rows_changed": 1}
        assert story.orders_left() == 3
        story.check_sent(server)
    story.check_entries(framework="llama-index", tool=TOOL, agent="bot", model="m", conversation="conv_1")


async def test_the_story_within_one_run(story: Story) -> None:
    """The person is in the context that several agents share; as JSON it could not hold a principal."""
    with ModelServer(story.script(TOOL)) as server:
        team = AgentWorkflow(agents=[agent(story.guard, server, description="all")])
        context: Context[Any] = Context(team, serializer=PickleSerializer())
        await context.store.set("principal", story.ana)
        await context.store.set("conversation_id", "conv_1")
        handler = team.run(QUESTION, ctx=context)
        event = await pause_of(handler)
        story.approve()
        handler.ctx.send_event(resume(event))
        assert json.loads(str(await handler)) == {"rows_changed": 1}
        story.check_sent(server)
    story.check_entries(framework="llama-index", tool=TOOL, agent="bot", model="m", conversation="conv_1")


async def test_an_agent_that_thinks_in_text(story: Story) -> None:
    """Its calls have no ids of the model's."""
    statements = [json.dumps({"sql": sql}) for sql in (DROP, READ, DELETE)]
    turns = iter([f"Thought: I need a tool.\nAction: {TOOL}\nAction Input: {sql}" for sql in statements])
    with ModelServer(lambda _: Turn(next(turns, "Thought: I can answer without any more tools.\nAnswer: Done."))) as server:
        llm = LoopbackLLM(url=f"{server.url}/v1", is_function_calling=False)
        bot = ReActAgent(name="bot", tools=[sql_tool(story.guard)], llm=llm)
        with story.guard.session(principal=story.ana):
            handler = bot.run(QUESTION)
            event = await pause_of(handler)
            story.approve()
            handler.ctx.send_event(resume(event))
            assert str(await handler) == "Done."
        story.check_sent(server)
    assert story.orders_left() == 3
    assert [entry["type"] for entry in story.entries()] == ["refusal", "intent", "intent"]
