"""OpenAI's client through the whole story: both APIs, whole and streamed, sync and async, one call a turn and all at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from guardrails import UsageError
from guardrails.integrations.openai import Answers, SqlTool, guard_tools
from guardrails.testing import Failure, ModelServer, ToolCall, Turn, follow
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import CALL_IDS, DELETE, QUESTION, READ, Story

WAYS = ("chat", "chat-helper", "chat-chunks", "responses", "responses-events")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


def client(server: ModelServer) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="k")


def definitions(tools: Any, way: str) -> list[Any]:
    return list(tools.chat_definitions() if way.startswith("chat") else tools.responses_definitions())


def turn(api: OpenAI, way: str, said: list[Any], tools: Any) -> tuple[Any, list[Any], str]:
    """Lets the model speak: what `run` is given, what to append before the answers, and the text."""
    options: dict[str, Any] = {"model": "m", "tools": definitions(tools, way)}
    match way:
        case "chat":
            completion: Any = api.chat.completions.create(messages=said, **options)
            message = completion.choices[0].message
            return completion, [message], message.content or ""
        case "chat-helper":
            with api.chat.completions.stream(messages=said, **options) as stream:
                final = stream.get_final_completion()
            return final, [final.choices[0].message], final.choices[0].message.content or ""
        case "chat-chunks":
            chunks: Any = list(api.chat.completions.create(messages=said, stream=True, **options))
            with api.chat.completions.stream(messages=said, **options) as stream:
                message = stream.get_final_completion().choices[0].message
            return chunks, [message], message.content or ""
        case "responses":
            response: Any = api.responses.create(input=said, **options)
            return response, response.output, response.output_text
        case _:
            sent: Any = list(api.responses.create(input=said, stream=True, **options))
            return sent, sent[-1].response.output, sent[-1].response.output_text


def as_dictionaries(answer: Any) -> Any:
    """The same as it travels."""
    if isinstance(answer, list):
        return [json.loads(item.model_dump_json()) for item in answer]
    return json.loads(answer.model_dump_json(by_alias=True))


@pytest.mark.parametrize("way", WAYS)
def test_the_story(story: Story, way: str) -> None:
    tools = SqlTool(story.guard)
    said: list[Any] = [{"role": "user", "content": QUESTION}]
    with (
        ModelServer(story.script("query_database")) as server,
        story.guard.session(principal=story.ana, agent="bot", conversation_id="conv_1"),
    ):
        while True:
            answer, spoken, text = turn(client(server), way, said, tools)
            answers = tools.run(answer)
            if answers.waiting:
                assert list(answers.waiting) == [CALL_IDS[2]]
                assert answers.waiting[CALL_IDS[2]] in json.dumps(answers)
                with nothing_runs(story.database):
                    assert tools.run(answer, earlier=answers).waiting == answers.waiting
                story.approve()
                # What was kept as JSON in the meantime goes on as well.
                kept = Answers(json.loads(json.dumps(answers)), answers.waiting)
                answers = tools.run(as_dictionaries(answer), earlier=kept)
            if not answers:
                break
            said += [*spoken, *answers]
        story.check_sent(server)
    assert json.loads(text) == {"rows_changed": 1}
    assert story.orders_left() == 3
    story.check_entries(framework="openai", tool="query_database", agent="bot", model="m", conversation="conv_1")
    told = story.entries("intent")[0]["runtime"]
    assert told["run"] == ("chatcmpl_" if way.startswith("chat") else "resp_") + CALL_IDS[1]


@pytest.mark.parametrize("way", ["chat", "responses"])
async def test_the_story_without_a_session_and_all_calls_at_once(story: Story, way: str) -> None:
    tools = SqlTool(story.guard)
    with ModelServer(story.script("query_database", in_one_turn=True)) as server:
        api = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k")
        options: dict[str, Any] = {"model": "m", "tools": definitions(tools, way)}
        asked: list[Any] = [{"role": "user", "content": QUESTION}]

        async def ask() -> Any:
            if way == "chat":
                return await api.chat.completions.create(messages=asked, **options)
            return await api.responses.create(input=asked, metadata={"conversation_id": "conv_1"}, **options)

        answer = await ask()
        told: dict[str, Any] = {"principal": story.ana}
        if way == "chat":
            told["conversation_id"] = "conv_1"
        with nothing_runs(story.database):
            first = await tools.arun(answer, **told)
        assert len(first) == 3
        assert list(first.waiting) == [CALL_IDS[2]]
        story.approve()
        answers = await tools.arun(answer, earlier=first, **told)
        assert answers[:2] == first[:2]
        asked += [answer.choices[0].message] if way == "chat" else answer.output
        asked += answers
        last = await ask()
        story.check_sent(server)
    text = last.choices[0].message.content if way == "chat" else last.output_text
    assert json.loads(text) == {"rows_changed": 1}
    story.check_entries(framework="openai", tool="query_database", agent=None, model="m", conversation="conv_1")


async def test_parallel_calls_of_one_approval_run_once(story: Story) -> None:
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "query_database", "arguments": json.dumps({"sql": DELETE})}}
        for n in range(6)
    ]
    message = {"role": "assistant", "tool_calls": calls}
    tools = SqlTool(story.guard)
    first = await tools.arun(message, principal=story.ana)
    assert len(set(first.waiting.values())) == 1
    story.approve()
    done = await tools.arun(message, principal=story.ana, earlier=first)
    assert [answer["content"] for answer in done].count('{"rows_changed":1}') == 1
    assert len(done.waiting) == 5, "the others wait for a yes of their own"
    assert len(story.entries("intent")) == 1


async def test_what_is_rejected_never_runs(story: Story) -> None:
    """With retries, parallel calls, and a client that sends the same calls again."""
    recorder = Recorder(story.database)
    tools = guard_tools(story.guard, [recorder.run_sql])
    calls = tuple(ToolCall(f"call_{name}", "run_sql", {"sql": sql}) for name, sql in FORBIDDEN.items())
    with nothing_runs(story.database), ModelServer(follow([Failure(429), Failure(500), Turn("", calls)])) as server:
        completion = client(server).chat.completions.create(
            model="m", messages=[{"role": "user", "content": QUESTION}], tools=definitions(tools, "chat")
        )
        assert len(server.requests) == 3
        once = await tools.arun(completion, principal=story.ana)
        again = await tools.arun(completion, principal=story.ana, earlier=Answers(once, {c.id: "" for c in calls}))
        one_by_one = tools.run(completion, principal=story.ana)
        for answers in (once, again, one_by_one):
            assert [answer["tool_call_id"] for answer in answers] == [call.id for call in calls]
            assert all(answer["content"].startswith("Refused (") for answer in answers)
    assert recorder.seen == []
    check_never_intended(story.guard, *(call.id for call in calls))


def test_a_denied_call_that_is_replayed_does_not_run(story: Story) -> None:
    tools = SqlTool(story.guard)
    message = {"role": "assistant", "tool_calls": [chat_call(DELETE)]}
    with nothing_runs(story.database):
        waiting = tools.run(message, principal=story.ana)
        story.deny()
        for _ in range(3):
            answers = tools.run(message, principal=story.ana, earlier=waiting)
            assert answers[0]["content"].startswith("Refused (approval.")
            waiting = tools.run(message, principal=story.ana)
            assert waiting[0]["content"].startswith("Refused (approval.")
    check_never_intended(story.guard, "c")


def test_edited_arguments_need_an_approval_of_their_own(story: Story) -> None:
    tools = SqlTool(story.guard)
    waiting = tools.run({"role": "assistant", "tool_calls": [chat_call(DELETE)]}, principal=story.ana)
    story.approve()
    with nothing_runs(story.database):
        edited = {"role": "assistant", "tool_calls": [chat_call("DELETE FROM orders WHERE id = 3")]}
        assert tools.run(edited, principal=story.ana, earlier=waiting).waiting
        # Nor is somebody else's yes of use.
        assert tools.run({"role": "assistant", "tool_calls": [chat_call(DELETE)]}, principal=story.lead).waiting == {}
    check_never_intended(story.guard, "c")


def chat_call(sql: str) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "query_database", "arguments": json.dumps({"sql": sql})}}


UPDATE = ToolCall("c", "query_database", {"sql": "UPDATE orders SET status = 'x' WHERE id = 4"})
"""Allowed, and perhaps only the beginning of what the model meant to write."""


def plain_turn(api: OpenAI, way: str) -> Any:
    """A turn without the client's helpers, which refuse some answers themselves."""
    asked: list[Any] = [{"role": "user", "content": QUESTION}]
    match way:
        case "chat":
            return api.chat.completions.create(model="m", messages=asked)
        case "chat-chunks":
            return list(api.chat.completions.create(model="m", messages=asked, stream=True))
        case "chat-snapshot":
            with api.chat.completions.stream(model="m", messages=asked) as stream:
                try:
                    for _ in stream:
                        pass
                except openai.LengthFinishReasonError:
                    pass
                return stream.current_completion_snapshot
        case "responses":
            return api.responses.create(model="m", input=asked)
        case _:
            return list(api.responses.create(model="m", input=asked, stream=True))


