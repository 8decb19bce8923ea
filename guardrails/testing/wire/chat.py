"""OpenAI's Chat Completions.

Source: OpenAI API reference, `POST /v1/chat/completions` and its stream of `chat.completion.chunk` objects.
"""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.testing.conversation import Conversation, ToolCall, Turn
from guardrails.testing.wire.format import (
    CREATED,
    JSON,
    Body,
    Reading,
    ServerEvent,
    WireFormat,
    arguments_text,
    identifier,
    pieces,
    text,
    tokens,
)

__all__ = ["CHAT"]


def _read(body: Body) -> Conversation:
    reading = Reading()
    for message in body["messages"]:
        match message["role"]:
            case "user":
                reading.ask(text(message["content"]))
            case "assistant":
                for call in message.get("tool_calls") or ():
                    reading.call(call["id"])
            case "tool":
                reading.answer(message["tool_call_id"], text(message["content"]))
    return reading.conversation(body, tuple(tool[tool["type"]]["name"] for tool in body.get("tools") or ()))


def _write(turn: Turn, body: Body) -> JSON:
    message: JSON = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.calls:
        message["tool_calls"] = [_call(call, arguments_text(call)) for call in turn.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(turn)}
    return _envelope(turn, body, "chat.completion") | {"choices": [choice], "usage": _usage(turn)}


def _stream(turn: Turn, body: Body) -> Iterator[ServerEvent]:
    def chunk(delta: JSON, finish: str | None = None) -> ServerEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return None, _envelope(turn, body, "chat.completion.chunk") | {"choices": [choice]}

    yield chunk({"role": "assistant", "content": "" if turn.text else None})
    for piece in pieces(turn.text):
        yield chunk({"content": piece})
    for index, call in enumerate(turn.calls):
        yield chunk({"tool_calls": [{"index": index, **_call(call, "")}]})
        for piece in pieces(arguments_text(call)):
            yield chunk({"tool_calls": [{"index": index, **_arguments(call, piece)}]})
    if turn.is_cut:
        return
    yield chunk({}, _finish(turn))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield None, _envelope(turn, body, "chat.completion.chunk") | {"choices": [], "usage": _usage(turn)}
    yield None, "[DONE]"


def _envelope(turn: Turn, body: Body, kind: str) -> JSON:
    return {"id": identifier("chatcmpl", turn), "object": kind, "created": CREATED, "model": body["model"]}


def _call(call: ToolCall, arguments: str) -> JSON:
    if call.is_custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _arguments(call: ToolCall, piece: str) -> JSON:
    return {"custom": {"input": piece}} if call.is_custom else {"function": {"arguments": piece}}


def _finish(turn: Turn) -> str:
    if turn.is_truncated:
        return "length"
    return "tool_calls" if turn.calls else "stop"


def _usage(turn: Turn) -> JSON:
    return {"prompt_tokens": 1, "completion_tokens": tokens(turn), "total_tokens": 1 + tokens(turn)}


CHAT = WireFormat(_read, _write, _stream)
