"""The page about Pydantic AI: its Python runs with the real framework against the scripted model."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails import Guard, Policy
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn
from tests.support.never_runs import Recorder
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, POLICY, READ, Story

PAGE = (Path(__file__).parents[2] / "docs" / "pydantic-ai.md").read_text("utf-8")


def script(told: Conversation) -> Turn:
    """Reads with the tool of the application's own if there is one, deletes when it is asked to, and repeats the result."""
    if told.results:
        return Turn(told.last)
    tool = next(name for name in ("run_report", "query_database") if name in told.tools)
    return Turn("", (ToolCall("call_1", tool, {"sql": DELETE if "Delete" in told.question else READ}),))


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the page's blocks take for granted."""
    loopback(monkeypatch)
    with Story.open(tmp_path) as story, ModelServer(script) as server:
        database, ledger = f"sqlite:///{story.database}", f"sqlite:///{tmp_path / 'other.db'}"
        yield {
            "guard": story.guard,
            "open_guard": partial(Guard.open, Policy.from_text(POLICY), database=database, ledger=ledger),
            "ana": story.ana,
            "lea": story.lead,
            "model": OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="k")),
            "run_on_my_connection": Recorder(story.database).run_sql,
        }


async def test_the_pages_python_runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        done = eval(compile(block, "pydantic-ai.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.isawaitable(done):
            await done
    told = capsys.readouterr().out.splitlines()
    assert json.loads(told[0])[0] == ["Ada", "hidden", "***"]
    assert told[1:] == ['{"rows_changed":1}']