@pytest.mark.parametrize("way", ["chat", "chat-chunks", "chat-snapshot", "responses", "responses-events"])
def test_what_was_truncated_does_not_run(story: Story, way: str) -> None:
    with nothing_runs(story.database), ModelServer(follow([Turn("", (UPDATE,), is_truncated=True)])) as server:
        (refused,) = SqlTool(story.guard).run(plain_turn(client(server), way), principal=story.ana)
    assert (refused.get("content") or refused["output"]).startswith("Refused (usage.answer_cut)")
    check_never_intended(story.guard, "c")


@pytest.mark.parametrize("way", ["chat-chunks", "responses-events"])
def test_a_stream_without_an_end_does_not_run(story: Story, way: str) -> None:
    with nothing_runs(story.database), ModelServer(follow([Turn("", (UPDATE,), is_cut=True)])) as server:
        events = plain_turn(client(server), way)
        with pytest.raises(UsageError, match=r"usage\.answer_cut"):
            SqlTool(story.guard).run(events, principal=story.ana)
        if way == "chat-chunks":
            snapshot = plain_turn(client(server), "chat-snapshot")
            (refused,) = SqlTool(story.guard).run(snapshot, principal=story.ana)
            assert refused["content"].startswith("Refused (usage.answer_cut)")
    check_never_intended(story.guard, "c")


def test_reads_of_masked_columns_are_masked_in_parallel_too(story: Story) -> None:
    calls = tuple(ToolCall(f"call_{n}", "query_database", {"sql": READ}) for n in range(3))
    with ModelServer(follow([Turn("", calls), lambda told: Turn(told.last)])) as server:
        tools = SqlTool(story.guard)
        response = client(server).responses.create(model="m", input=QUESTION, tools=definitions(tools, "responses"))
        for answer in tools.run(response, principal=story.ana):
            story.check_masked(answer["output"])
