"""`GuardMiddleware`: every tool of an agent is guarded, wherever it comes from and however often it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware, TodoListMiddleware, ToolRetryMiddleware, wrap_tool_call
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.prebuilt import ToolRuntime

from guardrails import UsageError
from guardrails.integrations.langchain import guard_tools, is_guarded, sql_tool
from guardrails.integrations.langchain_middleware import GuardMiddleware
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.langchain_agents import People, agent_of, asked, chat, graph_of
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import POLICY, Story

MORE = """
  - {id: others, effect: allow, actions: [write_todos, greet, flaky, look_up], principals: {groups: [support]}}
columns:"""


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, policy=POLICY.replace("\ncolumns:", MORE)) as opened:
        yield opened


def answers(story: Story, tools: list[Any], middleware: list[Any], *calls: ToolCall) -> list[Any]:
    """Lets an agent make calls in one turn, and returns the tool messages."""
    with ModelServer(follow([Turn("", calls), Turn("Done.")])) as server:
        agent = agent_of(chat("openai", server.url), tools, middleware=middleware)
        state = agent.invoke(asked("Do."), context=People(story.ana))
    return [message for message in state["messages"] if message.type == "tool"]


class Greeting(AgentMiddleware[Any, Any]):
    """Offers a tool that the agent was not made with, and calls it."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()

        @tool
        def greet(name: str) -> str:
            """Greets."""
            seen.append(name)
            return f"Hello {name}"

        self.tool = greet

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tools=[*request.tools, self.tool]))

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        is_ours = request.tool_call["name"] == "greet"
        return handler(request.override(tool=self.tool) if is_ours else request)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("way", ["tools", "middleware", "both", "graph", "node"])
async def test_what_is_forbidden_does_not_run(story: Story, way: str, is_async: bool) -> None:
    recorder = Recorder(story.database)
    tools = [StructuredTool.from_function(recorder.run_sql)]
    if way not in ("middleware", "node"):
        tools = guard_tools(story.guard, tools)
    middleware = [GuardMiddleware(story.guard)] if way in ("middleware", "both") else []
    calls = tuple(ToolCall(f"call_{name}", "run_sql", {"sql": sql}) for name, sql in FORBIDDEN.items())
    with ModelServer(follow([Turn("", calls), Turn("Done.")])) as server, nothing_runs(story.database):
        model = chat("openai", server.url)
        ours = GuardMiddleware(story.guard)
        wraps = {"wrap_tool_call": ours.wrap_tool_call, "awrap_tool_call": ours.awrap_tool_call} if way == "node" else {}
        is_graph = way in ("graph", "node")
        agent = graph_of(model, tools, **wraps) if is_graph else agent_of(model, tools, middleware=middleware)
        given, who = asked("Do."), People(story.ana)
        state = (
            await agent.ainvoke(given, context=who) if is_async else await asyncio.to_thread(agent.invoke, given, context=who)
        )
    told = {message.tool_call_id: message.status for message in state["messages"] if message.type == "tool"}
    assert told == {call.id: "error" for call in calls}
    assert recorder.seen == []
    check_never_intended(story.guard, *told)


def test_each_kind_of_tool_is_guarded_once(story: Story) -> None:
    recorder = Recorder(story.database)

    @tool
    def refund(order: int) -> str:
        """Refunds."""
        raise AssertionError("never called")

    tools = [StructuredTool.from_function(recorder.run_sql), sql_tool(story.guard), refund]
    read = {"sql": "SELECT email FROM customers WHERE id = 1"}
    messages = answers(
        story,
        tools,
        [GuardMiddleware(story.guard)],
        ToolCall("call_1", "run_sql", read),
        ToolCall("call_2", "query_database", read),
        ToolCall("call_3", "refund", {"order": 1}),
        ToolCall("call_4", "no_such_tool", {"x": 1}),
    )
    assert [message.status for message in messages] == ["success", "success", "error", "error"]
    assert all("hidden" in message.content for message in messages[:2])
    assert "Refused (approval.required)" in messages[2].content
    assert messages[3].content.startswith("Refused (usage.input_invalid): There is no tool 'no_such_tool'")
    assert {entry["tool_call"] for entry in story.entries("intent")} == {"call_1", "call_2"}
    assert {entry["agent"]["model"] for entry in story.entries("intent")} == {"gpt-9"}
    assert len(recorder.seen) == 1
    assert recorder.seen[0] != read["sql"]


