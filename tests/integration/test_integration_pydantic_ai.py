"""Pydantic AI's tools and toolsets behind the guard: what stays as it is, what is judged, and how a refusal is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    CallDeferred,
    DeferredToolRequests,
    ModelRetry,
    RunContext,
    TextOutput,
    Tool,
    ToolApproved,
    ToolDefinition,
    ToolDenied,
    ToolOutput,
    ToolReturn,
)
from pydantic_ai.capabilities import Hooks, NativeTool
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.toolsets import (
    AbstractToolset,
    ApprovalRequiredToolset,
    CombinedToolset,
    ExternalToolset,
    FunctionToolset,
)

# The lowest supported version does not show it in public.
from pydantic_ai.toolsets._dynamic import DynamicToolset

from guardrails import IdentityError, Sql, UsageError
from guardrails.integrations.pydantic_ai import DeferringChannel, GuardTools, GuardToolset, guard_tools, resume, sql_tool
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn, follow
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, DROP, QUESTION, READ, Story

NAMES = "SELECT name FROM customers ORDER BY id"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, DeferringChannel()) as opened:
        yield opened


@pytest.fixture
def recorder(story: Story) -> Recorder:
    return Recorder(story.database)


@pytest.fixture
def regenerated(story: Story) -> str:
    """What the guard makes of NAMES."""
    with story.guard.session(principal=story.ana):
        return str(story.guard.check(NAMES).sql)


@dataclass
class Told:
    """What the model was told of a call."""

    content: Any
    outcome: str
    metadata: Any


@dataclass
class Run:
    """A finished run, and what the model was told of each call."""

    output: Any
    messages: list[ModelMessage]

    def returned(self, call_id: str) -> Told:
        """The last answer to a call; earlier versions of Pydantic AI have a part of its own for what shall be tried again."""
        parts: list[Any] = [part for message in self.messages for part in message.parts]
        kinds = ("tool-return", "retry-prompt")
        part = [p for p in parts if p.part_kind in kinds and p.tool_call_id == call_id][-1]
        outcome = "retried" if part.part_kind == "retry-prompt" else part.outcome
        return Told(part.content, outcome, getattr(part, "metadata", None))


def called(name: str, *given: dict[str, Any] | str) -> list[Turn]:
    """Turns in which the model calls a tool once each; statements stand for their `sql`."""
    arguments = [{"sql": g} if isinstance(g, str) else g for g in given]
    return [Turn("", (ToolCall(f"call_{n}", name, a),)) for n, a in enumerate(arguments, 1)]


async def run(story: Story, turns: Sequence[Turn], output_type: Any = str, **options: Any) -> Run:
    script = iter([*turns, Turn("Done.")])
    with ModelServer(lambda _: next(script)) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), name="bot", output_type=output_type, **options)
        done = await bot.run(QUESTION, deps={"principal": story.ana})
        return Run(done.output, done.all_messages())


def model_of(server: ModelServer) -> Model:
    return OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="k"))


def send_mail(to: str, body: str) -> str:
    """Sends a mail.

    Args:
        to: Whom.
        body: What.
    """
    return f"sent to {to}"


class Query(BaseModel):
    sql: str


async def only_for_bot(ctx: RunContext[Any], definition: ToolDefinition) -> ToolDefinition | None:
    return replace(definition, description="prepared") if ctx.agent and ctx.agent.name == "bot" else None


def test_a_guarded_tool_looks_like_the_tool(story: Story, recorder: Recorder) -> None:
    tools: list[Tool[Any]] = [
        Tool(send_mail),
        Tool(recorder.run_sql, name="q", strict=True, sequential=True, requires_approval=True, timeout=9, metadata={"a": 1}),
        Tool(recorder.run_sql, name="p", max_retries=4, prepare=only_for_bot, defer_loading=True),
    ]
    guarded = guard_tools(story.guard, tools)
    assert [tool.tool_def for tool in guarded] == [tool.tool_def for tool in tools]
    assert [(t.max_retries, t.prepare) for t in guarded] == [(t.max_retries, t.prepare) for t in tools]
    assert all(type(tool) is Tool for tool in guarded)
    (from_function,) = guard_tools(story.guard, [send_mail])
    assert from_function.tool_def == tools[0].tool_def


async def test_a_tool_receives_the_regenerated_statement(story: Story, regenerated: str, recorder: Recorder) -> None:
    tools = guard_tools(story.guard, [Tool(recorder.run_sql, name="query", prepare=only_for_bot, sequential=True)])
    done = await run(story, called("query", "SELECT  name FROM customers -- comment\n ORDER BY id"), tools=tools)
    assert recorder.seen == [regenerated]
    assert "Ada" in str(done.returned("call_1").content)


def _as_function(recorder: Recorder) -> AbstractToolset[Any]:
    return FunctionToolset([Tool(recorder.run_sql, name="query")])


def _renamed(recorder: Recorder) -> AbstractToolset[Any]:
    return FunctionToolset([Tool(recorder.run_sql, name="q")]).renamed({"query": "q"})


def _combined(recorder: Recorder) -> AbstractToolset[Any]:
    return CombinedToolset([FunctionToolset([send_mail]), _as_function(recorder)])


def _dynamic(recorder: Recorder) -> AbstractToolset[Any]:
    return DynamicToolset(lambda _: _combined(recorder))


def _prefixed_inside(recorder: Recorder) -> AbstractToolset[Any]:
    return FunctionToolset([Tool(recorder.run_sql, name="ry")]).prefixed("que").renamed({"query": "que_ry"})


@pytest.mark.parametrize("make", [_as_function, _renamed, _combined, _dynamic, _prefixed_inside])
@pytest.mark.parametrize("way", ["toolset", "capability"])
async def test_every_kind_of_toolset_is_guarded(
    story: Story, regenerated: str, recorder: Recorder, make: Callable[[Recorder], AbstractToolset[Any]], way: str
) -> None:
    inner = make(recorder)
    guarded: dict[str, Any] = {"toolsets": [GuardToolset(story.guard, inner)]}
    if way == "capability":
        guarded = {"toolsets": [inner], "capabilities": [GuardTools(story.guard)]}
    with nothing_runs(story.database):
        done = await run(story, called("query", DROP, NAMES), **guarded)
    assert recorder.seen == [regenerated]
    assert "Refused (policy.no_rule)" in str(done.returned("call_1").content)
    assert story.entries()[1]["tool"] == "query"


async def test_what_is_added_for_one_run_is_guarded_by_the_capability(story: Story, recorder: Recorder) -> None:
    with ModelServer(follow([*called("query", DROP), Turn("Done.")])) as server, nothing_runs(story.database):
        bot: Agent[Any, Any] = Agent(model_of(server), capabilities=[GuardTools(story.guard)])
        await bot.run(QUESTION, deps={"principal": story.ana}, toolsets=[_as_function(recorder)])
    assert recorder.seen == []
    assert [entry["tool"] for entry in story.entries("refusal")] == ["query"]


async def test_what_a_hook_makes_of_a_call_is_judged(story: Story, recorder: Recorder) -> None:
    """The guard is next to the tool, whatever the order of the capabilities."""
    hooks: Hooks[Any] = Hooks()

    @hooks.on.before_tool_execute
    async def worse(ctx: RunContext[Any], *, call: Any, tool_def: Any, args: dict[str, Any]) -> dict[str, Any]:
        return {"sql": DROP}

    with nothing_runs(story.database):
        await run(
            story, called("query", NAMES), toolsets=[_as_function(recorder)], capabilities=[GuardTools(story.guard), hooks]
        )
    assert recorder.seen == []


async def test_calls_of_other_tools_are_actions(story: Story) -> None:
    done = await run(
        story,
        [*called("send_mail", {"to": "a", "body": "b"}), Turn("", (ToolCall("other", "reboot", {}),))],
        toolsets=[GuardToolset(story.guard, FunctionToolset([send_mail, Tool(lambda: "rebooted", name="reboot")]))],
    )
    assert done.returned("call_1").content == "sent to a"
    assert "Refused (policy.no_rule)" in str(done.returned("other").content)
    assert [(e["type"], e["tool"]) for e in story.entries()] == [("intent", "send_mail"), ("refusal", "reboot")]


async def test_refusals_without_end_do_not_end_the_run(story: Story, regenerated: str, recorder: Recorder) -> None:
    """The first is a retry, as long as tries are left; what follows is a failed result, and the model may still come round."""
    tools = guard_tools(story.guard, [Tool(recorder.run_sql, name="query", max_retries=1)])
    done = await run(story, called("query", DROP, DROP, DROP, NAMES, DROP), tools=tools)
    outcomes = [done.returned(f"call_{n}").outcome for n in range(1, 6)]
    assert outcomes == ["retried", "failed", "failed", "success", "retried"]
    assert done.output == "Done."
    assert recorder.seen == [regenerated]


async def test_no_tries_at_all(story: Story) -> None:
    done = await run(story, called("query_database", DROP), tools=[sql_tool(story.guard)], retries=0)
    assert done.returned("call_1").outcome == "failed"


async def test_what_no_repair_helps_is_not_tried_again(story: Story) -> None:
    """Without a channel the model is told that the call waits."""
    guard = story.reopen(None)
    done = await run(story, called("query_database", DELETE), tools=[sql_tool(guard)])
    told = done.returned("call_1")
    assert told.outcome == "failed"
    assert guard.pending()[0].id in str(told.content)
    assert "Nothing has been done yet" in str(told.content)


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
async def test_rejected_never_runs(story: Story, regenerated: str, recorder: Recorder, statement: str) -> None:
    """Beside calls that are allowed, in the same turn, through the application's own tool and the ready-made one."""
    tools = [sql_tool(story.guard), *guard_tools(story.guard, [Tool(recorder.run_sql, name="query")])]
    bad, good = {"sql": statement}, {"sql": NAMES}
    calls = (
        ToolCall("bad_1", "query", bad),
        ToolCall("good_1", "query", good),
        ToolCall("bad_2", "query_database", bad),
        ToolCall("good_2", "query_database", good),
    )
    with nothing_runs(story.database):
        await run(story, [Turn("", calls)], [str, DeferredToolRequests], tools=tools)
    assert recorder.seen == [regenerated]
    check_never_intended(story.guard, "bad_1", "bad_2")


