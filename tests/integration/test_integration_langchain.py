"""Guarded LangChain tools: the same objects, called as agents call them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, Tool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import SecretStr

from guardrails import Guard, UsageError
from guardrails.demo.script import next_turn
from guardrails.integrations.langchain import guard_tools, sql_tool
from guardrails.testing import Conversation, ModelServer, Turn
from guardrails.testing import ToolCall as ScriptedCall
from tests.integration.test_integration_openai import QUESTION
from tests.support.guarded_shop import LEAD, open_guard, tool_entries


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as opened:
        yield opened


def call(name: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "args": args, "id": "call_1", "type": "tool_call"}


class QueryTool(BaseTool):
    """A tool of its own class, as database toolkits have them."""

    name: str = "query"
    description: str = "Runs a query."
    path: str

    def _run(self, query: str, params: dict[str, Any] | None = None, run_manager: Any = None) -> Any:
        assert run_manager is not None
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query, params or {}).fetchall()
        finally:
            connection.close()


def test_sql_tool_answers_and_refuses(guard: Guard) -> None:
    ready = sql_tool(guard)
    assert isinstance(ready, StructuredTool)
    assert ready.name == "query_database"
    assert list(ready.args) == ["sql"]
    found = ready.invoke(call("query_database", {"sql": "SELECT name, email FROM customers WHERE id = 1"}))
    assert isinstance(found, ToolMessage)
    assert (found.tool_call_id, found.status) == ("call_1", "success")
    assert json.loads(found.content)["rows"] == [{"name": "Ada", "email": "hidden"}]
    refused = ready.invoke(call("query_database", {"sql": "DROP TABLE orders"}))
    assert refused.status == "error"
    assert refused.content.startswith("Refused (")
    assert ready.invoke({"sql": "SELECT * FROM employees"}).startswith("Refused (")
    assert tool_entries(guard)[:2] == [("query_database", "call_1", "intent"), ("query_database", "call_1", "refusal")]
    assert tool_entries(guard)[2][1] is None


async def test_sql_tool_is_asynchronous(guard: Guard) -> None:
    found = await sql_tool(guard).ainvoke(call("query_database", {"sql": "SELECT COUNT(*) AS n FROM orders"}))
    assert json.loads(found.content)["rows"] == [{"n": 4}]
    assert tool_entries(guard) == [("query_database", "call_1", "intent")]


def test_approval_is_text_and_goes_on_afterwards(guard: Guard) -> None:
    ready = sql_tool(guard)
    waiting = ready.invoke({"sql": "DELETE FROM orders WHERE id = 4"})
    (request,) = guard.pending()
    assert request.id in waiting
    guard.approve(request.id, by=LEAD)
    assert json.loads(ready.invoke({"sql": "DELETE FROM orders WHERE id = 4"})) == {"rows_changed": 1}


async def test_a_tool_of_its_own_class_stays_one(guard: Guard, sqlite_path: Path) -> None:
    original = QueryTool(path=str(sqlite_path))
    (guarded,) = guard_tools(guard, [original])
    assert isinstance(guarded, QueryTool)
    assert (guarded.name, guarded.description, guarded.args) == (original.name, original.description, original.args)
    assert guarded.path == original.path
    message = guarded.invoke(call("query", {"query": "SELECT id, email FROM customers WHERE id = 1"}))
    assert json.loads(message.content) == [[1, "hidden"]]
    assert "SELECT" not in guarded.invoke({"query": "SELECT salary FROM employees"})
    assert (await guarded.ainvoke({"query": "SELECT salary FROM employees"})).startswith("Refused (")
    assert original.invoke({"query": "SELECT salary FROM employees WHERE id = 1"}) == [(90000,)]
    assert [t for t, _, _ in tool_entries(guard)] == ["query"] * 3


def test_functions_and_single_input_tools(guard: Guard) -> None:
    seen = []

    def look(question: str) -> str:
        seen.append(question)
        return "looked"

    legacy = Tool("look_up", look, "Looks.")
    (guarded,) = guard_tools(guard, [legacy], sql_argument="tool_input")
    assert isinstance(guarded, Tool)
    assert guarded.invoke("SELECT id FROM orders -- x") == "looked"
    assert guarded.invoke("SELECT * FROM employees").startswith("Refused (")
    assert len(seen) == 1
    assert "--" not in seen[0]

    def send_mail(to: str) -> str:
        """Sends."""
        return f"mailed {to}"

    (mail,) = guard_tools(guard, [send_mail])
    assert mail.invoke({"to": "you"}) == "mailed you"


async def test_injected_arguments_artifacts_and_own_errors(guard: Guard) -> None:
    @tool(response_format="content_and_artifact")
    def make_pair(
        topic: str, call_id: Annotated[str, InjectedToolCallId], config: RunnableConfig
    ) -> tuple[str, dict[str, Any]]:
        """Makes a pair."""
        return f"{topic} {call_id} {config['tags']}", {"mail": "eve@example.com"}

    @tool
    async def summarise(topic: str) -> str:
        """Summarises."""
        return f"about {topic}"

    @tool
    def boom(topic: str) -> str:
        """Fails."""
        raise ToolException(f"cannot {topic}") if topic != "worse" else ValueError("worse")

    boom.handle_tool_error = True
    pair, summary, broken = guard_tools(guard, [make_pair, summarise, boom])
    assert pair.tool_call_schema.model_json_schema() == make_pair.tool_call_schema.model_json_schema()
    message = pair.invoke(call("make_pair", {"topic": "t"}), {"tags": ["a"]})
    assert (message.content, message.artifact) == ("t call_1 ['a']", {"mail": "[email]"})
    assert await summary.ainvoke({"topic": "x"}) == "about x"
    with pytest.raises(NotImplementedError):
        summary.invoke({"topic": "x"})
    assert broken.invoke(call("boom", {"topic": "fly"})).content == "cannot fly"
    with pytest.raises(ValueError, match="worse"):
        broken.invoke({"topic": "worse"})


def test_actions_wait_for_approval_with_injected_arguments_left_out(guard: Guard) -> None:
    @tool
    def refund(order: int, call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Refunds."""
        return f"refunded {order}"

    with pytest.raises(UsageError):
        guard_tools(guard, [refund], sql_argument="call_id")
    (guarded,) = guard_tools(guard, [refund])
    assert guarded.invoke(call("refund", {"order": 1})).status == "error"
    (request,) = guard.pending()
    guard.approve(request.id, by=LEAD)
    again = guarded.invoke(call("refund", {"order": 1}) | {"id": "call_2"})
    assert again.content == "refunded 1"


