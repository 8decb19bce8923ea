"""LlamaIndex's tools behind the guard: what stays as it is, what is judged, and how a refusal and a pause are told.

LlamaIndex reads annotations as they stand, so this module does not postpone them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import TextBlock
from llama_index.core.tools import BaseTool, FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context
from workflows.events import HumanResponseEvent, InputRequiredEvent

from guardrails import IdentityError, Sql, UsageError
from guardrails.integrations.llama_index import InputRequiredChannel, guard_tools, resume, sql_tool
from guardrails.testing import ModelServer, ToolCall, Turn
from tests.support.loopback_llm import LoopbackLLM
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, DROP, QUESTION, READ, Story

NAMES = "SELECT name FROM customers ORDER BY id"
THIRD = "DELETE FROM orders WHERE id = 3"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, InputRequiredChannel()) as opened, opened.guard.session(principal=opened.ana):
        yield opened


@pytest.fixture
def recorder(story: Story) -> Recorder:
    return Recorder(story.database)


class Run:
    """An agent that follows turns, and the outputs of its tools by call."""

    def __init__(self, turns: Sequence[Turn], tools: Sequence[BaseTool]) -> None:
        script = iter([*turns, Turn("Done.")])
        self._server = ModelServer(lambda _: next(script))
        self._tools = tools
        self.outputs: dict[str, ToolOutput] = {}

    async def __aenter__(self) -> Self:
        server = self._server.__enter__()
        bot = FunctionAgent(name="bot", tools=list(self._tools), llm=LoopbackLLM(url=f"{server.url}/v1"))
        self.handler = bot.run(QUESTION)
        self._events = self.handler.stream_events()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    async def pause(self) -> InputRequiredEvent | None:
        """Goes on to the next pause, None when there is none."""
        async for event in self._events:
            if isinstance(event, ToolCallResult):
                self.outputs[event.tool_id] = event.tool_output
            if isinstance(event, InputRequiredEvent):
                return event
        return None

    async def finish(self) -> dict[str, ToolOutput]:
        assert await self.pause() is None
        assert str(await self.handler) == "Done."
        return self.outputs


def calling(name: str, *statements: str) -> list[Turn]:
    return [Turn("", (ToolCall(f"call_{n}", name, {"sql": sql}),)) for n, sql in enumerate(statements, 1)]


def send_mail(to: str, body: str = "") -> str:
    """Sends a mail."""
    return f"sent to {to}"


class Search(BaseTool):
    """A tool of a kind of its own, without a function, synchronous."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    def metadata(self) -> ToolMetadata:
        return ToolMetadata("Searches.", "search")

    def __call__(self, input: Any) -> ToolOutput:  # noqa: A002 - the base class names it so
        rows = self._recorder.run_sql(input)
        return ToolOutput("search", blocks=[TextBlock(text=str(rows))], raw_input={"input": input}, raw_output=rows)


def test_a_guarded_tool_looks_like_the_tool(story: Story, recorder: Recorder) -> None:
    tools: list[BaseTool] = [FunctionTool.from_defaults(send_mail, return_direct=True), Search(recorder)]
    guarded = guard_tools(story.guard, tools)
    assert [tool.metadata.to_openai_tool() for tool in guarded] == [tool.metadata.to_openai_tool() for tool in tools]
    assert [tool.metadata.return_direct for tool in guarded] == [True, False]
    assert guard_tools(story.guard, guarded) == guarded
    (from_function,) = guard_tools(story.guard, [send_mail])
    assert from_function.metadata.to_openai_tool() == tools[0].metadata.to_openai_tool()


async def test_the_tool_runs_the_regenerated_statement(story: Story, recorder: Recorder) -> None:
    regenerated = story.guard.check(NAMES).sql
    named = FunctionTool.from_defaults(recorder.run_sql, name="query")
    (query, search) = guard_tools(story.guard, [named, Search(recorder)], sql_argument={"search": "input"})
    outputs = [
        query.call(NAMES),
        query(sql=NAMES),
        await query.acall(sql=NAMES),
        search.call(NAMES),
        await search.acall(input=NAMES),
    ]
    assert recorder.seen == [regenerated] * 5
    assert all("Ada" in output.content and not output.is_error for output in outputs)
    # Nobody is told the statement that ran in the place of the model's: it goes into events, and holds what masks are made of.
    assert [list(output.raw_input["kwargs"].values()) for output in outputs] == [[NAMES]] * 5
    assert {entry["runtime"]["framework"] for entry in story.entries()} == {"llama-index"}
    refused = search.call(DROP)
    assert (refused.is_error, refused.content[:24]) == (True, "Refused (policy.no_rule)")
    assert query.fn(sql=DROP)[:24] == "Refused (policy.no_rule)"
    assert len(recorder.seen) == 5


