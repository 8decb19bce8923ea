"""Putting the events of a stream of Anthropic's together: one message, or a refusal when the stream has no end.

Source: Anthropic API reference, streaming messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardrails.errors import UsageError

__all__ = ["whole"]


def whole(events: Sequence[object]) -> dict[str, Any]:
    """Returns the message that a stream's events make, with its tool uses; their inputs are JSON text. Other events are left out.

    Raises:
        UsageError: It has no end (``usage.answer_cut``), or is no such stream (``usage.input_invalid``).
    """
    kinds = [_get(event, "type") for event in events]
    if kinds.count("message_start") != 1:
        raise UsageError("usage.input_invalid", "These are not the events of one stream of Anthropic's.")
    if "message_stop" not in kinds:
        message = "The stream has no end, so its calls may not be complete. Nothing was run."
        raise UsageError("usage.answer_cut", message)
    started = _get(events[kinds.index("message_start")], "message")
    made: dict[str, Any] = {name: _get(started, name) for name in ("id", "role", "model")}
    uses: dict[object, dict[str, Any]] = {}
    for kind, event in zip(kinds, events, strict=True):
        index, delta = _get(event, "index"), _get(event, "delta")
        if kind == "content_block_start":
            block = _get(event, "content_block")
            if _get(block, "type") == "tool_use":
                uses[index] = {name: _get(block, name) for name in ("type", "id", "name", "toolset_name")} | {"input": ""}
        elif kind == "content_block_delta" and index in uses and _get(delta, "type") == "input_json_delta":
            uses[index]["input"] += _get(delta, "partial_json") or ""
        elif kind == "message_delta":
            made["stop_reason"] = _get(delta, "stop_reason")
    return made | {"content": list(uses.values())}


def _get(item: object, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
