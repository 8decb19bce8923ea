"""Reading a message of Anthropic's, from objects of the client or plain dictionaries, and the form of what is sent back.

Sources: Anthropic API reference, tool use and stop reasons. Only a message that stopped for its tools has calls that may run; one that
paused (``pause_turn``, ``compaction``) is not finished and goes back as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guardrails.errors import UsageError
from guardrails.integrations._anthropic_streams import whole
from guardrails.integrations._dispatch import Call, cut_off, require_distinct
from guardrails.integrations._toolbox import Reply
from guardrails.model import Runtime

__all__ = ["FRAMEWORK", "Results", "read_message", "read_use", "result_block", "result_content"]

FRAMEWORK = "anthropic"
_BLOCKS = frozenset({"text", "image", "document", "search_result"})
_PAUSED = frozenset({"pause_turn", "compaction"})


class Results(dict[str, Any]):
    """The user's message that answers a model's tool uses.

    Args:
        blocks: Its `tool_result` blocks.
        waiting: The calls that have not been run because a person has to approve first: id of the call to id of the request.
    """

    def __init__(self, blocks: Iterable[dict[str, Any]], waiting: Mapping[str, str] | None = None) -> None:
        super().__init__(role="user", content=list(blocks))
        self.waiting = dict(waiting or {})

    @property
    def blocks(self) -> dict[str, dict[str, Any]]:
        """The blocks by the id of their call."""
        return {block["tool_use_id"]: block for block in self["content"]}


def read_message(message: object) -> tuple[list[Call], Runtime]:
    """Returns a message's calls in order, and what the message tells of itself.

    Raises:
        UsageError: It is no message of a model, or its calls cannot be told apart (``usage.input_invalid``); or the events of a stream
            without an end (``usage.answer_cut``).
    """
    if isinstance(message, Sequence) and not isinstance(message, (str, bytes)):
        message = whole(message)
    content = _get(message, "content")
    if _get(message, "role") != "assistant" or not isinstance(content, (list, tuple, str)):
        raise UsageError("usage.input_invalid", "This is no message of a model of Anthropic's.")
    stop = _get(message, "stop_reason")
    # A text has no blocks.
    blocks = () if isinstance(content, str) or stop in _PAUSED else content
    calls = [read_use(block, is_cut=stop != "tool_use") for block in blocks if _get(block, "type") == "tool_use"]
    require_distinct(calls)
    return calls, Runtime(FRAMEWORK, model=_text(_get(message, "model")), run_id=_text(_get(message, "id")))


def read_use(block: object, *, is_cut: bool = False) -> Call:
    """Returns the call of a `tool_use` block.

    Args:
        block: The block.
        is_cut: Its input may not be complete.

    Raises:
        UsageError: It is no such block, or has no id (``usage.input_invalid``).
    """
    name, call_id, toolset = _get(block, "name"), _get(block, "id"), _get(block, "toolset_name")
    if _get(block, "type") != "tool_use" or not isinstance(name, str) or not isinstance(call_id, str) or not call_id:
        raise UsageError("usage.input_invalid", "This is no tool_use block, or it has no name or no id.")
    # A member of a toolset is another tool than ours of the same name.
    called = f"{toolset}.{name}" if toolset else name
    return Call(call_id, called, _get(block, "input"), cut_off() if is_cut else None)


def result_block(call_id: str, reply: Reply) -> dict[str, Any]:
    """Returns the `tool_result` block of a reply."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": result_content(reply), "is_error": reply.is_error}


def result_content(reply: Reply) -> str | list[Any]:
    """Returns the content of a result: the content blocks that a tool without SQL returned, such as images, or text."""
    value = reply.value
    if isinstance(value, list) and value and all(_get(item, "type") in _BLOCKS for item in value):
        return value
    return reply.text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _get(item: object, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
