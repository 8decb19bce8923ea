"""A real run of the OpenAI Agents SDK pauses for an approval, and its kept state goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, RunState, ToolGuardrailFunctionOutput, tool_input_guardrail
from openai import AsyncOpenAI

from guardrails import Denied, Guard
from guardrails.integrations.openai_agents import PausingTools
from tests.support.guarded_shop import ANA, tool_entries
from tests.support.paused_shop import QUESTION, lead, loopback, model, open_paused, rows_left

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    loopback(monkeypatch)
    with model() as opened:
        yield opened


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with open_paused(sqlite_path, tmp_path, None) as opened:
        yield opened


def agent(tools: PausingTools, url: str) -> Agent[None]:
    chat = OpenAIResponsesModel("m", AsyncOpenAI(base_url=url, api_key="k"))
    return Agent("bot", model=chat, tools=[*tools.tools])


async def test_a_run_pauses_and_its_kept_state_goes_on(sqlite_path: Path, tmp_path: Path, url: str) -> None:
    with open_paused(sqlite_path, tmp_path, None) as guard:
        tools = PausingTools(guard)
        paused = await Runner.run(agent(tools, url), QUESTION, run_config=QUIET)
        (item,) = paused.interruptions
        (request,) = guard.pending()
        assert item.name == "query_database"
        kept = json.dumps([paused.to_state().to_json(), tools.waiting(paused)])
        assert list(tools.waiting(paused).values()) == [request.id]
        assert rows_left(guard) == 4
    with open_paused(sqlite_path, tmp_path, None) as guard:
        tools = PausingTools(guard)
        bot = agent(tools, url)
        stored, waiting = json.loads(kept)
        state = await RunState.from_json(bot, stored)
        assert not tools.proceed(state, waiting)
        guard.approve(request.id, by=lead(), reason="fine")
        assert tools.proceed(state, waiting)
        done = await Runner.run(bot, state, run_config=QUIET)
        assert json.loads(done.final_output) == {"rows_changed": 1}
        assert rows_left(guard) == 3
        assert ("query_database", "call_1", "intent") in tool_entries(guard)


async def test_a_native_yes_is_not_enough(guard: Guard, url: str) -> None:
    tools = PausingTools(guard)
    bot = agent(tools, url)
    paused = await Runner.run(bot, QUESTION, run_config=QUIET)
    state = paused.to_state()
    with pytest.raises(Denied, match=r"approval\.self"):
        guard.approve(guard.pending()[0].id, by=lead(ANA.id, ("leads",)), reason="mine")
    for item in paused.interruptions:
        state.approve(item, always_approve=True)
    done = await Runner.run(bot, state, run_config=QUIET)
    assert done.final_output.startswith("Refused (approval.required)")
    assert guard.pending()[0].id in done.final_output
    assert rows_left(guard) == 4


async def test_a_no_is_told_to_the_model(guard: Guard, url: str) -> None:
    tools = PausingTools(guard)
    bot = agent(tools, url)
    paused = await Runner.run(bot, QUESTION, run_config=QUIET)
    guard.deny(guard.pending()[0].id, by=lead(), reason="no")
    state = paused.to_state()
    assert tools.proceed(state, tools.waiting(paused))
    done = await Runner.run(bot, state, run_config=QUIET)
    assert done.final_output.startswith("Refused (approval.denied)")
    assert rows_left(guard) == 4


async def test_what_was_approved_before_does_not_pause_and_runs_once(guard: Guard, url: str) -> None:
    tools = PausingTools(guard)
    bot = agent(tools, url)
    first, second = await asyncio.gather(*(Runner.run(bot, QUESTION, run_config=QUIET) for _ in range(2)))
    assert tools.waiting(first) == tools.waiting(second)
    guard.approve(guard.pending()[0].id, by=lead(), reason="fine")
    done = await Runner.run(bot, QUESTION, run_config=QUIET)
    assert json.loads(done.final_output) == {"rows_changed": 1}
    assert [kind for tool, _, kind in tool_entries(guard) if tool] == ["intent"]
    state = first.to_state()
    assert tools.proceed(state, tools.waiting(first))
    again = await Runner.run(bot, state, run_config=QUIET)
    assert again.final_output.startswith("Refused (approval.required)"), "the yes is used"


async def test_what_is_allowed_refused_or_malformed_does_not_pause(guard: Guard, url: str) -> None:
    statements = ("SELECT count(*) AS n FROM orders", "DROP TABLE orders", "DELETE FROM")
    for sql, expected in zip(statements, ("4", "Refused (policy", "Refused (sql"), strict=True):
        with model(sql) as served:
            done = await Runner.run(agent(PausingTools(guard), served), QUESTION, run_config=QUIET)
            assert expected in done.final_output
    assert [kind for _, _, kind in tool_entries(guard)] == ["intent", "refusal", "refusal"]


async def test_functions_of_the_applications_own(guard: Guard) -> None:
    seen: list[str] = []

    def clean_up(sql: str, params: dict[str, Any] | None = None) -> str:
        """Cleans up."""
        seen.append(sql)
        return "cleaned"

    async def refund(order: int) -> str:
        """Pays back; no SQL, so it waits without a pause."""
        return f"paid {order}"

    tools = PausingTools(guard, [clean_up, refund])
    with model(tool="clean_up") as served:
        bot = agent(tools, served)
        paused = await Runner.run(bot, QUESTION, run_config=QUIET)
        assert seen == []
        guard.approve(guard.pending()[0].id, by=lead(), reason="fine")
        state = paused.to_state()
        assert tools.proceed(state, tools.waiting(paused))
        assert (await Runner.run(bot, state, run_config=QUIET)).final_output == "cleaned"
        assert len(seen) == 1


async def test_a_tool_with_guardrails_of_its_own_is_not_tried_before_them(guard: Guard, url: str) -> None:
    @tool_input_guardrail
    def never(_: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content("not like this")

    tools = PausingTools(guard)
    tools.tools[0].tool_input_guardrails = [never]
    done = await Runner.run(agent(tools, url), QUESTION, run_config=QUIET)
    assert done.final_output == "not like this"
    assert guard.pending() == []
