"""What the wire formats share: their shape, reading a conversation as the real APIs check it, and cutting texts for streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from guardrails.testing.conversation import Conversation, ToolCall, Turn

__all__ = [
    "CREATED",
    "JSON",
    "Body",
    "Reading",
    "ServerEvent",
    "Unsupported",
    "WireFormat",
    "arguments_text",
    "identifier",
    "pieces",
    "text",
    "tokens",
]

JSON: TypeAlias = dict[str, Any]
Body: TypeAlias = Mapping[str, Any]
"""A request's JSON."""
ServerEvent: TypeAlias = tuple[str | None, JSON | str]
"""The event's name (None for none) and its data; text is sent as it stands."""

CREATED = 1_767_225_600
"""When every answer was made, in Unix seconds: the same script gives the same bytes."""


class Unsupported(ValueError):
    """A request asks for what this server has not.

    Args:
        message: What.
        details: As the vendor's clients read it, so that they do without.
    """

    def __init__(self, message: str, details: Mapping[str, object]) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One API: `read` a request, `write` a whole answer to it, or `stream` it as events."""

    read: Callable[[Body], Conversation]
    write: Callable[[Turn, Body], JSON]
    stream: Callable[[Turn, Body], Iterator[ServerEvent]]


class Reading:
    """Collects a conversation, and holds it to the vendors' rule: every call has exactly one answer before the model speaks again."""

    def __init__(self) -> None:
        self._question = ""
        self._results: list[tuple[str, str, bool]] = []
        self._open: list[str] = []

    def ask(self, question: str) -> None:
        """A message of the person."""
        self._require_answers()
        self._question, self._results = question, []

    def call(self, call_id: str) -> None:
        """A call that the model made."""
        self._open.append(call_id)

    def answer(self, call_id: str, result: str, *, is_error: bool = False) -> None:
        """A tool's result."""
        if call_id not in self._open:
            raise ValueError(f"there is no open call {call_id!r}")
        self._open.remove(call_id)
        self._results.append((call_id, result, is_error))

    def conversation(self, body: Body, tools: tuple[str, ...]) -> Conversation:
        """What was collected."""
        self._require_answers()
        call_ids, results, errors = zip(*self._results, strict=True) if self._results else ((), (), ())
        return Conversation(self._question, results, tools, errors, call_ids, str(body["model"]))

    def _require_answers(self) -> None:
        if self._open:
            raise ValueError(f"no result for the call {self._open[0]!r}")


def text(content: object) -> str:
    """Joins a content that is a text or a list of parts with a text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("content is neither a text nor a list of parts")
    return "".join(part["text"] for part in content if "text" in part)


def arguments_text(call: ToolCall) -> str:
    """A call's arguments as the model writes them."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


def pieces(content: str) -> Iterator[str]:
    """Cuts a text as a model streams it: in small pieces that do not respect words."""
    return (content[i : i + 12] for i in range(0, len(content), 12))


def tokens(turn: Turn) -> int:
    """How many tokens the turn is said to have."""
    return 1 + len(turn.text) // 4


def identifier(prefix: str, turn: Turn) -> str:
    """The id of an answer."""
    return f"{prefix}_{turn.calls[0].id if turn.calls else 'final'}"
