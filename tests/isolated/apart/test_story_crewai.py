"""The whole story through a real crew: kicked off again when a person has answered, since a crew has no pause of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task

from guardrails import Guard
from guardrails.integrations.crewai import sql_tool
from guardrails.testing import ModelServer
from tests.support.paused_shop import loopback
from tests.support.story import CALL_IDS, DELETE, DROP, QUESTION, READ, Story

TOOL = "query_database"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crew"))
    with Story.open(tmp_path) as opened:
        yield opened


def crew(guard: Guard, url: str, **options: Any) -> Crew:
    llm = LLM(model="openai/gpt-4o", base_url=f"{url}/v1", api_key="k")
    analyst = Agent(role="bot", goal="Answers.", backstory="Careful.", llm=llm, tools=[sql_tool(guard)], **options)
    task = Task(description=QUESTION, expected_output="An answer.", agent=analyst)
    return Crew(agents=[analyst], tasks=[task], verbose=False)


@pytest.mark.parametrize("is_async", [False, True], ids=["kickoff", "akickoff"])
async def test_the_story(story: Story, is_async: bool) -> None:
    """The crew ends with the waiting; kicked off again, its model makes the same call."""

    async def run(*statements: str, call_ids: Sequence[str]) -> str:
        with ModelServer(story.script(TOOL, statements, call_ids=call_ids)) as server:
            team = crew(story.guard, server.url)
            with story.guard.session(principal=story.ana, agent="bot", model="m", conversation_id="conv_1"):
                told = str(await team.akickoff() if is_async else await asyncio.to_thread(team.kickoff))
            sent.extend(json.dumps(request.body) for request in server.requests)
            return told

    sent: list[str] = []
    told = await run(DROP, READ, DELETE, call_ids=CALL_IDS)
    assert story.guard.pending()[0].id in told
    assert "Nothing has been done yet" in told
    assert story.orders_left() == 4
    story.check_masked("".join(sent))
    story.approve()
    story.reopen()
    assert json.loads(await run(DELETE, call_ids=CALL_IDS[2:])) == {"rows_changed": 1}
    assert story.orders_left() == 3
    # CrewAI tells no ids of calls.
    story.check_entries(framework="crewai", tool=TOOL, agent="bot", model="m", conversation="conv_1", call_ids=[None] * 3)
