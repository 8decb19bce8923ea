"""The page about the OpenAI Agents SDK: its Python runs, one block after the other, and its tables name what there is."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import RunState, function_tool, set_trace_processors

from guardrails import UsageError
from guardrails.integrations import openai_agents
from guardrails.testing import ModelServer
from tests.support.agents_runs import model
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, Story

PAGE = (Path(__file__).parents[2] / "docs" / "openai-agents.md").read_text("utf-8")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the page's blocks take for granted."""
    loopback(monkeypatch)
    set_trace_processors([])

    def lookup(sql: str) -> str:
        """Looks something up."""
        return sql

    def send(to: str) -> str:
        """Sends."""
        return to

    with Story.open(tmp_path) as story, ModelServer(story.script("query_database", [DELETE])) as server:
        yield {
            "guard": story.guard,
            "ana": story.ana,
            "lea": story.lead,
            "agents_model": model(server),
            "lookup": lookup,
            "lookup_tool": function_tool(lookup),
            "send_mail_tool": function_tool(send),
            "json": json,
            "RunState": RunState,
            "UsageError": UsageError,
            "open_requests": openai_agents.open_requests,
            "story": story,
        }


async def test_the_pages_python_runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        code = compile(block, "openai-agents.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, names)
        if inspect.isawaitable(done):
            await done
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("['query_database'] ['delete")
    assert told[1:] == ['{"rows_changed":1}', "usage.tool_unguardable"]
    assert names["story"].orders_left() == 3
    assert [tool.name for tool in names["guarded"].tools] == ["lookup"]


def test_every_public_name_is_on_the_page() -> None:
    missing = [name for name in openai_agents.__all__ if name[0].islower() and name not in PAGE]
    assert missing == []
