"""What a script is told of a conversation, and what it answers: the same whatever wire format the client speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Conversation", "Failure", "ToolCall", "Turn", "refusal_code"]

_REFUSAL = re.compile(r"Refused \(([a-z_.]+)\)")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model asks for.

    Args:
        id: The call's id, sent as it stands; it must differ from the other ids of its conversation.
        name: The tool, whether on offer or not.
        arguments: An object, or text that is sent as it stands: JSON that a model got wrong, or a custom tool's input.
        is_custom: It is a call of one of OpenAI's custom tools, which take free text.
    """

    id: str
    name: str
    arguments: Mapping[str, object] | str
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """The model's next turn.

    Args:
        text: What it says.
        calls: The tools that it calls, all in this one turn; none when the turn is the final one.
        is_truncated: The model ran out of tokens: the turn ends with the format's own sign of that.
        is_cut: The connection breaks before a stream has ended; an answer that is not streamed is not affected.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    is_truncated: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in place of a turn, for the client to retry or to report.

    Args:
        status: HTTP status; the vendors' clients retry 408, 409, 429 and from 500 on.
        message: The error's text.
        retry_after_ms: How long the client is told to wait before it tries again.
    """

    status: int
    message: str = "a failure of the script"
    retry_after_ms: int = 1


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request to the model shows of the conversation.

    Args:
        question: The last message of the person.
        results: The texts of the tool results after it, in order.
        tools: The names of the tools on offer.
        errors: For each result, whether the client marked it as an error; only Anthropic's format can say so.
        call_ids: For each result, the id of the call that it answers.
        model: The model that was asked for.
    """

    question: str
    results: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    errors: tuple[bool, ...] = ()
    call_ids: tuple[str, ...] = ()
    model: str = ""

    @property
    def last(self) -> str:
        """The last result, empty when there is none."""
        return self.results[-1] if self.results else ""


def refusal_code(result: str) -> str | None:
    """Returns the code when a tool's result is a guard's refusal, else None."""
    found = _REFUSAL.match(result)
    return found.group(1) if found else None