def test_sql_arguments_can_be_named_by_tool(guard: Guard) -> None:
    def send_mail(query: str) -> str:
        """Has an argument that looks like SQL."""
        return query

    assert guard_tools(guard, [send_mail])[0].invoke({"query": "hello"}).startswith("Refused (sql.")
    assert guard_tools(guard, [send_mail], sql_argument={"send_mail": None})[0].invoke({"query": "hello"}) == "hello"
    with pytest.raises(UsageError):
        guard_tools(guard, [send_mail], sql_argument={"send_mail": "sql"})


def test_agent_repairs_its_query(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_openai import ChatOpenAI

    _without_proxies(monkeypatch)
    with ModelServer(lambda conversation: next_turn((QUESTION,), conversation)) as server:
        model = ChatOpenAI(model="m", base_url=f"{server.url}/v1", api_key=SecretStr("k"))
        agent: Any = create_agent(model, [sql_tool(guard)])
        state = agent.invoke({"messages": [{"role": "user", "content": QUESTION.text}]})
    assert state["messages"][-1].content == "4 orders."
    assert [kind for _, _, kind in tool_entries(guard)] == ["refusal", "intent"]
    assert all(call_id for _, call_id, _ in tool_entries(guard))


@pytest.mark.parametrize("name", ["pause", "query_paused"])
def test_interrupts_pass_through(guard: Guard, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from langchain_openai import ChatOpenAI

    @tool("pause")
    def pause(topic: str) -> str:
        """Asks a person."""
        return f"answer {interrupt(topic)}"

    @tool("query_paused")
    def query_paused(sql: str) -> str:
        """Asks a person first."""
        return f"answer {interrupt(sql)}"

    def script(conversation: Conversation) -> Turn:
        if conversation.results:
            return Turn(conversation.results[-1])
        arguments = {"topic": "go"} if name == "pause" else {"sql": "SELECT id FROM orders"}
        return Turn("asking", (ScriptedCall("call_9", name, arguments),))

    _without_proxies(monkeypatch)
    with ModelServer(script) as server:
        model = ChatOpenAI(model="m", base_url=f"{server.url}/v1", api_key=SecretStr("k"))
        agent: Any = create_agent(model, guard_tools(guard, [pause, query_paused]), checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        state = agent.invoke({"messages": [{"role": "user", "content": "hi"}]}, config)
        assert "__interrupt__" in state
        state = agent.invoke(Command(resume="yes"), config)
    assert state["messages"][-1].content == "answer yes"


def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
