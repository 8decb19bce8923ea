"""The scripted model for users' tests, driven by the vendors' own clients: whole answers, streams, several calls, failures."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from guardrails import UsageError
from guardrails.testing import Conversation, Failure, ModelServer, Script, ToolCall, Turn, follow
from tests.support.paused_shop import loopback

CALLS = (ToolCall("call_a", "query", {"sql": "SELECT 'ä', 1 FROM orders"}), ToolCall("call_b", "query", {"sql": "SELECT 2"}))
CHAT_TOOLS: list[Any] = [{"type": "function", "function": {"name": "query", "parameters": {"type": "object"}}}]
TOOLS: list[Any] = [{"type": "function", "name": "query", "parameters": {"type": "object"}, "strict": False}]
MESSAGE_TOOLS: list[Any] = [{"name": "query", "input_schema": {"type": "object"}}]
ASKED: list[Any] = [{"role": "user", "content": "How many?"}]


def script() -> Script:
    return follow(
        [Turn("Looking at both.", CALLS), lambda told: Turn(f"{told.tools}{told.call_ids}{told.results}{told.errors}")]
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    loopback(monkeypatch)
    with ModelServer(script()) as running:
        yield running


def openai_client(server: ModelServer) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="k")


def anthropic_client(server: ModelServer) -> Anthropic:
    return Anthropic(base_url=server.url, api_key="k")


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_chat(server: ModelServer, is_streamed: bool) -> None:
    client, messages = openai_client(server), list(ASKED)

    def turn() -> Any:
        options: dict[str, Any] = {"model": "m", "messages": messages, "tools": CHAT_TOOLS}
        if not is_streamed:
            return client.chat.completions.create(**options)
        with client.chat.completions.stream(**options, stream_options={"include_usage": True}) as stream:
            return stream.get_final_completion()

    first = turn()
    message = first.choices[0].message
    assert (message.content, first.choices[0].finish_reason) == ("Looking at both.", "tool_calls")
    assert first.usage.total_tokens > 1
    assert [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == [
        (call.id, call.name, call.arguments) for call in CALLS
    ]
    messages += [message, *({"role": "tool", "tool_call_id": c.id, "content": c.id[-1]} for c in reversed(message.tool_calls))]
    last = turn().choices[0]
    assert last.message.content == "('query',)('call_b', 'call_a')('b', 'a')(False, False)"
    assert last.finish_reason == "stop"


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_responses(server: ModelServer, is_streamed: bool) -> None:
    client, items = openai_client(server), list(ASKED)
    seen: list[str] = []

    def turn() -> Any:
        options: dict[str, Any] = {
            "model": "m",
            "input": items,
            "tools": TOOLS,
            "conversation": "conv_1",
            "metadata": {"a": "b"},
        }
        if not is_streamed:
            return client.responses.create(**options)
        with client.responses.stream(**options) as stream:
            seen.extend(event.type for event in stream)
            return stream.get_final_response()

    first = turn()
    calls = [item for item in first.output if item.type == "function_call"]
    assert (first.output_text, first.status) == ("Looking at both.", "completed")
    assert (first.conversation.id, first.metadata) == ("conv_1", {"a": "b"})
    assert [(c.call_id, c.name, json.loads(c.arguments)) for c in calls] == [(c.id, c.name, c.arguments) for c in CALLS]
    items += [*first.output, *({"type": "function_call_output", "call_id": c.call_id, "output": c.call_id[-1]} for c in calls)]
    assert turn().output_text == "('query',)('call_a', 'call_b')('a', 'b')(False, False)"
    if is_streamed:
        assert {"response.function_call_arguments.done", "response.output_text.delta", "response.completed"} <= set(seen)


def test_responses_raw_events(server: ModelServer) -> None:
    events = list(openai_client(server).responses.create(model="m", input="How many?", tools=TOOLS, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta" and e.output_index == 1)
    assert json.loads(deltas) == CALLS[0].arguments


@pytest.mark.parametrize("is_beta", [False, True], ids=["plain", "beta"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_messages(server: ModelServer, is_streamed: bool, is_beta: bool) -> None:
    client, messages = anthropic_client(server), list(ASKED)
    api: Any = client.beta.messages if is_beta else client.messages

    def turn() -> Any:
        options: dict[str, Any] = {"model": "m", "max_tokens": 99, "messages": messages, "tools": MESSAGE_TOOLS}
        if not is_streamed:
            return api.create(**options)
        with api.stream(**options) as stream:
            return stream.get_final_message()

    first = turn()
    calls = [block for block in first.content if block.type == "tool_use"]
    assert (first.content[0].text, first.stop_reason) == ("Looking at both.", "tool_use")
    assert [(c.id, c.name, c.input) for c in calls] == [(c.id, c.name, c.arguments) for c in CALLS]
    results = [{"type": "tool_result", "tool_use_id": c.id, "content": c.id[-1], "is_error": c.id == "call_b"} for c in calls]
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    last = turn()
    assert last.content[0].text == "('query',)('call_a', 'call_b')('a', 'b')(False, True)"
    assert last.stop_reason == "end_turn"
    assert [request.path.partition("?")[0] for request in server.requests] == ["/v1/messages"] * 2
    assert server.requests[0].body["messages"] == ASKED


TRUNCATED = Turn("", (ToolCall("call_a", "query", {"sql": "SELECT 1"}),), is_truncated=True)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_truncated_turns_say_so(server: ModelServer, is_streamed: bool) -> None:
    with ModelServer(follow([TRUNCATED])) as running:
        client, other = openai_client(running), anthropic_client(running)
        if is_streamed:
            with client.responses.stream(model="m", input="?") as stream:
                # The helper ends with `response.completed` only.
                response: Any = list(stream)[-1]
            response = response.response
            chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
            finish = chunks[-1].choices[0].finish_reason
            with other.messages.stream(model="m", max_tokens=9, messages=ASKED) as stopped:
                stop = stopped.get_final_message().stop_reason
        else:
            response = client.responses.create(model="m", input="?")
            finish = client.chat.completions.create(model="m", messages=ASKED).choices[0].finish_reason
            stop = other.messages.create(model="m", max_tokens=9, messages=ASKED).stop_reason
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (finish, stop) == ("length", "max_tokens")


def test_a_cut_stream_has_no_end(server: ModelServer) -> None:
    with ModelServer(follow([Turn("", CALLS, is_cut=True)])) as running:
        events = list(openai_client(running).responses.create(model="m", input="?", stream=True))
        assert events[-1].type == "response.output_item.done"
        chunks = list(openai_client(running).chat.completions.create(model="m", messages=ASKED, stream=True))
        assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_custom_calls_and_text_that_is_no_json(server: ModelServer, is_streamed: bool) -> None:
    calls = ToolCall("call_a", "free", "any text", is_custom=True), ToolCall("call_b", "query", '{"sql": ')
    with ModelServer(follow([Turn("", calls)])) as running:
        client = openai_client(running)
        if is_streamed:
            response = list(client.responses.create(model="m", input="?", stream=True))[-1].response
            chunks = [c.choices[0].delta for c in client.chat.completions.create(model="m", messages=ASKED, stream=True)]
            pieces = [call for delta in chunks for call in delta.tool_calls or () if call.index == 0]
            # The client's chunks know no custom calls by type; they are there as extra fields.
            assert "".join(p.model_dump()["custom"]["input"] for p in pieces) == "any text"
        else:
            response = client.responses.create(model="m", input="?")
            first, second = client.chat.completions.create(model="m", messages=ASKED).choices[0].message.tool_calls
            assert (first.custom.name, first.custom.input, second.function.arguments) == ("free", "any text", '{"sql": ')
        assert (response.output[0].name, response.output[0].input) == ("free", "any text")
        assert response.output[1].arguments == '{"sql": '


def test_failures_come_before_their_turn_and_are_retried(server: ModelServer) -> None:
    with ModelServer(follow([Failure(429), Failure(500), Turn("Hello."), Failure(503), Turn("")])) as running:
        assert openai_client(running).responses.create(model="m", input="?").output_text == "Hello."
        assert len(running.requests) == 3
    with ModelServer(lambda _: Failure(429, "slow down")) as running:
        with pytest.raises(openai.RateLimitError, match="slow down"):
            openai_client(running).responses.create(model="m", input="?")
        with pytest.raises(anthropic.RateLimitError, match="slow down"):
            anthropic_client(running).messages.create(model="m", max_tokens=9, messages=ASKED)
        assert len(running.requests) == 6


def test_a_turn_that_is_made_from_the_conversation_stays_what_it_was() -> None:
    script = follow([lambda told: Turn("", CALLS[: 1 + len(told.results)]), lambda told: Turn(told.last)])
    assert script(Conversation("?")) == Turn("", CALLS[:1])
    assert script(Conversation("?", ("first",))) == Turn("first")


def test_a_failure_needs_a_turn_after_it() -> None:
    with pytest.raises(UsageError, match="last failure"):
        follow([Turn("a"), Failure(500)])


def test_what_a_script_raises_reaches_the_caller(server: ModelServer) -> None:
    def broken(conversation: Conversation) -> Turn:
        raise AssertionError("not this question")

    for script, message in ((broken, "not this question"), (follow([]), "no turn after 0 results")):
        with ModelServer(script) as running, pytest.raises(openai.BadRequestError, match=message):
            openai_client(running).responses.create(model="m", input="?")
        assert len(running.requests) == 1


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "no result",
        ),
        ("chat/completions", {"messages": [{"role": "tool", "tool_call_id": "a", "content": ""}]}, "no open call"),
        ("responses", {"input": [{"type": "function_call", "call_id": "a"}]}, "no result"),
        ("responses", {"input": [{"type": "function_call_output", "call_id": "a", "output": ""}]}, "no open call"),
        ("responses", {"input": "?", "previous_response_id": "resp_1"}, "whole conversation"),
        ("responses", {"input": "?", "parallel_tool_calls": False}, "forbids several calls"),
        ("messages", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]}]}, "no result"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
            "no open call",
        ),
        (
            "messages",
            {"messages": ASKED, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            "forbids several",
        ),
    ],
    ids=[
        "chat-open",
        "chat-twice",
        "responses-open",
        "responses-twice",
        "state",
        "single",
        "messages-open",
        "messages-twice",
        "one-use",
    ],
)
def test_what_the_vendors_refuse_is_refused(server: ModelServer, path: str, body: dict[str, Any], message: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    connection.request("POST", f"/v1/{path}", json.dumps({"model": "m", **body}))
    response = connection.getresponse()
    assert response.status == 400
    assert message in json.loads(response.read())["error"]["message"]
    connection.close()


def test_nothing_is_recorded_when_not_wanted(server: ModelServer) -> None:
    with ModelServer(lambda _: Turn("Hello."), record=False) as running:
        openai_client(running).responses.create(model="m", input="?")
        assert running.requests == ()
