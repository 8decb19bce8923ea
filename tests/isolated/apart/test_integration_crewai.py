"""CrewAI's tools behind the guard: what stays as it is, what is judged, how a refusal is told, and that no cache answers for the guard.

CrewAI reads annotations as they stand, so this module does not postpone them.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.tools import BaseTool, tool
from crewai.tools.tool_failure import ToolFailure
from pydantic import BaseModel

from guardrails import Sql, UsageError
from guardrails.flow import Event
from guardrails.integrations.crewai import guard_tools, sql_tool
from guardrails.testing import ModelServer, ToolCall, Turn
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, DROP, READ, Story

NAMES = "SELECT name FROM customers ORDER BY id"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crew"))
    with Story.open(tmp_path) as opened, opened.guard.session(principal=opened.ana, agent="bot"):
        yield opened


@pytest.fixture
def recorder(story: Story) -> Recorder:
    return Recorder(story.database)


class Where(BaseModel):
    sql: str
    limit: int = 3


class Query(BaseTool):
    """A tool of a kind of its own, synchronous and asynchronous."""

    name: str = "Run query"
    description: str = "Runs it."
    args_schema: type[BaseModel] = Where
    recorder: Any = None

    def _run(self, sql: str, limit: int = 3) -> Any:
        return self.recorder.run_sql(sql)[:limit]

    async def _arun(self, sql: str, limit: int = 3) -> Any:
        return self._run(sql, limit)


@tool("send_mail")
def mail(to: str) -> str:
    """Sends a mail."""
    return f"sent to {to}"


@tool("send_mail")
async def slow_mail(to: str) -> str:
    """Sends a mail."""
    return f"sent to {to}"


def kick_off(turns: Iterable[Turn], tools: Sequence[BaseTool]) -> str:
    script = chain(turns, [Turn("Done.")])
    with ModelServer(lambda _: next(script)) as server:
        llm = LLM(model="openai/gpt-4o", base_url=f"{server.url}/v1", api_key="k")
        analyst = Agent(role="bot", goal="Answers.", backstory="Careful.", llm=llm, tools=list(tools))
        task = Task(description="Answer.", expected_output="An answer.", agent=analyst)
        assert str(Crew(agents=[analyst], tasks=[task]).kickoff()) == "Done."
        return "".join(str(request.body) for request in server.requests)


def test_a_guarded_tool_looks_like_the_tool(story: Story, recorder: Recorder) -> None:
    tools = [Query(recorder=recorder, max_usage_count=2, result_as_answer=True), mail]
    guarded = guard_tools(story.guard, tools)
    kept = {"name", "description", "max_usage_count", "result_as_answer", "env_vars"}
    assert [t.model_dump(include=kept) for t in guarded] == [t.model_dump(include=kept) for t in tools]
    assert [t.args_schema for t in guarded] == [t.args_schema for t in tools]
    assert [t.formatted_description for t in guarded] == [t.formatted_description for t in tools]
    assert all(again is once for again, once in zip(guard_tools(story.guard, guarded), guarded, strict=True))


async def test_the_tool_runs_the_regenerated_statement(story: Story, recorder: Recorder) -> None:
    regenerated = story.guard.check(NAMES).sql
    (query,) = guard_tools(story.guard, [Query(recorder=recorder)])
    assert query.run(sql=NAMES, limit=1) == [("Ada",)]
    assert (await query.arun(sql=NAMES))[0] == ("Ada",)
    assert recorder.seen == [regenerated] * 2
    refused = query.run(sql=DROP)
    assert isinstance(refused, ToolFailure)
    assert refused.as_agent_message().startswith("Refused (policy.no_rule)")
    assert isinstance(await query.arun(sql=DROP), ToolFailure)
    assert len(recorder.seen) == 2
    assert story.entries()[0]["tool"] == "run_query"


async def test_calls_of_other_tools_are_actions(story: Story) -> None:
    for sending in guard_tools(story.guard, [mail, slow_mail]):
        assert await sending.arun(to="a") == "sent to a"
        assert await sending.arun(to="4111111111111111") == "sent to [card]"
    assert guard_tools(story.guard, [mail])[0].run(to="a") == "sent to a"

    @tool
    def reboot() -> str:
        """Reboots."""
        return "rebooted"

    assert isinstance(guard_tools(story.guard, [reboot])[0].run(), ToolFailure)
    assert story.entries("refusal")[0]["tool"] == "reboot"


def test_an_asynchronous_tool_runs_from_a_crews_thread(story: Story) -> None:
    (sending,) = guard_tools(story.guard, [slow_mail])
    assert "sent to a" in kick_off([Turn("", (ToolCall("c", "send_mail", {"to": "a"}),))], [sending])


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
def test_rejected_never_runs(story: Story, recorder: Recorder, statement: str) -> None:
    """Beside calls that are allowed, in the same turn, in a crew's own threads."""
    regenerated = story.guard.check(NAMES).sql
    tools = [sql_tool(story.guard), *guard_tools(story.guard, [Query(recorder=recorder)])]
    calls = tuple(
        ToolCall(f"call_{name}_{n}", name, {"sql": sql})
        for name in ("run_query", "query_database")
        for n, sql in enumerate((statement, NAMES))
    )
    with nothing_runs(story.database):
        kick_off([Turn("", calls)], tools)
    assert recorder.seen == [regenerated]
    assert [entry["decision"]["effect"] for entry in story.entries("intent")] == ["allow"] * 2
    check_never_intended(story.guard, *(call.id for call in calls))