async def test_one_is_approved_and_one_is_denied(story: Story) -> None:
    """Both wait at once; only the statement that the store has a yes for runs, although the framework approves both."""
    other = "DELETE FROM orders WHERE id = 3"
    calls = (ToolCall("yes", "query_database", {"sql": DELETE}), ToolCall("no", "query_database", {"sql": other}))
    with ModelServer(follow([Turn("", calls), Turn("Done.")])) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), tools=[sql_tool(story.guard)], output_type=[str, DeferredToolRequests])
        deps = {"principal": story.ana}
        paused = await bot.run(QUESTION, deps=deps)
        requests = {call.tool_call_id: paused.output.metadata[call.tool_call_id]["request"] for call in paused.output.approvals}
        story.guard.approve(requests["yes"], by=story.lead, reason="fine")
        story.guard.deny(requests["no"], by=story.lead, reason="no")
        done = await bot.run(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output), deps=deps)
    assert story.orders_left() == 3
    finished = Run(done.output, done.all_messages())
    assert finished.returned("yes").outcome == "success"
    assert "approval.denied" in str(finished.returned("no").content)
    assert [e["tool_call"] for e in story.entries("intent")] == ["yes"]


async def test_overridden_arguments_are_judged_anew(story: Story) -> None:
    """A yes for one statement lets no other run that somebody puts in its place."""
    with ModelServer(follow([*called("query_database", DELETE), Turn("Done.")])) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), tools=[sql_tool(story.guard)], output_type=[str, DeferredToolRequests])
        deps = {"principal": story.ana}
        paused = await bot.run(QUESTION, deps=deps)
        story.approve()

        async def answered(result: Any) -> Any:
            results = paused.output.build_results(approvals={"call_1": result})
            return await bot.run(message_history=paused.all_messages(), deferred_tool_results=results, deps=deps)

        with nothing_runs(story.database):
            again = await answered(ToolApproved(override_args={"sql": "DELETE FROM orders WHERE id = 3"}))
            assert isinstance(again.output, DeferredToolRequests)
            assert (await answered(ToolApproved(override_args={"sql": DROP}))).output == "Done."
            assert (await answered(ToolDenied("not now"))).output == "Done."
        await answered(ToolApproved())
        assert story.orders_left() == 3
        with nothing_runs(story.database):
            # Used up: the same resumption, replayed, asks again.
            assert isinstance((await answered(ToolApproved())).output, DeferredToolRequests)


