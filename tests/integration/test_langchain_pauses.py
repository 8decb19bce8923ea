"""Paused graphs that are resumed early, twice, from an old checkpoint or with edited calls: nothing runs without a yes of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from guardrails import IdentityError, UsageError
from guardrails.integrations.langchain import guard_tools, sql_tool
from guardrails.integrations.langchain_middleware import GuardMiddleware
from guardrails.integrations.langgraph import InterruptChannel, calling, resume
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.langchain_agents import People, agent_of, asaver, asked, chat, graph_of, in_thread, saver
from tests.support.never_runs import Recorder
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, POLICY, Story, signed

THREAD = in_thread("t")
THIRD = "DELETE FROM orders WHERE id = 3"
BOTH = (DELETE, THIRD)
CALLS = ("call_a", "call_b")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    policy = POLICY.replace("[send_mail]", "[send_mail, hand_over]")
    with Story.open(tmp_path, InterruptChannel(), policy=policy) as opened:
        yield opened


def waiting(story: Story) -> list[str]:
    """The statements that wait, as the agent wrote them; what would run is regenerated, and ends in the same id."""
    return [next(sql for sql in BOTH if request.sql.endswith(sql[-4:])) for request in story.guard.pending()]


def answered(story: Story, sql: str, is_yes: bool = True) -> None:
    """The lead answers the request about one statement."""
    (request,) = [request for request in story.guard.pending() if request.sql.endswith(sql[-4:])]
    (story.guard.approve if is_yes else story.guard.deny)(request.id, by=story.lead, reason="So be it.")


def left(story: Story) -> set[int]:
    """The ids of the orders that there are."""
    return {int(str(row[0])) for row in Recorder(story.database).run_sql("SELECT id FROM orders")}


def results(state: Any) -> dict[str, str]:
    """What each tool call answered."""
    return {message.tool_call_id: message.content for message in state["messages"] if message.type == "tool"}


def used(story: Story) -> int:
    """How many times a yes has been used."""
    return len(story.entries("approval.used"))


@pytest.mark.parametrize("make", [agent_of, graph_of], ids=["agent", "graph"])
def test_two_calls_wait_and_one_is_denied(story: Story, tmp_path: Path, make: Any) -> None:
    script = story.script("run_sql", BOTH, call_ids=CALLS, in_one_turn=True)
    with ModelServer(script) as server, saver(tmp_path) as checkpoints:
        graph = make(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], checkpointer=checkpoints)
        state = graph.invoke(asked("Both."), THREAD, context=People(story.ana))
        assert len(state["__interrupt__"]) == len(story.guard.pending()) == 2
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        assert len(state["__interrupt__"]) == len(story.guard.pending()) == 2
        assert left(story) == {1, 2, 3, 4}
        answered(story, DELETE)
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        assert len(state["__interrupt__"]) == 1
        assert left(story) == {1, 2, 3}
        answered(story, THIRD, is_yes=False)
        state = graph.invoke(resume(graph.get_state(THREAD).interrupts), THREAD, context=People(story.ana))
        told = results(state)
        assert json.loads(told["call_a"]) == {"rows_changed": 1}
        assert told["call_b"].startswith("Refused (approval.denied)")
    assert left(story) == {1, 2, 3}
    assert used(story) == 1


async def test_a_resumption_that_comes_twice_at_once_runs_once(story: Story, tmp_path: Path) -> None:
    async with asaver(tmp_path) as checkpoints:
        with ModelServer(story.script("run_sql", [DELETE], call_ids=CALLS)) as server:
            graph = agent_of(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], checkpointer=checkpoints)
            state = await graph.ainvoke(asked("Delete."), THREAD, context=People(story.ana))
            going_on = resume(state["__interrupt__"])
            answered(story, DELETE)
            again = (graph.ainvoke(going_on, THREAD, context=People(story.ana)) for _ in range(3))
            await asyncio.gather(*again, return_exceptions=True)
            assert left(story) == {1, 2, 3}
            await graph.ainvoke(going_on, THREAD, context=People(story.ana))
    assert left(story) == {1, 2, 3}
    assert used(story) == 1


def test_going_back_in_time_needs_a_new_yes(story: Story, tmp_path: Path) -> None:
    with ModelServer(story.script("run_sql", [DELETE], call_ids=CALLS)) as server, saver(tmp_path) as checkpoints:
        graph = agent_of(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], checkpointer=checkpoints)
        state = graph.invoke(asked("Delete."), THREAD, context=People(story.ana))
        answered(story, DELETE)
        graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        assert left(story) == {1, 2, 3}
        Recorder(story.database).run_sql(
            "INSERT INTO orders SELECT 4, customer_id, amount, status, region, '' FROM orders LIMIT 1"
        )
        before = [old for old in graph.get_state_history(THREAD) if old.next == ("tools",)]
        assert before
        for old in before:
            for given in (None, Command(resume=True), resume(state["__interrupt__"])):
                graph.invoke(given, old.config, context=People(story.ana))
                assert left(story) == {1, 2, 3, 4}
    assert used(story) == 1
    assert len(story.guard.pending()) == 1


def test_a_call_that_is_edited_afterwards_needs_a_yes_of_its_own(story: Story, tmp_path: Path) -> None:
    with ModelServer(story.script("run_sql", [DELETE], call_ids=CALLS)) as server, saver(tmp_path) as checkpoints:
        graph = agent_of(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], checkpointer=checkpoints)
        state = graph.invoke(asked("Delete."), THREAD, context=People(story.ana))
        answered(story, DELETE)
        call = state["messages"][-1]
        edited = AIMessage(call.content, id=call.id, tool_calls=[{"name": "run_sql", "args": {"sql": THIRD}, "id": "call_a"}])
        forked = graph.update_state(THREAD, {"messages": [edited]}, as_node="model")
        state = graph.invoke(None, forked, context=People(story.ana))
        assert left(story) == {1, 2, 3, 4}
        assert waiting(story) == [THIRD]
        answered(story, THIRD, is_yes=False)
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        assert results(state)["call_a"].startswith("Refused (approval.denied)")
    assert left(story) == {1, 2, 3, 4}


def test_calls_of_one_node_may_ask_again_and_never_run_unasked(story: Story, tmp_path: Path) -> None:
    """A `ToolNode` that is not sent its calls one by one runs all of them again when one of them waits."""
    with ModelServer(story.script("run_sql", BOTH, call_ids=CALLS, in_one_turn=True)) as server, saver(tmp_path) as checkpoints:
        tools = [sql_tool(story.guard, "run_sql")]
        bound = chat("openai", server.url).bind_tools(tools)
        builder: Any = StateGraph(MessagesState, context_schema=People)
        builder.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
        builder.add_node("tools", ToolNode(tools))
        builder.add_edge(START, "model")
        builder.add_edge("model", "tools")
        graph = builder.compile(checkpointer=checkpoints)
        graph.invoke(asked("Both."), THREAD, context=People(story.ana))
        answered(story, DELETE)
        for _ in range(3):
            state = graph.invoke(resume(graph.get_state(THREAD).interrupts), THREAD, context=People(story.ana))
            assert left(story) == {1, 2, 3}
            assert used(story) == 1
        while state.get("__interrupt__"):
            for sql in waiting(story):
                answered(story, sql)
            state = graph.invoke(resume(graph.get_state(THREAD).interrupts), THREAD, context=People(story.ana))
        assert left(story) == {1, 2}
        assert used(story) == len(story.entries("intent"))


@pytest.mark.parametrize("decision", ["approve", "edit"])
def test_what_a_person_says_to_langchain_permits_nothing(story: Story, tmp_path: Path, decision: str) -> None:
    """`HumanInTheLoopMiddleware` lets through or edits; the guard then judges what is left, and asks the store."""
    said = (
        {"type": decision, "edited_action": {"name": "run_sql", "args": {"sql": THIRD}}}
        if decision == "edit"
        else {"type": decision}
    )
    with ModelServer(story.script("run_sql", [DELETE], call_ids=CALLS)) as server, saver(tmp_path) as checkpoints:
        middleware = [HumanInTheLoopMiddleware({"run_sql": True}), GuardMiddleware(story.guard)]
        graph = agent_of(
            chat("openai", server.url), [sql_tool(story.guard, "run_sql")], middleware=middleware, checkpointer=checkpoints
        )
        graph.invoke(asked("Delete."), THREAD, context=People(story.ana))
        assert story.guard.pending() == []
        state = graph.invoke(Command(resume={"decisions": [said]}), THREAD, context=People(story.ana))
        wanted = THIRD if decision == "edit" else DELETE
        assert waiting(story) == [wanted]
        assert left(story) == {1, 2, 3, 4}
        answered(story, wanted)
        graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
    assert left(story) == ({1, 2, 4} if decision == "edit" else {1, 2, 3})


def test_a_pause_of_ones_own_and_ours_are_told_apart(story: Story, tmp_path: Path) -> None:
    """Two sub-steps of one agent's turn wait: a question of the application's and an approval; `resume` answers ours only."""

    @tool
    def ask(topic: str) -> str:
        """Asks the user."""
        return f"answer {interrupt(topic)}"

    calls = (ToolCall("call_a", "run_sql", {"sql": DELETE}), ToolCall("call_b", "ask", {"topic": "Why?"}))
    with ModelServer(follow([Turn("", calls), Turn("Done.")])) as server, saver(tmp_path) as checkpoints:
        graph = agent_of(chat("openai", server.url), [sql_tool(story.guard, "run_sql"), ask], checkpointer=checkpoints)
        state = graph.invoke(asked("Both."), THREAD, context=People(story.ana))
        answered(story, DELETE)
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        assert [paused.value for paused in state["__interrupt__"]] == ["Why?"]
        assert left(story) == {1, 2, 3}
        state = graph.invoke(Command(resume={state["__interrupt__"][0].id: "Because."}), THREAD, context=People(story.ana))
        assert results(state)["call_b"] == "answer Because."
    assert used(story) == 1


def test_another_person_cannot_go_on_with_a_yes(story: Story, tmp_path: Path) -> None:
    other = signed("bo@example.com", "support")
    with ModelServer(story.script("run_sql", [DELETE], call_ids=CALLS)) as server, saver(tmp_path) as checkpoints:
        graph = agent_of(chat("openai", server.url), [sql_tool(story.guard, "run_sql")], checkpointer=checkpoints)
        state = graph.invoke(asked("Delete."), THREAD, context=People(story.ana))
        answered(story, DELETE)
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(other))
        (request,) = story.guard.pending()
        assert request.requester == other.id
        with story.guard.session(principal=story.ana), pytest.raises(IdentityError) as refused:
            graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(other))
        assert refused.value.code == "identity.principal_mismatch"
        with pytest.raises(UsageError, match="No session"):
            graph.invoke(resume(state["__interrupt__"]), THREAD)
        # The approver's own turn: she may approve, not delete.
        state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.lead))
        assert results(state)["call_a"].startswith("Refused (policy.no_rule)")
    assert left(story) == {1, 2, 3, 4}
    assert used(story) == 0


def test_a_node_of_ones_own_takes_its_user_from_the_run(story: Story, tmp_path: Path) -> None:
    def delete(_: dict[str, Any]) -> dict[str, Any]:
        with calling(story.guard):
            return {"changed": story.guard.execute(DELETE).rows_changed}

    builder: Any = StateGraph(dict, context_schema=People)
    builder.add_node("delete", delete)
    builder.add_edge(START, "delete")
    with saver(tmp_path) as checkpoints:
        graph = builder.compile(checkpointer=checkpoints)
        state = graph.invoke({}, THREAD, context=People(story.ana))
        answered(story, DELETE)
        assert graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana)) == {"changed": 1}
    (intent,) = story.entries("intent")
    assert (intent["principal"]["id"], intent["conversation"], intent["runtime"]["framework"]) == (
        story.ana.id,
        "t",
        "langgraph",
    )


def test_an_agent_that_is_a_tool_pauses_too(story: Story, tmp_path: Path) -> None:
    with (
        ModelServer(story.script("run_sql", [DELETE], call_ids=["call_inner"])) as inner_server,
        saver(tmp_path) as checkpoints,
    ):
        inner = create_agent(chat("openai", inner_server.url), [sql_tool(story.guard, "run_sql")], name="inner")

        @tool
        def hand_over(task: str) -> str:
            """Has another agent do it."""
            return inner.invoke(asked(task))["messages"][-1].content

        calls = (ToolCall("call_outer", "hand_over", {"task": "Delete."}),)
        with ModelServer(follow([Turn("", calls), lambda told: Turn(told.last)])) as server:
            tools = guard_tools(story.guard, [hand_over])
            graph = agent_of(chat("openai", server.url), tools, checkpointer=checkpoints)
            state = graph.invoke(asked("Delete."), THREAD, context=People(story.ana))
            answered(story, DELETE)
            state = graph.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
            assert json.loads(state["messages"][-1].content) == {"rows_changed": 1}
    assert left(story) == {1, 2, 3}
    inner_call = story.entries("intent")[-1]
    assert (inner_call["tool_call"], inner_call["agent"]["name"], inner_call["runtime"]["agent"]) == (
        "call_inner",
        "shop-bot",
        "inner",
    )
