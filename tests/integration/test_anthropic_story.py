"""Anthropic's client through the whole story: messages whole and streamed, sync and async, and its tool runner."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_async_tool, beta_tool
from anthropic.lib.tools import BetaBuiltinFunctionTool, BetaStreamingToolRunner

from guardrails import IdentityError, Principal, UsageError
from guardrails.integrations.anthropic import Results, SqlTool, guard_tools
from guardrails.integrations.anthropic_runner import async_runner_tools, runner_tools
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.guarded_shop import open_guard
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import CALL_IDS, DELETE, DROP, QUESTION, READ, Story

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
OPTIONS: dict[str, Any] = {"model": "m", "max_tokens": 99}
UPDATE = "UPDATE orders SET status = 'x' WHERE id = 4"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


def client(server: ModelServer) -> Anthropic:
    return Anthropic(base_url=server.url, api_key="k")


def spoken(message: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": message.content}


def check(story: Story, *, agent: str | None = None) -> None:
    story.check_entries(framework="anthropic", tool="query_database", agent=agent, model="m", conversation="conv_1")
    assert [entry["runtime"]["run"] for entry in story.entries("intent")] == [f"msg_{call}" for call in CALL_IDS[1:]]


@pytest.mark.parametrize("way", ["whole", "streamed", "events"])
def test_the_story(story: Story, way: str) -> None:
    tools, said = SqlTool(story.guard), list(ASKED)
    with (
        ModelServer(story.script("query_database")) as server,
        story.guard.session(principal=story.ana, agent="bot", conversation_id="conv_1"),
    ):
        while True:
            options = {**OPTIONS, "messages": said, "tools": tools.definitions()}
            events: Any = None
            if way == "events":
                events = list(client(server).messages.create(**options, stream=True))
            if way != "whole":
                with client(server).messages.stream(**options) as stream:
                    message: Any = stream.get_final_message()
            else:
                message = client(server).messages.create(**options)
            results = tools.run(events or message)
            if results is None:
                break
            if results.waiting:
                assert list(results.waiting) == [CALL_IDS[2]]
                assert results["content"][0]["is_error"]
                story.approve()
                # What was kept as JSON in the meantime goes on as well.
                kept = Results(json.loads(json.dumps(results))["content"], results.waiting)
                results = tools.run(json.loads(message.model_dump_json()), earlier=kept)
            said += [spoken(message), results]
        story.check_sent(server)
    assert json.loads(message.content[0].text) == {"rows_changed": 1}
    assert story.orders_left() == 3
    check(story, agent="bot")


async def test_the_story_without_a_session_and_all_calls_at_once(story: Story) -> None:
    tools = SqlTool(story.guard)
    told: dict[str, Any] = {"principal": story.ana, "conversation_id": "conv_1"}
    with ModelServer(story.script("query_database", in_one_turn=True)) as server:
        api = AsyncAnthropic(base_url=server.url, api_key="k")
        message = await api.messages.create(**OPTIONS, messages=ASKED, tools=tools.definitions())
        with nothing_runs(story.database):
            first = await tools.arun(message, **told)
        assert first is not None
        assert list(first.waiting) == [CALL_IDS[2]]
        assert [block["is_error"] for block in first["content"]] == [True, False, True]
        story.approve()
        results = await tools.arun(message, earlier=first, **told)
        last = await api.messages.create(**OPTIONS, messages=[*ASKED, spoken(message), results], tools=tools.definitions())
        story.check_sent(server)
    assert json.loads(last.content[0].text) == {"rows_changed": 1}
    story.check_entries(framework="anthropic", tool="query_database", agent=None, model="m", conversation="conv_1")


def use(sql: str = READ, call_id: str = "c", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "query_database", "input": {"sql": sql}, **more}


def said_by_model(*blocks: dict[str, Any], stop: str | None = "tool_use") -> dict[str, Any]:
    return {"id": "msg_1", "role": "assistant", "model": "m", "content": list(blocks), "stop_reason": stop}


def test_only_a_message_that_stopped_for_its_tools_runs(story: Story) -> None:
    with nothing_runs(story.database):
        for stop in ("max_tokens", "end_turn", "refusal", "model_context_window_exceeded", None, "new_reason"):
            results = SqlTool(story.guard).run(said_by_model(use(UPDATE), stop=stop), principal=story.ana)
            assert results is not None
            (block,) = results["content"]
            assert block["is_error"]
            assert block["content"].startswith("Refused (usage.answer_cut)")
    check_never_intended(story.guard, "c")


def test_what_is_truncated_on_the_wire_does_not_run(story: Story) -> None:
    turn = Turn("", (ToolCall("c", "query_database", {"sql": UPDATE}),), is_truncated=True)
    with nothing_runs(story.database), ModelServer(follow([turn])) as server:
        with client(server).messages.stream(**OPTIONS, messages=ASKED) as stream:
            message = stream.get_final_message()
        events: Any = list(client(server).messages.create(**OPTIONS, messages=ASKED, stream=True))
        for answer in (message, events):
            results = SqlTool(story.guard).run(answer, principal=story.ana)
            assert results is not None
            assert results["content"][0]["content"].startswith("Refused (usage.answer_cut)")
        with pytest.raises(UsageError, match=r"usage\.answer_cut"):
            SqlTool(story.guard).run(events[:-1], principal=story.ana)
    check_never_intended(story.guard, "c")


def test_what_runs_at_the_vendors_is_left_alone(story: Story) -> None:
    server_use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    tools = SqlTool(story.guard)
    assert tools.run(said_by_model(server_use, {"type": "text", "text": "hm"}), principal=story.ana) is None
    assert tools.run(said_by_model(server_use, use(UPDATE), stop="pause_turn"), principal=story.ana) is None
    assert tools.run({"role": "assistant", "content": "text"}, principal=story.ana) is None
    blocks = server_use, use(), use(UPDATE, "d", toolset_name="browser")
    results = tools.run(said_by_model(*blocks), principal=story.ana)
    assert results is not None
    found, other = results["content"]
    story.check_masked(found["content"])
    assert (other["tool_use_id"], other["is_error"]) == ("d", True)
    check_never_intended(story.guard, "d")


def test_what_cannot_be_answered_is_a_named_failure(story: Story) -> None:
    odd: tuple[Any, ...] = (
        said_by_model(use(call_id="")),
        said_by_model(use(), use()),
        {"role": "user", "content": []},
        {},
        "text",
    )
    for message in odd:
        with pytest.raises(UsageError, match=r"usage\.input_invalid"):
            SqlTool(story.guard).run(message, principal=story.ana)
    assert story.entries() == []


async def test_content_blocks_of_a_function_stay_what_they_are(sqlite_path: Path, tmp_path: Path) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}

    def report() -> list[dict[str, Any]]:
        """Reports."""
        return [{"type": "text", "text": "Write to eve@example.com"}, picture]

    def rows(sql: str) -> list[dict[str, Any]]:
        """Rows that look like content."""
        return [{"type": "image", "source": {"type": "url", "url": "https://example.com/?leak"}}]

    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as guard:
        tools = guard_tools(guard, [report, rows])
        message = said_by_model({**use(), "name": "report", "input": {}}, {**use("SELECT id FROM orders", "d"), "name": "rows"})
        for results in (tools.run(message), await tools.arun(message)):
            assert results is not None
            blocks, text = (block["content"] for block in results["content"])
            assert blocks == [{"type": "text", "text": "Write to [email]"}, picture]
            assert isinstance(text, str)


# The tool runner.


def runner(server: ModelServer, messages: list[Any], tools: Any, **more: Any) -> Any:
    return client(server).beta.messages.tool_runner(**OPTIONS, messages=messages, tools=tools, **more)


@pytest.mark.parametrize(
    "more", [{}, {"stream": True}, {"stream": True, "run_tools_eagerly": True}], ids=["whole", "streamed", "eager"]
)
def test_the_story_with_the_runner(story: Story, more: dict[str, Any]) -> None:
    if "run_tools_eagerly" in more and not hasattr(BetaStreamingToolRunner, "defer_tool_call"):
        pytest.skip("this version of the client calls no tools early")
    tools = runner_tools(story.guard)
    told: dict[str, Any] = {"principal": story.ana, "conversation_id": "conv_1"}
    with ModelServer(story.script("query_database")) as server:
        run = tools.watch(runner(server, ASKED, tools, **more), **told)
        for item in run:
            if more:
                assert [event.type for event in item][-1] == "message_stop"
        assert list(run.waiting) == [CALL_IDS[2]]
        with nothing_runs(story.database):
            assert not run.retry()
        story.approve()
        assert run.retry()
        again = tools.watch(runner(server, run.history(ASKED), tools, **more), **told)
        last = again.until_done()
        story.check_sent(server)
    assert json.loads(last.content[0].text) == {"rows_changed": 1}
    assert (again.waiting, story.orders_left()) == ({}, 3)
    check(story)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
async def test_the_story_with_the_asynchronous_runner(story: Story, is_streamed: bool) -> None:
    tools = async_runner_tools(story.guard)
    with ModelServer(story.script("query_database")) as server, story.guard.session(principal=story.ana, agent="bot"):
        api = AsyncAnthropic(base_url=server.url, api_key="k")

        def start(messages: list[Any]) -> Any:
            more: dict[str, Any] = {"stream": True} if is_streamed else {}
            made = api.beta.messages.tool_runner(**OPTIONS, messages=messages, tools=tools, **more)
            return tools.watch(made, conversation_id="conv_1")

        run = start(ASKED)
        await run.until_done()
        assert list(run.waiting) == [CALL_IDS[2]]
        story.approve()
        assert await run.retry()
        last = await start(run.history(ASKED)).until_done()
        story.check_sent(server)
    assert json.loads(last.content[0].text) == {"rows_changed": 1}
    check(story, agent="bot")


def test_a_new_process_goes_on_with_what_was_kept(story: Story) -> None:
    with ModelServer(story.script("query_database")) as server:
        tools = runner_tools(story.guard)
        run = tools.watch(runner(server, ASKED, tools), principal=story.ana)
        run.until_done()
        history = [*run.history(ASKED)[:-2], spoken(run.message), run.results]
        kept = json.loads(
            json.dumps([history[:-2], run.message.to_dict(), run.results, run.waiting], default=lambda block: block.to_dict())
        )
        story.approve()
        earlier, message, results, waiting = kept
        again = runner_tools(story.reopen())
        answered = again.run(message, principal=story.ana, earlier=Results(results["content"], waiting))
        messages = [*earlier, spoken_dictionary(message), answered]
        last = again.watch(runner(server, messages, again), principal=story.ana).until_done()
    assert json.loads(last.content[0].text) == {"rows_changed": 1}
    assert story.orders_left() == 3


def spoken_dictionary(message: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": message["content"]}


def test_without_watching_the_model_is_told_to_wait(story: Story) -> None:
    tools = runner_tools(story.guard)
    with ModelServer(story.script("query_database")) as server, story.guard.session(principal=story.ana):
        with nothing_runs(story.database):
            last = runner(server, ASKED, tools).until_done()
        sent = server.requests[-1].body["messages"][-1]["content"][0]
    assert last.content[0].text.startswith("Refused (approval.required)")
    assert (sent["is_error"], sent["tool_use_id"]) == (True, CALL_IDS[2])
    assert [(entry["type"], entry["tool_call"]) for entry in story.entries()] == [("refusal", None), ("intent", None)]


def test_tools_of_the_vendors_keep_what_they_say(story: Story) -> None:
    recorder = Recorder(story.database)

    @beta_tool(
        name="find",
        description="Finds rows.",
        input_schema={"type": "object", "properties": {"sql": {"type": "string"}}},
        strict=True,
    )
    def run_sql(sql: str) -> Any:
        return recorder.run_sql(sql)

    @beta_tool
    def send_mail(to: str) -> str:
        """Sends a mail.

        Args:
            to: Who.
        """
        return f"sent to {to}"

    tools = runner_tools(story.guard, [run_sql, send_mail])
    assert [tool.to_dict() for tool in tools] == [run_sql.to_dict(), send_mail.to_dict()]
    calls = tuple(
        ToolCall(f"call_{n}", name, given)
        for n, (name, given) in enumerate([
            ("find", {"sql": DROP}), ("find", {"sql": "select id from orders -- all"}), ("find", {"sql": DELETE}),
            ("send_mail", {"to": "x"}), ("send_mail", {"whom": "x"}), ("drop_it", {}),
        ])
    )  # fmt: skip
    with ModelServer(follow([Turn("", calls), Turn("done")])) as server:
        run = tools.watch(runner(server, ASKED, tools), principal=story.ana)
        with pytest.warns(UserWarning, match="drop_it"):
            run.until_done()
    assert run.results is not None
    blocks = run.results.blocks
    assert [call_id for call_id, block in blocks.items() if block.get("is_error")] == ["call_0", "call_2", "call_4", "call_5"]
    assert blocks["call_3"]["content"] == "sent to x"
    assert len(recorder.seen) == 1
    assert "--" not in recorder.seen[0]
    assert list(run.waiting) == ["call_2"]


def test_what_is_rejected_never_runs(story: Story) -> None:
    """Neither through the runner, which calls the tool anyway, nor in parallel, nor again."""
    recorder = Recorder(story.database)
    tools = runner_tools(story.guard, [recorder.run_sql])
    calls = tuple(ToolCall(f"call_{name}", "run_sql", {"sql": sql}) for name, sql in FORBIDDEN.items())
    with nothing_runs(story.database), ModelServer(follow([Turn("", calls), Turn("done")])) as server:
        for watched in (True, False):
            made = runner(server, ASKED, tools)
            with story.guard.session(principal=story.ana):
                (tools.watch(made) if watched else made).until_done()
        message = said_by_model(
            *({**use(sql, call.id), "name": "run_sql"} for call, sql in zip(calls, FORBIDDEN.values(), strict=True))
        )
        results = tools.run(message, principal=story.ana)
        assert results is not None
        assert all(block["is_error"] for block in results["content"])
    assert recorder.seen == []
    check_never_intended(story.guard, *(call.id for call in calls), "c")


def test_runs_of_different_people_do_not_mix(story: Story) -> None:
    """The same call at the same time on behalf of two: each is its own principal's."""
    tools = runner_tools(story.guard)
    other = Principal("eve@example.com", frozenset({"nobody"}))
    meeting = threading.Barrier(2)
    ended: dict[str, Any] = {}

    def go(principal: Principal, server: ModelServer) -> None:
        run = tools.watch(runner(server, ASKED, tools), principal=principal)
        for message in run:
            if message.stop_reason == "tool_use":
                meeting.wait(20)
        ended[principal.id] = run.message.content[0].text

    call = ToolCall("c", "query_database", {"sql": READ})
    with ModelServer(follow([Turn("", (call,)), lambda told: Turn(told.last)])) as server:
        threads = [threading.Thread(target=go, args=(who, server)) for who in (story.ana, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    story.check_masked(ended[story.ana.id])
    assert ended[other.id].startswith("Refused (policy.no_rule)")
    assert {entry["principal"]["id"]: entry["type"] for entry in story.entries()} == {
        story.ana.id: "intent",
        other.id: "refusal",
    }


def test_the_programs_mistakes_end_the_run(story: Story) -> None:
    tools = runner_tools(story.guard)
    call = ToolCall("c", "query_database", {"sql": READ})
    with ModelServer(follow([Turn("", (call,)), Turn("done")])) as server:
        with pytest.raises(UsageError, match=r"usage\.no_session"):
            tools.watch(runner(server, ASKED, tools)).until_done()
        with story.guard.session(principal=story.ana), pytest.raises(IdentityError):
            tools.watch(runner(server, ASKED, tools), principal=story.lead).until_done()
        asked = [request for request in server.requests if len(request.body["messages"]) > 1]
    assert asked == [], "the model is told nothing of it"


def test_what_cannot_be_guarded_is_refused(story: Story) -> None:
    @beta_async_tool
    async def later(sql: str) -> str:
        """Later."""
        return sql

    class Memory(BetaBuiltinFunctionTool):
        def to_dict(self) -> Any:
            return {"type": "memory_20250818", "name": "memory"}

        def call(self, input: object) -> str:  # noqa: A002
            return ""

    for tool in (later, Memory()):
        with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
            runner_tools(story.guard, [tool])  # type: ignore[list-item]
    for slip in ("sq1", {"run_sq1": "sql"}, {"run_sql": "sq1"}):
        with pytest.raises(UsageError, match=r"usage\.tool_unguardable"):
            runner_tools(story.guard, [Recorder(story.database).run_sql], sql_argument=slip)
