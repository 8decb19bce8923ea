"""The pages about OpenAI's and Anthropic's clients and about the scripted model: their Python runs, with the real clients."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, beta_tool
from openai import OpenAI

import guardrails.testing
from guardrails.integrations.openai import Answers
from guardrails.testing import Conversation, Failure, ModelServer, ToolCall, Turn, refusal_code
from tests.support.paused_shop import loopback
from tests.support.story import DROP, Story

PAGES = Path(__file__).parents[2] / "docs"
COUNT = "SELECT count(*) AS n FROM orders WHERE status = 'open'"


def script(told: Conversation) -> Turn:
    """Counts after a refusal; deletes when told to."""
    wanted = re.fullmatch(r"Delete order (\d)\.", told.question)
    statements = [f"DELETE FROM orders WHERE id = {wanted[1]}"] if wanted else [DROP, COUNT]
    if len(told.results) == len(statements):
        return Turn(f"It says {told.last}")
    done = len(told.results)
    tool = told.tools[0] if told.tools else "query_database"
    call_id = {"2": "call_9", "3": "call_8"}[wanted[1]] if wanted else f"call_{done}"
    return Turn("", (ToolCall(call_id, tool, {"sql": statements[done]}),))


def run(page: str, names: dict[str, Any]) -> dict[str, Any]:
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)):
        exec(compile(block, f"{page}[{number}]", "exec"), names)
    return names


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the pages' blocks take for granted."""
    loopback(monkeypatch)
    with Story.open(tmp_path) as story, ModelServer(script) as server:

        def my_database(sql: str, params: Any) -> list[Any]:
            with closing(sqlite3.connect(story.database)) as connection:
                return connection.execute(sql, params or {}).fetchall()

        yield {
            "guard": story.guard,
            "ana": story.ana,
            "lea": story.lead,
            "server": server,
            "json": json,
            "Answers": Answers,
            "my_database": my_database,
            "OpenAI": OpenAI,
            "beta_tool": beta_tool,
            "Failure": Failure,
            "refusal_code": refusal_code,
            "story": story,
        }


def test_the_page_about_openai(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    names["client"] = OpenAI(base_url=f"{names['server'].url}/v1", api_key="k")
    run("openai.md", names)
    assert capsys.readouterr().out.splitlines() == ['It says {"columns":["n"],"rows":[{"n":2}]}'] * 2
    assert names["story"].orders_left() == 3
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "find_orders", "arguments": json.dumps({"sql": COUNT, "params": None})},
    }
    (answer,) = names["own"].run({"role": "assistant", "tool_calls": [call]}, principal=names["ana"])
    assert answer["content"] == "[[1]]", "one of the two has been deleted"


def test_the_page_about_anthropic(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    names["client"] = Anthropic(base_url=names["server"].url, api_key="k")
    run("anthropic.md", names)
    said = capsys.readouterr().out.splitlines()
    assert said == ['It says {"columns":["n"],"rows":[{"n":2}]}', "tool_use", 'It says {"rows_changed":1}']
    assert names["story"].orders_left() == 2


def test_the_page_about_the_scripted_model(names: dict[str, Any]) -> None:
    page = run("testing.md", names)
    told = Conversation("?", (), ("query_database", "other"))
    assert [call.name for call in page["script"](told).calls] == ["query_database", "other"]
    assert page["script"](Conversation("?", ("Refused (policy.no_rule): No.",))).text == "I give up."
    text = (PAGES / "testing.md").read_text("utf-8")
    fields = [name for name in Conversation.__dataclass_fields__ if f"`{name}`" not in text]
    assert fields == []
    unnamed = [
        name
        for name in guardrails.testing.__all__
        if name not in text and name not in ("Conversation", "Request", "Script", "Step")
    ]
    assert unnamed == []
