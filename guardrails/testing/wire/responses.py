"""OpenAI's Responses, without state on the server: the client sends the whole conversation each time.

Source: OpenAI API reference, `POST /v1/responses` and its streaming events.
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

__all__ = ["RESPONSES"]


def _read(body: Body) -> Conversation:
    if body.get("previous_response_id"):
        raise ValueError("no responses are kept here: send the whole conversation")
    reading, items = Reading(), body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if item.get("role") == "user":
            reading.ask(text(item["content"]))
        elif item.get("type") in ("function_call", "custom_tool_call"):
            reading.call(item["call_id"])
        elif item.get("type") in ("function_call_output", "custom_tool_call_output"):
            reading.answer(item["call_id"], text(item["output"]))
    # A hosted tool has a type, and no name of its own.
    return reading.conversation(body, tuple(tool.get("name", tool["type"]) for tool in body.get("tools") or ()))


def _write(turn: Turn, body: Body) -> JSON:
    return _response(turn, body, "incomplete" if turn.is_truncated else "completed")


def _stream(turn: Turn, body: Body) -> Iterator[ServerEvent]:
    for number, (kind, fields) in enumerate(_events(turn, body)):
        yield kind, {"type": kind, "sequence_number": number, **fields}


def _events(turn: Turn, body: Body) -> Iterator[tuple[str, JSON]]:
    started = _response(turn, body, "in_progress")
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    position = 0
    if _has_message(turn):
        yield from _message_events(turn)
        position = 1
    for index, call in enumerate(turn.calls, position):
        yield from _call_events(call, index)
    if not turn.is_cut:
        done = _write(turn, body)
        yield f"response.{done['status']}", {"response": done}


def _message_events(turn: Turn) -> Iterator[tuple[str, JSON]]:
    done = _message(turn)
    place = {"output_index": 0, "item_id": done["id"], "content_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": done | {"status": "in_progress", "content": []}}
    yield "response.content_part.added", {**place, "part": _part("")}
    for piece in pieces(turn.text):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": turn.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part(turn.text)}
    yield "response.output_item.done", {"output_index": 0, "item": done}


def _call_events(call: ToolCall, index: int) -> Iterator[tuple[str, JSON]]:
    done, arguments = _call(call), arguments_text(call)
    place = {"output_index": index, "item_id": done["id"]}
    field, kind = ("input", "custom_tool_call_input") if call.is_custom else ("arguments", "function_call_arguments")
    status = {} if call.is_custom else {"status": "in_progress"}
    yield "response.output_item.added", {"output_index": index, "item": done | {field: ""} | status}
    for piece in pieces(arguments):
        yield f"response.{kind}.delta", {**place, "delta": piece}
    # The name is part of the event, although the reference leaves it out.
    named = {} if call.is_custom else {"name": call.name}
    yield f"response.{kind}.done", {**place, **named, field: arguments}
    yield "response.output_item.done", {"output_index": index, "item": done}


def _response(turn: Turn, body: Body, status: str) -> JSON:
    is_done = status != "in_progress"
    items = ([_message(turn)] if _has_message(turn) else []) + [_call(call) for call in turn.calls]
    return {
        "id": identifier("resp", turn),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": body["model"],
        "output": items if is_done else [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "temperature": 0.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(turn) if is_done else None,
        **_conversation(body.get("conversation")),
    }


def _conversation(named: object) -> JSON:
    return {"conversation": {"id": named} if isinstance(named, str) else named} if named else {}


def _usage(turn: Turn) -> JSON:
    return {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens(turn),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1 + tokens(turn),
    }


def _has_message(turn: Turn) -> bool:
    return bool(turn.text) or not turn.calls


def _message(turn: Turn) -> JSON:
    content = [_part(turn.text)]
    return {"type": "message", "id": identifier("msg", turn), "status": "completed", "role": "assistant", "content": content}


def _part(content: str) -> JSON:
    return {"type": "output_text", "text": content, "annotations": [], "logprobs": []}


def _call(call: ToolCall) -> JSON:
    if call.is_custom:
        return {
            "type": "custom_tool_call",
            "id": f"ctc_{call.id}",
            "call_id": call.id,
            "name": call.name,
            "input": arguments_text(call),
        }
    named = {"call_id": call.id, "name": call.name, "arguments": arguments_text(call)}
    return {"type": "function_call", "id": f"fc_{call.id}", **named, "status": "completed"}


RESPONSES = WireFormat(_read, _write, _stream)