@pytest.mark.parametrize("way", ["tool", "toolset"])
async def test_the_frameworks_own_approval_does_not_replace_the_guards(story: Story, recorder: Recorder, way: str) -> None:
    tool: Tool[Any] = Tool(recorder.run_sql, name="query", requires_approval=way == "tool")
    given: dict[str, Any] = {"tools": guard_tools(story.guard, [tool])}
    if way == "toolset":
        given = {"toolsets": [ApprovalRequiredToolset(GuardToolset(story.guard, FunctionToolset([tool])))]}
    with ModelServer(follow([*called("query", DELETE), Turn("Done.")])) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), output_type=[str, DeferredToolRequests], **given)
        deps = {"principal": story.ana}
        paused = await bot.run(QUESTION, deps=deps)
        assert story.guard.pending() == []
        with nothing_runs(story.database):
            results = paused.output.build_results(approve_all=True)
            paused = await bot.run(message_history=paused.all_messages(), deferred_tool_results=results, deps=deps)
        assert recorder.seen == []
        story.approve()
        done = await bot.run(message_history=paused.all_messages(), deferred_tool_results=resume(paused.output), deps=deps)
        assert (done.output, story.orders_left()) == ("Done.", 3)


async def test_a_structured_return_stays_as_it_is(story: Story) -> None:
    kept = ToolReturn("sent", content="It went out.", metadata={"message": 7})

    async def mailed(to: str) -> ToolReturn:
        return kept if to == "a" else ToolReturn("to 4111111111111111", content=["see", "4111111111111111"], metadata=kept)

    tools = guard_tools(story.guard, [Tool(mailed, name="send_mail")])
    done = await run(story, called("send_mail", {"to": "a"}, {"to": "b"}), tools=tools)
    plain, scanned = done.returned("call_1"), done.returned("call_2")
    assert (plain.content, plain.metadata) == ("sent", {"message": 7})
    assert (scanned.content, scanned.metadata) == ("to [card]", kept)
    assert "4111111111111111" not in str([m for m in done.messages if m.kind == "request"])


