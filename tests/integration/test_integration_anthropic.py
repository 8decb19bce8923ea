"""Guarded tools for Anthropic's client: blocks, and a whole conversation with the real client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardrails import Guard, UsageError
from guardrails.demo.script import next_turn
from guardrails.integrations.anthropic import SqlTool, guard_tools
from guardrails.testing import ModelServer
from tests.integration.test_integration_openai import QUESTION, send_mail
from tests.support.guarded_shop import open_guard, tool_entries


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as opened:
        yield opened


def use(name: str, given: object) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}


def test_blocks(guard: Guard) -> None:
    tool = SqlTool(guard, name="ask", description="Asks.")
    assert tool.definition()["name"] == "ask"
    assert tool.definition()["description"] == "Asks."
    assert tool.definition()["input_schema"]["required"] == ["sql"]
    good = tool.handle(use("ask", {"sql": "SELECT status FROM orders WHERE id = 1"}))
    assert (good["type"], good["tool_use_id"], good["is_error"]) == ("tool_result", "toolu_1", False)
    assert json.loads(good["content"])["rows"] == [{"status": "paid"}]
    for bad in (use("ask", {"sql": "SELECT * FROM employees"}), use("ask", []), use("other", {}), use("ask", {"sql": None})):
        answer = tool.handle(bad)
        assert answer["is_error"]
        assert answer["content"].startswith("Refused (")
    assert tool_entries(guard) == [("ask", "toolu_1", "intent"), ("ask", "toolu_1", "refusal")]
    with pytest.raises(UsageError):
        tool.handle({"type": "text", "text": "no call"})


async def test_functions(guard: Guard) -> None:
    tools = guard_tools(guard, [send_mail])
    assert [d["name"] for d in tools.definitions()] == ["send_mail"]
    assert (await tools.ahandle(use("send_mail", {"to": "x", "copies": 2})))["content"] == "sent 2 to 'x'"


def test_conversation(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    anthropic = pytest.importorskip("anthropic")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    tool = SqlTool(guard)
    messages: list[Any] = [{"role": "user", "content": QUESTION.text}]
    with ModelServer(lambda conversation: next_turn((QUESTION,), conversation)) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="k")
        while True:
            message = client.messages.create(model="m", max_tokens=100, messages=messages, tools=[tool.definition()])
            messages.append({"role": "assistant", "content": message.content})
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                break
            messages.append({"role": "user", "content": [tool.handle(call) for call in calls]})
    assert message.content[0].text == "4 orders."