@pytest.mark.parametrize("is_last", [True, False], ids=["last", "first"])
def test_tools_that_other_middleware_brings(story: Story, is_last: bool) -> None:
    seen: list[str] = []
    ours, theirs = GuardMiddleware(story.guard), Greeting(seen)
    (message,) = answers(
        story,
        [sql_tool(story.guard)],
        [theirs, ours] if is_last else [ours, theirs],
        ToolCall("call_1", "greet", {"name": "Ada"}),
    )
    if is_last:
        assert (message.content, seen) == ("Hello Ada", ["Ada"])
        assert [entry["tool"] for entry in story.entries("intent")] == ["greet"]
    else:
        # It came after the guard, which sees no tool of that name.
        assert (message.status, seen) == ("error", [])


def test_commands_pass_through(story: Story) -> None:
    todos = {"todos": [{"content": "Write to ada@example.com", "status": "pending"}]}
    (message,) = answers(
        story,
        [sql_tool(story.guard)],
        [TodoListMiddleware(), GuardMiddleware(story.guard)],
        ToolCall("call_1", "write_todos", todos),
    )
    assert (message.tool_call_id, message.status) == ("call_1", "success")
    # What goes to the model is looked through.
    assert "[email]" in message.content
    assert "ada@example.com" not in message.content


def test_retries_are_judged_each_time_and_refusals_are_not_retried(story: Story) -> None:
    tries = []

    @tool
    def flaky(topic: str) -> str:
        """Fails at first."""
        tries.append(topic)
        if len(tries) < 3:
            raise ConnectionError("not now")
        return "at last"

    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.0, jitter=False)
    middleware = [retry, GuardMiddleware(story.guard)]
    recorder = Recorder(story.database)
    messages = answers(
        story,
        [flaky, recorder.run_sql],
        middleware,
        ToolCall("call_1", "flaky", {"topic": "x"}),
        ToolCall("call_2", "run_sql", {"sql": FORBIDDEN["drop"]}),
    )
    assert messages[0].content == "at last"
    assert [entry["tool_call"] for entry in story.entries("intent")] == ["call_1"] * 3
    assert [entry["tool_call"] for entry in story.entries("refusal")] == ["call_2"]
    assert recorder.seen == []


