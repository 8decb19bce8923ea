"""Tool guardrails made from a guard: for tools that stay as they are, judged and recorded before, looked through afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool

from guardrails.integrations.openai_agents import tool_guardrails
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn
from tests.support.agents_runs import Shop, agent, answers, outcome_recorded, run, served
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, POLICY, READ, Story

PLAIN = "SELECT count(*) FROM orders"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


def _tool(story: Story, function: Any, **options: Any) -> Any:
    pair = tool_guardrails(story.guard)
    return function_tool(function, tool_input_guardrails=[pair.input], tool_output_guardrails=[pair.output], **options)


async def test_the_model_is_told_what_to_send_and_only_that_runs(story: Story) -> None:
    recorder = Recorder(story.database)

    def script(told: Conversation) -> Turn:
        if not told.results:
            return Turn("", (ToolCall("first", "run_sql", {"sql": PLAIN.lower()}),))
        if len(told.results) == 1:
            assert told.last.startswith("Refused (policy.rewrite_needed)")
            return Turn("", (ToolCall("second", "run_sql", {"sql": told.last.split("Send exactly this: ")[1]}),))
        return Turn(told.last)

    with ModelServer(script) as server:
        result = await run(agent(server, [_tool(story, recorder.run_sql)]), "Go.", Shop(story.ana))
    assert result.final_output == "[(4,)]"
    assert len(recorder.seen) == 1
    assert [(e["tool_call"], e["agent"]["name"]) for e in story.entries("intent")] == [("first", "bot"), ("second", "bot")]
    assert [e["status"] for e in story.entries("outcome")] == ["error", "ok"]


async def test_what_may_not_run_as_it_stands_does_not_run(story: Story) -> None:
    recorder = Recorder(story.database)
    statements = {**FORBIDDEN, "masked": READ, "comment": "SELECT 1 -- x"}
    wanted = [ToolCall(name, "run_sql", {"sql": sql}) for name, sql in statements.items()]
    with nothing_runs(story.database), served(*wanted) as server:
        told = answers(await run(agent(server, [_tool(story, recorder.run_sql)]), "Go.", Shop(story.ana)))
    assert set(told) == set(statements)
    assert [name for name, text in told.items() if not text.startswith("Refused (")] == []
    assert recorder.seen == []
    assert "Send exactly" not in told["masked"]


async def test_a_yes_is_used_once(story: Story) -> None:
    recorder = Recorder(story.database)
    regenerated = story_text(story, DELETE)
    with served(ToolCall("a", "run_sql", {"sql": regenerated})) as server:
        bot = agent(server, [_tool(story, recorder.run_sql)])
        assert (await run(bot, "Go.", Shop(story.ana))).final_output.startswith("Refused (approval.required)")
        story.approve()
        assert (await run(bot, "Go.", Shop(story.ana))).final_output in ("[]", "")
        assert (await run(bot, "Go.", Shop(story.ana))).final_output.startswith("Refused (approval.required)")
    assert story.orders_left() == 3
    assert len(recorder.seen) == 1


def story_text(story: Story, sql: str) -> str:
    """A statement as the guard writes it."""
    with story.guard.session(principal=story.ana, agent="bot"):
        return str(story.guard.check(sql).sql)


async def test_actions_are_judged_and_their_results_looked_through(story: Story) -> None:
    called: list[str] = []

    def send_mail(to: str) -> dict[str, str]:
        called.append(to)
        return {"sent": "ada@example.com"} if to == "ada" else {"sent": "yes"}

    def erase(what: str) -> str:
        called.append(what)
        return what

    tools = [_tool(story, send_mail), _tool(story, erase)]
    wanted = [
        ToolCall("a", "send_mail", {"to": "ada"}),
        ToolCall("b", "send_mail", {"to": "bo"}),
        ToolCall("c", "erase", {"what": "all"}),
    ]
    with served(*wanted) as server:
        told = answers(await run(agent(server, tools), "Go.", Shop(story.ana)))
    assert json.loads(told["a"]) == {"sent": "[email]"}
    assert told["b"] == "{'sent': 'yes'}"
    assert told["c"].startswith("Refused (policy.no_rule)")
    assert sorted(called) == ["ada", "bo"]
    check_never_intended(story.guard, "c")


@pytest.mark.parametrize("half", ["input", "output", "others"])
async def test_half_of_a_pair_gives_nothing_away(story: Story, half: str) -> None:
    def send_mail(to: str) -> str:
        return "ada@example.com"

    pair, other = tool_guardrails(story.guard), tool_guardrails(story.guard)
    tool = function_tool(
        send_mail,
        tool_input_guardrails=[] if half == "output" else [pair.input],
        tool_output_guardrails={"input": [], "output": [pair.output], "others": [other.output]}[half],
    )
    with served(ToolCall("a", "send_mail", {"to": "ada"})) as server:
        result = await run(agent(server, [tool]), "Go.", Shop(story.ana))
    assert result.final_output.startswith("Refused (usage.tool_unguardable)")


async def test_a_tool_that_never_comes_back_has_failed(story: Story) -> None:
    def send_mail(to: str) -> str:
        raise ValueError("ada@example.com")

    recorded = outcome_recorded(story)
    with served(ToolCall("a", "send_mail", {"to": "ada"})) as server:
        bot = agent(server, [_tool(story, send_mail, failure_error_function=None)])
        with pytest.raises(Exception, match="send_mail"):
            await run(bot, "Go.", Shop(story.ana))
        await asyncio.wait_for(recorded.wait(), 10)
    assert [e["status"] for e in story.entries("outcome")] == ["error"]
    assert len(story.entries("intent")) == 1


async def test_what_takes_too_long_is_withheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)
    (tmp_path / "limited").mkdir()
    with Story.open(tmp_path / "limited", policy=POLICY + "limits: {seconds: 0.2}\n") as story:
        recorded = outcome_recorded(story)

        async def send_mail(to: str) -> str:
            await recorded.wait()
            return to

        with served(ToolCall("a", "send_mail", {"to": "bo"})) as server:
            result = await run(agent(server, [_tool(story, send_mail)]), "Go.", Shop(story.ana))
    assert result.final_output.startswith("Refused (engine.")
