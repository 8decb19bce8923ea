"""The story through LangChain's agents and LangGraph's graphs, with the vendors' chat models over HTTP and checkpoints in SQLite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain.agents import create_agent
from pydantic import BaseModel, ValidationError

from guardrails import Guard, Principal
from guardrails.integrations.langchain import guard_tools, sql_tool
from guardrails.integrations.langchain_middleware import GuardMiddleware
from guardrails.integrations.langgraph import InterruptChannel, resume
from guardrails.testing import ModelServer
from tests.support.langchain_agents import AGENT, MODELS, People, agent_of, asaver, asked, chat, graph_of, in_thread, saver
from tests.support.never_runs import Recorder
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, QUESTION, READ, Story

THREAD = in_thread("conversation-7")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, InterruptChannel()) as opened:
        yield opened


def ready(guard: Guard, model: Any, checkpointer: Any, _: Story) -> Any:
    return agent_of(model, [sql_tool(guard, "run_sql")], checkpointer=checkpointer)


def wrapped(guard: Guard, model: Any, checkpointer: Any, story: Story) -> Any:
    return agent_of(model, guard_tools(guard, [Recorder(story.database).run_sql]), checkpointer=checkpointer)


def behind_middleware(guard: Guard, model: Any, checkpointer: Any, story: Story) -> Any:
    tools = [Recorder(story.database).run_sql]
    return agent_of(model, tools, middleware=[GuardMiddleware(guard)], checkpointer=checkpointer)


def both(guard: Guard, model: Any, checkpointer: Any, story: Story) -> Any:
    tools = guard_tools(guard, [Recorder(story.database).run_sql])
    return agent_of(model, tools, middleware=[GuardMiddleware(guard)], checkpointer=checkpointer)


def plain_graph(guard: Guard, model: Any, checkpointer: Any, _: Story) -> Any:
    return graph_of(model, [sql_tool(guard, "run_sql")], checkpointer)


Way: TypeAlias = Callable[[Guard, Any, Any, Story], Any]
WAYS: dict[str, Way] = {
    "ready": ready,
    "wrapped": wrapped,
    "middleware": behind_middleware,
    "both": both,
    "plain_graph": plain_graph,
}


def check_told(story: Story, server: ModelServer, vendor: str, way: str) -> None:
    story.check_sent(server)
    agent = None if way == "plain_graph" else AGENT
    conversation = THREAD["configurable"]["thread_id"]
    story.check_entries(framework="langgraph", tool="run_sql", agent=agent, model=MODELS[vendor], conversation=conversation)
    runs = {entry["runtime"]["run"] for entry in story.entries()}
    assert len(runs) == 3
    assert all(runs)


@pytest.mark.parametrize(
    ("way", "vendor"),
    [
        ("ready", "openai"),
        ("ready", "anthropic"),
        *((way, "openai") for way in ("wrapped", "both", "plain_graph")),
        ("middleware", "anthropic"),
    ],
)
def test_the_story(story: Story, tmp_path: Path, way: str, vendor: str) -> None:
    make = WAYS[way]
    with ModelServer(story.script("run_sql")) as server:
        with saver(tmp_path) as checkpoints:
            graph = make(story.guard, chat(vendor, server.url), checkpoints, story)
            state = graph.invoke(asked(QUESTION), THREAD, context=People(story.ana))
            assert [paused.value["type"] for paused in state["__interrupt__"]] == ["guardrails.approval"]
        assert story.orders_left() == 4
        story.approve()
        guard = story.reopen(InterruptChannel())
        with saver(tmp_path) as checkpoints:
            graph = make(guard, chat(vendor, server.url), checkpoints, story)
            interrupts = graph.get_state(THREAD).interrupts
            state = graph.invoke(resume(interrupts), THREAD, context=People(story.ana))
        statuses = [message.status for message in state["messages"] if message.type == "tool"]
        assert statuses == ["error", "success", "success"]
    assert story.orders_left() == 3
    check_told(story, server, vendor, way)


@pytest.mark.parametrize(("way", "vendor"), [("ready", "anthropic"), ("middleware", "openai")])
async def test_the_story_streamed(story: Story, tmp_path: Path, way: str, vendor: str) -> None:
    make, events = WAYS[way], []
    with ModelServer(story.script("run_sql")) as server:
        async with asaver(tmp_path) as checkpoints:
            graph = make(story.guard, chat(vendor, server.url), checkpoints, story)
            async for event in graph.astream_events(asked(QUESTION), THREAD, context=People(story.ana), version="v2"):
                events.append((event["event"], event["name"]))
        story.approve()
        guard = story.reopen(InterruptChannel())
        async with asaver(tmp_path) as checkpoints:
            graph = make(guard, chat(vendor, server.url), checkpoints, story)
            interrupts = (await graph.aget_state(THREAD)).interrupts
            async for event in graph.astream_events(resume(interrupts), THREAD, context=People(story.ana), version="v2"):
                events.append((event["event"], event["name"]))
    # The call that paused was started twice, and ended in an error the first time.
    counts = [events.count((f"on_tool_{kind}", "run_sql")) for kind in ("start", "end", "error")]
    assert counts == [4, 3, 1]
    assert any(kind == "on_chat_model_stream" for kind, _ in events)
    assert story.orders_left() == 3
    check_told(story, server, vendor, way)


def test_the_person_may_come_with_the_configuration(story: Story, tmp_path: Path) -> None:
    config = {"configurable": {"thread_id": "conversation-7", "principal": story.ana}}
    with ModelServer(story.script("run_sql", [DELETE])) as server, saver(tmp_path) as checkpoints:
        graph = ready(story.guard, chat("openai", server.url), checkpoints, story)
        state = graph.invoke(asked(QUESTION), config)
        story.approve()
        state = graph.invoke(resume(state["__interrupt__"]), config)
        assert json.loads(state["messages"][-1].content) == {"rows_changed": 1}
        stored = b"".join(file.read_bytes() for file in tmp_path.glob("checkpoints.db*"))
        assert story.ana.token_digest.encode() not in stored
        assert story.ana.issuer.encode() not in stored


class Checked(BaseModel):
    principal: Principal


def test_a_context_that_pydantic_checks_takes_a_principal_and_nothing_like_one(story: Story) -> None:
    like_one = {"id": story.ana.id, "groups": ["support"], "issuer": story.ana.issuer, "verified": "jwt"}
    with ModelServer(story.script("run_sql", [READ])) as server:
        graph: Any = create_agent(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], context_schema=Checked)
        with pytest.raises(ValidationError):
            graph.invoke(asked(QUESTION), context={"principal": like_one})
        assert story.entries() == []
        state = graph.invoke(asked(QUESTION), context={"principal": story.ana})
        story.check_masked(state["messages"][-1].content)


def test_what_a_client_sends_names_nobody(story: Story, tmp_path: Path) -> None:
    claimed = {"configurable": {"thread_id": "t", "principal": {"id": "ana@example.com", "groups": ["support"]}}}
    with ModelServer(story.script("run_sql", [DELETE])) as server:
        graph = ready(story.guard, chat("openai", server.url), None, story)
        with pytest.raises(Exception, match=r"usage\.no_session|No session is active"):
            graph.invoke(asked(QUESTION), claimed)
    assert story.entries() == []