async def test_calls_of_other_tools_are_actions(story: Story) -> None:
    mail, other = guard_tools(story.guard, [send_mail, FunctionTool.from_defaults(lambda: "rebooted", name="reboot")])
    assert mail.call(to="a").content == (await mail.acall("a")).content == "sent to a"
    assert other.call().is_error
    assert [(e["type"], e["tool"]) for e in story.entries()] == [*[("intent", "send_mail")] * 2, ("refusal", "reboot")]


async def test_what_a_tool_returns_is_looked_through(story: Story) -> None:
    def mailed(to: str) -> list[str]:
        return ["sent", to]

    (tool,) = guard_tools(story.guard, [FunctionTool.from_defaults(mailed, name="send_mail")])
    plain, scanned = tool.call(to="a"), await tool.acall(to="4111111111111111")
    assert plain.raw_output == ["sent", "a"]
    assert (scanned.content, scanned.raw_output) == ("['sent', '[card]']", ["sent", "[card]"])


async def test_protected_values_stay_behind(story: Story) -> None:
    story.check_masked(sql_tool(story.guard).call(sql=READ).content)
    story.check_masked((await sql_tool(story.guard).acall(sql=READ)).content)


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
async def test_rejected_never_runs(story: Story, recorder: Recorder, statement: str) -> None:
    """Beside calls that are allowed, in the same turn; what waits is looked at again too early."""
    regenerated = story.guard.check(NAMES).sql
    tools = [sql_tool(story.guard), *guard_tools(story.guard, [FunctionTool.from_defaults(recorder.run_sql, name="query")])]
    calls = (
        ToolCall("bad_1", "query", {"sql": statement}),
        ToolCall("good_1", "query", {"sql": NAMES}),
        ToolCall("bad_2", "query_database", {"sql": statement}),
        ToolCall("good_2", "query_database", {"sql": NAMES}),
    )
    with nothing_runs(story.database):
        async with Run([Turn("", calls)], tools) as run:
            while (event := await run.pause()) is not None:
                run.handler.ctx.send_event(resume(event))
            assert {call: output.is_error for call, output in run.outputs.items()} == {c.id: c.id[:3] == "bad" for c in calls}
    assert recorder.seen == [regenerated]
    check_never_intended(story.guard, "bad_1", "bad_2")


async def test_a_native_yes_is_not_enough(story: Story) -> None:
    """Whatever the event says: the model is told that it waits, and the next try waits anew."""
    async with Run(calling("query_database", DELETE, DELETE), [sql_tool(story.guard)]) as run:
        with nothing_runs(story.database):
            event = await run.pause()
            assert event is not None
            yes = {"request": event["request"], "call": event["call"], "response": "yes", "approved": True}
            run.handler.ctx.send_event(HumanResponseEvent.model_validate(yes))
            event = await run.pause()
        assert event is not None
        told = run.outputs["call_1"]
        assert told.is_error
        assert event["request"] in told.content
        story.approve()
        run.handler.ctx.send_event(resume(event))
        outputs = await run.finish()
    assert not outputs["call_2"].is_error
    assert story.orders_left() == 3
    assert [entry["tool_call"] for entry in story.entries("intent")] == ["call_2"]


async def test_an_answer_that_comes_twice_runs_once(story: Story) -> None:
    async with Run(calling("query_database", DELETE), [sql_tool(story.guard)]) as run:
        event = await run.pause()
        assert event is not None
        story.approve()
        for _ in range(3):
            run.handler.ctx.send_event(resume(event))
        await run.pause()
    assert story.orders_left() == 3
    assert len(story.entries("intent")) == 1


