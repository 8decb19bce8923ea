"""A real graph pauses for an approval, in the agent's tool and in a node of its own, and goes on in another process's place."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import SecretStr

from guardrails import Denied, Guard, UsageError
from guardrails.integrations.langchain import sql_tool
from guardrails.integrations.langgraph import InterruptChannel, resume
from tests.support.guarded_shop import ANA
from tests.support.paused_shop import CONSOLE, DELETE, QUESTION, lead, loopback, model, open_paused, rows_left

CONFIG: Any = {"configurable": {"thread_id": "1"}}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    loopback(monkeypatch)
    with model() as opened:
        yield opened


def agent(guard: Guard, url: str, saver: InMemorySaver) -> Any:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model="m", base_url=url, api_key=SecretStr("k"))
    return create_agent(chat, [sql_tool(guard)], checkpointer=saver)


def asked(graph: Any) -> dict[str, Any]:
    return graph.invoke({"messages": [{"role": "user", "content": QUESTION}]}, CONFIG)


def test_an_agent_pauses_and_another_process_goes_on(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    saver = InMemorySaver()
    with open_paused(sqlite_path, tmp_path, InterruptChannel(CONSOLE)) as guard:
        (paused,) = asked(agent(guard, url, saver))["__interrupt__"]
        (request,) = guard.pending()
        shown = paused.value
        assert (shown["type"], shown["request"], shown["requester"]) == ("guardrails.approval", request.id, ANA.id)
        assert shown["link"] == f"{CONSOLE}/requests/{request.id}"
        assert "WHERE" not in json.dumps(shown)
        assert rows_left(guard) == 4
    with open_paused(sqlite_path, tmp_path, None) as elsewhere:
        elsewhere.approve(request.id, by=lead(), reason="fine")
    with open_paused(sqlite_path, tmp_path, InterruptChannel(CONSOLE)) as guard:
        graph = agent(guard, url, saver)
        done = graph.invoke(resume(graph.get_state(CONFIG).interrupts), CONFIG)
        assert json.loads(done["messages"][-1].content) == {"rows_changed": 1}
        assert rows_left(guard) == 3
        assert guard.pending() == []
        approver = [e["approver"] for e in guard.ledger.entries() if e["type"] == "approval.decided"]
        assert approver == [
            {"id": "lea@example.com", "issuer": "https://id.example.com", "verified": "jwt", "groups": ["leads"]}
        ]


async def test_whatever_the_resumption_says_only_the_store_permits(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, InterruptChannel()) as guard:
        graph = agent(guard, url, InMemorySaver())
        state = await graph.ainvoke({"messages": [{"role": "user", "content": QUESTION}]}, CONFIG)
        (request,) = guard.pending()
        for said in (True, {"answer": "approve", "by": "lea@example.com"}, "approved"):
            state = await graph.ainvoke(Command(resume=said), CONFIG)
            assert [p.value["request"] for p in state["__interrupt__"]] == [request.id]
        with pytest.raises(Denied, match=r"approval\.self"):
            guard.approve(request.id, by=lead(ANA.id, ("leads", "support")), reason="mine")
        assert rows_left(guard) == 4
        guard.approve(request.id, by=lead(), reason="fine")
        state = await graph.ainvoke(resume(state["__interrupt__"]), CONFIG)
        assert json.loads(state["messages"][-1].content) == {"rows_changed": 1}


def test_a_no_is_told_to_the_model(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, InterruptChannel()) as guard:
        graph = agent(guard, url, InMemorySaver())
        state = asked(graph)
        guard.deny(guard.pending()[0].id, by=lead(), reason="no")
        state = graph.invoke(resume(state["__interrupt__"]), CONFIG)
        assert state["messages"][-1].content.startswith("Refused (approval.denied)")
        assert guard.pending() == []
        assert rows_left(guard) == 4


class Work(TypedDict, total=False):
    changed: Annotated[int, operator.add]
    said: str


def test_nodes_that_use_the_guard_pause_one_by_one(sqlite_path: Path, tmp_path: Path) -> None:
    with open_paused(sqlite_path, tmp_path, InterruptChannel()) as guard:

        def delete(number: int) -> Any:
            return lambda _: {"changed": guard.execute("DELETE FROM orders WHERE id = :id", {"id": number}).rows_changed}

        def ask(_: Work) -> Work:
            return {"said": interrupt("what now?")}

        builder: Any = StateGraph(Work)
        for name, node in (("first", delete(3)), ("second", delete(4)), ("ask", ask)):
            builder.add_node(name, node)
        for start, end in ((START, "first"), (START, "second"), ("first", "ask"), ("ask", END), ("second", END)):
            builder.add_edge(start, end)
        graph = builder.compile(checkpointer=InMemorySaver())
        state = graph.invoke({}, CONFIG)
        assert len(state["__interrupt__"]) == 2
        first, second = guard.pending()
        guard.approve(first.id, by=lead(), reason="fine")
        state = graph.invoke(resume(state["__interrupt__"]), CONFIG)
        assert {p.value["request"] for p in state["__interrupt__"]} == {second.id}
        assert rows_left(guard) == 3
        guard.approve(second.id, by=lead(), reason="fine")
        state = graph.invoke(resume(state["__interrupt__"]), CONFIG)
        assert [p.value for p in state["__interrupt__"]] == ["what now?"]
        with pytest.raises(UsageError):
            resume(state["__interrupt__"])
        assert rows_left(guard) == 2


def test_outside_of_a_graph_nobody_can_be_asked(sqlite_path: Path, tmp_path: Path) -> None:
    with open_paused(sqlite_path, tmp_path, InterruptChannel()) as guard:
        with pytest.raises(Denied) as refused:
            guard.execute(DELETE)
        assert refused.value.code == "approval.channel_down"
        assert len(guard.pending()) == 1
