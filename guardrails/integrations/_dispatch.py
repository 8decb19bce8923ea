"""Running all calls of a model's answer: each gets exactly one reply, whatever becomes of it, and some may wait for a person.

Source: the vendors' rule that every tool call is answered before the model speaks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.integrations._toolbox import Reply, Toolbox

__all__ = ["Answers", "Call", "acall_all", "call_all", "cut_off", "require_distinct"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a model asks for.

    Args:
        id: The vendor's id of it.
        name: The tool's name, as the model wrote it.
        arguments: An object, or JSON text of one.
        hindrance: Why it must not run, as text for the model; None when it may be tried.
    """

    id: str
    name: str
    arguments: object
    hindrance: str | None = None


class Answers(list[dict[str, Any]]):
    """What to send back to the model, in the vendor's form and in the order of the calls.

    Args:
        items: One for each call.
        waiting: The calls that have not been run because a person has to approve first: id of the call to id of the request.
    """

    def __init__(self, items: Iterable[dict[str, Any]] = (), waiting: Mapping[str, str] | None = None) -> None:
        super().__init__(items)
        self.waiting = dict(waiting or {})


def call_all(toolbox: Toolbox, calls: Sequence[Call]) -> list[Reply]:
    """Runs calls one after the other; returns a reply for each.

    Raises:
        UsageError: One of the tools is asynchronous (``usage.input_invalid``; nothing has run), or no session is active.
        IdentityError: The session may not go on.
    """
    for call in calls:
        if call.hindrance is None:
            toolbox.require_synchronous(call.name)
    return [_reply(toolbox, call) for call in calls]


async def acall_all(toolbox: Toolbox, calls: Sequence[Call], limit: int) -> list[Reply]:
    """As `call_all`, at most `limit` at the same time; all have ended when it returns or raises."""
    if limit < 1:
        raise UsageError("usage.input_invalid", "At least one call has to run at a time.")
    gate = asyncio.Semaphore(limit)

    async def reply(call: Call) -> Reply:
        async with gate:
            return await _areply(toolbox, call)

    ended = await asyncio.gather(*map(reply, calls), return_exceptions=True)
    replies = [one for one in ended if isinstance(one, Reply)]
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return replies


def cut_off() -> str:
    """What the model reads of calls whose answer was cut off."""
    message = "The answer ended before its calls were complete, so none of them was run."
    return UsageError("usage.answer_cut", message).for_model()


def require_distinct(calls: Iterable[Call]) -> None:
    """Checks that each call can be answered by its id.

    Raises:
        UsageError: A call has no id, or two have the same (``usage.input_invalid``).
    """
    seen: set[str] = set()
    for call in calls:
        if not call.id or call.id in seen:
            message = "Two of the answer's calls have the same id." if call.id else "A call of the answer has no id."
            raise UsageError("usage.input_invalid", f"{message} Nothing was run.")
        seen.add(call.id)


def _reply(toolbox: Toolbox, call: Call) -> Reply:
    if call.hindrance is not None:
        return Reply(call.hindrance, is_error=True)
    try:
        return toolbox.dispatch(call.name, call.arguments, call.id or None)
    except GuardrailsError:
        raise
    except Exception:  # noqa: BLE001 - whatever an application's function raises; the other calls need their replies
        return _failed(call)


async def _areply(toolbox: Toolbox, call: Call) -> Reply:
    if call.hindrance is not None:
        return Reply(call.hindrance, is_error=True)
    try:
        return await toolbox.adispatch(call.name, call.arguments, call.id or None)
    except GuardrailsError:
        raise
    except Exception:  # noqa: BLE001 - as above
        return _failed(call)


def _failed(call: Call) -> Reply:
    """A function's own error text may hold data: the log has it, and the ledger its class; the model reads that it failed."""
    _LOGGER.error("The tool %s failed.", call.name, exc_info=True)
    return Reply(EngineError("engine.failed", f"The tool {call.name} failed.").for_model(), is_error=True)
