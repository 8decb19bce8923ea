"""A real pydantic-ai agent defers a call that needs an approval, and a later run makes it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, ApprovalRequired, DeferredToolRequests, ModelMessagesTypeAdapter, ToolApproved
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails import Denied, Guard
from guardrails.integrations.pydantic_ai import DeferringChannel, resume, sql_tool
from tests.support.guarded_shop import ANA, tool_entries
from tests.support.paused_shop import CONSOLE, DELETE, QUESTION, lead, loopback, model, open_paused, rows_left


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    loopback(monkeypatch)
    with model() as opened:
        yield opened


def agent(guard: Guard, url: str) -> Agent[None, Any]:
    chat = OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="k"))
    return Agent(chat, tools=[sql_tool(guard)], output_type=[str, DeferredToolRequests])


async def test_a_run_pauses_and_another_goes_on(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, DeferringChannel(CONSOLE)) as guard:
        paused = await agent(guard, url).run(QUESTION)
        (request,) = guard.pending()
        assert isinstance(paused.output, DeferredToolRequests)
        (call,) = paused.output.approvals
        shown = paused.output.metadata[call.tool_call_id]
        assert (shown["request"], shown["link"]) == (request.id, f"{CONSOLE}/requests/{request.id}")
        assert "WHERE" not in json.dumps(shown)
        history = ModelMessagesTypeAdapter.validate_json(paused.all_messages_json())
        assert rows_left(guard) == 4
    with open_paused(sqlite_path, tmp_path, None) as elsewhere:
        elsewhere.approve(request.id, by=lead(), reason="fine")
    with open_paused(sqlite_path, tmp_path, DeferringChannel(CONSOLE)) as guard:
        done = await agent(guard, url).run(message_history=history, deferred_tool_results=resume(paused.output))
        assert json.loads(done.output) == {"rows_changed": 1}
        assert rows_left(guard) == 3
        assert ("query_database", "call_1", "intent") in tool_entries(guard)


async def test_a_native_yes_is_not_enough(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, DeferringChannel()) as guard:
        bot = agent(guard, url)
        paused = await bot.run(QUESTION)
        (request,) = guard.pending()
        for _ in range(2):
            (call,) = paused.output.approvals
            results = paused.output.build_results(approvals={call.tool_call_id: ToolApproved()})
            paused = await bot.run(message_history=paused.all_messages(), deferred_tool_results=results)
            assert paused.output.metadata[call.tool_call_id]["request"] == request.id
        with pytest.raises(Denied, match=r"approval\.self"):
            guard.approve(request.id, by=lead(ANA.id), reason="mine")
        assert rows_left(guard) == 4
        guard.approve(request.id, by=lead(), reason="fine")
        done = await bot.run(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output))
        assert json.loads(done.output) == {"rows_changed": 1}


async def test_a_no_is_told_to_the_model(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, DeferringChannel()) as guard:
        bot = agent(guard, url)
        paused = await bot.run(QUESTION)
        guard.deny(guard.pending()[0].id, by=lead(), reason="no")
        done = await bot.run(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output))
        assert "Refused (approval.denied)" in done.output
        assert rows_left(guard) == 4


async def test_a_tool_of_the_applications_own_pauses_too(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    """Synchronous, in a thread; and beside it a call that the application itself wants to have approved."""
    with open_paused(sqlite_path, tmp_path, DeferringChannel()) as guard, model(DELETE, tool="clean_up") as own:
        chat = OpenAIChatModel("m", provider=OpenAIProvider(base_url=own, api_key="k"))
        bot: Agent[None, Any] = Agent(chat, output_type=[str, DeferredToolRequests])

        @bot.tool_plain
        def clean_up(sql: str) -> str:
            return f"{guard.execute(sql).rows_changed} changed"

        paused = await bot.run(QUESTION)
        assert resume(paused.output).approvals.keys() == {"call_1"}
        guard.approve(guard.pending()[0].id, by=lead(), reason="fine")
        done = await bot.run(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output))
        assert done.output == "1 changed"

        @bot.tool_plain
        def other(sql: str) -> str:
            raise ApprovalRequired(metadata={"type": "theirs"})

        with model(DELETE, tool="other") as theirs:
            chat = OpenAIChatModel("m", provider=OpenAIProvider(base_url=theirs, api_key="k"))
            paused = await bot.run(QUESTION, model=chat)
            assert len(paused.output.approvals) == 1
            assert resume(paused.output).approvals == {}