class Mail(BaseModel):
    to: str


async def test_arguments_and_results_keep_their_types(story: Story) -> None:
    given: list[Any] = []

    def mailed(mail: Mail, *more: Mail) -> Mail:
        given.extend([mail, *more])
        return mail

    tools = guard_tools(story.guard, [Tool(mailed, name="send_mail")])
    done = await run(story, called("send_mail", {"mail": {"to": "a"}, "more": [{"to": "b"}]}), tools=tools)
    assert given == [Mail(to="a"), Mail(to="b")]
    assert done.returned("call_1").content == Mail(to="a")


async def test_a_tool_that_pauses_by_itself(story: Story, regenerated: str) -> None:
    async def query(sql: str) -> str:
        raise CallDeferred(metadata={"sql": sql})

    async def mailed() -> str:
        raise ApprovalRequired(metadata={"mine": True})

    tools = guard_tools(story.guard, [Tool(query), Tool(mailed, name="send_mail")])
    turn = Turn("", (ToolCall("call_1", "query", {"sql": NAMES}), ToolCall("call_2", "send_mail", {})))
    done = await run(story, [turn], [str, DeferredToolRequests], tools=tools)
    assert done.output.metadata == {"call_1": {"sql": regenerated}, "call_2": {"mine": True}}
    assert resume(done.output).approvals == {}


