"""Whole agents of the OpenAI Agents SDK, guarded: handoffs, agents behind tools, MCP servers, and what the guard cannot see."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    CodeInterpreterTool,
    HostedMCPTool,
    RunContextWrapper,
    RunState,
    ShellTool,
    WebSearchTool,
    function_tool,
    handoff,
)
from agents.mcp import MCPServerStdio

from guardrails import UsageError
from guardrails.integrations.openai_agents import GuardedAgent, guard_agent, guard_tools, open_requests, proceed, sql_tool
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn
from tests.support.agents_runs import Shop, agent, answers, model, run, served
from tests.support.never_runs import Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, READ, Story

_MCP_SERVER = """
import sqlite3, sys

try:
    from mcp.server.mcpserver import MCPServer
except ModuleNotFoundError:
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("files")

@server.tool()
def read_query(query: str) -> str:
    with sqlite3.connect(sys.argv[1]) as connection:
        return str(connection.execute(query).fetchall())

@server.tool()
def forget(what: str) -> str:
    return "forgotten"

server.run()
"""


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


def _handing_over(*, to: str) -> Any:
    """A model that hands over, then reads and drops as the other agent, then says what came back."""
    wanted = [
        ToolCall("hand", to, {}),
        ToolCall("read", "run_sql", {"sql": READ}),
        ToolCall("drop", "run_sql", {"sql": "DROP TABLE orders"}),
    ]

    def script(told: Conversation) -> Turn:
        done = len(told.results)
        return Turn("", (wanted[done],)) if done < len(wanted) else Turn(told.last)

    return script


@pytest.mark.parametrize("is_object", [False, True], ids=["agent", "handoff-object"])
async def test_who_acts_after_a_handoff(story: Story, is_object: bool) -> None:
    recorder = Recorder(story.database)
    with ModelServer(_handing_over(to="transfer_to_second")) as server:
        second = Agent("second", model=model(server), tools=[sql_tool(story.guard, name="run_sql")])
        first = agent(server, [function_tool(recorder.run_sql)], handoffs=[handoff(second) if is_object else second])
        second.handoffs = [first]
        guarded = guard_agent(story.guard, first)
        result = await run(guarded, "Go.", Shop(story.ana))
        assert isinstance(result.last_agent, GuardedAgent)
        assert result.last_agent.name == "second"
    assert first.tools[0].on_invoke_tool is not guarded.tools[0].on_invoke_tool  # type: ignore[union-attr]
    assert [(e["type"], e["agent"]["name"]) for e in story.entries()] == [("intent", "second"), ("refusal", "second")]
    story.check_masked(answers(result)["read"])
    assert recorder.seen == []


async def test_a_handoff_waits_in_a_kept_state(story: Story) -> None:
    wanted = [ToolCall("hand", "transfer_to_second", {}), ToolCall("del", "query_database", {"sql": DELETE})]

    def script(told: Conversation) -> Turn:
        done = len(told.results)
        return Turn("", (wanted[done],)) if done < len(wanted) else Turn(told.last)

    with ModelServer(script) as server:

        def made() -> GuardedAgent:
            second = Agent("second", model=model(server), tools=[sql_tool(story.guard)])
            return guard_agent(story.guard, agent(server, [], handoffs=[handoff(second)]))

        paused = await run(made(), "Go.", Shop(story.ana))
        kept = json.dumps(paused.to_state().to_json())
        story.reopen()
        bot = made()
        state = await RunState.from_json(bot, json.loads(kept), context_override=RunContextWrapper(Shop(story.ana)))
        (request,) = open_requests(state).values()
        assert request.agent == "second"
        story.approve()
        assert proceed(state)
        assert "rows_changed" in (await run(bot, state)).final_output
    assert story.orders_left() == 3


async def test_mcp_servers_are_guarded(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "server.py"
    path.write_text(_MCP_SERVER)
    params: Any = {"command": sys.executable, "args": [str(path), str(story.database)]}
    wanted = [
        ToolCall("count", "read_query", {"query": "select count(*) from orders"}),
        ToolCall("drop", "read_query", {"query": "DROP TABLE orders"}),
        ToolCall("delete", "read_query", {"query": DELETE}),
        ToolCall("forget", "forget", {"what": "all"}),
    ]
    async with MCPServerStdio(params, client_session_timeout_seconds=30) as files:
        with served(*wanted) as server:
            bot = guard_agent(story.guard, agent(server, [], mcp_servers=[files]))
            with nothing_runs(story.database):
                paused = await run(bot, "Go.", Shop(story.ana))
                assert set(open_requests(paused)) == {"delete"}
                state = paused.to_state()
                assert not proceed(state)
            story.approve()
            assert proceed(state)
            told = answers(await run(bot, state))
    assert "(4,)" in told["count"]
    assert told["drop"].startswith("Refused (policy.no_rule)")
    assert told["forget"].startswith("Refused (policy.no_rule)")
    assert story.orders_left() == 3
    check_never_intended(story.guard, "drop", "forget")
    assert {e["agent"]["name"] for e in story.entries()} == {"bot"}


def test_what_the_guard_cannot_see_is_refused(story: Story) -> None:
    hosted = HostedMCPTool({"type": "mcp", "server_label": "x", "server_url": "https://x.example", "require_approval": "never"})
    code = CodeInterpreterTool({"type": "code_interpreter", "container": {"type": "auto"}})
    shell = ShellTool(executor=lambda _: "")
    for tool in (WebSearchTool(), hosted, code, shell):
        with pytest.raises(UsageError) as refused:
            guard_agent(story.guard, Agent("bot", tools=[tool]))
        assert refused.value.code == "usage.tool_unguardable"
        with pytest.raises(UsageError):
            guard_agent(story.guard, Agent("bot", handoffs=[handoff(Agent("second", tools=[tool]))]))
        allowed = guard_agent(story.guard, Agent("bot", tools=[tool]), unsafe_unseen=[tool.name])
        assert allowed.tools == [tool]
    with pytest.raises(UsageError, match="prompt"):
        guard_agent(story.guard, Agent("bot", prompt={"id": "pmpt_1"}))
    assert guard_agent(story.guard, Agent("bot", prompt={"id": "pmpt_1"}), unsafe_unseen={"prompt"}).prompt == {"id": "pmpt_1"}

    class Own(Agent[Any]):
        pass

    with pytest.raises(UsageError, match="Own"):
        guard_agent(story.guard, Own("bot"))


def test_an_agent_behind_a_tool_has_to_be_guarded_first(story: Story) -> None:
    inner = Agent("inner")
    with pytest.raises(UsageError) as refused:
        guard_agent(story.guard, Agent("bot", tools=[inner.as_tool("ask", "Asks.")]))
    assert "as_tool" in refused.value.for_model()
    tool = guard_agent(story.guard, inner).as_tool("ask", "Asks.")
    assert guard_agent(story.guard, Agent("bot", tools=[tool])).tools == [tool]


async def test_what_is_added_later_is_refused(story: Story) -> None:
    recorder = Recorder(story.database)
    with nothing_runs(story.database), served(ToolCall("a", "run_sql", {"sql": "DELETE FROM orders"})) as server:
        bot = guard_agent(story.guard, agent(server, [sql_tool(story.guard)]))
        bot.tools.append(function_tool(recorder.run_sql))
        with pytest.raises(UsageError, match="run_sql"):
            await run(bot, "Go.", Shop(story.ana))
        bare = bot.clone(guarding=None)
        with pytest.raises(UsageError):
            await run(bare, "Go.", Shop(story.ana))
    assert recorder.seen == []


@pytest.mark.parametrize("is_plain", [True, False])
async def test_an_agent_that_is_handed_over_to_later_is_refused(story: Story, is_plain: bool) -> None:
    recorder = Recorder(story.database)

    def script(told: Conversation) -> Turn:
        if "b" in told.call_ids:
            return Turn("Done.")
        is_first = "transfer_to_late" in told.tools
        call = ToolCall("a", "transfer_to_late", {}) if is_first else ToolCall("b", "run_sql", {"sql": "DELETE FROM orders"})
        return Turn("", (call,))

    with nothing_runs(story.database), ModelServer(script) as server:
        late = agent(server, [function_tool(recorder.run_sql)]).clone(name="late")
        bot = guard_agent(story.guard, agent(server, [sql_tool(story.guard)]))
        added = late if is_plain else handoff(late)
        for changed in (bot.clone(handoffs=[added]), bot):
            bot.handoffs.append(added)
            with pytest.raises(UsageError, match="late"):
                await run(changed, "Go.", Shop(story.ana))
    assert recorder.seen == []
    once = guard_agent(story.guard, Agent("first", handoffs=[handoff(Agent("second"))]))
    assert guard_agent(story.guard, Agent("third", handoffs=[*once.handoffs])).handoffs == once.handoffs


async def test_guarding_twice_is_once(story: Story, tmp_path: Path) -> None:
    recorder = Recorder(story.database)
    once = guard_agent(story.guard, Agent("bot", tools=[function_tool(recorder.run_sql)]))
    assert guard_agent(story.guard, once) is once
    again = guard_agent(story.guard, Agent("bot", tools=[*once.tools]))
    assert again.tools == once.tools
    assert guard_tools(story.guard, [sql_tool(story.guard), *again.tools])[1] is once.tools[0]  # type: ignore[list-item]
    (tmp_path / "other").mkdir()
    other = Story.open(tmp_path / "other")
    with other, pytest.raises(UsageError, match="another guard"):
        guard_tools(other.guard, once.tools)  # type: ignore[arg-type]
