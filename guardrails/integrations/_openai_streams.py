"""Putting the events of a stream of OpenAI's together: one answer, or a refusal when the stream has no end.

Source: OpenAI API reference, `chat.completion.chunk` and the streaming events of Responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardrails.errors import UsageError

__all__ = ["whole"]

_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def whole(events: Sequence[object]) -> object:
    """Returns the answer that a stream's events make: a response as it was sent, or a completion with one choice.

    Raises:
        UsageError: It has no end (``usage.answer_cut``), several choices, or is no such stream (``usage.input_invalid``).
    """
    if events and all(isinstance(_get(event, "type"), str) for event in events):
        ends = [event for event in events if _get(event, "type") in _RESPONSE_ENDS]
        if not ends:
            raise _cut()
        return _get(ends[-1], "response")
    if events and all(_get(event, "object") == "chat.completion.chunk" for event in events):
        return _completion(events)
    raise UsageError("usage.input_invalid", "These are not the events of a stream of OpenAI's.")


def _completion(chunks: Sequence[object]) -> dict[str, Any]:
    calls = _Calls()
    finish: object = None
    for chunk in chunks:
        for choice in _list(chunk, "choices"):
            if _get(choice, "index"):
                raise UsageError("usage.input_invalid", "The stream has several choices, and only one can be gone on with.")
            for piece in _list(_get(choice, "delta"), "tool_calls"):
                calls.take(piece)
            finish = _get(choice, "finish_reason") or finish
    if finish is None:
        raise _cut()
    message = {"role": "assistant", "tool_calls": calls.made}
    first = chunks[0]
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": _get(first, "id"), "model": _get(first, "model"), "metadata": _get(first, "metadata"), "choices": [choice]}


class _Calls:
    """Calls in pieces: those of one index belong together, until one of them brings another id."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self._open: dict[object, dict[str, Any]] = {}

    def take(self, piece: object) -> None:
        index, call_id = _get(piece, "index"), _get(piece, "id")
        call = self._open.get(index)
        if call is None or (call_id and call["id"] and call_id != call["id"]):
            call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            self._open[index] = call
            self.made.append(call)
        call["id"] = call["id"] or call_id or ""
        call["type"] = _get(piece, "type") or call["type"]
        custom = _get(piece, "custom")
        part, function = custom or _get(piece, "function"), call["function"]
        if custom:
            call["custom"] = function
        function["name"] += _get(part, "name") or ""
        function["arguments"] += _get(part, "input" if custom else "arguments") or ""


def _cut() -> UsageError:
    return UsageError("usage.answer_cut", "The stream has no end, so its calls may not be complete. Nothing was run.")


def _list(item: object, name: str) -> Sequence[object]:
    found = _get(item, name)
    return found if isinstance(found, (list, tuple)) else ()


def _get(item: object, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
