"""Reading what a model of OpenAI's answered: its tool calls, and what it says of itself; from objects of the client or plain dictionaries.

Understood are a whole answer of either API, a message of Chat Completions, the event that ends a stream of Responses, and all events of
a stream of either. An answer that was cut off has no call that may run.

Sources: OpenAI API reference, the objects `chat.completion`, `chat.completion.chunk`, `response` and the streaming events of Responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from guardrails.errors import UsageError
from guardrails.integrations._dispatch import Call, cut_off, require_distinct
from guardrails.integrations._openai_streams import whole
from guardrails.model import Runtime

__all__ = ["Asked", "read_answer", "read_call"]

_FRAMEWORK = "openai"
_CHAT_ENDS = frozenset({"stop", "tool_calls"})
_OUTPUTS: Mapping[object, str] = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A call with the form of its answer.

    Args:
        call: The call.
        item: The answer without its text.
        field: Where the text goes.
    """

    call: Call
    item: Mapping[str, object]
    field: str

    def answered(self, text: str) -> dict[str, Any]:
        """Returns the answer."""
        return {**self.item, self.field: text}


def read_answer(answer: object) -> tuple[list[Asked], Runtime]:
    """Returns an answer's calls in order, and what the answer tells of itself.

    Raises:
        UsageError: It is no answer, several choices, a stream without an end, or its calls cannot be told apart
            (``usage.input_invalid``, ``usage.answer_cut``).
    """
    found = whole(answer) if isinstance(answer, Sequence) and not isinstance(answer, (str, bytes)) else answer
    kind = field(found, "type")
    if isinstance(kind, str) and kind.startswith("response.") and field(found, "response") is not None:
        found = field(found, "response")
    if field(found, "output") is not None and field(found, "choices") is None:
        asked = _of_response(found)
    elif field(found, "choices") is not None:
        asked = _of_completion(found)
    elif field(found, "role") == "assistant":
        asked = _of_message(found, is_cut=False)
    else:
        raise UsageError(
            "usage.input_invalid", "This is no answer of OpenAI's: neither a completion nor a message nor a response."
        )
    require_distinct(one.call for one in asked)
    return asked, _runtime(found)


def read_call(item: object, *, is_cut: bool = False) -> Asked:
    """Returns a call of either API.

    Args:
        item: One of `message.tool_calls`, or an item of `response.output`.
        is_cut: Its arguments may not be complete.

    Raises:
        UsageError: It is no call, or has no id (``usage.input_invalid``).
    """
    kind = field(item, "type")
    if kind in _OUTPUTS:
        name, arguments, call_id = field(item, "name"), field(item, "arguments"), field(item, "call_id")
        shape: dict[str, object] = {"type": _OUTPUTS[kind], "call_id": call_id}
        if (caller := field(item, "caller")) is not None:
            # A program of the model's own that made the call is told the answer.
            shape["caller"] = _plain(caller)
        is_cut, text_field = is_cut or field(item, "status") in ("in_progress", "incomplete"), "output"
    else:
        part = field(item, "custom") if kind == "custom" else field(item, "function")
        name, arguments, call_id = field(part, "name"), field(part, "arguments"), field(item, "id")
        shape, text_field = {"role": "tool", "tool_call_id": call_id}, "content"
    if not isinstance(name, str) or not isinstance(call_id, str) or not call_id:
        raise UsageError("usage.input_invalid", "This is no tool call of OpenAI's: it has no name or no id.")
    hindrance = cut_off() if is_cut else None
    if kind in ("custom", "custom_tool_call"):
        hindrance = UsageError("usage.input_invalid", f"There is no tool {name[:60]!r} that takes free text.").for_model()
    return Asked(Call(call_id, name, arguments, hindrance), shape, text_field)


def field(item: object, name: str) -> object:
    """Returns a field of an object or a dictionary, None when there is none."""
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _of_completion(completion: object) -> list[Asked]:
    choices = _items(completion, "choices")
    if len(choices) != 1:
        message = f"The completion has {len(choices)} choices, and only one can be gone on with."
        raise UsageError("usage.input_invalid", message, hint="Give the message of the choice.")
    return _of_message(field(choices[0], "message"), is_cut=field(choices[0], "finish_reason") not in _CHAT_ENDS)


def _of_message(message: object, *, is_cut: bool) -> list[Asked]:
    if field(message, "function_call") is not None:
        raise UsageError("usage.input_invalid", "A `function_call` has no id.", hint="Offer `tools` instead of `functions`.")
    return [read_call(call, is_cut=is_cut) for call in _items(message, "tool_calls")]


def _of_response(response: object) -> list[Asked]:
    is_cut = field(response, "status") != "completed"
    calls = (item for item in _items(response, "output") if field(item, "type") in _OUTPUTS)
    return [read_call(item, is_cut=is_cut) for item in calls]


def _runtime(answer: object) -> Runtime:
    metadata = field(answer, "metadata")
    conversation = field(field(answer, "conversation"), "id") or field(metadata, "conversation_id")
    return Runtime(
        _FRAMEWORK,
        model=_text(field(answer, "model")),
        conversation_id=_text(conversation),
        run_id=_text(field(answer, "id")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _items(item: object, name: str) -> Sequence[object]:
    found = field(item, name)
    return found if isinstance(found, (list, tuple)) else ()


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return cast(object, dump(exclude_none=True)) if callable(dump) else value
