"""What counts as an answer of OpenAI's, and the edges of its calls: each gets exactly one answer, or nothing runs and it is said why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseFunctionToolCall

from guardrails import Guard, IdentityError, Principal, UsageError
from guardrails.integrations.openai import FunctionTools, SqlTool, guard_tools
from tests.support.guarded_shop import open_guard, tool_entries

COUNT = '{"sql": "SELECT count(*) AS n FROM orders"}'
ROWS = {"columns": ["n"], "rows": [{"n": 4}]}


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as opened:
        yield opened


def called(*calls: dict[str, Any], finish: str | None = "tool_calls", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def call(arguments: str = COUNT, call_id: str = "c", name: str = "query_database") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def responded(*items: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {"object": "response", "status": status, "output": list(items)}


def item(arguments: str = COUNT, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "c", "name": "query_database", "arguments": arguments, **more}


def test_every_call_has_one_answer_in_order(guard: Guard) -> None:
    free = {"id": "e", "type": "custom", "custom": {"name": "query_database", "input": "SELECT 1"}}
    calls = [
        call(call_id="a"),
        call(call_id="b", name="drop_it"),
        call("{", "c"),
        call(call_id="d"),
        free,
        {**call(call_id="f"), "type": "new"},
    ]
    answers = SqlTool(guard).run(called(*calls))
    assert [answer["tool_call_id"] for answer in answers] == list("abcdef")
    assert [answer["content"].startswith("Refused (usage.input_invalid)") for answer in answers] == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert [call_id for _, call_id, _ in tool_entries(guard)] == ["a", "d", "f"]


def test_items_that_run_elsewhere_are_left_alone(guard: Guard) -> None:
    items = (
        {"type": "reasoning", "id": "r"},
        {"type": "web_search_call", "id": "w", "status": "completed"},
        {"type": "message", "role": "assistant", "content": []},
        {"type": "custom_tool_call", "call_id": "free", "name": "free", "input": "text"},
        item(caller={"type": "program", "caller_id": "p"}),
    )
    free, found = SqlTool(guard).run(responded(*items))
    assert (free["type"], free["call_id"]) == ("custom_tool_call_output", "free")
    assert free["output"].startswith("Refused (usage.input_invalid)")
    assert found["caller"] == {"type": "program", "caller_id": "p"}
    assert json.loads(found["output"]) == ROWS
    typed = ResponseFunctionToolCall.model_validate(item(caller={"type": "direct"}))
    assert SqlTool(guard).run({"status": "completed", "output": [typed]})[0]["caller"] == {"type": "direct"}


MALFORMED = {
    "twice": '{"sql": "SELECT 1", "sql": "SELECT 2"}',
    "nan": '{"sql": NaN}',
    "half": "{",
    "list": "[]",
    "text": '"SELECT 1"',
    "empty": "",
    "number": '{"sql": 1}',
    "deep": "[" * 100_000,
    "long": '{"sql": ' + "9" * 5000 + "}",
    "surrogate": '{"sql": "SELECT \\ud800"}',
}


def test_malformed_arguments_are_refused(guard: Guard) -> None:
    for name, arguments in MALFORMED.items():
        for answer in (called(call(arguments)), responded(item(arguments))):
            (told,) = SqlTool(guard).run(answer)
            assert (told.get("content") or told["output"]).startswith("Refused ("), name
    assert [kind for _, _, kind in tool_entries(guard)].count("intent") == 0


def test_nothing_for_no_arguments(guard: Guard) -> None:
    def report() -> str:
        """Reports."""
        return "all well"

    for arguments in ("", "{}"):
        assert guard_tools(guard, [report]).run(called(call(arguments, name="report")))[0]["content"] == "all well"


UNANSWERABLE: dict[str, Any] = {
    "empty-id": called(call(call_id="")),
    "no-id": called({"type": "function", "function": {"name": "query_database", "arguments": COUNT}}),
    "same-id": called(call(), call()),
    "no-name": called({"id": "c", "type": "function", "function": {"arguments": COUNT}}),
    "two-choices": {"choices": [called()["choices"][0], called()["choices"][0]]},
    "no-choice": {"choices": []},
    "user": {"role": "user", "content": "hello"},
    "legacy": {"role": "assistant", "function_call": {"name": "query_database", "arguments": COUNT}},
    "no-call-id": responded({"type": "function_call", "name": "query_database", "arguments": COUNT}),
    "same-call-id": responded(item(), item()),
    "empty": {},
    "no-events": [],
    "text": "text",
    "mixed": [{"type": "response.created"}, {"object": "chat.completion.chunk"}],
}


def test_what_cannot_be_answered_is_a_named_failure(guard: Guard) -> None:
    for name, answer in UNANSWERABLE.items():
        with pytest.raises(UsageError) as refused:
            SqlTool(guard).run(answer)
        assert refused.value.code == "usage.input_invalid", name
    assert tool_entries(guard) == []


UNFINISHED = (
    *(called(call(), finish=finish) for finish in ("length", "content_filter", None, "new_reason")),
    *(responded(item(), status=status) for status in ("incomplete", "in_progress", "failed", "cancelled", "queued")),
    {"output": [item()]},
    responded(item(status="incomplete")),
    responded(item(status="in_progress")),
)


def test_only_a_finished_answer_runs(guard: Guard) -> None:
    for answer in UNFINISHED:
        (told,) = SqlTool(guard).run(answer)
        assert (told.get("content") or told["output"]).startswith("Refused (usage.answer_cut)"), answer
    assert tool_entries(guard) == []


def chunk(finish: str | None, *calls: dict[str, Any], index: int = 0) -> ChatCompletionChunk:
    choice = {"index": index, "delta": {"tool_calls": list(calls)}, "finish_reason": finish}
    return ChatCompletionChunk.construct(id="chatcmpl_1", object="chat.completion.chunk", model="m", choices=[choice])


def test_pieces_of_calls_do_not_mix(guard: Guard) -> None:
    """Also those of a server that gives every call the same index."""

    def piece(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
        return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    half, rest = COUNT[:9], COUNT[9:]
    interleaved = [
        chunk(None, piece(0, "a", "query_database", half), piece(1, "b", "query_database", half)),
        chunk(None, piece(1, None, None, rest), piece(0, None, None, rest)),
        chunk("tool_calls"),
    ]
    same_index = [
        chunk(None, piece(0, "a", "query_database", COUNT)),
        chunk("tool_calls", piece(0, "b", "query_database", COUNT)),
    ]
    for events in (interleaved, same_index):
        answers = SqlTool(guard).run(events)
        assert [(answer["tool_call_id"], json.loads(answer["content"])) for answer in answers] == [("a", ROWS), ("b", ROWS)]
    with pytest.raises(UsageError, match="several choices"):
        SqlTool(guard).run([chunk("tool_calls", index=1)])


async def test_a_function_that_fails_costs_the_others_nothing(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    def boom() -> str:
        """Fails."""
        raise RuntimeError("the password is hunter2")

    async def report(order: int) -> str:
        """Reports."""
        return f"order {order}"

    tools = guard_tools(guard, [boom, report])
    answer = called(call('{"order": 1}', "a", "report"), call("{}", "b", "boom"), call('{"order": 2}', "c", "report"))
    first, failed, last = await tools.arun(answer)
    assert (first["content"], last["content"]) == ("order 1", "order 2")
    assert failed["content"].startswith("Refused (engine.failed): The tool boom failed.")
    assert "hunter2" not in json.dumps([first, failed, last])
    assert "hunter2" in caplog.text, "the operator reads it"
    with pytest.raises(UsageError, match="asynchronous"):
        tools.run(answer)
    assert len(tool_entries(guard)) == 3


async def test_no_more_calls_at_a_time_than_allowed(guard: Guard) -> None:
    import asyncio

    running: list[int] = []
    most: list[int] = []

    async def report(order: int) -> str:
        """Reports."""
        running.append(order)
        most.append(len(running))
        await asyncio.sleep(0)
        running.remove(order)
        return str(order)

    tools = guard_tools(guard, [report])
    calls = [call(json.dumps({"order": n}), f"c{n}", "report") for n in range(9)]
    answers = await tools.arun(called(*calls), limit=2)
    assert [answer["content"] for answer in answers] == [str(n) for n in range(9)]
    assert max(most) <= 2
    with pytest.raises(UsageError):
        await tools.arun(called(*calls), limit=0)


def test_the_programs_mistakes_are_raised(sqlite_path: Path, tmp_path: Path) -> None:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as guard:
        tools: FunctionTools = SqlTool(guard)
        with pytest.raises(IdentityError, match=r"identity\.principal_mismatch"):
            tools.run(called(call()), principal=Principal("somebody@example.com"))
    with pytest.raises(UsageError, match=r"usage\.no_session"):
        tools.run(called(call()))
