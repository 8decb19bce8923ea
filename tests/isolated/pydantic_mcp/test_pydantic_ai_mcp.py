"""A Pydantic AI toolset that is a real MCP server's, behind the guard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails.integrations.pydantic_ai import GuardTools, GuardToolset
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.never_runs import nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DROP, QUESTION, Story

NAMES = "SELECT name FROM customers ORDER BY id"
SERVER = Path(__file__).with_name("database_server.py")


@pytest.mark.parametrize("way", ["toolset", "capability"])
async def test_an_mcp_servers_tools_are_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    loopback(monkeypatch)
    notes = tmp_path / "notes"
    notes.touch()
    turns = [
        Turn("", (ToolCall("bad", "run_query", {"query": DROP}), ToolCall("down", "shut_down", {}))),
        Turn("", (ToolCall("good", "run_query", {"query": NAMES}),)),
        Turn("Done."),
    ]
    with Story.open(tmp_path) as story, ModelServer(follow(turns)) as server, nothing_runs(story.database):
        toolset: Any = MCPToolset(StdioTransport(sys.executable, [str(SERVER), str(story.database), str(notes)]))
        given: dict[str, Any] = {"toolsets": [GuardToolset(story.guard, toolset)]}
        if way == "capability":
            given = {"toolsets": [toolset], "capabilities": [GuardTools(story.guard)]}
        model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="k"))
        bot: Agent[Any, str] = Agent(model, name="bot", **given)
        async with bot:
            assert (await bot.run(QUESTION, deps={"principal": story.ana})).output == "Done."
        sent = str(server.requests[-1].body)
        assert "Ada" in sent
        assert sent.count("Refused (policy.no_rule)") == 2
        with story.guard.session(principal=story.ana):
            assert notes.read_text().splitlines() == [story.guard.check(NAMES).sql]
        recorded = [(entry["type"], entry["tool"], entry["tool_call"]) for entry in story.entries()]
    assert sorted(recorded) == [
        ("intent", "run_query", "good"),
        ("refusal", "run_query", "bad"),
        ("refusal", "shut_down", "down"),
    ]