def test_no_cache_answers_for_the_guard(story: Story) -> None:
    """The same call twice is judged and recorded twice; what waited runs, in the same crew, when it was approved."""

    def turns() -> Iterator[Turn]:
        for number, sql in enumerate((NAMES, NAMES, DELETE, DELETE)):
            if number == 3:
                story.approve()
            yield Turn("", (ToolCall(f"call_{number}", "query_database", {"sql": sql}),))

    sent = kick_off(turns(), [sql_tool(story.guard)])
    assert "Nothing has been done yet" in sent
    assert len(story.entries("intent")) == 3
    assert story.orders_left() == 3


def test_protected_values_stay_behind(story: Story) -> None:
    story.check_masked(sql_tool(story.guard).run(sql=READ))


def test_the_marked_argument_holds_the_sql(story: Story) -> None:
    @tool
    def look(what: Annotated[str, Sql]) -> str:
        """Looks."""
        raise ValueError(f"failed: {what} of ada@example.com")

    (guarded,) = guard_tools(story.guard, [look])
    assert "policy.no_rule" in guarded.run(what=DROP).message
    failed = guarded.run(what=NAMES).message
    assert "engine.failed" in failed
    assert "ada@example.com" not in failed
    with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
        guard_tools(story.guard, [look], sql_argument={"look": "sql"})


def test_a_list_that_another_thread_changes_reaches_no_function(tmp_path: Path) -> None:
    held, received = ["bo@example.com"], []

    def observe(event: Event) -> None:
        if event.stage == "intent":
            other = threading.Thread(target=held.append, args=("eve@example.com",))
            other.start()
            other.join()

    @tool
    def send_mail(to: Any) -> str:
        """Sends a mail."""
        received.append(list(to))
        return "sent"

    with Story.open(tmp_path, observer=observe) as story, story.guard.session(principal=story.ana):
        assert guard_tools(story.guard, [send_mail])[0].run(to=held) == "sent"
    assert received == [["bo@example.com"]]
    assert len(held) == 2


@pytest.mark.parametrize("slip", ["whatt", {"look": "what"}], ids=["argument", "tool"])
def test_a_mistyped_sql_argument_is_refused(story: Story, slip: str | dict[str, str | None]) -> None:
    @tool("Look Up")
    def look(what: str) -> str:
        """Looks."""
        return what

    with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
        guard_tools(story.guard, [look], sql_argument=slip)
    for right in ("what", {"Look Up": "what"}, {"look_up": "what"}):
        (guarded,) = guard_tools(story.guard, [look], sql_argument=right)
        assert "policy.no_rule" in guarded.run(what=DROP).message


def test_who_acts(tmp_path: Path) -> None:
    with Story.open(tmp_path) as story, pytest.raises(UsageError, match=r"usage\.no_session"):
        sql_tool(story.guard).run(sql=NAMES)
