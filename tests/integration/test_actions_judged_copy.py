"""The function of an action gets the copy of the arguments that was judged, whoever else holds the original."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guardrails.flow import Event
from guardrails.guard import Guard
from tests.support.story import Story

Send = Callable[[Any], str]
Invoke = Callable[[Guard, Send, list[str]], object]


@pytest.fixture
def held() -> list[str]:
    return ["bo@example.com"]


@pytest.fixture
def story(tmp_path: Path, held: list[str]) -> Iterator[Story]:
    def observe(event: Event) -> None:
        if event.stage == "intent":
            other = threading.Thread(target=held.append, args=("eve@example.com",))
            other.start()
            other.join()

    with Story.open(tmp_path, observer=observe) as opened, opened.guard.session(principal=opened.ana):
        yield opened


def langchain(guard: Guard, send_mail: Send, held: list[str]) -> object:
    from guardrails.integrations.langchain import guard_tools

    (tool,) = guard_tools(guard, [send_mail])
    return tool.invoke({"to": held})


def langchain_async(guard: Guard, send_mail: Send, held: list[str]) -> object:
    from guardrails.integrations.langchain import guard_tools

    (tool,) = guard_tools(guard, [send_mail])
    return asyncio.run(tool.ainvoke({"to": held}))


def llama_index(guard: Guard, send_mail: Send, held: list[str]) -> object:
    from guardrails.integrations.llama_index import guard_tools

    (tool,) = guard_tools(guard, [send_mail])
    return tool.call(to=held)


def llama_index_async(guard: Guard, send_mail: Send, held: list[str]) -> object:
    from guardrails.integrations.llama_index import guard_tools

    (tool,) = guard_tools(guard, [send_mail])
    return asyncio.run(tool.acall(to=held))


def pydantic_ai(guard: Guard, send_mail: Send, held: list[str]) -> object:
    from pydantic_ai import RunContext
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.usage import RunUsage

    from guardrails.integrations.pydantic_ai import guard_tools

    (tool,) = guard_tools(guard, [send_mail])
    context = RunContext[Any](deps=None, model=TestModel(), usage=RunUsage(), tool_call_id="call_1")
    return asyncio.run(tool.function_schema.call({"to": held}, context))


WAYS: dict[str, Invoke] = {
    "langchain": langchain,
    "langchain-async": langchain_async,
    "llama-index": llama_index,
    "llama-index-async": llama_index_async,
    "pydantic-ai": pydantic_ai,
}


@pytest.mark.parametrize("invoke", list(WAYS.values()), ids=list(WAYS))
def test_a_list_that_another_thread_changes_reaches_no_function(story: Story, held: list[str], invoke: Invoke) -> None:
    received: list[list[str]] = []

    def send_mail(to: Any) -> str:
        """Sends a mail."""
        received.append(list(to))
        return "sent"

    assert "sent" in str(invoke(story.guard, send_mail, held))
    assert received == [["bo@example.com"]]
    assert held == ["bo@example.com", "eve@example.com"]
