"""Tools of the OpenAI Agents SDK, guarded: the story through both of its models, what stays of a tool, and who is recorded."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    RunContextWrapper,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolOutputImage,
    ToolOutputText,
    UserError,
    function_tool,
    tool_input_guardrail,
)
from agents.tool_context import ToolContext
from pydantic import BaseModel

from guardrails import Sql, UsageError
from guardrails.integrations.openai_agents import guard_tools, open_requests, proceed, sql_tool
from guardrails.testing import ModelServer, ToolCall
from tests.support.agents_runs import QUIET, Wire, agent, answers, outcome_recorded, run, served
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, POLICY, QUESTION, READ, Story, signed


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_the_story(story: Story, wire: Wire, streamed: bool) -> None:
    with ModelServer(story.script("query_database")) as server:
        bot = agent(server, [sql_tool(story.guard)], wire)
        paused = await run(bot, QUESTION, {"principal": story.ana}, streamed=streamed)
        (request,) = open_requests(paused).values()
        assert request.id == story.guard.pending()[0].id
        assert story.orders_left() == 4
        state = paused.to_state()
        assert not proceed(state)
        story.approve()
        assert proceed(state)
        done = await run(bot, state, streamed=streamed)
        assert json.loads(done.final_output) == {"rows_changed": 1}
        assert story.orders_left() == 3
        story.check_sent(server)
    story.check_entries(framework="openai-agents", tool="query_database", agent="bot", model="m", conversation="thread-1")
    assert {entry["runtime"]["run"] for entry in story.entries()} == {"trace_1"}


def test_run_sync(story: Story) -> None:
    with ModelServer(story.script("query_database", [READ])) as server:
        bot = agent(server, [sql_tool(story.guard)])
        done = Runner.run_sync(bot, QUESTION, context={"principal": story.ana}, run_config=QUIET)
        story.check_masked(done.final_output)


async def test_what_is_refused_never_reaches_a_tool(story: Story) -> None:
    recorder = Recorder(story.database)
    tools = [*guard_tools(story.guard, [recorder.run_sql]), sql_tool(story.guard)]
    wanted = [ToolCall(f"{name}-{tool.name}", tool.name, {"sql": sql}) for name, sql in FORBIDDEN.items() for tool in tools]
    with nothing_runs(story.database), served(*wanted) as server:
        bot = agent(server, tools)
        result = await run(bot, "Go.", {"principal": story.ana})
        assert result.interruptions
        state = result.to_state()
        for item in result.interruptions:
            state.approve(item, always_approve=True)
        told = answers(await run(bot, state))
    assert set(told) == {call.id for call in wanted}
    assert [name for name, text in told.items() if not text.startswith("Refused (")] == []
    assert recorder.seen == []
    check_never_intended(story.guard, *told)


class Note(BaseModel):
    text: str


async def test_a_tool_keeps_what_it_is(story: Story) -> None:
    seen: list[Any] = []

    @tool_input_guardrail
    def fine(_: Any) -> ToolGuardrailFunctionOutput:
        seen.append("guardrail")
        return ToolGuardrailFunctionOutput.allow()

    def on_failure(_: RunContextWrapper[Any], error: Exception) -> str:
        return f"Sorry: {error}"

    async def is_on(context: RunContextWrapper[Any], asking: Any) -> bool:
        return bool(asking.name == "bot" and context.context["on"])

    @function_tool(
        name_override="mail",
        failure_error_function=on_failure,
        is_enabled=is_on,
        tool_input_guardrails=[fine],
        timeout=30,
        strict_mode=False,
    )
    async def send_mail(context: ToolContext[Any], to: str, body: str = "hello") -> str:
        """Sends a mail.

        Args:
            to: Whom.
            body: What.
        """
        seen.append((context.tool_call_id, context.context["on"], to, body))
        if to == "nobody":
            raise ValueError("bo@example.com is not there")
        return "sent to ada@example.com"

    (made,) = guard_tools(story.guard, [send_mail])
    kept = ("name", "description", "params_json_schema", "strict_json_schema", "tool_input_guardrails", "timeout_seconds")
    assert isinstance(made, FunctionTool)
    assert [getattr(made, name) for name in kept] == [getattr(send_mail, name) for name in kept]
    assert made is not send_mail
    context = {"principal": story.ana, "on": True}
    story_policy(story, "mail")
    (made,) = guard_tools(story.guard, [send_mail])
    with served(ToolCall("a", "mail", {"to": "bo"}), ToolCall("b", "mail", {"to": "nobody"})) as server:
        result = await run(agent(server, [made]), "Go.", context)
        assert answers(result) == {"a": "sent to [email]", "b": "Sorry: [email] is not there"}
        assert ("a", True, "bo", "hello") in seen
        assert seen.count("guardrail") == 2
    assert {(e["tool"], e["tool_call"]) for e in story.entries("intent")} == {("mail", "a"), ("mail", "b")}
    with served() as server:
        await run(agent(server, [made]), "Go.", context | {"on": False})
        assert "mail" not in json.dumps(server.requests[0].body.get("tools", []))


def story_policy(story: Story, *actions: str) -> None:
    """Lets Ana do some more actions."""
    story.policy = story.policy.replace("actions: [send_mail]", f"actions: [send_mail, {', '.join(actions)}]")
    story.reopen()


async def test_sql_goes_to_the_tool_as_the_guard_writes_it(story: Story) -> None:
    recorder = Recorder(story.database)
    told: list[str] = []

    @function_tool
    def lookup(context: ToolContext[Any], text: Annotated[str, Sql]) -> str:
        """Looks up."""
        told.extend([context.tool_arguments, context.tool_call.arguments if context.tool_call else ""])
        return json.dumps(recorder.run_sql(text))

    @function_tool
    def run_here(sql: str) -> str:
        """The guard runs it."""

    tools = guard_tools(story.guard, [lookup, run_here], sql_argument={"run_here": "sql"})
    asked = "select name, /* x */ 'ada@example.com' from customers where id=1"
    with served(ToolCall("a", "lookup", {"text": asked}), ToolCall("b", "run_here", {"sql": READ})) as server:
        result = await run(agent(server, tools), "Go.", {"principal": story.ana})
    assert len(recorder.seen) == 1
    assert "/*" not in recorder.seen[0]
    assert all("/*" not in text for text in told)
    assert answers(result)["a"] == '[["Ada", "[email]"]]'
    story.check_masked(answers(result)["b"])


async def test_masks_hold_in_a_tool_that_takes_values(story: Story) -> None:
    import sqlite3

    def read(sql: str, params: dict[str, Any]) -> list[Any]:
        with sqlite3.connect(story.database) as connection:
            story.guard.register_masks(connection)
            return connection.execute(sql, params).fetchall()

    tools = guard_tools(story.guard, [function_tool(read, strict_mode=False)])
    with served(ToolCall("a", "read", {"sql": READ, "params": {}})) as server:
        result = await run(agent(server, tools), "Go.", {"principal": story.ana})
    story.check_masked(answers(result)["a"])


async def test_what_a_tool_returns_is_looked_through(story: Story) -> None:
    image = ToolOutputImage(image_url="data:image/png;base64,iVBORw0KGgo=")

    def send_mail(kind: str) -> Any:
        """Returns things."""
        made: dict[str, Any] = {
            "model": Note(text="ada@example.com"),
            "same": Note(text="nothing"),
            "text": ToolOutputText(text="ada@example.com"),
            "image": image,
            "rows": [("ada@example.com", 1)],
            "none": None,
        }
        return made[kind]

    tools = guard_tools(story.guard, [send_mail])
    kinds = ["model", "same", "text", "image", "rows", "none"]
    with served(*(ToolCall(kind, "send_mail", {"kind": kind}) for kind in kinds)) as server:
        result = await run(agent(server, tools), "Go.", {"principal": story.ana})
        sent = json.dumps([request.body for request in server.requests])
    outputs = {item.raw_item["call_id"]: item.output for item in result.new_items if item.type == "tool_call_output_item"}
    assert outputs["image"] is image
    assert outputs["same"] == Note(text="nothing")
    assert "ada@example.com" not in sent
    assert "iVBORw0KGgo=" in sent


async def test_an_output_schema_holds_for_what_a_tool_returns_not_for_refusals(story: Story) -> None:
    @function_tool(output_type=Note, allowed_callers=["direct", "programmatic"])
    def send_mail(to: str) -> Note:
        """Sends a mail."""
        return Note(text=f"sent to {to}")

    @function_tool(output_type=Note, allowed_callers=["direct", "programmatic"])
    def run_sql(sql: str) -> Note:
        """Runs a statement."""
        raise ValueError("ada@example.com")

    wanted = [ToolCall("a", "send_mail", {"to": "ada@example.com"})]
    wanted += [ToolCall(name, "run_sql", {"sql": sql}) for name, sql in (("b", "SELECT 1"), ("c", "DROP TABLE orders"))]
    with served(*wanted) as server:
        tools = guard_tools(story.guard, [send_mail, run_sql])
        told = answers(await run(agent(server, tools), "Go.", {"principal": story.ana}))
    assert told["a"] == "text='sent to [email]'"
    assert told["b"].startswith("Refused (engine.failed)")
    assert told["c"].startswith("Refused (policy.no_rule)")


async def test_a_tools_error_does_not_leave(story: Story) -> None:
    def run_sql(sql: str) -> str:
        raise ValueError("ada@example.com")

    def on_failure(_: RunContextWrapper[Any], error: Exception) -> str:
        return f"Sorry: {error}"

    async def by_hand(_: Any, __: str) -> str:
        raise ValueError("ada@example.com")

    schema = {"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"], "additionalProperties": False}
    handmade = FunctionTool("handmade", "By hand.", schema, by_hand)
    loud = function_tool(run_sql, name_override="loud", failure_error_function=None)
    own = function_tool(run_sql, name_override="own", failure_error_function=on_failure)
    tools = guard_tools(story.guard, [run_sql, own, loud, handmade])
    read = {"sql": "SELECT 1"}
    with served(*(ToolCall(name, name, read) for name in ("run_sql", "own", "handmade"))) as server:
        result = await run(agent(server, tools), "Go.", {"principal": story.ana})
        assert len(answers(result)) == 3
        assert all("ada" not in text and "The tool failed." in text for text in answers(result).values())
    with served(ToolCall("loud", "loud", read)) as server, pytest.raises(Exception, match=r"The tool failed"):
        await run(agent(server, tools), "Go.", {"principal": story.ana})
    assert {entry["status"] for entry in story.entries("outcome")} == {"error"}


async def test_malformed_arguments_are_told_to_the_model(story: Story) -> None:
    tools = [sql_tool(story.guard), *guard_tools(story.guard, [Recorder(story.database).run_sql])]
    wanted = [
        ToolCall("a", "query_database", '{"sql": "SELECT 1"'),
        ToolCall("b", "query_database", {"sql": 7}),
        ToolCall("c", "run_sql", {"sql": "SELECT 1", "more": 1}),
        ToolCall("d", "query_database", "[]"),
    ]
    with served(*wanted) as server:
        bot = agent(server, tools)
        result = await run(bot, "Go.", {"principal": story.ana})
        if result.interruptions:  # by the SDK, which asks no tool about arguments that it cannot read
            state = result.to_state()
            assert proceed(state)
            assert open_requests(result) == {}
            result = await run(bot, state)
        told = answers(result)
    assert {key: told[key].startswith("Refused (usage.input_invalid)") for key in "abd"} == dict.fromkeys("abd", True)


async def test_without_a_rule_that_asks_nothing_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)
    (tmp_path / "quiet").mkdir()
    policy = re.sub(r"(?m),? *approval: \{.*?\}", "", POLICY.replace("effect: approve", "effect: deny"))
    with Story.open(tmp_path / "quiet", policy=policy) as story:
        tool = sql_tool(story.guard)
        assert (tool.needs_approval, tool.is_enabled) == (False, True)
        with served(ToolCall("a", "query_database", "{"), ToolCall("b", "query_database", {"sql": DELETE})) as server:
            told = answers(await run(agent(server, [tool]), "Go.", {"principal": story.ana}))
    assert told["a"].startswith("Refused (usage.input_invalid)")
    assert told["b"].startswith("Refused (policy.denied)")
    assert story.orders_left() == 4


async def test_who_asks(story: Story) -> None:
    tools = [sql_tool(story.guard)]
    with served(ToolCall("a", "query_database", {"sql": "SELECT 1"})) as server:
        bot = agent(server, tools)
        with pytest.raises(UserError, match=r"usage\.no_session"):
            await run(bot, "Go.", {"principal": {"id": "ana@example.com"}})
        with story.guard.session(principal=story.ana):
            await run(bot, "Go.")
            with pytest.raises(UserError, match=r"identity\.principal_mismatch"):
                await run(bot, "Go.", {"principal": signed("bo@example.com", "support")})
        await asyncio.gather(*(run(bot, "Go.", person) for person in (story.ana, signed("bo@example.com", "support"))))
    assert sorted(entry["principal"]["id"] for entry in story.entries()) == ["ana@example.com"] * 2 + ["bo@example.com"]


def test_what_cannot_be_guarded_is_refused(story: Story) -> None:
    def run_sql(sql: str) -> str:
        return sql

    inner = Agent("inner").as_tool("ask", "Asks.")
    made = guard_tools(story.guard, [run_sql])
    for tools, options in (
        ([run_sql, run_sql], {}),
        ([run_sql], {"sql_argument": {"run_sql": "text"}}),
        ([run_sql], {"sql_argument": {"run_sqll": "sql"}}),
        ([inner], {}),
        ([object()], {}),
    ):
        with pytest.raises(UsageError):
            guard_tools(story.guard, tools, **options)  # type: ignore[arg-type]
    assert made[0].name == "run_sql"


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
async def test_an_outcome_follows_whatever_the_sdk_gives_up(story: Story, how: str) -> None:
    began, goes_on, recorded = asyncio.Event(), asyncio.Event(), outcome_recorded(story)

    async def send_mail(to: str) -> str:
        """Takes its time."""
        began.set()
        await goes_on.wait()
        return to

    tool = function_tool(send_mail, timeout=0.05 if how == "timeout" else 60)
    with served(ToolCall("a", "send_mail", {"to": "bo"})) as server:
        running = asyncio.ensure_future(run(agent(server, guard_tools(story.guard, [tool])), "Go.", {"principal": story.ana}))
        await began.wait()
        if how == "timeout":
            assert "timed out" in (await running).final_output
        else:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        goes_on.set()
        await asyncio.wait_for(recorded.wait(), 10)
    assert [entry["status"] for entry in story.entries("outcome")] == ["ok"]


async def test_limits_hold_for_tools_that_never_heard_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)
    (tmp_path / "limited").mkdir()
    with Story.open(tmp_path / "limited", policy=POLICY + "limits: {rows: 2}\n") as story:
        tools = [*guard_tools(story.guard, [Recorder(story.database).run_sql]), sql_tool(story.guard)]
        read = {"sql": "SELECT id FROM orders"}
        with served(ToolCall("a", "run_sql", read), ToolCall("b", "query_database", read)) as server:
            told = answers(await run(agent(server, tools), "Go.", {"principal": story.ana}))
    assert told["a"].startswith("Refused (limit.rows)")
    assert json.loads(told["b"])["truncated"]