async def test_one_is_approved_and_one_is_denied(story: Story) -> None:
    calls = (ToolCall("yes", "query_database", {"sql": DELETE}), ToolCall("no", "query_database", {"sql": THIRD}))
    async with Run([Turn("", calls)], [sql_tool(story.guard)]) as run:
        events = [await run.pause(), await run.pause()]
        for request in story.guard.pending():
            answer = story.guard.approve if request.statement and request.statement.sql == DELETE else story.guard.deny
            answer(request.id, by=story.lead, reason="so it is")
        for event in events:
            assert event is not None
            run.handler.ctx.send_event(resume(event))
        outputs = await run.finish()
    assert story.orders_left() == 3
    assert (outputs["yes"].is_error, outputs["no"].is_error) == (False, True)
    assert "approval.denied" in outputs["no"].content


async def test_outside_of_a_workflow_nothing_waits(story: Story) -> None:
    tool = sql_tool(story.guard)
    with nothing_runs(story.database):
        for told in (tool.call(sql=DELETE), await tool.acall(sql=DELETE), await tool.acall(sql=DELETE, guardrails_context="x")):
            assert told.is_error
            assert "Nothing has been done yet" in told.content
    story.approve()
    assert tool.call(sql=DELETE).content == '{"rows_changed":1}'


async def test_a_tool_that_waits_by_itself(story: Story) -> None:
    """It gets the workflow's context, and the guard judges each of its tries."""

    async def query(ctx: Context, sql: str) -> str:
        asked = InputRequiredEvent.model_validate({"prefix": "Sure?"})
        answer = await ctx.wait_for_event(HumanResponseEvent, asked, waiter_id="own")
        return f"{answer['response']}: {sql}"

    (tool,) = guard_tools(story.guard, [query])
    async with Run(calling("query", NAMES), [tool]) as run:
        event = await run.pause()
        assert event is not None
        run.handler.ctx.send_event(HumanResponseEvent.model_validate({"response": "yes"}))
        outputs = await run.finish()
    assert outputs["call_1"].content == f"yes: {story.guard.check(NAMES).sql}"
    assert len(story.entries("intent")) == 2


def test_fixed_arguments_are_judged_too(story: Story, recorder: Recorder) -> None:
    fixed = FunctionTool.from_defaults(recorder.run_sql, name="query", partial_params={"sql": DROP})
    (tool,) = guard_tools(story.guard, [fixed])
    (named,) = guard_tools(story.guard, [fixed], sql_argument="sql")
    assert tool.call().is_error
    assert named.call().is_error
    assert recorder.seen == []
    assert guard_tools(story.guard, [named], sql_argument={"query": "sql"}) == [named]


def test_the_marked_argument_holds_the_sql(story: Story) -> None:
    def look(what: Annotated[str, Sql]) -> str:
        raise ValueError(f"failed: {what} of ada@example.com")

    (tool,) = guard_tools(story.guard, [look])
    assert "policy.no_rule" in tool.call(what=DROP).content
    failed = tool.call(what=NAMES)
    assert "engine.failed" in failed.content
    assert "ada@example.com" not in failed.content
    with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
        guard_tools(story.guard, [look], sql_argument={"look": "sql"})


async def test_who_acts(tmp_path: Path) -> None:
    with Story.open(tmp_path) as story:
        with pytest.raises(UsageError, match=r"usage\.no_session"):
            await sql_tool(story.guard).acall(sql=NAMES)
        bot = FunctionAgent(llm=LoopbackLLM(url="http://127.0.0.1:9/v1"))
        context: Context[Any] = Context(bot)
        await context.store.set("principal", {"id": story.ana.id, "groups": ["support"]})
        with pytest.raises(UsageError, match=r"usage\.no_session"):
            await sql_tool(story.guard).acall(sql=NAMES, guardrails_context=context)
        await context.store.set("principal", story.ana)
        with story.guard.session(principal=story.lead), pytest.raises(IdentityError, match=r"identity\.principal_mismatch"):
            await sql_tool(story.guard).acall(sql=NAMES, guardrails_context=context)
        assert not (await sql_tool(story.guard).acall(sql=NAMES, guardrails_context=context)).is_error
