"""The wire formats of three model APIs, each as a reader of requests and a writer of answers: pure functions over JSON.

Sources: OpenAI's Chat Completions and Responses, Anthropic's Messages (version 2023-06-01), their streams as server-sent events.
Only what tool-calling clients use is written; a request that is not understood raises ValueError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from guardrails.demo.script import Conversation, ToolCall, Turn

__all__ = ["FORMATS", "ServerEvent", "WireFormat"]

JSON: TypeAlias = dict[str, Any]
ServerEvent: TypeAlias = tuple[str | None, JSON | str]
"""The event's name (None for none) and its data; text is sent as it stands."""

_CREATED = 1_767_225_600


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One API: `read` a request, `write` a whole answer, or `stream` it as events (None when this server does not)."""

    read: Callable[[Mapping[str, Any]], Conversation]
    write: Callable[[Turn, str], JSON]
    stream: Callable[[Turn, str], Iterator[ServerEvent]] | None = None


def _read_chat(body: Mapping[str, Any]) -> Conversation:
    question, results = "", list[str]()
    for message in body["messages"]:
        match message["role"]:
            case "user":
                question, results = _text(message["content"]), []
            case "tool":
                results.append(_text(message["content"]))
    names = tuple(tool["function"]["name"] for tool in body.get("tools") or ())
    return Conversation(question, tuple(results), names)


def _write_chat(turn: Turn, model: str) -> JSON:
    message: JSON = {"role": "assistant", "content": turn.text, "refusal": None}
    if turn.call:
        message["tool_calls"] = [_chat_call(turn.call)]
    return _chat_envelope(turn, model, "chat.completion") | {
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _chat_finish(turn)}],
        "usage": {"prompt_tokens": 1, "completion_tokens": _tokens(turn), "total_tokens": 1 + _tokens(turn)},
    }


def _stream_chat(turn: Turn, model: str) -> Iterator[ServerEvent]:
    def chunk(delta: JSON, finish: str | None = None) -> ServerEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return None, _chat_envelope(turn, model, "chat.completion.chunk") | {"choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for word in _pieces(turn.text):
        yield chunk({"content": word})
    if turn.call:
        call = _chat_call(turn.call)
        arguments = call["function"]["arguments"]
        yield chunk({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunk({}, _chat_finish(turn))
    yield None, "[DONE]"


def _chat_envelope(turn: Turn, model: str, kind: str) -> JSON:
    return {"id": _identifier("chatcmpl", turn), "object": kind, "created": _CREATED, "model": model}


def _chat_call(call: ToolCall) -> JSON:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}


def _chat_finish(turn: Turn) -> str:
    return "tool_calls" if turn.call else "stop"


def _read_responses(body: Mapping[str, Any]) -> Conversation:
    question, results = "", list[str]()
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        if item.get("role") == "user":
            question, results = _text(item["content"]), []
        elif item.get("type") == "function_call_output":
            results.append(_text(item["output"]))
    names = tuple(tool["name"] for tool in body.get("tools") or ())
    return Conversation(question, tuple(results), names)


def _write_responses(turn: Turn, model: str) -> JSON:
    part = {"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []}
    identifier = _identifier("msg", turn)
    output: list[JSON] = [{"type": "message", "id": identifier, "status": "completed", "role": "assistant", "content": [part]}]
    if turn.call:
        call, name = turn.call, turn.call.name
        arguments = json.dumps(call.arguments)
        entry = {"type": "function_call", "id": f"fc_{call.id}", "call_id": call.id, "name": name, "arguments": arguments}
        output.append(entry | {"status": "completed"})
    return {
        "id": _identifier("resp", turn),
        "object": "response",
        "created_at": _CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": False,
        "temperature": 0.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": _tokens(turn),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1 + _tokens(turn),
        },
    }


def _read_messages(body: Mapping[str, Any]) -> Conversation:
    question, results = "", list[str]()
    for message in body["messages"]:
        if message["role"] != "user":
            continue
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results += [_text(block.get("content") or "") for block in blocks if block["type"] == "tool_result"]
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        if texts:
            question, results = "".join(texts), []
    names = tuple(tool["name"] for tool in body.get("tools") or ())
    return Conversation(question, tuple(results), names)


def _write_messages(turn: Turn, model: str) -> JSON:
    content: list[JSON] = [{"type": "text", "text": turn.text, "citations": None}]
    if turn.call:
        content.append(_tool_use(turn.call) | {"input": dict(turn.call.arguments)})
    return _message_envelope(turn, model) | {"content": content, "stop_reason": _messages_stop(turn)}


def _stream_messages(turn: Turn, model: str) -> Iterator[ServerEvent]:
    def event(kind: str, **fields: object) -> ServerEvent:
        return kind, {"type": kind, **fields}

    yield event("message_start", message=_message_envelope(turn, model))
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in _pieces(turn.text):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield event("content_block_stop", index=0)
    if turn.call:
        yield event("content_block_start", index=1, content_block=_tool_use(turn.call) | {"input": {}})
        for piece in _pieces(json.dumps(turn.call.arguments)):
            yield event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": piece})
        yield event("content_block_stop", index=1)
    delta = {"stop_reason": _messages_stop(turn), "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": _tokens(turn)})
    yield event("message_stop")


def _message_envelope(turn: Turn, model: str) -> JSON:
    return {
        "id": _identifier("msg", turn),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": _tokens(turn)},
    }


def _tool_use(call: ToolCall) -> JSON:
    return {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name}


def _messages_stop(turn: Turn) -> str:
    return "tool_use" if turn.call else "end_turn"


def _text(content: object) -> str:
    """Joins a content that is a text or a list of parts with a text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("content is neither a text nor a list of parts")
    return "".join(part["text"] for part in content if "text" in part)


def _pieces(text: str) -> Iterator[str]:
    """Cuts a text as a model streams it: in small pieces that do not respect words."""
    return (text[i : i + 12] for i in range(0, len(text), 12))


def _tokens(turn: Turn) -> int:
    return 1 + len(turn.text) // 4


def _identifier(prefix: str, turn: Turn) -> str:
    return f"{prefix}_{turn.call.id if turn.call else 'final'}"


FORMATS: Mapping[str, WireFormat] = {
    "/v1/chat/completions": WireFormat(_read_chat, _write_chat, _stream_chat),
    "/v1/responses": WireFormat(_read_responses, _write_responses),
    "/v1/messages": WireFormat(_read_messages, _write_messages, _stream_messages),
}
"""By the path that clients post to."""
