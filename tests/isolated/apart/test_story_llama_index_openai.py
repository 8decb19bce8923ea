"""LlamaIndex's agent with its own OpenAI package, over both of OpenAI's wire formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI, OpenAIResponses
from workflows import Context
from workflows.events import InputRequiredEvent

from guardrails.integrations.llama_index import InputRequiredChannel, resume, sql_tool
from guardrails.testing import ModelServer
from tests.support.paused_shop import loopback
from tests.support.story import QUESTION, Story

TOOL = "query_database"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, InputRequiredChannel()) as opened:
        yield opened


@pytest.mark.parametrize("kind", [OpenAI, OpenAIResponses])
@pytest.mark.parametrize("is_streaming", [True, False], ids=["streaming", "whole"])
async def test_the_story(story: Story, kind: Any, is_streaming: bool) -> None:
    with ModelServer(story.script(TOOL)) as server, story.guard.session(principal=story.ana):
        llm = kind(model="gpt-4o", api_key="k", api_base=f"{server.url}/v1")
        bot = FunctionAgent(name="bot", tools=[sql_tool(story.guard)], llm=llm, streaming=is_streaming)
        context: Context[Any] = Context(bot)
        await context.store.set("conversation_id", "conv_1")
        handler = bot.run(QUESTION, ctx=context)
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                story.approve()
                handler.ctx.send_event(resume(event))
        assert json.loads(str(await handler)) == {"rows_changed": 1}
        story.check_sent(server)
    story.check_entries(framework="llama-index", tool=TOOL, agent="bot", model="gpt-4o", conversation="conv_1")