async def test_a_drivers_words_do_not_reach_the_model(story: Story) -> None:
    def query(sql: str) -> str:
        raise ModelRetry("UNIQUE constraint failed: ada@example.com")

    done = await run(story, called("query", NAMES), tools=guard_tools(story.guard, [query]))
    assert "ada@example.com" not in str(done.messages)
    assert "engine.failed" in str(done.returned("call_1").content)


async def test_what_an_action_raises_for_the_model_is_looked_through(story: Story) -> None:
    def send_mail() -> str:
        raise ModelRetry("No such customer: ada@example.com")

    done = await run(story, called("send_mail", {}), tools=guard_tools(story.guard, [send_mail]))
    assert "ada@example.com" not in str(done.messages)
    assert "No such customer: [email]" in str(done.messages)


async def test_a_tool_that_takes_too_long_leaves_an_outcome(story: Story) -> None:
    finished = asyncio.Event()

    async def mailed() -> str:
        try:
            await asyncio.sleep(0.2)
        finally:
            finished.set()
        return "sent"

    tools = guard_tools(story.guard, [Tool(mailed, name="send_mail", timeout=0.01)])
    done = await run(story, called("send_mail", {}), tools=tools)
    assert "Timed out" in str(done.returned("call_1").content)
    await asyncio.wait_for(finished.wait(), 5)
    await asyncio.gather(*story.guard._running.tasks, return_exceptions=True)
    assert [entry["type"] for entry in story.entries("intent", "outcome")] == ["intent", "outcome"]


async def test_the_marked_argument_holds_the_sql(story: Story, regenerated: str) -> None:
    seen: list[str] = []

    def look(what: Annotated[str, Sql], ctx: int = 0) -> str:
        seen.append(what)
        return "ok"

    for given in ({"tools": guard_tools(story.guard, [look])}, {"toolsets": [GuardToolset(story.guard, _look(look))]}):
        await run(story, called("look", {"what": DROP}, {"what": NAMES}), **given)
    assert seen == [regenerated, regenerated]


async def test_an_aliased_argument_holds_the_sql(story: Story) -> None:
    seen: list[str] = []

    def look(text: Annotated[str, Field(alias="wanted")]) -> str:
        seen.append(text)
        return "ok"

    tools = guard_tools(story.guard, [look], sql_argument={"look": "text"})
    await run(story, called("look", {"wanted": DROP}, {"wanted": NAMES}), tools=tools)
    with story.guard.session(principal=story.ana):
        assert seen == [story.guard.check(NAMES).sql]


def _look(function: Callable[..., str]) -> AbstractToolset[Any]:
    return CombinedToolset([FunctionToolset([function])])


def test_what_cannot_be_guarded_is_refused(story: Story) -> None:
    def nested(query: Query) -> str:
        return "ran"

    for make in (
        lambda: guard_tools(story.guard, [nested], sql_argument="sql"),
        lambda: guard_tools(story.guard, [send_mail], sql_argument={"send_mail": "statement"}),
        lambda: GuardTools(story.guard, id="guard", defer_loading=True),
    ):
        with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
            make()


