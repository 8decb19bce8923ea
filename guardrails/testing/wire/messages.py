"""Anthropic's Messages, plain and beta.

Source: Anthropic API reference, `POST /v1/messages` (version 2023-06-01) and its streaming events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from guardrails.testing.conversation import Conversation, ToolCall, Turn
from guardrails.testing.wire.format import (
    JSON,
    Body,
    Reading,
    ServerEvent,
    Unsupported,
    WireFormat,
    arguments_text,
    identifier,
    pieces,
    text,
    tokens,
)

__all__ = ["MESSAGES"]


def _read(body: Body) -> Conversation:
    if body.get("thread"):
        # The tool runner's conversations are kept at the vendor's; it sends them whole where that is not supported.
        details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
        raise Unsupported("no conversations are kept here: send the whole one", details)
    reading = Reading()
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "assistant":
            for block in blocks:
                if block["type"] == "tool_use":
                    reading.call(block["id"])
        elif message["role"] == "user":
            _read_user(reading, blocks)
    # A tool of Anthropic's own has a name as well as a type.
    return reading.conversation(body, tuple(tool["name"] for tool in body.get("tools") or ()))


def _read_user(reading: Reading, blocks: list[dict[str, Any]]) -> None:
    results = [block for block in blocks if block["type"] == "tool_result"]
    for block in results:
        reading.answer(block["tool_use_id"], text(block.get("content") or ""), is_error=block.get("is_error") is True)
    # Text beside results is the client's remark on them, not a new question.
    if not results:
        reading.ask("".join(block["text"] for block in blocks if block["type"] == "text"))


def _write(turn: Turn, body: Body) -> JSON:
    content: list[JSON] = [{"type": "text", "text": turn.text, "citations": None}] if _has_text(turn) else []
    content += [_tool_use(call) | {"input": _input(call)} for call in turn.calls]
    return _envelope(turn, body) | {"content": content, "stop_reason": _stop(turn)}


def _stream(turn: Turn, body: Body) -> Iterator[ServerEvent]:
    def event(kind: str, **fields: object) -> ServerEvent:
        return kind, {"type": kind, **fields}

    yield event("message_start", message=_envelope(turn, body))
    position = 0
    if _has_text(turn):
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in pieces(turn.text):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        position = 1
    for index, call in enumerate(turn.calls, position):
        yield event("content_block_start", index=index, content_block=_tool_use(call) | {"input": {}})
        for piece in pieces(arguments_text(call)):
            yield event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
        yield event("content_block_stop", index=index)
    if turn.is_cut:
        return
    delta = {"stop_reason": _stop(turn), "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": tokens(turn)})
    yield event("message_stop")


def _envelope(turn: Turn, body: Body) -> JSON:
    return {
        "id": identifier("msg", turn),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": tokens(turn)},
    }


def _has_text(turn: Turn) -> bool:
    return bool(turn.text) or not turn.calls


def _tool_use(call: ToolCall) -> JSON:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _input(call: ToolCall) -> object:
    """Whole messages carry the arguments as JSON, not as its text."""
    return json.loads(call.arguments) if isinstance(call.arguments, str) else dict(call.arguments)


def _stop(turn: Turn) -> str:
    if turn.is_truncated:
        return "max_tokens"
    return "tool_use" if turn.calls else "end_turn"


MESSAGES = WireFormat(_read, _write, _stream)