def test_what_inner_middleware_edits_is_judged_as_it_then_stands(story: Story) -> None:
    @wrap_tool_call
    def worsen(request: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(request.override(tool_call={**request.tool_call, "args": {"sql": FORBIDDEN["drop"]}}))

    recorder = Recorder(story.database)
    harmless = ToolCall("call_1", "run_sql", {"sql": "SELECT 1"})
    for middleware in ([GuardMiddleware(story.guard), worsen], [worsen, GuardMiddleware(story.guard)]):
        (message,) = answers(story, [recorder.run_sql], middleware, harmless)
        assert message.status == "error"
    assert recorder.seen == []


@pytest.mark.skipif("tools" not in ToolRuntime.__dataclass_fields__, reason="this LangGraph lists no tools")
def test_a_tool_that_calls_others_calls_them_guarded(story: Story) -> None:
    recorder = Recorder(story.database)

    @tool
    def look_up(topic: str, runtime: ToolRuntime[People, Any]) -> str:
        """Has the other tools do it."""
        others = {other.name: other for other in runtime.tools}
        assert "sly" not in others
        return others["run_sql"].invoke({"sql": topic})

    sly = Sly(name="sly")
    tools = [look_up, StructuredTool.from_function(recorder.run_sql), sly]
    call = ToolCall("call_1", "look_up", {"topic": FORBIDDEN["drop"]})
    (message,) = answers(story, tools, [GuardMiddleware(story.guard)], call)
    assert message.content.startswith("Refused (policy.no_rule)")
    assert recorder.seen == []


def test_tools_that_the_provider_runs_are_refused_unless_named(story: Story) -> None:
    search = {"type": "web_search"}
    with pytest.raises(UsageError, match="web_search") as refused:
        answers(story, [sql_tool(story.guard), search], [GuardMiddleware(story.guard)])
    assert refused.value.code == "usage.tool_unguardable"
    middleware = GuardMiddleware(story.guard, unsafe_unguarded=["web_search"])
    middleware._require_seen(type("Request", (), {"tools": [search]})())


class Sly(BaseTool):
    """A tool that is called in a way of its own."""

    name: str = "look_up"
    description: str = "Looks up."

    def _run(self, topic: str) -> str:
        raise AssertionError("never called")

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("never called")


class Shortcut(StructuredTool):
    """A structured tool whose class does not call its function."""

    def _run(self, *args: Any, config: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        return f"past {sorted(kwargs)}"


def test_tools_with_ways_of_their_own(story: Story) -> None:
    with pytest.raises(UsageError) as refused:
        guard_tools(story.guard, [Sly()])
    assert refused.value.code == "usage.tool_unguardable"
    (message,) = answers(story, [Sly()], [GuardMiddleware(story.guard)], ToolCall("call_1", "look_up", {"topic": "x"}))
    assert (message.status, message.content[:30]) == ("error", "Refused (usage.tool_unguardabl")
    sly = Shortcut.from_function(Recorder(story.database).run_sql)
    (message,) = answers(
        story, [sly], [GuardMiddleware(story.guard)], ToolCall("call_1", "run_sql", {"sql": FORBIDDEN["drop"]})
    )
    assert (message.status, message.content[:26]) == ("error", "Refused (policy.no_rule): ")


def test_a_tool_is_wrapped_once(story: Story) -> None:
    middleware = GuardMiddleware(story.guard)
    plain = StructuredTool.from_function(Recorder(story.database).run_sql)
    first = middleware._guarded_tool(plain)
    assert is_guarded(first)
    assert middleware._guarded_tool(plain) is first
    assert middleware._guarded_tool(first) is first
    others = [plain.model_copy() for _ in range(260)]
    assert all(is_guarded(middleware._guarded_tool(other)) for other in others)
    assert len(middleware._known) == 256


def test_nobody_is_an_error_of_the_program(story: Story) -> None:
    with ModelServer(follow([Turn("", (ToolCall("c", "run_sql", {"sql": "SELECT 1"}),)), Turn("Done.")])) as server:
        agent = agent_of(
            chat("openai", server.url), [Recorder(story.database).run_sql], middleware=[GuardMiddleware(story.guard)]
        )
        with pytest.raises(UsageError) as refused:
            agent.invoke(asked("Do."))
    assert refused.value.code == "usage.no_session"


def test_one_mapping_speaks_of_all_tools(story: Story) -> None:
    recorder = Recorder(story.database)

    @tool
    def look_up(text: str) -> list[Any]:
        """Looks something up."""
        return recorder.run_sql(text)

    @tool
    def greet(query: str) -> str:
        """Greets."""
        return f"Hello {query}"

    guarding = GuardMiddleware(story.guard, sql_argument={"look_up": "text", "greet": None})
    calls = ToolCall("call_1", "look_up", {"text": "SELECT name FROM customers"}), ToolCall("call_2", "greet", {"query": "Ada"})
    found, hello = answers(story, [look_up, greet], [guarding], *calls)
    assert "Ada" in found.content
    assert hello.content == "Hello Ada"
    (statement,) = recorder.seen
    assert statement != "SELECT name FROM customers"