async def test_tools_that_somebody_else_runs_are_refused(story: Story) -> None:
    elsewhere: ExternalToolset[Any] = ExternalToolset([ToolDefinition(name="query")])
    with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
        await run(story, called("query", DROP), toolsets=[elsewhere], capabilities=[GuardTools(story.guard)])


async def test_tools_that_the_provider_runs_are_refused(story: Story) -> None:
    capabilities: list[Any] = [GuardTools(story.guard), NativeTool(WebSearchTool())]
    with pytest.raises(UsageError, match="web_search"):
        await run(story, [], capabilities=capabilities)
    allowed = GuardTools(story.guard, unsafe_unguarded=["web_search"])
    with ModelServer(follow([Turn("Done.")])) as server:
        responses = OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="k"))
        bot: Agent[Any, Any] = Agent(responses, capabilities=[allowed, NativeTool(WebSearchTool())])
        assert (await bot.run(QUESTION)).output == "Done."


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("kind", ["function", "tool", "text"])
async def test_output_functions_are_refused(story: Story, recorder: Recorder, kind: str, is_streamed: bool) -> None:
    outputs: dict[str, Any] = {
        "function": [recorder.run_sql, str],
        "tool": ToolOutput(recorder.run_sql, name="answer"),
        "text": TextOutput(recorder.run_sql),
    }

    def script(told: Conversation) -> Turn:
        return Turn(DROP) if kind == "text" else called(told.tools[0], DROP)[0]

    with nothing_runs(story.database), ModelServer(script) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), output_type=outputs[kind], capabilities=[GuardTools(story.guard)])

        async def stream() -> None:
            async with bot.run_stream(QUESTION, deps=story.ana) as streamed:
                await streamed.get_output()

        with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
            await (stream() if is_streamed else bot.run(QUESTION, deps=story.ana))
    assert recorder.seen == []


async def test_an_output_function_that_is_guarded_itself_may_be_named(
    story: Story, recorder: Recorder, regenerated: str
) -> None:
    answer = story.guard.tool(recorder.run_sql, name="answer")
    allowed = GuardTools(story.guard, unsafe_unguarded=["run_sql"])
    done = await run(story, called("final_result", NAMES), output_type=answer, capabilities=[allowed])
    assert recorder.seen == [regenerated]
    assert done.output == recorder.run_sql(NAMES)
    assert [(entry["tool"], entry["principal"]["id"]) for entry in story.entries("intent")] == [("answer", story.ana.id)]


async def test_who_acts(story: Story, recorder: Recorder) -> None:
    """Nobody, somebody whom only data names, and another than the session's: mistakes of the program, not refusals for the model."""
    with ModelServer(follow([*called("query_database", NAMES), Turn("Done.")])) as server:
        bot: Agent[Any, Any] = Agent(model_of(server), tools=[sql_tool(story.guard)])
        for nobody in (None, {"principal": {"id": story.ana.id}}, SimpleNamespace(principal=story.ana.id)):
            with pytest.raises(UsageError, match=r"usage\.no_session"):
                await bot.run(QUESTION, deps=nobody)
        with story.guard.session(principal=story.lead), pytest.raises(IdentityError, match=r"identity\.principal_mismatch"):
            await bot.run(QUESTION, deps={"principal": story.ana})
        assert story.entries() == []
        await bot.run(QUESTION, deps=story.ana)
    assert [entry["principal"]["id"] for entry in story.entries()] == [story.ana.id]


async def test_protected_values_stay_behind(story: Story) -> None:
    done = await run(story, called("query_database", READ), tools=[sql_tool(story.guard)])
    story.check_masked(str(done.returned("call_1").content))


async def test_a_call_goes_through_the_guard_once(story: Story) -> None:
    (tool,) = guard_tools(story.guard, [sql_tool(story.guard)])
    await run(story, called("query_database", NAMES), tools=[tool], capabilities=[GuardTools(story.guard)])
    assert len(story.entries("intent")) == 1
